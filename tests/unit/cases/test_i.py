# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section I: boot text with the variables that give it its meaning, and entries that are not this host's."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.selinux_state import SelinuxRequest, result_of
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import SecurityModel
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.selinux import SelinuxHost as Run

from tests.unit.support import hosts
from tests.unit.support.captured import Tree
from tests.unit.support.judging import status
from tests.unit.support.selinux_host import MAIN, SelinuxHost

DATA = Path(__file__).parent / "data" / "boot"
CFG = "/boot/grub2/grub.cfg"
ENV = "/boot/grub2/grubenv"
SNIPPET = "/boot/loader/entries/a.conf"
FALLBACK = 'if [ -z "${kernelopts}" ]; then\n  set kernelopts="root=/dev/mapper/rl-root ro selinux=0"\nfi\n'
BLSCFG = "insmod blscfg\nblscfg\n"
HEAD = "# GRUB Environment Block\n"
KEY = f"if keystatus --shift; then\n  set extra={{}}\nelse\n  set extra=\nfi\n{BLSCFG}"
LINE = "root=/dev/mapper/rl-root ro"
SET = f'set kernelopts="{LINE}"\n'


def data(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def el(cfg: str, snippet: str, env: str | None = f"{HEAD}saved_entry=a\n") -> Tree:
    tree = hosts.el9()
    for path in [path for path in tree.entries if path.startswith("/boot/loader/entries/")]:
        del tree.entries[path]
    tree.file(CFG, cfg)
    tree.file(SNIPPET, snippet)
    del tree.entries[ENV]
    if env is not None:
        tree.file(ENV, env)
    return tree


def options(text: str) -> str:
    return f"title Linux\nversion 5\nlinux /vmlinuz-5\noptions {text}\n"


def judged(tree: Tree) -> str:
    return status(hosts.look(tree), "SEL-004")


def test_i1_a_fallback_of_grub_cfg_weakens_the_entries_that_use_it() -> None:
    tree = el(data("kernelopts.grub.cfg"), data("kernelopts.entry.conf"), data("kernelopts.grubenv"))
    assert judged(tree) == "fail"


@pytest.mark.parametrize(
    ("cfg", "snippet", "env", "expected"),
    [
        # The environment block comes before the fallback.
        (f"load_env\n{FALLBACK}{BLSCFG}", "$kernelopts", f"{HEAD}kernelopts={LINE}\n", "pass"),
        (f"load_env\n{FALLBACK}{BLSCFG}", "$kernelopts", f"{HEAD}kernelopts={LINE} enforcing=0\n", "fail"),
        (f"{FALLBACK}{BLSCFG}", "${kernelopts}", None, "fail"),
        (f"if [ -s $prefix/grubenv ]; then\n  load_env\nfi\n{FALLBACK}{BLSCFG}", "$kernelopts", None, "fail"),
        (f'set kernelopts="{LINE}"\n{FALLBACK}{BLSCFG}', "$kernelopts", None, "pass"),
        (f"{SET}if [ -n $kernelopts ]; then\nset kernelopts='selinux=0'\nfi\n{BLSCFG}", "$kernelopts", None, "fail"),
        # An environment block counts where it is one.
        (f"load_env\n{FALLBACK}{BLSCFG}", "$kernelopts", f"kernelopts={LINE}\n", "fail"),
        (f"load_env\n{FALLBACK}{BLSCFG}", "$kernelopts", f"{HEAD.lower()}kernelopts={LINE}\n", "fail"),
        (f"load_env\n{BLSCFG}", "$kernelopts", f"\ufeff{HEAD}kernelopts={LINE}\n", "unknown"),
        # A function that ends before its last command.
        (f"function f {{\nset k=selinux=0\nreturn\nset k=\n}}\nf\n{BLSCFG}", f"{LINE} $k", None, "unknown"),
        # Menus that GRUB goes on with.
        (f"menuentry x {{\nconfigfile $prefix/more.cfg\n}}\n{BLSCFG}", LINE, None, "unknown"),
        (f"legacy_configfile /boot/grub/menu.lst\n{BLSCFG}", LINE, None, "unknown"),
        (f"submenu x {{\nextract_entries_source /boot/x.cfg\n}}\n{BLSCFG}", LINE, None, "unknown"),
        (f"menuentry x {{\nconfigfile (hd0,gpt3)/boot/grub/grub.cfg\n}}\n{BLSCFG}", LINE, None, "pass"),
        (f"menuentry x {{\nconfigfile (loop)/boot/grub/loopback.cfg\n}}\n{BLSCFG}", LINE, None, "pass"),
        (f"menuentry x {{\nconfigfile $prefix/custom.cfg\n}}\n{BLSCFG}", LINE, None, "pass"),
        # Nested variables.
        (f'set a="selinux=0"\nset kernelopts="{LINE} $a"\n{BLSCFG}', "$kernelopts", None, "fail"),
        (f'set a="selinux=0"\n{BLSCFG}', "$kernelopts", f"{HEAD}kernelopts={LINE} $a\n", "fail"),
        (BLSCFG, "$kernelopts", f"{HEAD}kernelopts={LINE} $kernelopts\n", "unknown"),
        # A snippet without options.
        (f'set default_kernelopts="{LINE} selinux=0"\n{BLSCFG}', None, None, "fail"),
        (f'set default_kernelopts="{LINE}"\n{BLSCFG}', None, None, "pass"),
        (BLSCFG, None, None, "unknown"),
        # What is decided at boot, or by nothing that was read.
        (KEY.format("selinux=0"), f"{LINE} $extra", None, "unknown"),
        (KEY.format("quiet"), f"{LINE} $extra", None, "pass"),
        (BLSCFG, f"{LINE} $mystery", None, "unknown"),
        (f"search --set=extra --label x\n{BLSCFG}", f"{LINE} $extra", None, "unknown"),
        (f"load_env -f /boot/other.env\n{BLSCFG}", LINE, None, "unknown"),
        (f"source $prefix/more.cfg\n{BLSCFG}", LINE, None, "unknown"),
        (BLSCFG, f"{LINE} $mystery selinux=0", None, "fail"),
        # Variables that distributions assign where a feature is in use.
        (BLSCFG, f"{LINE} $tuned_params ${{extra_cmdline}}", None, "pass"),
        (f'set tuned_params="enforcing=0"\n{BLSCFG}', f"{LINE} $tuned_params", None, "fail"),
        (BLSCFG, f"{LINE} $tuned_params", f"{HEAD}tuned_params=selinux=0\n", "fail"),
        ("if x; then\nset k=selinux=0\nblscfg\nelse\nset k=ro\nblscfg\nfi\n", f"{LINE} $k", None, "unknown"),
        (f"if [ -f /x/grubenv ]; then\nload_env -f /x/y\nfi\n{BLSCFG}", LINE, None, "unknown"),
        (f"source /x/custom.cfg\n{BLSCFG}", LINE, None, "unknown"),
        # A text that GRUB would not read.
        (f'set kernelopts="{LINE}\n{BLSCFG}', LINE, None, "unknown"),
        (f"if [ -z x ]; then\n{BLSCFG}", LINE, None, "unknown"),
    ],
)  # fmt: skip
def test_i2_variables(cfg: str, snippet: str | None, env: str | None, expected: str) -> None:
    text = options(snippet) if snippet is not None else "title Linux\nlinux /vmlinuz-5\n"
    assert judged(el(cfg, text, env)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{LINE} $vt_handoff", "pass"),
        (f"{LINE} ${{extra_cmdline}}", "pass"),
        (f'{LINE} "$x"', "fail"),
        (f"{LINE} $x", "fail"),
        (f"{LINE} '$x'", "pass"),  # single quotes: the text itself
        (f"{LINE} $y", "unknown"),
    ],
)
def test_i2_variables_in_entries_of_grub_cfg(line: str, expected: str) -> None:
    tree = hosts.bare()
    text = f"set x=selinux=0\nmenuentry 'Linux' {{\n\tlinux /vmlinuz {line}\n}}\n"
    tree.file("/boot/grub/grub.cfg", text)
    assert judged(tree) == expected


