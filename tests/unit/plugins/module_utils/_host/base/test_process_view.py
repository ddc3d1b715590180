# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A process's own files: whatever links it makes, nothing outside its root is read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.mounts import parse_mountinfo
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.paths import MountTable
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.process_view import ProcessView
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import Root
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.captured import CapturedRoot, Tree

OWN = "/proc/9/root"
PLACES = ("/a", "/b", "/a/b", "/b/a", "/c")
PARTS = st.sampled_from(["a", "b", "c", "..", ".", "proc/9/root", "secret"])
TARGETS = st.builds("{}{}".format, st.sampled_from(["", "/"]), st.lists(PARTS, min_size=1, max_size=6).map("/".join))


class Watched(CapturedRoot):
    """Keeps what was read."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.read: list[str] = []

    def read_text(self, path: str, limit: int = 0) -> str:
        text = super().read_text(path, limit or 4096)
        self.read.append(text)
        return text


@settings(max_examples=500)
@given(
    st.dictionaries(st.sampled_from(PLACES), TARGETS, max_size=5), st.sampled_from([*PLACES, "/c/secret", "/secret"])
)
def test_no_link_leads_out(links: dict[str, str], path: str) -> None:
    tree = Tree()
    for place in ("/secret", "/a/secret", "/b/secret", "/c/secret"):
        tree.file(place, "the host's")
    for place in ("/secret", "/c/secret"):
        tree.file(f"{OWN}{place}", "the container's")
    for place, target in sorted(links.items()):
        with contextlib.suppress(AssertionError):
            tree.link(f"{OWN}{place}", target)
    root = Watched(tree)
    with contextlib.suppress(OSError, HostReadError):
        assert ProcessView(root, 9).read_text(path, 4096) == "the container's"
    assert set(root.read) <= {"the container's"}


def mounts(text: str) -> MountTable:
    return MountTable(parse_mountinfo(text))


def test_a_volume_is_known_on_the_host() -> None:
    tree = Tree()
    tree.file("/proc/9/mountinfo", "9 8 0:70 / / rw - overlay o rw\n10 9 254:2 /vols/x /data rw - xfs /dev/b rw\n")
    host = mounts("1 0 254:1 / / rw - xfs /dev/a rw\n2 1 254:2 / /srv rw - xfs /dev/b rw\n")
    tree.file("/srv/vols/x/disk.raw")
    tree.add(f"{OWN}/data/disk.raw", tree.entries["/srv/vols/x/disk.raw"])
    tree.file(f"{OWN}/data/other.raw")
    tree.file("/srv/vols/x/other.raw")  # another file: the number of the device was given out anew
    view = ProcessView(CapturedRoot(tree), 9)
    assert view.has_own_root(host)
    assert view.host_path("/data/disk.raw", host) == "/srv/vols/x/disk.raw"
    assert view.host_path("/data/other.raw", host) is None
    assert view.host_path("/etc/x", host) is None


def test_this_very_process_shares_its_files(tmp_path: Path) -> None:
    file = tmp_path / "qemu.conf"
    file.write_text("a = 1\n")
    view = ProcessView(Root(), os.getpid())
    assert view.shares(str(file)) is True
    assert view.read_text(str(file), 100) == "a = 1\n"
    assert view.has_own_root(mounts(Path("/proc/self/mountinfo").read_text())) is False


def test_a_program_is_searched_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "program"
    signature = b"QEMU emulator version"
    for before in (0, (1 << 20) - 10, 3 << 20):
        file.write_bytes(b"x" * before + signature)
        assert Root().holds(str(file), signature, 1 << 30)
        assert not Root().holds(str(file), signature + b"!", 1 << 30)
    assert not Root().holds(str(file), signature, 1 << 20)


def test_a_process_that_has_ended_is_unknown() -> None:
    assert ProcessView(CapturedRoot(Tree()), 9).shares("/etc/x") is None
