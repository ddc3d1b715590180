# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Case E: a path is judged as the process sees it, not as the host does."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._backends import libvirt_security as backend
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Resource, Snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.process_view import ProcessView
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.category_range import CategoryRange
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.own_programs.guard import Guard
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools
from ansible_collections.svirt.fleet.plugins.modules import libvirt_security

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.handed_in import hand_root
from tests.unit.support.judging import findings, status
from tests.unit.support.module_args import patch_module_args

DATA = Path(__file__).parent / "data"
LINK = "/rhev/data-center/mnt/blockSD/SD/images/IMG/VOL"
OWN_ROOT = f"/proc/{hosts.PID}/root"
HOSTS_NODE = "system_u:object_r:fixed_disk_device_t:s0"
NUMBER = 253 << 8 | 3
DAEMON = 900
THERE = f"/proc/{DAEMON}/root"


def behind_links(target: str = "/dev/vg/VOL") -> Tree:
    """A running guest with a disk at LINK, which leads to a logical volume; its own /dev has a labelled node."""
    tree = hosts.el9()
    tree.file("/run/libvirt/qemu/web.xml", (DATA / "link-to-block.status.xml").read_text())
    del tree.entries[hosts.IMAGE], tree.entries[hosts.BASE]
    tree.link(LINK, target)
    tree.link("/dev/vg/VOL", "../dm-3")
    tree.file("/dev/dm-3", type="b", rdev=NUMBER, label=HOSTS_NODE)
    own_dev(tree, label=hosts.IMAGE_LABEL)
    return tree


def own_dev(tree: Tree, label: str) -> None:
    """The guest's own /dev; all else it shares with the host."""
    del tree.entries[OWN_ROOT]
    tree.folder(OWN_ROOT)
    tree.link(f"{OWN_ROOT}/dev/vg/VOL", "/dev/dm-3")
    tree.file(f"{OWN_ROOT}/dev/dm-3", type="b", rdev=NUMBER, label=label)


def disk(snapshot: Snapshot) -> Resource:
    return next(item for item in snapshot.guests[0].resources if item.kind == "disk")


def images(snapshot: Snapshot) -> set[str]:
    return {item.rule for item in findings(snapshot) if item.rule.startswith("IMG")}


def test_e1_a_link_outside_dev_to_a_block_device_is_read_in_the_guests_own_dev() -> None:
    snapshot = hosts.look(behind_links())
    item = disk(snapshot)
    assert (item.in_namespace, item.file.label, item.file.resolved) == (True, hosts.IMAGE_LABEL, "/dev/dm-3")
    assert images(snapshot) == set()
    assert [entry.mount for entry in snapshot.storage if entry.type == "block"] == [LINK]


@pytest.mark.parametrize(
    ("links", "target"),
    [
        ({}, "/dev/dm-3"),
        ({}, "../../../../../../../dev/vg/VOL"),
        ({"/var/lib/one/disk.0": "/dev/vg/VOL"}, "/var/lib/one/disk.0"),
        ({"/var/lib/one": "/srv/one", "/srv/one/disk.0": "/dev/vg/VOL"}, "/var/lib/one/disk.0"),
        ({"/volumes": "/dev/vg"}, "/volumes/VOL"),
    ],
)
def test_e1_however_many_links_lead_there(links: dict[str, str], target: str) -> None:
    tree = behind_links(target)
    for path, to in links.items():
        tree.link(path, to)
    snapshot = hosts.look(tree)
    assert (disk(snapshot).in_namespace, disk(snapshot).file.label) == (True, hosts.IMAGE_LABEL)
    assert images(snapshot) == set()


def test_e1_a_link_that_lies_on_a_share_is_followed_too() -> None:
    tree = behind_links()
    tree.entries["/proc/self/mountinfo"].content += b"30 22 0:49 / /rhev rw - nfs4 filer:/vol rw\n"
    assert images(hosts.look(tree)) == set()
    assert disk(hosts.look(tree)).in_namespace


def test_e1_links_in_the_guests_dev_are_those_that_count() -> None:
    """The volume was activated anew under another number: the host's link leads elsewhere, the guest's does not."""
    tree = behind_links()
    tree.link("/dev/vg/VOL", "../dm-9")
    tree.file("/dev/dm-9", type="b", rdev=253 << 8 | 9, label=HOSTS_NODE)
    item = disk(hosts.look(tree))
    assert (item.file.label, item.file.resolved) == (hosts.IMAGE_LABEL, "/dev/dm-3")