def debian(grub_cfg: str, more: str = "") -> Tree:
    tree = hosts.bare()
    tree.file("/etc/os-release", f"ID=debian\n{more}")
    root = "root=UUID=11111111-1111-4111-8111-111111111111"
    tree.file("/proc/cmdline", f"BOOT_IMAGE=/boot/vmlinuz {root} ro security=selinux\n")
    tree.file("/boot/grub/grub.cfg", grub_cfg)
    return tree


OWN = "menuentry 'Debian' {\n\tlinux /vmlinuz root=UUID=11111111-1111-4111-8111-111111111111 ro security=selinux\n}\n"
OTHERS = [
    "linux16 /boot/memtest86+.bin",
    "linux /boot/memtest86+x64.efi console=ttyS0",
    "linux16 /boot/memdisk iso",
    "linux /boot/ipxe.lkrn",
    "chainloader +1",
    "linux /boot/vmlinuz-5 root=UUID=22222222-2222-4222-8222-222222222222 quiet",
    "linux /boot/vmlinuz-5 root=UUID=22222222-2222-4222-8222-222222222222 selinux=0",
    "linux /boot/vmlinuz-5 root=/dev/sdb2 ro",
    "linux (loop)/casper/vmlinuz boot=casper iso-scan/filename=/x.iso",
    "linux /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=x selinux=0",
]


