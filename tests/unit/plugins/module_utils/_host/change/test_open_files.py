# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import mmap
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import FileHolder
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import open_files
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.guest_files import device

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.processes import OwnProcesses, holding

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="looks at other processes")


def identity(path: Path) -> tuple[str, int]:
    facts = path.stat()
    return device(facts.st_dev), facts.st_ino


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(mmap.PAGESIZE))
    return path


@as_root
@pytest.mark.parametrize(
    "program",
    [
        "import sys; file = open(sys.argv[1], 'rb')",
        "import mmap, sys; file = open(sys.argv[1], 'rb'); m = mmap.mmap(file.fileno(), 0, access=1); file.close()",
    ],
    ids=["open", "mapped"],
)
def test_a_file_that_another_process_has(image: Path, program: str) -> None:
    other = image.with_name("b.raw")
    other.write_bytes(b"x")
    files = {identity(image): str(image), identity(other): str(other)}
    with holding(program, str(image)) as child:
        opened = open_files.find(OwnProcesses(), files, 30)
        child.kill()
    assert opened.problem == ""
    assert [holder.pid for holder in opened.of(identity(image))] == [child.pid]
    assert opened.of(identity(image))[0].name.startswith("python")
    assert opened.of(identity(other)) == []
    assert open_files.find(OwnProcesses(), files, 30).holders == {}


@as_root
def test_a_file_is_recognised_under_whatever_name_it_was_opened(image: Path) -> None:
    link, hard = image.with_name("link"), image.with_name("hard")
    link.symlink_to(image)
    os.link(image, hard)
    for name in (link, hard):
        with holding("import sys; file = open(sys.argv[1], 'rb')", str(name)) as child:
            assert len(open_files.find(OwnProcesses(), {identity(image): str(image)}, 30).of(identity(image))) == 1
            child.kill()


@as_root
def test_what_this_process_has_open_is_not_in_use(image: Path) -> None:
    with image.open("rb"):
        assert open_files.find(OwnProcesses(), {identity(image): str(image)}, 30).holders == {}


def test_nothing_is_asked_about_nothing() -> None:
    assert open_files.find(OwnProcesses(), {}, 30) == open_files.OpenFiles()


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    hosts.kernel(tree)
    tree.file("/srv/a.raw", ino=77)
    return tree


FILES = {("254:1", 77): "/srv/a.raw"}


def find(tree: Tree, **more: t.Any) -> open_files.OpenFiles:
    return open_files.find(CapturedRoot(tree, **more), FILES, 30)


def test_what_the_kernel_has_open(tree: Tree) -> None:
    for pid in (1, 2):
        tree.folder(f"/proc/{pid}/fd")
        tree.file(f"/proc/{pid}/maps")
    assert find(tree) == open_files.OpenFiles()
    tree.file("/sys/block/loop3/loop/backing_file", "/srv/a.raw\n")
    tree.folder("/sys/block/loop4")
    tree.file("/proc/swaps", "Filename\tType\n/srv/a.raw  file 8 0 -2\n/none file 8 0 -2\n")
    tree.file("/sys/kernel/config/target/core/fileio_0/disk1/udev_path", "/srv/a.raw")
    tree.file(
        "/proc/fs/nfsd/clients/5/states",
        '- 0x01: { type: open, access: rw, deny: --, superblock: "fe:01:77", filename: "/a.raw" }\n'
        '- 0x02: { type: open, access: rw, deny: --, superblock: "fe:01:78", filename: "/b.raw" }\n',
    )
    assert find(tree).of(("254:1", 77)) == [
        FileHolder(0, "device loop3"),
        FileHolder(0, "the kernel's swap"),
        FileHolder(0, "iSCSI disk disk1"),
        FileHolder(0, "NFS client 5"),
    ]


def test_maps_of_a_file_system_that_shows_another_device_there(tree: Tree) -> None:
    tree.folder("/proc/1/fd")
    line = "7f00-7f01 r--s 00000000 00:2b {} /elsewhere/{}\n"
    tree.file("/proc/1/maps", "7f00-7f01 r--p 0 00:00 0 [heap]\n" + line.format(77, "b.raw") + line.format(78, "a.raw"))
    assert find(tree).holders == {}
    tree.file("/proc/1/maps", line.format(77, "a.raw"))
    assert find(tree).of(("254:1", 77)) == [FileHolder(1, "systemd")]


def test_what_could_not_be_read_is_reported(tree: Tree) -> None:
    tree.file("/proc/1/fd", errno=13)
    assert "Permission denied" in find(tree).problem
    assert find(tree, root=False).problem == "not root"
    del tree.entries["/proc/1/fd"]
    tree.file("/proc/fs/nfsd/clients/5/states", errno=5)
    assert "Input/output error" in find(tree).problem


def test_a_search_that_hangs_is_reported(tree: Tree) -> None:
    class Slow(CapturedRoot):
        def listdir(self, path: str) -> list[str]:
            import time

            time.sleep(30)
            return []

    assert open_files.find(Slow(tree), FILES, 0.3).problem != ""