def test_e1_a_wrong_label_in_the_guests_own_dev_is_reported() -> None:
    tree = behind_links()
    tree.entries[f"{OWN_ROOT}/dev/dm-3"].xattrs["security.selinux"] = (HOSTS_NODE + "\0").encode()
    assert images(hosts.look(tree)) != set()


def test_e1_of_a_guest_that_is_off_the_hosts_node_counts() -> None:
    tree = behind_links()
    for path in [path for path in tree.entries if path.startswith((f"/proc/{hosts.PID}", "/run/libvirt/qemu/web"))]:
        del tree.entries[path]
    off = hosts.domain().replace("type='file' device", "type='block' device")
    off = off.replace(f"<source file='{hosts.IMAGE}'/>", f"<source dev='{LINK}'/>")
    tree.libvirt[:] = hosts.answer(state="shutoff", active=False, inactive=off)
    item = disk(hosts.look(tree))
    assert (item.in_namespace, item.file.label) == (False, HOSTS_NODE)


def test_e1_without_the_pid_it_is_unknown() -> None:
    tree = behind_links()
    text = (DATA / "link-to-block.status.xml").read_text().replace(" pid='4242'", "")
    tree.file("/run/libvirt/qemu/web.xml", text)
    del tree.entries["/run/libvirt/qemu/web.pid"]
    snapshot = hosts.look(tree)
    assert (disk(snapshot).file.label, disk(snapshot).file.exists) == (None, None)
    assert snapshot.coverage["images"].status == "unknown"
    assert images(snapshot) == set()


VOLUME = "/var/lib/containers/volumes/images/_data"


def contained_guest(label: str = hosts.IMAGE_LABEL) -> Tree:
    """A guest in a container: what it has at IMAGE is a volume of the host's, and the host has another file there."""
    tree = hosts.el9()
    del tree.entries[OWN_ROOT]
    tree.folder(OWN_ROOT)
    mounts = "90 89 0:70 / / rw - overlay overlay rw\n"
    mounts += f"91 90 254:1 {VOLUME} /var/lib/libvirt/images rw - xfs /dev/vda1 rw\n"
    tree.file(f"/proc/{hosts.PID}/mountinfo", mounts)
    for name, own in (("web.qcow2", label), ("base.qcow2", hosts.CONTENT_LABEL)):
        tree.file(f"{VOLUME}/{name}", label=own, uid=hosts.QEMU_UID, mode=0o600)
        tree.add(f"{OWN_ROOT}/var/lib/libvirt/images/{name}", tree.entries[f"{VOLUME}/{name}"])
    tree.file(hosts.IMAGE, label=hosts.REST_LABEL)  # left over from before
    return tree


def test_e1_files_of_a_qemu_in_a_container_are_read_there_and_known_on_the_host() -> None:
    item = disk(hosts.look(contained_guest()))
    assert (item.file.label, item.file.resolved) == (hosts.IMAGE_LABEL, f"{VOLUME}/web.qcow2")
    assert (item.file.mount, item.in_namespace) == ("/", False)


def test_e1_a_wrong_label_in_a_container_is_reported() -> None:
    assert images(hosts.look(contained_guest("system_u:object_r:svirt_image_t:s0:c7,c8"))) != set()


def test_e1_storage_that_only_the_container_has_is_unknown() -> None:
    tree = contained_guest()
    mounts = "90 89 0:70 / / rw - overlay overlay rw\n91 90 0:49 / /var/lib/libvirt/images rw - nfs4 filer:/vol rw\n"
    tree.file(f"/proc/{hosts.PID}/mountinfo", mounts)
    snapshot = hosts.look(tree)
    item = disk(snapshot)
    assert (item.file.label, item.file.mount) == (hosts.IMAGE_LABEL, None)
    assert snapshot.coverage["storage"].status == "unknown"


def in_a_container(own: str | None, label: str = "system_u:system_r:spc_t:s0") -> Tree:
    """libvirtd in a container with this qemu.conf; a left-over file on the host turns confinement off."""
    tree = hosts.el9()
    hosts.process(tree, DAEMON, "/usr/sbin/libvirtd", label, cgroup="/machine.slice/libpod-0123.scope")
    tree.file("/etc/libvirt/qemu.conf", 'security_driver = "none"\nsecurity_default_confined = 0\nuser = "root"\n')
    del tree.entries[THERE]
    tree.folder(f"{THERE}/etc/libvirt")
    tree.file(f"{THERE}/etc/passwd", "root:x:0:0::/:/\nnova:x:42436:42436::/:/\n")
    if own is not None:
        tree.file(f"{THERE}/etc/libvirt/qemu.conf", own, mtime=1699990000.0)
    return tree


