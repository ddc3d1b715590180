# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths, files and storage: links, mounts, and what hangs."""

from __future__ import annotations

import os
import time
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Orphan, Remembered
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.mounts import parse_exports, parse_mountinfo
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.paths import MountTable, Paths, may_hang
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import guest_files, orphans, storage

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Entry, Policy, Tree

MOUNTS = (
    "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw,seclabel\n"
    "30 22 0:49 / /srv/vms rw shared:2 - nfs4 filer:/export/vms rw,seclabel,vers=4.2\n"
    "31 22 0:50 / /mnt/old rw - nfs [FD00::1]:/Old/ rw,context=system_u:object_r:virt_image_t:s0\n"
    "32 22 0:51 / /mnt/fuse rw - fuse.sshfs me@host:/x rw\n"
    "33 22 253:2 / /data rw - xfs /dev/mapper/vg-data rw,seclabel\n"
    "34 22 0:60 / /auto rw - autofs /etc/auto.misc rw\n"
)


class Far(CapturedRoot):
    """A host with an NFS server that does not answer for some files. Only a child may touch it."""

    def __init__(self, tree: Tree, policy: Policy | None = None, root: bool = True) -> None:
        super().__init__(tree, policy, root)
        self._parent = os.getpid()

    def _find(self, path: str, follow: bool, links: int = 0) -> tuple[str, Entry]:
        if path.startswith("/srv/vms/"):
            assert os.getpid() != self._parent, path
        if path.startswith("/srv/vms/stuck"):
            time.sleep(60)
        return super()._find(path, follow, links)


@pytest.fixture
def tree() -> Tree:
    made = Tree()
    for path in ("/srv/vms/a.raw", "/srv/vms/b.raw", "/data/c.raw", "/mnt/old/d.raw"):
        made.file(path, label=hosts.REST_LABEL)
    made.link("/images", "/srv/vms")
    made.link("/data/link.raw", "c.raw")
    return made


@pytest.fixture
def table() -> MountTable:
    return MountTable(parse_mountinfo(MOUNTS))


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/etc/x", "/"),
        ("/srv/vms/a/b", "/srv/vms"),
        ("/srv/vmsx", "/"),
        ("/data", "/data"),
        ("relative", None),
        ("", None),
    ],
)
def test_the_mount_of_a_path(table: MountTable, path: str, mount: str | None) -> None:
    found = table.of(path)
    assert (found.mount if found else None) == mount


def test_what_may_hang(table: MountTable) -> None:
    paths = ("/x", "/srv/vms/x", "/mnt/old/x", "/mnt/fuse/x", "/data/x", "/auto/x")
    assert [may_hang(table.of(path)) for path in paths] == [False, True, True, True, False, True]
    assert may_hang(None) is False


def test_links_are_followed_up_to_the_storage_that_may_hang(tree: Tree, table: MountTable) -> None:
    tree.link("/srv/vms/inner", "/data/c.raw")
    tree.link("/deep", "data/../images/inner")
    near, far = Paths(CapturedRoot(tree), table), Paths(CapturedRoot(tree), table, enter=True)
    assert near.resolve("/images/a.raw") == "/srv/vms/a.raw"
    assert near.resolve("/deep") == "/srv/vms/inner"
    assert far.resolve("/deep") == "/data/c.raw"
    assert near.resolve("/data/./../data//link.raw") == "/data/c.raw"
    assert near.resolve("/none/at/all") == "/none/at/all"
    assert near.resolve("/") == "/"


def test_a_loop_of_links_is_an_error(tree: Tree, table: MountTable) -> None:
    tree.link("/one", "two")
    tree.link("/two", "one")
    with pytest.raises(OSError, match="symbolic links"):
        Paths(CapturedRoot(tree), table).resolve("/one")
    seen = guest_files.FileReader(CapturedRoot(tree), table, 5).look_all(["/one"])
    assert seen["/one"].facts.exists is None
    assert "symbolic links" in seen["/one"].facts.error