def test_i3_entries_of_other_systems_are_no_finding() -> None:
    assert judged(debian(data("other-entries.grub.cfg"))) == "pass"


@pytest.mark.parametrize("line", OTHERS)
def test_i3_other_systems_and_tools(line: str) -> None:
    assert judged(debian(f"{OWN}menuentry 'Other' {{\n\t{line}\n}}\n")) == "pass"


@pytest.mark.parametrize(
    "entry",
    [
        "menuentry 'Fedora (on /dev/sda3)' {\n\tlinux /vmlinuz root=LABEL=f selinux=0\n}\n",
        "menuentry 'x' --class fedora {\n\tlinux /vmlinuz root=LABEL=f\n}\n",
        "menuentry 'x' $menuentry_id_option 'osprober-gnulinux-x' {\n\tlinux /vmlinuz root=LABEL=f\n}\n",
        "### BEGIN /etc/grub.d/30_os-prober ###\nmenuentry 'x' {\n\tlinux /vmlinuz root=LABEL=f\n}\n",
        "submenu 'Advanced options for Arch (on /dev/sdc1)' {\nmenuentry 'a' {\n\tlinux /vmlinuz root=LABEL=f\n}\n}\n",
    ],
)
def test_i3_entries_that_say_so_themselves(entry: str) -> None:
    assert judged(debian(OWN + entry)) == "pass"


@pytest.mark.parametrize("arguments", ["ro", "ro selinux=0 security=selinux", "ro enforcing=0"])
@pytest.mark.parametrize("title", ["'Debian (recovery mode)'", "'Fedora (on /dev/sda3)' --class fedora", "'memtest'"])
def test_i3_this_hosts_own_entries_are_judged_whatever_they_are_called(title: str, arguments: str) -> None:
    root = "root=UUID=11111111-1111-4111-8111-111111111111"
    assert judged(debian(f"{OWN}menuentry {title} {{\n\tlinux /vmlinuz {root} {arguments}\n}}\n")) == "fail"


def test_i3_a_root_that_cannot_be_compared_is_unknown_not_another_system() -> None:
    entry = "menuentry 'x' {{\n\tlinux /vmlinuz root=LABEL=x ro {}\n}}\n"
    assert judged(debian(OWN + entry.format("selinux=0"))) == "unknown"
    assert judged(debian(OWN + entry.format("security=selinux"))) == "pass"


