# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Hosts that are set up badly: they are told in plain words what is wrong, and nothing is written."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.boot_entries import plan_boot
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.files import BootFiles
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.loader import BootPlan
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.kernel_arguments import STRONG, BootRequest
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.category_range import CategoryRange
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.daemon_restart import RestartActor
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.own_programs.guard import Guard
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import daemon, processes
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools

from tests.unit.roles.test_guard import OTHER, UUID, Host, guard, host, label, xml
from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree

__all__ = ["host"]

UNITS = "/usr/lib/systemd/system"
WANTS = "/etc/systemd/system"


def installed(tree: Tree, *names: str) -> Tree:
    """Programs and services of daemons."""
    for name in names:
        tree.file(f"/usr/sbin/{name}", mode=0o755)
        tree.file(f"{UNITS}/{name}.service", "[Service]\n")
    return tree


def enabled(tree: Tree, *units: str) -> Tree:
    for unit in units:
        folder = "sockets" if unit.endswith(".socket") else "multi-user"
        tree.link(f"{WANTS}/{folder}.target.wants/{unit}", f"{UNITS}/{unit}")
    return tree


def asleep(tree: Tree) -> Tree:
    """No daemon runs; sockets wait."""
    gone = [f"/proc/{pid}" for pid in (900, 901, 902)]
    for path in [path for path in tree.entries if any(path == top or path.startswith(f"{top}/") for top in gone)]:
        del tree.entries[path]
    return tree


def half_changed() -> Tree:
    """From libvirtd to the modular daemons, and not there: both are enabled and have their sockets."""
    tree = installed(hosts.fedora(), "virtqemud", "libvirtd")
    return enabled(tree, "virtqemud.socket", "libvirtd.service", "libvirtd.socket")


def masked() -> Tree:
    tree = installed(asleep(hosts.fedora()), "virtqemud")
    tree.link(f"{WANTS}/virtqemud.service", "/dev/null")
    return tree


def without_service() -> Tree:
    """A socket that is left over from a package, and no service for it."""
    tree = installed(asleep(hosts.fedora()), "virtproxyd")
    del tree.entries[f"{UNITS}/virtproxyd.service"]
    return tree


BAD = {
    "two_daemons_enabled": (half_changed, ("libvirtd", "virtqemud", "systemctl disable --now")),
    "daemon_masked": (masked, ("virtqemud.service is masked",)),
    "socket_without_service": (without_service, ("no virtqemud.service",)),
}


def root_of(tree: Tree) -> CapturedRoot:
    return CapturedRoot(tree, hosts.policy())


@pytest.mark.parametrize("code", BAD)
def test_each_module_that_would_write_for_the_daemon_refuses_and_says_why(code: str, tmp_path: Path) -> None:
    make, words = BAD[code]
    root = root_of(make())

    def never(*_arguments: t.Any, **_more: t.Any) -> tuple[int, str, str]:
        raise AssertionError("nothing is run")

    unsettled = qemu_conf.read(root, "/etc/libvirt/qemu.conf").unsettled
    refusal = Guard(root, never, str(tmp_path)).refusal()
    taken = CategoryRange(root, Tools(run_command=never), top=str(tmp_path)).look(guests=False).taken
    assert unsettled is not None
    assert refusal is not None
    assert unsettled.code == refusal.code == code
    for word in words:
        assert word in unsettled.text
        assert word in taken


@pytest.mark.parametrize("code", BAD)
def test_the_daemon_is_not_restarted(code: str) -> None:
    make, _words = BAD[code]
    tools = Tools(ask=lambda *_: hosts.answer(), run_command=lambda *_: (1, "", "no systemd"))
    look = RestartActor(root_of(make()), tools).look()
    assert look.unsettled is not None
    assert look.unsettled.code == code


@pytest.mark.parametrize(
    "tree",
    [
        enabled(installed(hosts.fedora(), "virtqemud", "libvirtd"), "virtqemud.socket", "virtqemud.service"),
        enabled(installed(hosts.el9(), "libvirtd"), "libvirtd.service", "libvirtd.socket"),
        installed(asleep(hosts.fedora()), "virtqemud"),
        enabled(hosts.fedora(), "libvirtd.socket"),  # of a package that is gone
        hosts.fedora(),
        hosts.bare(),
    ],
)
def test_a_host_with_one_daemon_in_charge_is_settled(tree: Tree) -> None:
    root = root_of(tree)
    in_charge = daemon.find(root, processes.read(root, ()).daemons).daemon
    assert daemon.setup_doubt(root, in_charge) is None