def test_facts_of_a_file(tree: Tree, table: MountTable) -> None:
    tree.file("/data/c.raw", label=hosts.IMAGE_LABEL, uid=107, gid=36, mode=0o640, ino=77)
    tree.remembers("/data/c.raw", hosts.REST_LABEL, 2)
    facts = guest_files.FileReader(CapturedRoot(tree), table, 5).look_all(["/data/link.raw"])["/data/link.raw"].facts
    assert (facts.exists, facts.kind, facts.label) == (True, "file", hosts.IMAGE_LABEL)
    assert (facts.uid, facts.gid, facts.mode, facts.device, facts.inode) == (107, 36, 0o640, "254:1", 77)
    assert (facts.mount, facts.resolved) == ("/data", "/data/c.raw")
    assert facts.remembered == Remembered(hosts.REST_LABEL, 2, "1700000000")


@pytest.mark.parametrize(("count", "references"), [("1", 1), ("", None), ("-1", None), ("9" * 30, None), ("x", None)])
def test_a_count_of_references_that_is_none(tree: Tree, table: MountTable, count: str, references: int | None) -> None:
    tree.entries["/data/c.raw"].xattrs["trusted.libvirt.security.ref_selinux"] = count.encode() + b"\0"
    facts = guest_files.FileReader(CapturedRoot(tree), table, 5).look_all(["/data/c.raw"])["/data/c.raw"].facts
    assert facts.remembered == Remembered(None, references, None)


def test_paths_that_are_none(tree: Tree, table: MountTable) -> None:
    seen = guest_files.FileReader(CapturedRoot(tree), table, 5).look_all(["/data/c.raw/below", "/nul\0byte", "/none"])
    assert seen["/data/c.raw/below"].facts.exists is False
    assert seen["/none"].facts.exists is False
    assert seen["/nul\0byte"].facts.error == "embedded null byte"


def test_files_on_far_storage_are_read_in_a_child(tree: Tree, table: MountTable) -> None:
    tree.remembers("/srv/vms/a.raw", hosts.REST_LABEL, 1)
    seen = guest_files.FileReader(CapturedRoot(tree), table, 10).look_all(
        ["/images/a.raw", "/mnt/old/d.raw", "/srv/vms/none"]
    )
    facts = seen["/images/a.raw"].facts
    assert (facts.label, facts.mount, facts.resolved) == (hosts.REST_LABEL, "/srv/vms", "/srv/vms/a.raw")
    assert facts.remembered == Remembered(hosts.REST_LABEL, 1, "1700000000")
    assert (seen["/mnt/old/d.raw"].facts.mount, seen["/srv/vms/none"].facts.exists) == ("/mnt/old", False)


@pytest.mark.usefixtures("no_hang")
def test_storage_that_hangs_costs_its_own_files_only(tree: Tree, table: MountTable) -> None:
    tree.file("/srv/vms/stuck.raw")
    reader = guest_files.FileReader(Far(tree), table, 0.5)
    seen = reader.look_all(["/srv/vms/a.raw", "/srv/vms/stuck.raw", "/srv/vms/z.raw", "/data/c.raw", "/mnt/old/d.raw"])
    assert {point: why.code for point, why in reader.stuck.items()} == {"/srv/vms": "timed_out"}
    assert seen["/srv/vms/a.raw"].facts.exists is True  # was read before it hung
    for path in ("/srv/vms/stuck.raw", "/srv/vms/z.raw"):
        assert (seen[path].facts.exists, seen[path].facts.mount) == (None, "/srv/vms")
        assert seen[path].facts.error == f"/srv/vms: {reader.stuck['/srv/vms']}"
    assert seen["/data/c.raw"].facts.exists is True
    assert seen["/mnt/old/d.raw"].facts.exists is True


