# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search for files that carry a guest's categories although no guest of this host owns them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass, field

from ..._core.paths import below_any
from ..._core.snapshot.model import FileFacts, Orphan
from ..base.deadline import Job
from ..base.paths import MountTable, Paths, may_hang
from ..base.root import Root, label_of, reason
from .guest_files import LABEL, device

#: libvirt's own folders for files of guests.
FOLDERS = (
    *("/var/lib/libvirt/images", "/var/lib/libvirt/boot", "/var/lib/libvirt/swtpm", "/var/lib/libvirt/qemu/nvram"),
    *("/var/lib/libvirt/qemu/save", "/var/lib/libvirt/qemu/snapshot", "/var/lib/libvirt/qemu/dump"),
)
#: Folders too general to be searched because an image lies in them.
_TOO_WIDE = frozenset(
    ("/", "/dev", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/var")  # noqa: S108
)
_NOT_FILES = ("/proc", "/sys", "/dev", "/run/user")

MAX_ENTRIES = 50_000
MAX_DEPTH = 8


@dataclass(repr=False, eq=False)
class OwnedFiles:
    """Files that guests own: none of them is an orphan."""

    paths: set[str] = field(default_factory=set)
    inodes: set[tuple[str | None, int | None]] = field(default_factory=set)

    def add(self, path: str, facts: FileFacts) -> None:
        """A file of a guest, under each of its names."""
        self.paths.add(path)
        if facts.resolved:
            self.paths.add(facts.resolved)
        if facts.inode is not None:
            self.inodes.add((facts.device, facts.inode))


@dataclass(repr=False, eq=False)
class OrphanSearch:
    """A bounded walk through folders."""

    root: Root
    mounts: MountTable
    owned: OwnedFiles
    types: frozenset[str]
    timeout: float
    #: Mount points of storage that did not answer already: once is enough to wait.
    stuck: frozenset[str] = frozenset()
    found: dict[str, Orphan] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)
    left: int = MAX_ENTRIES

    def run(self, folders: t.Iterable[str]) -> None:
        """Search these folders, those on storage that may hang in a child for each storage."""
        remote: dict[str, list[str]] = {}
        local: list[str] = []
        paths = Paths(self.root, self.mounts)
        for folder in sorted({paths.resolve(folder) for folder in folders}):
            mount = self.mounts.of(folder)
            if mount is None or not may_hang(mount):
                local.append(folder)
            elif mount.mount in self.stuck:
                self.problems.append(f"{mount.mount} did not answer")
            else:
                remote.setdefault(mount.mount, []).append(folder)
        jobs = [(point, Job(self._far(outermost(wanted)), self.timeout)) for point, wanted in sorted(remote.items())]
        for folder in outermost(local):
            self._keep(self._walk(folder))
        for point, job in jobs:
            for kind, *values in job.items():
                if kind == "problem":
                    self.problems.append(values[0])
                else:
                    self._keep([Orphan(*values)])
            if job.problem:
                self.problems.append(f"{point}: {job.problem}")
            if job.bug:
                self.bugs.append(job.problem)
        if self.left < 0:
            self.problems.append(f"only {MAX_ENTRIES} files were looked at")

    def _keep(self, orphans: t.Iterable[Orphan]) -> None:
        for orphan in orphans:
            mount = self.mounts.of(orphan.path)
            orphan.mount = mount.mount if mount else None
            self.found[orphan.path] = orphan

    def _far(self, folders: list[str]) -> t.Callable[[], t.Iterator[t.Any]]:
        def work() -> t.Iterator[t.Any]:
            for folder in folders:
                for orphan in self._walk(folder):
                    yield "orphan", orphan.path, orphan.label, None, orphan.device, orphan.inode
            for problem in self.problems:
                yield "problem", problem
            if self.left < 0:
                yield "problem", f"only {MAX_ENTRIES} files were looked at"

        return work

    def _walk(self, start: str) -> t.Iterator[Orphan]:
        own = self.mounts.of(start)
        folders = [(start, 0)]
        while folders and self.left >= 0:
            folder, depth = folders.pop()
            try:
                for name, is_folder in self.root.scan(folder, self.mounts.hanging_in(folder)):
                    self.left -= 1
                    if self.left < 0:
                        return
                    path = posixpath.join(folder, name)
                    orphan = self._orphan(path)
                    if orphan is not None:
                        yield orphan
                    if is_folder and self._enters(path, depth, own):
                        folders.append((path, depth + 1))
            except FileNotFoundError:
                continue
            except OSError as error:
                self.problems.append(reason(error))

    def _enters(self, path: str, depth: int, own: t.Any) -> bool:
        mount = self.mounts.of(path)
        other = mount is not own and may_hang(mount)
        return depth < MAX_DEPTH and not other and path not in self.owned.paths and not path.startswith(_NOT_FILES)

    def _orphan(self, path: str) -> Orphan | None:
        try:
            label = label_of(self.root.getxattr(path, LABEL, follow=False))
            if label is None or not is_guest_label(label, self.types) or path in self.owned.paths:
                return None
            seen = self.root.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.problems.append(reason(error))
            return None
        if (device(seen.st_dev), seen.st_ino) in self.owned.inodes:
            return None
        return Orphan(path, label, None, device(seen.st_dev), seen.st_ino)


def is_guest_label(label: str, types: t.Collection[str]) -> bool:
    """A file type of guests, with categories."""
    parts = label.split(":", 4)
    return len(parts) == 5 and parts[2] in types and bool(parts[4])


def folders_of(images: t.Iterable[str]) -> list[str]:
    """The folders of these files that are narrow enough to be searched."""
    return sorted(filter(is_narrow, {posixpath.dirname(path) for path in images}))


def is_narrow(folder: str) -> bool:
    """Whether a folder is one to search because images lie in it."""
    return folder.startswith("/") and folder not in _TOO_WIDE and not folder.startswith(_NOT_FILES)


def outermost(folders: t.Iterable[str]) -> list[str]:
    """Without folders inside others of the list."""
    kept: list[str] = []
    for folder in sorted(folders):
        if not below_any(folder, kept):
            kept.append(folder)
    return kept