def test_i3_a_root_is_compared_by_its_device() -> None:
    tree = debian(f"{OWN}menuentry 'x' {{\n\tlinux /vmlinuz root=LABEL=x ro selinux=0\n}}\n")
    tree.add("/dev/vda1", tree.file("/dev/vda1", type="b", rdev=0xFE01))
    tree.add("/dev/vdb1", tree.file("/dev/vdb1", type="b", rdev=0xFE11))
    tree.link("/dev/disk/by-label/x", "../../vda1")
    assert judged(tree) == "fail"
    tree.link("/dev/disk/by-label/x", "../../vdb1")
    assert judged(tree) == "pass"
    del tree.entries["/dev/disk/by-label/x"]
    assert judged(tree) == "unknown"
    tree.link("/dev/disk/by-uuid/11111111-1111-4111-8111-111111111111", "../../vda1")
    assert judged(tree) == "pass"  # udev has created the links of the root's device, and this is none of them


def test_i3_a_host_of_which_no_entry_is_known_is_unknown() -> None:
    assert judged(debian("menuentry 'Memory test' {\n\tlinux /boot/memtest86+x64.bin\n}\n")) == "unknown"
    other = "menuentry 'x' {\n\tlinux /vmlinuz root=UUID=2 ro security=selinux\n}\n"
    tree = debian(other)
    tree.file("/dev/vda1", type="b", rdev=0xFE01)
    tree.file("/dev/vdb1", type="b", rdev=0xFE11)
    tree.link("/dev/disk/by-uuid/2", "../../vdb1")
    assert judged(tree) == "unknown"


NAMED = "root=UUID=11 ro security=selinux"
PLAIN = "root=UUID=11 ro"


def plain_entry(release: str, cmdline: str = NAMED, lsm: str = "lockdown,capability,selinux") -> Tree:
    """A host with entries that name no security module."""
    tree = hosts.bare()
    tree.file("/etc/os-release", release)
    tree.file("/proc/cmdline", f"{cmdline}\n")
    tree.file("/sys/kernel/security/lsm", lsm)
    return tree


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("ID=debian\n", "fail"),
        ("ID=ubuntu\nID_LIKE=debian\n", "fail"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "fail"),
        ("ID=neon\nID_LIKE=\"ubuntu\"\n", "fail"),
        ("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n", "pass"),
        ("ID=fedora\n", "pass"),
        # Their kernels start AppArmor in some releases, SELinux in others, or what was chosen when they were built.
        ("ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n", "unknown"),
        ("ID=sles\nID_LIKE=suse\n", "unknown"),
        ("ID=gentoo\n", "unknown"),
        ("ID=arch\n", "unknown"),
        ("", "unknown"),
    ],
)  # fmt: skip
def test_i4_children_of_a_distribution_have_its_kernels_default(release: str, expected: str) -> None:
    assert judged(plain_entry(release)) == expected


@pytest.mark.parametrize("release", ["ID=sles\nVERSION_ID=16.0\n", "ID=debian\n", "ID=rocky\n", ""])
@pytest.mark.parametrize(
    ("cmdline", "lsm", "expected"),
    [
        (PLAIN, "lockdown,capability,landlock,selinux,bpf", "pass"),
        (f"{PLAIN} -- security=apparmor", "capability,selinux", "pass"),
        (PLAIN, "lockdown,capability,landlock,apparmor,bpf", "fail"),
        (PLAIN, "lockdown,capability,landlock,yama,bpf", "fail"),
    ],
)
def test_i4_the_running_kernel_shows_its_default_where_nothing_was_chosen(
    release: str, cmdline: str, lsm: str, expected: str
) -> None:
    assert judged(plain_entry(release, cmdline, lsm)) == expected


@pytest.mark.parametrize(
    "cmdline", [NAMED, f"{PLAIN} lsm=selinux", f"{PLAIN} selinux=1", f"{PLAIN} apparmor=0", f"{PLAIN} security="]
)
def test_i4_a_choice_hides_the_default(cmdline: str) -> None:
    assert judged(plain_entry("ID=sles\n", cmdline)) == "unknown"


def test_i4_an_entry_that_names_selinux_needs_no_default() -> None:
    tree = plain_entry("ID=sles\n")
    tree.file("/boot/grub/grub.cfg", f"menuentry 'Linux' {{\n\tlinux /vmlinuz {NAMED}\n}}\n")
    assert judged(tree) == "pass"