def test_far_storage_is_never_touched_but_in_a_child(tree: Tree, table: MountTable) -> None:
    label = "system_u:object_r:svirt_image_t:s0:c1,c2"
    tree.file("/srv/vms/x.raw", label=label)
    root = Far(tree)
    with pytest.raises(AssertionError):
        root.stat("/srv/vms/a.raw")
    reader = guest_files.FileReader(root, table, 10)
    assert reader.look_all(["/images/a.raw"])["/images/a.raw"].facts.label == hosts.REST_LABEL
    search = orphans.OrphanSearch(root, table, orphans.OwnedFiles(), frozenset(("svirt_image_t",)), 10)
    search.run(["/images", "/srv", "/data"])
    assert (list(search.found), search.bugs, reader.bugs) == (["/srv/vms/x.raw"], [], [])


@pytest.mark.parametrize(
    ("mount", "identity"),
    [
        ("/srv/vms", "nfs:filer:/export/vms"),
        ("/mnt/old", "nfs:fd00::1:/Old"),
        ("/", "uuid:aaaa"),
        ("/data", "uuid:bbbb"),
        ("/auto", None),
    ],
)
def test_the_identity_of_storage(tree: Tree, table: MountTable, mount: str, identity: str | None) -> None:
    tree.file("/dev/vda1", type="b", rdev=254 << 8 | 1)
    tree.file("/dev/dm-9", type="b", rdev=253 << 8 | 9)
    tree.link("/dev/mapper/vg-data", "../dm-9")  # the mount table's number is another, as with btrfs
    tree.link("/dev/disk/by-uuid/aaaa", "../../vda1")
    tree.link("/dev/disk/by-uuid/bbbb", "../../dm-9")
    used = table.of(mount)
    assert used is not None
    (found,) = storage.describe(CapturedRoot(tree), table, [used], [])
    assert (found.mount, found.identity) == (mount, identity)


def test_exports_belong_to_the_mount_that_holds_them(tree: Tree, table: MountTable) -> None:
    exported = parse_exports("/srv/vms *(rw,security_label)\n/export/a *(rw)\n/export/b *(rw,security_label)\nodd\n")
    used = [mount for mount in (table.of("/"), table.of("/srv/vms")) if mount]
    below_root, far = storage.describe(CapturedRoot(tree), table, used, exported)
    assert (below_root.exports, below_root.labelled_exports) == (["/export/a", "/export/b"], ["/export/b"])
    assert far.exports == ["/srv/vms"]
    assert (far.labelled, far.remote, below_root.remote) == (True, True, False)


def test_exports_are_those_in_force_else_those_configured(tree: Tree) -> None:
    tree.file("/etc/exports", "/a *(rw)\n")
    tree.file("/etc/exports.d/b.exports", "/b *(rw)\n")
    tree.file("/etc/exports.d/readme", "/c *(rw)\n")
    root = CapturedRoot(tree)
    assert [item.path for item in storage.exports(root)[0]] == ["/a", "/b"]
    tree.file("/var/lib/nfs/etab", "/d *(rw)\n")
    assert [item.path for item in storage.exports(root)[0]] == ["/d"]
    tree.entries["/var/lib/nfs/etab"].content = b"x" * 5_000_000
    problem = storage.exports(root)[1]
    assert problem is not None
    assert problem.code == "too_large"


@pytest.mark.parametrize(
    ("given", "identity"),
    [
        ({"dm/uuid": "LVM-" + "v" * 32 + "l" * 32}, f"lvm:{'v' * 32}/{'l' * 32}"),
        ({"dm/uuid": "mpath-360014050aa"}, "wwn:60014050aa"),
        ({"device/wwid": "naa.60014050aa"}, "wwn:60014050aa"),
        ({"dm/uuid": "CRYPT-LUKS2-1"}, "dm:CRYPT-LUKS2-1"),
        ({"wwid": "eui.0025"}, "wwid:eui.0025"),
        ({"device/wwid": "t10.ATA  disk   7"}, "wwid:t10.ATA disk 7"),
        ({}, None),
    ],
)
def test_the_identity_of_a_device(given: dict[str, str], identity: str | None) -> None:
    tree = Tree()
    tree.folder("/sys/dev/block/8:16")
    for name, text in given.items():
        tree.file(f"/sys/dev/block/8:16/{name}", text + "\n")
    found = storage.block_device(CapturedRoot(tree), "/dev/disk/x", 8 << 8 | 16)
    assert (found.mount, found.type, found.source, found.identity) == ("/dev/disk/x", "block", "8:16", identity)


