# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy store: what is in it, and what is in the journal before it changes."""

from __future__ import annotations

import base64
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError, HostWriteError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.selinux import BooleanFacts, PolicyModule
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.tools import HostTools
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import policy_store
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.policy_store import PolicyStore

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.selinux_host import FS, LOCAL, MODULES, SelinuxHost


@pytest.fixture
def host(tmp_path: Path) -> SelinuxHost:
    return SelinuxHost(tmp_path / "host")


def store(host: SelinuxHost) -> PolicyStore:
    return PolicyStore(host.root, host.tools, "default")


def test_the_administrators_modules(host: SelinuxHost) -> None:
    host.module(300, "three", "(three)")
    host.module(400, "four", "(four)")
    host.write(f"{MODULES}/400/plain/cil", "(not packed)")
    host.write(f"{MODULES}/400/empty/lang_ext", "cil")
    host.write(f"{MODULES}/disabled/x", "")
    assert store(host).modules() == [
        PolicyModule(300, "three", b"(three)"),
        PolicyModule(400, "empty", None),
        PolicyModule(400, "four", b"(four)"),
        PolicyModule(400, "plain", b"(not packed)"),
    ]


def test_a_store_that_is_not_there_or_broken(host: SelinuxHost) -> None:
    assert PolicyStore(host.root, host.tools, "mls").modules() == []
    host.write(f"{MODULES}/400/broken/cil", b"BZh9 this is none")
    with pytest.raises(HostReadError, check=lambda error: error.code == "module_damaged"):
        store(host).modules()


def test_what_the_distribution_makes_permissive(host: SelinuxHost) -> None:
    host.module(100, "virtd", "(typepermissive virtqemud_t)")
    host.module(200, "vendor", "(typepermissive vendor_t)")
    host.module(400, "ours", "(typepermissive svirt_t)")
    assert store(host).shipped_permissive(("virtqemud_t", "vendor_t", "other_t")) == {"virtqemud_t", "vendor_t"}


def test_booleans_and_where_their_lasting_value_is_from(host: SelinuxHost) -> None:
    host.boolean("other", True)
    result = store(host).booleans(["virt_use_nfs", "virt_use_usb", "other", "none"])
    assert result == {
        "virt_use_nfs": BooleanFacts(False, False),
        "virt_use_usb": BooleanFacts(True, True),
        "other": BooleanFacts(True, None),
    }
    host.write(LOCAL, "virt_use_nfs=1\n")
    assert store(host).booleans(["virt_use_nfs"]) == {"virt_use_nfs": BooleanFacts(False, True)}


def test_modules_are_kept_whole_before_they_go(host: SelinuxHost, tmp_path: Path) -> None:
    host.module(400, "old", "(old)")
    host.module(400, "compiled", "(x)", "pp")
    with Journal("selinux_state", str(tmp_path / "journal")) as journal:
        store(host).change([("fresh", b"(fresh)"), ("compiled", b"(y)")], [(400, "old")], journal)
    (entry,) = entries_of(str(journal.path))
    assert (entry.kind, entry.subject) == ("policy_module", "400/fresh 400/compiled 400/old")
    kept = {item["name"]: (item["language"], item["content"]) for item in entry.before["modules"]}
    assert kept == {
        "fresh": ("cil", None),
        "compiled": ("pp", base64.b64encode(b"high level").decode()),
        "old": ("cil", base64.b64encode(b"(old)").decode()),
    }
    (call,) = host.calls
    assert call[:3] == ["semodule", "-s", "default"]
    assert [word for word in call[3:] if word.startswith("-") or word in ("400", "old")] == [
        *("-X", "400", "-i", "-X", "400", "-i", "-X", "400", "-r", "old")
    ]
    assert host.modules() == {"fresh": "(fresh)", "compiled": "(y)"}
    policy_store.restore(entry, host.tools)
    assert host.modules()["old"] == "(old)"
    assert "fresh" not in host.modules()


def test_modules_that_a_killed_run_did_not_install_are_not_removed(host: SelinuxHost, tmp_path: Path) -> None:
    host.failing["semodule"] = "killed"
    with Journal("selinux_state", str(tmp_path / "journal")) as journal, pytest.raises(HostWriteError):
        store(host).change([("fresh", b"(fresh)")], [], journal)
    (entry,) = entries_of(str(journal.path))
    del host.failing["semodule"]
    before = host.modules()
    policy_store.restore(entry, host.tools)
    policy_store.restore(entry, host.tools)
    assert host.modules() == before


