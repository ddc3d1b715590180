# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host on its way to enforcing, in a folder: what is done, what is not, and that it can all be put back."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SvirtError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.selinux import PolicyModuleRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.selinux_state import (
    SelinuxRequest,
    SelinuxState,
    diffs,
    result_of,
)
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import file_write
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.tools import HostTools
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.selinux import (
    SelinuxHost as Run,
)
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.selinux import restore, restorers

from tests.unit.support import selinux_host
from tests.unit.support.selinux_host import BOOT, FS, LOCAL, LOG, MAIN, START, SelinuxHost, denial

DAY = 86_400.0
OURS = PolicyModuleRequest("svirt_fleet", b"(allow virtd_t device_t (filesystem (unmount)))\n", ("debian",))


class Lab:
    """One host, and runs over it."""

    def __init__(self, folder: Path) -> None:
        self.host = SelinuxHost(folder / "host")
        self.folder = str(folder / "journal")
        self.entries: list[Entry] = []

    def plan(self, request: SelinuxRequest | None = None, now: float = BOOT + DAY) -> Run:
        return Run(self.host.root, self.host.tools, request or SelinuxRequest(), lambda: now)

    def run(self, request: SelinuxRequest | None = None, now: float = BOOT + DAY) -> dict[str, t.Any]:
        """Predict, do, and compare the two."""
        host = self.plan(request, now)
        predicted = returned(host, None)
        self.host.calls.clear()
        if host.plan.empty:
            return predicted
        with Journal("selinux_state", self.folder, 1.0) as journal:
            host.apply(journal)
            self.entries += entries_of(str(journal.path))
        answer = returned(host, host.again())
        assert [predicted[key] for key in ("changed", "plan", "before", "after")] == [
            answer[key] for key in ("changed", "plan", "before", "after")
        ]
        return answer

    def put_back(self) -> None:
        kinds = {file_write.KIND: file_write.restore, **restorers(self.host.tools)}
        for entry in reversed(self.entries):
            kinds[entry.kind](entry)


def returned(host: Run, after: SelinuxState | None) -> dict[str, t.Any]:
    result = result_of(host.request, host.state, host.plan, after, host.soak)
    return {**result.as_dict(), "guests_running": len(host.guests)}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def actions(told: dict[str, t.Any]) -> list[tuple[str, str]]:
    return [(step["action"], step["subject"]) for step in told["plan"]]


def codes(told: dict[str, t.Any]) -> list[tuple[str, str]]:
    return [(entry["subject"], entry["code"]) for entry in told["refused"]]


def raised(code: str) -> t.ContextManager[pytest.ExceptionInfo[SvirtError]]:
    return pytest.raises(SvirtError, check=lambda error: error.code == code)


def test_a_host_that_is_as_it_should_be(lab: Lab) -> None:
    before = lab.host.files()
    result = lab.run()
    assert (result["changed"], result["plan"], result["pending"], result["refused"]) == (False, [], [], [])
    assert result["before"] == result["after"]
    assert result["before"]["mode"] == "enforcing"
    assert "soak" not in result
    assert lab.host.files() == before
    assert lab.host.calls == []
    assert not Path(lab.folder).exists()


def test_permissive_becomes_enforcing_and_goes_back(lab: Lab) -> None:
    lab.host.mode("permissive")
    lab.host.configured("permissive")
    before = lab.host.files()
    result = lab.run()
    assert actions(result) == [("set", "mode"), ("edit", "/etc/selinux/config")]
    assert lab.host.read(f"{FS}/enforce") == "1"
    assert lab.host.read("/etc/selinux/config") == "# ours\nSELINUX=enforcing\nSELINUXTYPE=default\n"
    assert (result["after"]["mode"], result["pending"], result["refused"]) == ("enforcing", [], [])
    assert not lab.run()["changed"]
    lab.put_back()
    assert lab.host.files() == before


def test_too_early_to_enforce(lab: Lab) -> None:
    lab.host.mode("permissive")
    before = lab.host.files()
    result = lab.run(now=BOOT + 600.0)
    assert (result["changed"], result["pending"][0]["needs"]) == (False, "operator")
    assert result["pending"][0]["code"] == "soak_running"
    assert lab.host.files() == before
    assert lab.run(SelinuxRequest(soak_seconds=0), now=BOOT + 600.0)["changed"]


