# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The module on a host's tree, with a qemu.conf that is a real file."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._backends import libvirt_security as work
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError, HostWriteError
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal, Journals
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import qemu_conf, rollback
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools
from ansible_collections.svirt.fleet.plugins.modules import libvirt_security

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.handed_in import hand_journal, hand_root
from tests.unit.support.module_args import patch_module_args

Run = t.Callable[..., dict[str, t.Any]]


class Root(CapturedRoot):
    """A host's tree; the files that a test created are real."""

    real = ""

    def read_bytes(self, path: str, limit: int = 0) -> bytes:
        return Path(path).read_bytes() if path.startswith(self.real) else super().read_bytes(path, limit or 1 << 20)

    def exists(self, path: str) -> bool:
        return Path(path).exists() if path.startswith(self.real) else super().exists(path)

    def stat(self, path: str) -> t.Any:
        return Path(path).stat() if path.startswith(self.real) else super().stat(path)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "qemu.conf"
    path.write_text('# mine\nsecurity_driver = "none"\nsecurity_driver = "selinux"\n')
    return path


@pytest.fixture
def tree() -> Tree:
    return hosts.el9()


@pytest.fixture
def run(conf: Path, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: t.Any) -> Run:
    root = Root(tree, hosts.policy())
    root.real = str(tmp_path)
    hand_root(monkeypatch, lambda: root)
    hand_journal(monkeypatch, libvirt_security, tmp_path / "journal")
    monkeypatch.setattr(work, "CONF", str(conf))

    def call(**arguments: t.Any) -> dict[str, t.Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            libvirt_security.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return call


def test_check_mode_predicts_the_run(run: Run, conf: Path, tmp_path: Path) -> None:
    before = conf.read_bytes()
    request = {"security_driver": "selinux", "require_confined": True, "_ansible_diff": True}
    result = run(**request, _ansible_check_mode=True)
    assert conf.read_bytes() == before
    assert not (tmp_path / "journal").exists()
    done = run(**request)
    assert {key: value for key, value in done.items() if key != "invocation"} == {
        key: value for key, value in result.items() if key != "invocation"
    }
    assert done["changed"] is True
    assert done["before"] == {"security_driver": "none", "security_require_confined": None}
    assert done["after"] == {"security_driver": "selinux", "security_require_confined": 1}
    assert done["plan"] == [
        {"action": "set", "subject": "qemu.conf security_driver", "from": "none", "to": "selinux"},
        {"action": "comment_out_duplicate", "subject": "qemu.conf security_driver", "from": "selinux", "to": None},
        {"action": "add", "subject": "qemu.conf security_require_confined", "from": None, "to": 1},
    ]
    assert done["restart_needed"] is True
    assert [item["needs"] for item in done["pending"]] == ["daemon_restart"]
    assert done["diff"][0]["before"] == before.decode()
    assert done["diff"][0]["after"] == conf.read_text()
    assert conf.read_text().startswith('# mine\nsecurity_driver = "selinux"\n#security_driver = "selinux"\n')


def test_the_second_run_writes_nothing(run: Run, conf: Path, tmp_path: Path) -> None:
    run(security_driver=["selinux"], namespaces=["mount"], seccomp_sandbox=1)
    facts = conf.stat()
    again = run(security_driver=["selinux"], namespaces=["mount"], seccomp_sandbox=1, _ansible_diff=True)
    assert (again["changed"], again["plan"], again["diff"]) == (False, [], [])
    assert (conf.stat().st_ino, conf.stat().st_mtime_ns) == (facts.st_ino, facts.st_mtime_ns)
    assert len(rollback.runs(folder=str(tmp_path / "journal"))) == 1
    assert again["restart_needed"] is True  # the daemon of the tree started long before the file changed


def test_a_run_can_be_put_back(run: Run, conf: Path, tmp_path: Path) -> None:
    before = conf.read_bytes()
    run(settings={"max_core": 0, "security_driver": None})
    assert b"\nsecurity_driver" not in conf.read_bytes()
    with Journal("svirt_rollback", str(tmp_path / "journal")) as journal:
        rollback.put_back(rollback.runs(folder=journal.folder), journal)
    assert conf.read_bytes() == before


def test_a_host_without_the_file_gets_one(run: Run, conf: Path, tree: Tree) -> None:
    conf.unlink()
    tree.file("/sys/fs/selinux/class/file/index", errno=2)  # SELinux off: no label to give
    assert run(remember_owner=True)["changed"] is True
    assert conf.read_text() == "remember_owner = 1\n"
    assert conf.stat().st_mode & 0o777 == 0o600


def test_a_daemon_that_sleeps_reads_the_file_when_it_wakes(run: Run, tree: Tree) -> None:
    for path in [path for path in tree.entries if path.startswith("/proc/900")]:
        del tree.entries[path]
    result = run(remember_owner=True)
    assert (result["changed"], result["restart_needed"], result["pending"]) == (True, False, [])


def have_files(monkeypatch: pytest.MonkeyPatch, *paths: str, doubt: str = "") -> None:
    """Guests of the host have these files."""
    monkeypatch.setattr(work, "guest_files", lambda *_: (frozenset(paths), doubt))


def test_exported_folders_with_guests_files_are_named(
    run: Run, conf: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_files(monkeypatch, "/srv/vms/web.qcow2", "/mnt/nas/db.qcow2")
    exports = "/srv/vms\t*(rw,security_label)\n/srv/vms\t10.0.0.1(rw)\n/mnt/nas\t*(rw)\n/home\t*(rw)\n"
    tree.file("/var/lib/nfs/etab", exports)
    tree.folder("/srv/vms")
    tree.folder("/srv/more")
    mounts = tree.entries["/proc/self/mountinfo"]
    mounts.content += b"25 22 0:50 / /mnt/nas rw - nfs4 filer:/vol rw\n"
    assert run(name_exports=True, shared_filesystems=["/srv/more"])["after"]["shared_filesystems"] == [
        "/srv/more",
        "/srv/vms",
    ]
    assert 'shared_filesystems = [ "/srv/more", "/srv/vms" ]\n' in conf.read_text()
    assert run(name_exports=True)["changed"] is False


@pytest.mark.parametrize("arguments", [{"name_exports": True}, {"shared_filesystems": ["/srv/vms"]}])
def test_key_that_the_installed_libvirt_ignores_is_refused_without_a_failure_or_a_change(
    run: Run, conf: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, t.Any]
) -> None:
    have_files(monkeypatch, "/srv/vms/web.qcow2")
    tree.file("/var/lib/nfs/etab", "/srv/vms\t*(rw,security_label)\n")
    tree.folder("/srv/vms")
    tree.file("/usr/lib/x86_64-linux-gnu/libvirt.so.0.9000.0")  # Debian 12
    first = run(**arguments)
    assert first["changed"], "the assignment that stands twice is repaired all the same"
    assert [(item["subject"], item["code"]) for item in first["refused"]] == [
        ("qemu.conf shared_filesystems", "key_ignored")
    ]
    assert "shared_filesystems" not in conf.read_text()
    again = run(**arguments)
    assert (again["changed"], again["plan"], again["refused"]) == (False, [], first["refused"])


def test_an_export_whose_files_are_not_known_is_refused_unless_it_is_named(
    run: Run, conf: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_files(monkeypatch, "/srv/vms/web.qcow2", doubt="libvirt did not answer")
    tree.file("/var/lib/nfs/etab", "/srv/vms\t*(rw)\n/home\t*(rw)\n")
    tree.folder("/srv/vms")
    result = run(name_exports=True)
    assert result["after"]["shared_filesystems"] == ["/srv/vms"]
    assert [(item["subject"], item["code"]) for item in result["refused"]] == [("folder /home", "guest_files_unknown")]
    tree.folder("/home")
    assert run(name_exports=True, shared_filesystems=["/home"])["refused"] == []


def test_files_of_guests_are_those_of_the_probe(tree: Tree) -> None:
    def hangs(_uri: str, _known: t.Collection[str]) -> list[dict[str, t.Any]]:
        raise HostReadError("it did not answer")

    root = CapturedRoot(tree, hosts.policy())
    files, doubt = qemu_conf.guest_files(root, 5.0, Tools(ask=lambda *_: hosts.answer()))
    assert hosts.IMAGE in files
    assert doubt == ""
    files, doubt = qemu_conf.guest_files(root, 5.0, Tools(ask=hangs))
    assert hosts.IMAGE in files
    assert doubt


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("user = root\n", {"user": "qemu"}),
        ("", {"settings": {"relabel": 1}}),
        ("", {"shared_filesystems_exact": True}),
        ("", {"security_driver": "apparmor"}),
    ],
)
def test_what_cannot_be_done_fails_and_changes_nothing(
    run: Run, conf: Path, text: str, arguments: dict[str, t.Any]
) -> None:
    conf.write_text(text)
    result = run(**arguments)
    assert result["failed"] is True
    assert conf.read_text() == text


def test_an_explicit_driver_waits_for_selinux(run: Run, conf: Path, tree: Tree) -> None:
    tree.file("/sys/fs/selinux/enforce", errno=2)
    assert run(security_driver="selinux")["failed"] is True
    assert run(remember_owner=True)["changed"] is True


def test_a_host_without_libvirt(run: Run, tree: Tree) -> None:
    del tree.entries["/usr/sbin/libvirtd"]
    assert run(remember_owner=True)["failed"] is True


def test_someone_else_was_faster(run: Run, conf: Path, tmp_path: Path) -> None:
    facts = qemu_conf.QemuConfFacts("as it was read", True, "enforcing", [], None, None)
    journals = Journals(str(tmp_path / "journal"))
    with journals.open("libvirt_security") as journal, pytest.raises(HostWriteError) as refused:
        qemu_conf.write(str(conf), "new", facts, journal)
    assert refused.value.code == "changed_meanwhile"
    assert rollback.runs(folder=str(tmp_path / "journal")) == []