def test_no_source_is_left_behind(host: SelinuxHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    host.failing["semodule"] = "no"
    with Journal("selinux_state", str(tmp_path / "journal")) as journal, pytest.raises(HostWriteError):
        store(host).change([("fresh", b"(fresh)")], [], journal)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host", "journal"]


def test_a_policy_that_cannot_be_kept_is_not_replaced(host: SelinuxHost, tmp_path: Path) -> None:
    Path(host.root.at(f"{FS}/policy")).unlink()
    with (
        Journal("selinux_state", str(tmp_path / "journal")) as journal,
        pytest.raises(HostWriteError, check=lambda error: error.code == "policy_unread"),
    ):
        store(host).load(["svirt_t"], journal)
    assert (host.calls, journal.path) == ([], None)


def test_a_kernel_that_takes_no_value(host: SelinuxHost) -> None:
    with pytest.raises(HostWriteError, check=lambda error: error.code == "kernel_refuses"):
        policy_store.activate(host.tools, {"none": True})


OWN = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"
SEMANAGE = "unconfined_r:semanage_t:s0-s0:c0.c1023"


class StoreRoot(CapturedRoot):
    """A host on which semodule has a domain of its own, and a policy that answers by the type and permission."""

    def __init__(self, denied: t.Collection[str]) -> None:
        tree = Tree()
        hosts.kernel(tree)
        tree.file("/sys/fs/selinux/enforce", "1")
        for number, (tclass, names) in enumerate(_PERMISSIONS.items(), 1):
            tree.file(f"/sys/fs/selinux/class/{tclass}/index", str(number))
            for bit, name in enumerate(names, 1):
                tree.file(f"/sys/fs/selinux/class/{tclass}/perms/{name}", str(bit))
        tree.file("/proc/self/attr/current", OWN + "\0")
        tree.file("/usr/sbin/semodule", "", "system_u:object_r:semanage_exec_t:s0")
        tree.folder("/var/lib/selinux/targeted/active", "system_u:object_r:semanage_store_t:s0")
        super().__init__(tree)
        self.denied = denied

    def transact(self, path: str, request: bytes) -> bytes:
        if path.endswith("/create"):
            return f"unconfined_u:{SEMANAGE}".encode()
        tclass = list(_PERMISSIONS)[int(request.split()[2]) - 1]
        bits = sum(1 << bit for bit, name in enumerate(_PERMISSIONS[tclass]) if name not in self.denied)
        return f"{bits:x} ffffffff 0 ffffffff 1 0".encode()


_PERMISSIONS = {
    "file": ("relabelfrom", "relabelto", "entrypoint"),
    "dir": ("relabelfrom", "relabelto"),
    "process": ("setexec", "transition"),
}
SYSTEM = "system_u:system_r:semanage_t:s0-s0:c0.c1023"


@pytest.mark.parametrize(
    ("denied", "with_label"),
    [(("relabelfrom",), True), ((), False), (("relabelfrom", "transition"), False), (("relabelto", "setexec"), False)],
)
def test_the_store_is_written_with_its_own_user_where_the_policy_denies_relabelling(
    tmp_path: Path, denied: tuple[str, ...], with_label: bool
) -> None:
    calls: list[list[str]] = []

    def run(args: list[str], *, data: str | None = None) -> tuple[int, str, str]:
        assert data is None
        calls.append(args)
        return 0, "", ""

    tools = HostTools(run, lambda name: f"/usr/sbin/{name}")
    store = PolicyStore(StoreRoot(denied), tools, "targeted")
    with Journal("selinux_state", str(tmp_path)) as journal:
        store.change([("x", b"(allow a b (file (read)))")], [], journal)
    (args,) = calls
    assert args[: 3 if with_label else 1] == (
        ["/usr/sbin/runcon", SYSTEM, "/usr/sbin/semodule"] if with_label else ["/usr/sbin/semodule"]
    )
    assert args[3 if with_label else 1 :][:2] == ["-s", "targeted"]


def test_where_it_does_not_run_with_that_user_it_runs_as_ever(tmp_path: Path) -> None:
    calls: list[str] = []

    def run(args: list[str], *, data: str | None = None) -> tuple[int, str, str]:
        calls.append(args[0])
        return (126, "", "Permission denied") if args[0].endswith("runcon") else (0, "", "")

    store = PolicyStore(StoreRoot(("relabelfrom",)), HostTools(run, lambda name: f"/usr/sbin/{name}"), "targeted")
    with Journal("selinux_state", str(tmp_path)) as journal:
        store.change([("x", b"(allow a b (file (read)))")], [], journal)
    assert calls == ["/usr/sbin/runcon", "/usr/sbin/semodule"]