OWN = 'security_driver = "selinux"\nsecurity_require_confined = 1\nuser = "nova"\n'


def conf_rules(snapshot: Snapshot) -> set[str]:
    return {item.rule for item in findings(snapshot) if item.rule in ("LIB-002", "LIB-003", "LIB-004", "LIB-005")}


@pytest.mark.parametrize("namespaces", [False, True])
def test_e2_a_daemon_in_a_container_is_judged_by_its_own_file(namespaces: bool) -> None:
    tree = in_a_container(OWN)
    if namespaces:
        tree.link(f"/proc/{DAEMON}/ns/mnt", "mnt:[4026532901]")
        tree.link("/proc/self/ns/mnt", "mnt:[4026531841]")
    snapshot = hosts.look(tree)
    conf, daemon = snapshot.libvirt.conf, snapshot.libvirt.daemon
    assert conf is not None
    assert daemon is not None
    assert (daemon.own_files, conf.present, conf.changed_at) == (True, True, 1699990000.0)
    assert [item.value for item in conf.assignments] == ["selinux", 1, "nova"]
    assert snapshot.libvirt.qemu_uid == 42436
    assert conf_rules(snapshot) == set()
    assert "LIB-006" not in {item.rule for item in findings(snapshot)}  # the host has no user nova; the container has


def test_e2_its_own_faults_are_reported() -> None:
    snapshot = hosts.look(in_a_container("security_default_confined = 0\n"))
    assert conf_rules(snapshot) >= {"LIB-004"}
    fixes = [item.fix for item in findings(snapshot) if item.rule.startswith("LIB")]
    assert ["not on the host" in fix for fix in fixes] == [True] * len(fixes)


def test_e2_a_container_without_the_file_has_libvirts_defaults() -> None:
    conf = hosts.look(in_a_container(None)).libvirt.conf
    assert conf is not None
    assert (conf.present, conf.assignments) == (False, [])


@pytest.mark.parametrize("kind", ["absolute link", "link out", "fifo", "large", "unreadable", "loop"])
def test_e2_what_cannot_be_read_safely_is_unknown_and_never_the_hosts(kind: str) -> None:
    tree, path = in_a_container(OWN), f"{THERE}/etc/libvirt/qemu.conf"
    tree.file("/etc/secret", 'spice_password = "hunter2"\n')
    if kind == "absolute link":
        tree.link(path, "/etc/secret")
    elif kind == "link out":
        tree.link(path, "../../../../../../etc/secret")
    elif kind == "fifo":
        tree.file(path, type="p")
    elif kind == "large":
        tree.file(path, "#" * 2_000_000)
    elif kind == "loop":
        tree.link(path, "qemu.conf")
    else:
        tree.entries[path].errno = 13
    snapshot = hosts.look(tree)
    conf = snapshot.libvirt.conf
    if "link" in kind:  # within its own root there is no such file
        assert conf is not None
        assert (conf.present, conf.assignments) == (False, [])
    else:
        assert conf is None
        assert snapshot.coverage["libvirt"].status == "unknown"
        assert {status(snapshot, rule) for rule in ("LIB-002", "LIB-003", "LIB-005")} == {"unknown"}
    assert not conf_rules(snapshot) & {"LIB-003", "LIB-004"}
    assert "hunter2" not in str(snapshot)


def test_e2_a_link_within_the_container_is_followed_there() -> None:
    tree = in_a_container(None)
    tree.link(f"{THERE}/etc/libvirt/qemu.conf", "/config/qemu.conf")
    tree.file(f"{THERE}/config/qemu.conf", OWN)
    tree.file("/config/qemu.conf", "security_default_confined = 0\n")
    conf = hosts.look(tree).libvirt.conf
    assert conf is not None
    assert [item.value for item in conf.assignments] == ["selinux", 1, "nova"]


def test_e2_a_container_that_hides_its_files_is_unknown() -> None:
    tree = in_a_container(OWN)
    for path in [path for path in tree.entries if path.startswith(THERE)]:
        del tree.entries[path]
    tree.file(THERE, errno=13)
    snapshot = hosts.look(tree)
    assert (snapshot.libvirt.conf, snapshot.coverage["libvirt"].status) == (None, "unknown")