def test_a_partition_is_a_part_of_its_disk() -> None:
    tree = Tree()
    tree.file("/sys/devices/sda/device/wwid", "naa.6001\n")
    tree.file("/sys/devices/sda/sda2/partition", "2\n")
    tree.link("/sys/dev/block/8:2", "../../devices/sda/sda2")
    assert storage.block_device(CapturedRoot(tree), "/dev/sda2", 8 << 8 | 2).identity == "wwn:6001:2"


def search(tree: Tree, table: MountTable, folders: t.Iterable[str], **more: t.Any) -> orphans.OrphanSearch:
    found = orphans.OrphanSearch(
        CapturedRoot(tree), table, more.pop("owned", orphans.OwnedFiles()), frozenset(("svirt_image_t",)), 10, **more
    )
    found.run(folders)
    return found


def test_orphans_on_far_storage(tree: Tree, table: MountTable) -> None:
    label = "system_u:object_r:svirt_image_t:s0:c1,c2"
    tree.file("/srv/vms/below/x.raw", label=label, ino=9)
    found = search(tree, table, ["/images", "/data"])
    assert list(found.found.values()) == [Orphan("/srv/vms/below/x.raw", label, "/srv/vms", "254:1", 9)]
    assert (found.problems, found.bugs) == ([], [])


def test_a_walk_is_bounded_and_says_so(tree: Tree, table: MountTable) -> None:
    for number in range(30):
        tree.file(f"/data/many/{number}")
    (problem,) = search(tree, table, ["/data"], left=20).problems
    assert problem.code == "too_many_files"
    assert search(tree, table, ["/data"], left=100).problems == []


def test_a_walk_keeps_out_of_owned_and_far_folders(tree: Tree, table: MountTable) -> None:
    label = "system_u:object_r:svirt_image_t:s0:c1,c2"
    tree.file("/data/tpm/tpm2/state", label=label)
    owned = orphans.OwnedFiles({"/data/tpm"})
    tree.file("/srv/vms/y.raw", label=label)
    assert search(tree, table, ["/data", "/srv"], owned=owned).found == {}


def test_storage_that_did_not_answer_once_is_not_asked_again(tree: Tree, table: MountTable) -> None:
    found = search(tree, table, ["/srv/vms", "/images", "/data"], stuck=frozenset(("/srv/vms",)))
    assert (found.found, [problem.code for problem in found.problems]) == ({}, ["timed_out"])


def test_a_guest_that_ended_leaves_its_devices_unknown() -> None:
    seen = guest_files.FileReader(CapturedRoot(Tree()), MountTable(()), 5).look_inside(77, ["/dev/vda"])
    assert (seen["/dev/vda"].facts.exists, seen["/dev/vda"].facts.error) == (
        None,
        "/proc/77/root/: No such file or directory",
    )


def test_folders_worth_a_search() -> None:
    images = ["/a.raw", "/tmp/b.raw", "/srv/c/d.raw", "/proc/1/x", "/dev/vg/e", "/home/me/vms/f.raw"]  # noqa: S108
    assert orphans.folders_of(images) == ["/home/me/vms", "/srv/c"]
    assert orphans.outermost(["/a/b", "/a", "/ab", "/a/b/c"]) == ["/a", "/ab"]


@pytest.mark.parametrize(
    ("label", "guests"),
    [
        ("system_u:object_r:svirt_image_t:s0:c1,c2", True),
        ("system_u:object_r:svirt_image_t:s0", False),
        ("system_u:object_r:virt_image_t:s0:c1,c2", False),
        ("nonsense", False),
    ],
)
def test_labels_of_guests(label: str, guests: bool) -> None:
    assert orphans.is_guest_label(label, frozenset(("svirt_image_t",))) is guests