def test_a_denial_keeps_the_host_permissive(lab: Lab) -> None:
    lab.host.mode("permissive")
    lab.host.write(LOG, START + denial(BOOT + 60) + denial(BOOT + 70, "sshd_t"))
    result = lab.run(SelinuxRequest(soak_seconds=0))
    assert not result["changed"]
    assert result["refused"][0]["code"] == "denials"
    assert [item["source"] for item in result["soak"]["denials"]] == ["svirt_t"]
    assert [item["source"] for item in result["soak"]["other_denials"]] == ["sshd_t"]
    lab.host.write(LOG, START + denial(BOOT + 70, "sshd_t"))
    assert lab.run(SelinuxRequest(soak_types=("sshd_t",)))["refused"]
    assert lab.run()["changed"]


def test_what_cannot_be_known_is_not_green(lab: Lab) -> None:
    lab.host.mode("permissive")
    Path(lab.host.root.at(LOG)).unlink()
    result = lab.run()
    assert not result["changed"]
    assert result["refused"][0]["code"] == "denials_unknown"


def test_denials_of_domains_that_stay_permissive_keep_no_host_from_enforcing(lab: Lab) -> None:
    lab.host.mode("permissive")
    lab.host.root.permissive = {"virtqemud_t", "virtd_t"}
    lab.host.module(100, "virt", "(typepermissive virtd_t)")  # as a distribution may have it
    lab.host.write(LOG, START + denial(BOOT + 60, "virtqemud_t") + denial(BOOT + 70, "virtd_t"))
    result = lab.run(SelinuxRequest(soak_seconds=0))
    assert result["after"]["mode"] == "enforcing"
    assert [item["source"] for item in result["soak"]["other_denials"]] == ["virtd_t", "virtqemud_t"]


def test_denials_of_a_domain_that_is_not_permissive_in_the_policy_count_though_one_is_shipped_so(lab: Lab) -> None:
    lab.host.mode("permissive")
    lab.host.write(LOG, START + denial(BOOT + 60, "virtqemud_t"))
    result = lab.run(SelinuxRequest(soak_seconds=0))
    assert [item["code"] for item in result["refused"]] == ["denials"]


def test_a_runtime_switch_is_soaked_too(lab: Lab) -> None:
    lab.host.mode("permissive")
    status = f"type=MAC_STATUS msg=audit({BOOT + 5000}.000:9): enforcing=0 old_enforcing=1 auid=0\n"
    lab.host.write(LOG, START + status)
    assert not lab.run(now=BOOT + 6000.0)["changed"]
    assert actions(lab.run(now=BOOT + 8600.0)) == [("set", "mode")]


def test_disabled_is_prepared_for_a_permissive_boot(lab: Lab) -> None:
    lab.host.mode("disabled")
    lab.host.configured("enforcing")
    lab.host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="selinux=0 enforcing=1 x"\n')
    lab.host.write(MAIN, lab.host.made())
    before = lab.host.files()
    result = lab.run(SelinuxRequest(profile="local", modules=(OURS,)))
    assert actions(result) == [
        ("install", "policy module 400/svirt_fleet"),
        ("create", "/.autorelabel"),
        ("edit", "/etc/selinux/config"),
        ("edit", "/etc/default/grub"),
        ("make", MAIN),
    ]
    assert result["reboot_needed"]
    assert result["guests_running"] == 0
    assert "SELINUX=permissive" in lab.host.read("/etc/selinux/config")
    assert lab.host.read("/etc/default/grub") == 'GRUB_CMDLINE_LINUX="x security=selinux"\n'
    assert "root=/dev/vda1 ro x security=selinux" in lab.host.read(MAIN)
    assert lab.host.exists("/.autorelabel")
    assert result["after"]["boot_faults"] == []
    again = lab.run(SelinuxRequest(profile="local", modules=(OURS,)))
    assert (again["changed"], again["reboot_needed"]) == (False, True)
    lab.put_back()
    assert lab.host.files() == before