def test_a_mask_on_the_daemon_that_is_not_in_charge_is_how_one_is_put_away() -> None:
    tree = enabled(installed(hosts.el9(), "libvirtd", "virtqemud"), "libvirtd.service", "virtqemud.socket")
    tree.link(f"{WANTS}/virtqemud.service", "/dev/null")
    root = root_of(tree)
    assert daemon.setup_doubt(root, daemon.find(root, processes.read(root, ()).daemons).daemon) is None


def test_two_emulators_and_one_behind_a_script_are_known_by_what_runs() -> None:
    tree = hosts.fedora()
    guests = "system_u:system_r:svirt_t:s0:c7,c9"
    signed = b"\x7fELF" + b"QEMU emulator version 9.1.0"
    options = "-machine q35 -accel kvm -nodefaults"
    for pid, exe in ((5001, "/usr/libexec/qemu-kvm"), (5002, "/usr/bin/qemu-kvm"), (5003, "/opt/vendor/emulator")):
        hosts.process(tree, pid, exe, guests)
        tree.file(exe, signed)
        tree.file(f"/proc/{pid}/cmdline", f"{exe} {options}".replace(" ", "\0") + "\0")
    # The script itself, which waits for the emulator that it started.
    hosts.process(tree, 5004, "/usr/bin/bash", guests)
    tree.file("/proc/5004/cmdline", f"bash /usr/local/bin/qemu-wrapper {options}".replace(" ", "\0") + "\0")
    roles = {item.process.pid: item.process.role for item in processes.read(root_of(tree), ("svirt_t",)).guests}
    assert {roles[5001], roles[5002], roles[5003]} == {processes.QEMU}
    assert roles[5004] != processes.QEMU


def test_the_guard_compares_a_guest_whose_emulator_is_a_script(host: Host) -> None:
    host.guest(4242, "s0:c1,c2")
    (host.top / "proc/4242/cmdline").write_text("/bin/sh\0/usr/local/bin/qemu-wrapper\0-uuid\0" + OTHER + "\0")
    assert host.ask(xml("s0:c1,c2", uuid=UUID)) == guard.REFUSED
    (host.top / "proc/4242/attr/current").write_text(label("s0:c5,c6") + "\0")  # the script's own label counts
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.REFUSED


def planned(text: str, environment: tuple[str, str], choose: bool = True) -> BootPlan:
    files = {"/boot/loader/entries/a.conf": text, environment[0]: environment[1]}
    return plan_boot(BootFiles(files, {}), BootRequest(STRONG, choose=choose))


def test_a_snippet_without_options_is_refused_in_plain_words_and_nothing_is_written() -> None:
    plan = planned("title EL\nlinux /vmlinuz-6\n", ("/boot/grub2/grubenv", "# GRUB Environment Block\n"))
    assert plan.empty
    assert {refusal.subject for refusal in plan.refused} == {"/boot/loader/entries/a.conf"}


def test_without_grubby_an_entry_that_no_edit_repairs_is_named() -> None:
    """Its arguments come from a variable that may not be edited: grub-editenv's block is of another form."""
    text = "title EL\nlinux /vmlinuz-6\n"
    environment = "# GRUB Environment Block\ndefault_kernelopts=root=/dev/sda1 ro enforcing=0\n"
    plan = planned(text, ("/boot/grub2/grubenv", environment), choose=False)
    assert plan.empty
    assert {refusal.reason.code for refusal in plan.refused} == {"no_environment_block", "nothing_to_edit"}
    left = next(refusal for refusal in plan.refused if refusal.reason.code == "nothing_to_edit")
    assert left.subject == "/boot/loader/entries/a.conf"
    assert "grubby" in left.reason.text


def test_an_entry_that_lacks_an_argument_and_a_place_for_it_is_named() -> None:
    environment = "# GRUB Environment Block\ndefault_kernelopts=root=/dev/sda1 ro\n"
    environment += "#" * (1024 - len(environment))
    plan = planned("title Debian\nlinux /vmlinuz-6\n", ("/boot/grub/grubenv", environment))
    assert plan.empty
    assert [(item.subject, item.reason.code) for item in plan.refused] == [
        ("/boot/loader/entries/a.conf", "nothing_to_edit")
    ]