@pytest.mark.parametrize("way", ["one namespace", "the same file", "the same folder"])
def test_e2_a_daemon_that_shares_the_hosts_file_is_judged_by_it(way: str) -> None:
    """Services with PrivateTmp= have a mount namespace of their own, and containers may mount the host's folder."""
    tree = hosts.el9()
    if way == "one namespace":
        tree.link(f"/proc/{DAEMON}/ns/mnt", "mnt:[4026531841]")
    else:
        tree.link(f"/proc/{DAEMON}/ns/mnt", "mnt:[4026532901]")
        del tree.entries[THERE]
        tree.folder(THERE)
        for path in ("/etc/libvirt/qemu.conf", "/etc/libvirt", "/etc"):
            if path in tree.entries:
                tree.add(f"{THERE}{path}", tree.entries[path])
        if way == "the same folder":
            del tree.entries["/etc/libvirt/qemu.conf"], tree.entries[f"{THERE}/etc/libvirt/qemu.conf"]
    tree.link("/proc/self/ns/mnt", "mnt:[4026531841]")
    snapshot = hosts.look(tree)
    assert snapshot.libvirt.daemon is not None
    assert snapshot.libvirt.daemon.own_files is False


def test_e2_the_hosts_own_daemon_comes_before_a_containers() -> None:
    tree = hosts.el9()
    tree.file("/run/libvirt/qemu/driver.pid", "1")
    hosts.process(tree, 5000, "/usr/sbin/libvirtd", "system_u:system_r:spc_t:s0", cgroup="/docker/0123")
    del tree.entries["/proc/5000/root"]
    tree.file("/proc/5000/root/etc/libvirt/qemu.conf", OWN)
    daemon = hosts.look(tree).libvirt.daemon
    assert daemon is not None
    assert (daemon.pid, daemon.own_files) == (DAEMON, False)
    for path in [path for path in tree.entries if path.startswith(f"/proc/{DAEMON}")]:
        del tree.entries[path]  # it went to sleep behind its socket
    daemon = hosts.look(tree).libvirt.daemon
    assert daemon is not None
    assert (daemon.pid, daemon.socket, daemon.own_files) == (None, True, False)
    del tree.entries["/usr/sbin/libvirtd"]  # the host has none of its own
    daemon = hosts.look(tree).libvirt.daemon
    assert daemon is not None
    assert (daemon.pid, daemon.own_files) == (5000, True)


def test_e2_without_an_answer_a_containers_guests_are_unknown() -> None:
    def down(*_arguments: t.Any) -> t.Iterator[t.Any]:
        raise OSError(111, "Connection refused")

    snapshot = hosts.look(in_a_container(OWN), tools=Tools(ask=down))
    assert snapshot.coverage["guests"].status == "unknown"
    assert "guests_in_container" in snapshot.coverage["guests"].codes


@pytest.mark.parametrize("own", [OWN, None])
def test_e2_hardening_refuses_a_file_that_no_daemon_reads(
    own: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []
    hand_root(monkeypatch, lambda: CapturedRoot(in_a_container(own), hosts.policy()))
    monkeypatch.setattr(backend, "write", lambda *_arguments: written.append("qemu.conf"))
    with patch_module_args({"default_confined": True}), pytest.raises(SystemExit):
        libvirt_security.main()
    result = json.loads(capsys.readouterr().out)
    assert result["failed"] is True
    assert "not those of the host" in result["msg"]
    assert written == []


def never(*_arguments: t.Any, **_options: t.Any) -> tuple[int, str, str]:
    raise AssertionError("no program is to be run")


@pytest.mark.parametrize(("tree", "refused"), [(in_a_container(OWN), True), (hosts.el9(), False)])
def test_e2_no_guard_and_no_range_are_put_where_no_daemon_looks(tree: Tree, refused: bool, tmp_path: Path) -> None:
    root = CapturedRoot(tree, hosts.policy())
    assert bool(Guard(root, never, str(tmp_path)).refusal()) is refused
    assert bool(CategoryRange(root, Tools(), top=str(tmp_path)).look(guests=False).taken) is refused


def test_e2_a_race_for_the_file_is_noticed() -> None:
    """Whoever owns the container may put a link in the file's place between two looks."""
    tree = in_a_container(OWN)

    class Racing(CapturedRoot):
        def read_text(self, path: str, limit: int = 0) -> str:
            text = super().read_text(path, limit or 4096)
            if path == f"{THERE}/etc/libvirt/qemu.conf":
                tree.link(path, "/etc/secret")
            return text

    with pytest.raises(OSError, match="Stale"):
        ProcessView(Racing(tree), DAEMON).read_text("/etc/libvirt/qemu.conf", 65536)