def test_i4_where_securityfs_is_not_mounted_libvirt_says_what_is_active() -> None:
    snapshot = hosts.look(plain_entry("ID=sles\n", PLAIN))
    snapshot.selinux.lsms = []
    snapshot.libvirt.models = [SecurityModel("selinux", "0"), SecurityModel("dac", "0")]
    assert status(snapshot, "SEL-004") == "pass"
    snapshot.libvirt.models = [SecurityModel("apparmor", "0"), SecurityModel("dac", "0")]
    assert status(snapshot, "SEL-004") == "fail"
    snapshot.libvirt.models = None
    assert status(snapshot, "SEL-004") == "unknown"


@pytest.mark.parametrize(
    ("release", "added"), [("ID=sles\n", True), ("ID=debian\n", True), ("ID=rocky\n", False), ("ID=fedora\n", False)]
)
def test_i4_selinux_is_named_unless_the_kernels_are_known_to_start_it(
    tmp_path: Path, release: str, added: bool
) -> None:
    host = SelinuxHost(tmp_path / "host")
    host.write("/etc/os-release", release)
    host.write("/proc/cmdline", f"{NAMED}\n")
    host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="quiet"\n')
    host.write(MAIN, host.made())
    result = run(host)
    assert bool(result["plan"]) is added, result
    assert (result["after"]["boot_faults"], result["refused"]) == ([], [])


def run(host: SelinuxHost) -> dict[str, t.Any]:
    found = Run(host.root, host.tools, SelinuxRequest(), lambda: 1_700_086_400.0)
    return result_of(found.request, found.state, found.plan, None, found.soak).as_dict()


def test_i5_entries_of_other_systems_never_block_the_module(tmp_path: Path) -> None:
    host = SelinuxHost(tmp_path / "host")
    host.custom = "".join(f"menuentry 'Other' {{\n\t{line}\n}}\n" for line in OTHERS)
    host.write(MAIN, host.made())
    result = run(host)
    assert (result["changed"], result["refused"], result["before"]["boot_faults"]) == (False, [], [])


def test_i5_an_unknown_variable_is_named(tmp_path: Path) -> None:
    host = SelinuxHost(tmp_path / "host")
    host.custom = "menuentry 'x' {\n\tlinux /vmlinuz root=/dev/vda1 security=selinux $mystery\n}\n"
    host.write(MAIN, host.made())
    result = run(host)
    assert [(entry["subject"], entry["code"]) for entry in result["refused"]] == [(MAIN, "variable_unknown")]


def test_i5_a_weak_fallback_is_repaired_by_making_grub_cfg_anew(tmp_path: Path) -> None:
    host = SelinuxHost(tmp_path / "host")
    host.write("/etc/os-release", "ID=rocky\n")
    host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="selinux=0"\n')
    host.write(MAIN, 'if [ -z "${kernelopts}" ]; then\n  set kernelopts="root=/dev/vda1 selinux=0"\nfi\nblscfg\n')
    host.write(SNIPPET, options("$kernelopts"))
    result = run(host)
    assert [step["subject"] for step in result["plan"]] == ["/etc/default/grub", MAIN]
    assert (len(result["before"]["boot_faults"]), result["after"]["boot_faults"], result["refused"]) == (1, [], [])