def test_disabled_without_a_policy_or_a_kernel_for_it_is_refused(lab: Lab) -> None:
    lab.host.mode("disabled")
    lab.host.write("/boot/config-5.14.0-503.el9.x86_64", "# CONFIG_SECURITY_SELINUX is not set\n")
    with raised("kernel_without_selinux"):
        lab.plan()
    Path(lab.host.root.at("/etc/selinux/default/policy/policy.33")).unlink()
    with raised("no_policy"):
        lab.plan()
    Path(lab.host.root.at("/etc/selinux/config")).unlink()
    with raised("no_policy"):
        lab.plan()


@pytest.mark.parametrize("policy", ["../x", "a/b"])
def test_a_policy_name_cannot_lead_elsewhere(lab: Lab, policy: str) -> None:
    lab.host.write("/etc/selinux/config", f"SELINUX=enforcing\nSELINUXTYPE={policy}\n")
    with raised("policy_name_invalid"):
        lab.plan()


def test_weakening_is_refused(lab: Lab) -> None:
    with raised("would_weaken"):
        lab.plan(SelinuxRequest(state="permissive"))


def test_a_boot_entry_that_was_edited_by_hand(lab: Lab) -> None:
    lab.host.write(MAIN, lab.host.read(MAIN).replace("single", "single enforcing=0"))
    before = lab.host.files()
    result = lab.run()
    assert actions(result) == [("make", MAIN)]
    assert result["before"]["boot_faults"] == [f"{MAIN}: Debian (recovery mode): enforcing=0"]
    assert lab.host.read(MAIN) == lab.host.made()
    assert lab.host.names_run() == []  # it was generated for the plan, and checked then
    lab.put_back()
    assert lab.host.files() == before


def test_settings_in_a_drop_in(lab: Lab) -> None:
    lab.host.write("/etc/default/grub.d/50-x.cfg", 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX selinux=0"\n')
    result = lab.run()
    assert actions(result) == [("edit", "/etc/default/grub.d/50-x.cfg"), ("make", MAIN)]
    assert lab.host.names_run() == ["grub-mkconfig", "grub-script-check"]
    assert not lab.run()["changed"]


def test_an_entry_that_a_script_adds_is_reported_not_fought(lab: Lab) -> None:
    lab.host.custom = "menuentry 'Custom' {\n\tlinux /vmlinuz enforcing=0\n}\n"
    lab.host.write(MAIN, lab.host.made())
    result = lab.run()
    assert (result["changed"], result["refused"][0]["subject"]) == (False, MAIN)
    assert result["refused"][0]["code"] == "make_changes_nothing"


def test_settings_that_cannot_be_followed(lab: Lab) -> None:
    lab.host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="`cat /etc/x`"\n')
    result = lab.run()
    assert (result["changed"], result["refused"][0]["subject"]) == (False, "/etc/default/grub")


@pytest.mark.parametrize(
    ("program", "code"),
    [("grub-mkconfig", "make_failed"), ("grub-script-check", "make_refused")],
)
def test_a_boot_loader_whose_program_fails_stays(lab: Lab, program: str, code: str) -> None:
    lab.host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="quiet"\n')
    lab.host.write(MAIN, lab.host.made())
    lab.host.failing[program] = "broken"
    facts = lab.host.read(MAIN)
    with raised(code):
        lab.run()
    assert lab.host.read(MAIN) == facts
    lab.host.failing.clear()
    assert actions(lab.run()) == [("make", MAIN)]  # the settings are right by now; the next run does the rest


def test_a_program_that_hangs_is_ended_and_named(lab: Lab) -> None:
    lab.host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="quiet"\n')
    lab.host.write(MAIN, lab.host.made())
    lab.host.hanging.add("grub-mkconfig")
    with raised("make_failed") as error:
        lab.run()
    assert "did not end within" in str(error.value)


def test_a_journal_that_cannot_be_read_in_time_is_no_evidence(lab: Lab) -> None:
    lab.host.mode("permissive")
    lab.host.write("/proc/600/comm", "other\n")
    lab.host.hanging |= {"journalctl", "dmesg"}
    assert codes(lab.run()) == [("SELinux", "denials_unknown")]


def test_snippets_are_edited_where_there_is_no_grubby(lab: Lab) -> None:
    path = "/boot/loader/entries/a.conf"
    lab.host.write("/etc/os-release", "ID=fedora\n")
    lab.host.write(path, "title a\nlinux /v\noptions ro selinux=0\n")
    result = lab.run()
    assert actions(result) == [("edit", path)]
    assert lab.host.read(path) == "title a\nlinux /v\noptions ro\n"


def test_grubby_changes_snippets_and_can_be_put_back(lab: Lab) -> None:
    path = "/boot/loader/entries/a.conf"
    lab.host.missing.discard("grubby")
    lab.host.write("/etc/os-release", "ID=fedora\n")
    lab.host.write(path, "title a\nlinux /v\noptions ro selinux=0\n")
    before = lab.host.files()
    lab.run()
    assert lab.host.calls == [["grubby", "--update-kernel=ALL", "--remove-args=selinux=0"]]
    assert lab.host.read(path) == "title a\nlinux /v\noptions ro\n"
    lab.put_back()
    assert lab.host.files() == before


def test_what_grubby_leaves_is_edited(lab: Lab) -> None:
    path = "/boot/loader/entries/a.conf"
    lab.host.missing.discard("grubby")
    lab.host.write("/etc/os-release", "ID=fedora\n")
    lab.host.write(path, 'title a\nlinux /v\n\toptions ro selinux=0 "enforcing=0"\n')
    lab.run()
    assert lab.host.read(path) == "title a\nlinux /v\n\toptions ro\n"


def test_modules_are_installed_in_one_transaction(lab: Lab) -> None:
    lab.host.module(400, "permissive_svirt_t", "(typepermissive svirt_t)\n")
    lab.host.module(400, "svirt_fleet", "(old)", "pp")
    lab.host.root.permissive = {"svirt_t"}
    before = lab.host.files()
    result = lab.run(SelinuxRequest(modules=(OURS, PolicyModuleRequest("other", b"", ("fedora",)))))
    assert actions(result) == [
        ("install", "policy module 400/svirt_fleet"),
        ("remove", "policy module 400/permissive_svirt_t"),
    ]
    assert lab.host.names_run() == ["semodule"]
    assert lab.host.modules() == {"svirt_fleet": OURS.cil.decode()}
    assert result["after"]["permissive_types"] == []
    assert not lab.run(SelinuxRequest(modules=(OURS,)))["changed"]
    lab.put_back()
    assert lab.host.root.permissive == {"svirt_t"}
    after = lab.host.files()
    assert set(after) == set(before)
    # The same module, in the language that it was installed in; what semodule compiles from it is its own matter.
    assert after[f"{selinux_host.MODULES}/400/svirt_fleet/lang_ext"] == b"pp"
    assert after[f"{selinux_host.MODULES}/400/svirt_fleet/hll"] == before[f"{selinux_host.MODULES}/400/svirt_fleet/hll"]


def test_a_permissive_domain_that_no_module_has_is_loaded_away(lab: Lab) -> None:
    lab.host.root.permissive = {"svirt_t"}
    result = lab.run()
    assert actions(result) == [("load_policy", "type svirt_t")]
    assert lab.host.names_run() == ["load_policy"]
    assert lab.host.root.permissive == set()
    lab.put_back()
    assert lab.host.read(f"{FS}/load") == "the loaded policy"


def test_a_permissive_domain_that_the_distribution_ships_stays(lab: Lab) -> None:
    lab.host.module(100, "virtqemud", "(typepermissive svirt_t)")
    lab.host.root.permissive = {"svirt_t"}
    assert not lab.run()["changed"]


def test_a_permissive_domain_that_would_be_denied_stays(lab: Lab) -> None:
    lab.host.module(400, "permissive_svirt_t", "(typepermissive svirt_t)\n")
    lab.host.write(LOG, START + denial(BOOT + 60))
    result = lab.run()
    assert (result["changed"], result["refused"][0]["subject"]) == (False, "policy module 400/permissive_svirt_t")
    assert not lab.run(SelinuxRequest(remove_permissive=False))["refused"]


def test_a_transaction_that_fails_changes_nothing(lab: Lab) -> None:
    lab.host.failing["semodule"] = "Failed to resolve allow statement"
    before = lab.host.files()
    with raised("program_failed"):
        lab.run(SelinuxRequest(modules=(OURS,)))
    assert lab.host.files() == before


def test_a_program_that_is_not_installed_is_named_before_anything_is_done(lab: Lab) -> None:
    lab.host.missing.add("semodule")
    with raised("program_missing"):
        lab.plan(SelinuxRequest(modules=(OURS,)))
    assert lab.plan().plan.empty


def test_a_boolean_that_was_set_until_the_next_boot(lab: Lab) -> None:
    lab.host.boolean("virt_use_nfs", True)
    result = lab.run(SelinuxRequest(profile="local"))
    assert result["plan"] == [
        {"action": "set", "subject": "boolean virt_use_nfs", "from": "on until the next boot", "to": "off"}
    ]
    assert lab.host.calls == []  # no policy is built for it
    assert not lab.host.active("virt_use_nfs")
    lab.put_back()
    assert lab.host.active("virt_use_nfs")


def test_a_boolean_that_was_set_for_good(lab: Lab) -> None:
    lab.host.boolean("virt_use_nfs", True)
    lab.host.write(LOCAL, "virt_use_nfs=1\n")
    lab.run(SelinuxRequest(profile="local"))
    assert lab.host.calls == [["setsebool", "-P", "virt_use_nfs=0"]]
    assert not lab.host.active("virt_use_nfs")
    assert not lab.run(SelinuxRequest(profile="local"))["changed"]
    lab.put_back()
    assert (lab.host.active("virt_use_nfs"), lab.host.read(LOCAL)) == (True, "virt_use_nfs=1\n")


def test_booleans_and_modules_load_the_policy_once(lab: Lab) -> None:
    lab.host.boolean("virt_use_nfs", True)
    lab.host.write(LOCAL, "virt_use_nfs=1\n")
    lab.run(SelinuxRequest(profile="local", modules=(OURS,)))
    assert [call[:3] for call in lab.host.calls] == [["setsebool", "-N", "-P"], ["semodule", "-s", "default"]]
    assert not lab.host.active("virt_use_nfs")


def test_profiles_and_own_booleans(lab: Lab) -> None:
    lab.host.boolean("virt_use_nfs", True)
    assert not lab.run(SelinuxRequest(profile="nfs"))["changed"]
    assert not lab.run()["changed"]
    result = lab.run(SelinuxRequest(profile="nfs", booleans={"virt_use_usb": False, "none": True}))
    assert actions(result) == [("set", "boolean virt_use_usb")]
    assert codes(result) == [("boolean none", "boolean_missing")]


def test_a_boolean_that_a_guests_open_file_needs_stays(lab: Lab) -> None:
    lab.host.boolean("virt_use_nfs", True)
    lab.host.write(
        "/proc/self/mountinfo",
        "22 1 254:1 / / rw - ext4 /dev/vda1 rw,seclabel\n30 22 0:40 / /srv/nfs rw - nfs4 filer:/x rw,vers=4.2\n",
    )
    guest(lab, 700, "/srv/nfs/disk.img")
    result = lab.run(SelinuxRequest(profile="local"))
    assert codes(result) == [("boolean virt_use_nfs", "boolean_in_use")]
    assert result["guests_running"] == 1
    # Where the storage has labels of its own, the boolean has nothing to do with it.
    lab.host.write("/proc/self/mountinfo", "30 22 0:40 / /srv/nfs rw - nfs4 filer:/x rw,vers=4.2,seclabel\n")
    assert lab.run(SelinuxRequest(profile="local"))["changed"]


def test_a_boolean_that_a_guest_will_need_when_it_starts_stays(lab: Lab) -> None:
    lab.host.boolean("virt_use_nfs", True)
    lab.host.write("/proc/self/mountinfo", "30 22 0:40 / /srv/nfs rw - nfs filer:/x rw\n")
    path = "/etc/libvirt/qemu/web.xml"
    lab.host.write(path, DOMAIN.format("kvm"))
    assert codes(lab.run(SelinuxRequest(profile="local"))) == [("boolean virt_use_nfs", "boolean_in_use")]
    lab.host.write(path, "<domain")
    assert codes(lab.run(SelinuxRequest(profile="local"))) == [("boolean virt_use_nfs", "boolean_use_unknown")]


@pytest.mark.parametrize(("kind", "types", "kept"), [("qemu", 1, True), ("kvm", 1, False), ("qemu", 2, False)])
def test_emulated_guests_need_executable_memory(lab: Lab, kind: str, types: int, kept: bool) -> None:
    lab.host.boolean("virt_use_execmem", True)
    lab.host.write("/etc/libvirt/qemu/web.xml", DOMAIN.format(kind))
    lines = [f"system_u:system_r:{name}:s0\n" for name in ("svirt_t", "svirt_tcg_t")[:types]]
    lab.host.write("/etc/selinux/default/contexts/virtual_domain_context", "".join(lines))
    result = lab.run(SelinuxRequest(profile="local"))
    assert bool(result["refused"]) is kept
    assert result["changed"] is not kept


def test_a_daemon_that_guests_talk_to(lab: Lab) -> None:
    lab.host.boolean("virt_use_sanlock", True)
    lab.host.write("/proc/800/comm", "sanlock\n")
    assert codes(lab.run(SelinuxRequest(profile="local"))) == [("boolean virt_use_sanlock", "boolean_in_use")]


def test_the_journal_is_written_before_the_change(lab: Lab) -> None:
    lab.host.mode("permissive")
    Path(lab.host.root.at(f"{FS}/enforce")).chmod(0o600)
    host = lab.plan()
    Path(lab.host.root.at(f"{FS}/enforce")).unlink()
    with (
        Journal("selinux_state", lab.folder, 1.0) as journal,
        raised("kernel_refuses"),
    ):
        host.apply(journal)
    (entry,) = entries_of(str(journal.path))
    assert (entry.kind, entry.before) == ("selinux_mode", {"enforcing": False})


def test_diffs_show_files_and_state(lab: Lab) -> None:
    lab.host.mode("permissive")
    lab.host.configured("permissive")
    lab.host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="selinux=0"\n')
    host = lab.plan()
    result = result_of(host.request, host.state, host.plan, None, None)
    found = diffs(host.state, host.plan, result)
    assert [item["before_header"] for item in found] == ["/etc/default/grub", "/etc/selinux/config", "SELinux"]
    assert "security=selinux" in found[0]["after"]
    assert found[2]["after"]["mode"] == "enforcing"


def test_entries_that_cannot_be_put_back() -> None:
    bare = HostTools(run_command=lambda _args, *, data=None: (127, "", ""))
    module = {"priority": 400, "name": "x", "language": "cil", "content": None}
    with raised("program_missing"):
        restore(Entry("policy_module", "400/x", {"policy": "default", "modules": [module]}), bare)
    with raised("kind_unknown"):
        restore(Entry("odd", "x", {}), bare)


def test_only_root_may(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(lab.host.root), "privileged", False)
    with raised("not_root"):
        lab.plan()


DOMAIN = """<domain type='{}'><name>web</name><uuid>6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a01</uuid><devices>
<disk type='file' device='disk'><source file='/srv/nfs/web.img'/><target dev='vda'/></disk></devices></domain>"""


def guest(lab: Lab, pid: int, path: str) -> None:
    """A running QEMU that has a file open."""
    folder = Path(lab.host.root.at(f"/proc/{pid}"))
    (folder / "fd").mkdir(parents=True)
    (folder / "fd" / "9").symlink_to(path)
    (folder / "exe").symlink_to("/usr/bin/qemu-system-x86_64")
    for name, text in (
        ("attr/current", "system_u:system_r:svirt_t:s0:c1,c2"),
        ("comm", "qemu-system-x86"),
        ("cmdline", "qemu-system-x86_64\0-name\0guest=web\0"),
        ("status", "Uid:\t64055\t64055\t64055\t64055\n"),
        ("stat", f"{pid} (qemu) S 1 1 1 0 -1 4 0 0 0 0 1 1 0 0 20 0 1 0 100 1 1\n"),
    ):
        lab.host.write(f"/proc/{pid}/{name}", text)