def test_i5_snippets_of_other_systems_are_not_edited(tmp_path: Path) -> None:
    host = SelinuxHost(tmp_path / "host")
    host.missing.discard("grubby")
    host.write("/etc/os-release", "ID=fedora\n")
    host.write(SNIPPET, options("root=/dev/vda1 selinux=0"))
    host.write("/boot/loader/entries/b.conf", options("root=/dev/sdb7 selinux=0"))
    result = run(host)
    assert [step["subject"] for step in result["plan"]] == [SNIPPET]
    assert result["refused"] == []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("SELINUX=enforcing\n", "pass"),
        ("SELINUX=  Enforcing # x\n", "pass"),
        ("SELINUX=enforcing\nSELINUX=disabled\n", "pass"),  # the first counts
        ("SELINUX=disabled\nSELINUX=enforcing\n", "fail"),
        ("SELINUX=enforcng\n", "fail"),  # without a mode that it knows, libselinux loads the policy permissive
        (" SELINUX=enforcing\n", "fail"),
        ("selinux=enforcing\n", "fail"),
        ("SELINUX = enforcing\n", "fail"),
        ("#SELINUX=enforcing\n", "fail"),
        ("SELINUX=enforcng\nSELINUX=enforcing\n", "pass"),
        ("", "fail"),
    ],
)
def test_i6_the_configured_mode_is_what_libselinux_reads(config: str, expected: str) -> None:
    tree = hosts.bare()
    tree.file("/etc/selinux/config", f"{config}SELINUXTYPE=targeted\n")
    assert status(hosts.look(tree), "SEL-003") == expected


@pytest.mark.parametrize(
    "body",
    [
        f"\t$linux /boot/vmlinuz-6 {LINE} selinux=0\n",
        f"\tmultiboot2 /xen.gz placeholder\n\t${{module_loader}} /boot/vmlinuz-6 placeholder {LINE} selinux=0\n",
        f"\tif [ x = y ]; then\n\t\tlinux /vmlinuz {LINE}\n\telse\n\t\tlinux /vmlinuz {LINE} selinux=0\n\tfi\n",
    ],
)
def test_i2_commands_that_load_a_kernel_by_another_name(body: str) -> None:
    tree = hosts.bare()
    tree.file("/boot/grub/grub.cfg", f"set linux=linuxefi\nmenuentry 'x' {{\n{body}}}\n")
    assert judged(tree) in ("fail", "unknown")


def test_i2_texts_that_grub_cfg_runs_are_read() -> None:
    tree = hosts.bare()
    run = "if [ -f ${config_directory}/custom.cfg ]; then\n  source ${config_directory}/custom.cfg\nfi\n"
    entry = f"menuentry 'x' {{\n\tlinux /vmlinuz {LINE} $extra\n}}\n"
    tree.file("/boot/grub/grub.cfg", f"set extra=quiet\n{entry}{run}")
    assert judged(tree) == "pass"
    tree.file("/boot/grub/custom.cfg", "set extra=selinux=0\n")
    assert judged(tree) == "fail"
    tree.file("/boot/efi/EFI/x/custom.cfg", "set extra=quiet\n")  # of another grub.cfg
    assert judged(tree) == "fail"
    tree.file("/boot/grub/custom.cfg", f"menuentry 'y' {{\n\tlinux /vmlinuz {LINE} enforcing=0\n}}\n")
    assert judged(tree) == "fail"


def test_i2_menus_of_snapshots_are_read() -> None:
    tree = el(f"submenu 'Snapshots' {{\n  configfile \"${{prefix}}/grub-btrfs.cfg\"\n}}\n{BLSCFG}", options(LINE))
    tree.file("/boot/grub2/grub-btrfs.cfg", f"menuentry 'Old' {{\n\tlinux /vmlinuz {LINE}\n}}\n")
    assert judged(tree) == "pass"
    tree.file("/boot/grub2/grub-btrfs.cfg", f"menuentry 'Old' {{\n\tlinux /vmlinuz {LINE} selinux=0\n}}\n")
    assert judged(tree) == "fail"


def test_i2_each_grub_cfg_is_run_by_itself() -> None:
    tree = debian(OWN)
    stub = "function f {\n\tset x=selinux=0\n}\nexport x\nconfigfile $prefix/grub.cfg\n"
    for name in ("debian", "other"):
        tree.file(f"/boot/efi/EFI/{name}/grub.cfg", stub)
    tree.file("/boot/grub2/grub.cfg", OWN.replace("'Debian'", "'Second'"))
    snapshot = hosts.look(tree)
    assert [entry.title for entry in snapshot.selinux.boot_entries] == ["Debian", "Second"]
    assert status(snapshot, "SEL-004") == "pass"
