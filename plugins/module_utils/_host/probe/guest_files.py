# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read facts about files of guests: owner, mode, label, remembered owner.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import fields

from ..._core.errors import HostReadError
from ..._core.libvirt import image_header
from ..._core.paths import below
from ..._core.result import Reason
from ..._core.snapshot.model import FileFacts, Remembered
from ..base.deadline import Job
from ..base.paths import MountTable, Paths, may_hang
from ..base.process_view import ProcessView
from ..base.root import Root, label_of, reason, text_of, trouble

LABEL = "security.selinux"
_REMEMBERED = "trusted.libvirt.security."
_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISBLK, "block"),
    (stat.S_ISCHR, "char"),
    (stat.S_ISDIR, "dir"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISLNK, "link"),
)


_DEV = "/dev"
_CHAIN = "chain_unread"


class PathFacts(t.NamedTuple):
    """Facts about a path, its device number where it is a device, and where it enters /dev."""

    facts: FileFacts
    rdev: int = 0
    #: Where the path's links enter /dev: a guest's QEMU has a /dev of its own. Empty for a path that does not.
    device: str = ""


def look(root: Root, paths: Paths, path: str, prefix: str = "") -> PathFacts:
    """Read the facts about a path; errors are part of the facts."""
    facts = FileFacts()
    try:
        real = paths.resolve(path)
        seen = root.stat(prefix + real)
        facts.exists = True
        facts.resolved = real if real != path else None
        facts.kind = next((kind for test, kind in _KINDS if test(seen.st_mode)), None)
        facts.uid, facts.gid, facts.mode = seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)
        facts.device, facts.inode = device(seen.st_dev), seen.st_ino
        facts.label = label_of(root.getxattr(prefix + real, LABEL))
        facts.remembered = _remembered(root, prefix + real)
        rdev = seen.st_rdev if facts.kind in ("block", "char") else 0
        return PathFacts(facts, rdev, paths.until(_DEV, path) if below(real, _DEV) else "")
    except (FileNotFoundError, NotADirectoryError):
        return PathFacts(FileFacts(exists=False), 0, _entered(paths, path))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        facts.error = reason(error)
        return PathFacts(facts, 0, _entered(paths, path))


def _entered(paths: Paths, path: str) -> str:
    """Where a path that could not be read here enters /dev: a guest may have a device there."""
    try:
        entered = paths.until(_DEV, path)
    except (OSError, ValueError):
        return ""
    return entered if below(entered, _DEV) else ""


def _header(root: Root, path: str, format_: str) -> image_header.ImageHeader:
    """Header of a file or block device; nothing of any other kind is opened."""
    mode = root.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        return image_header.ImageHeader()
    return image_header.parse_header(root.peek(path, image_header.MAX_HEADER), format_)


def device(number: int) -> str:
    """A device number as MAJOR:MINOR."""
    return f"{os.major(number)}:{os.minor(number)}"


def _remembered(root: Root, path: str) -> Remembered | None:
    names = {name for name in root.listxattr(path) if name.startswith(_REMEMBERED)}
    if not names & {f"{_REMEMBERED}selinux", f"{_REMEMBERED}ref_selinux"}:
        return None
    values = {name: label_of(root.getxattr(path, _REMEMBERED + name)) for name in ("selinux", "timestamp_selinux")}
    count = text_of(root.getxattr(path, f"{_REMEMBERED}ref_selinux") or b"").rstrip("\0")
    references = int(count) if count.isascii() and count.isdigit() and len(count) < 10 else None
    return Remembered(values["selinux"], references, values["timestamp_selinux"])


class FileReader:
    """Looks at many paths: local ones here, those on storage that may hang in a child for each storage."""

    def __init__(self, root: Root, mounts: MountTable, timeout: float) -> None:
        self._root = root
        self._mounts = mounts
        self._timeout = timeout
        self.local = Paths(root, mounts)
        #: Storage that did not answer: mount point -> why.
        self.stuck: dict[str, Reason] = {}
        self.bugs: list[Reason] = []

    def look_all(self, wanted: t.Iterable[str]) -> dict[str, PathFacts]:
        """Facts about each of these paths on the host."""
        facts: dict[str, PathFacts] = {}
        remote: dict[str, list[str]] = {}
        for path in sorted(set(wanted)):
            try:
                mount = self._mounts.of(self.local.resolve(path))
            except (OSError, ValueError) as error:
                facts[path] = PathFacts(FileFacts(error=reason(error)))
                continue
            if mount is not None and may_hang(mount):
                remote.setdefault(mount.mount, []).append(path)
            else:
                facts[path] = look(self._root, self.local, path)
                facts[path].facts.mount = mount.mount if mount and facts[path].facts.exists else None
        jobs = [(point, paths, Job(self._far(paths), self._timeout)) for point, paths in sorted(remote.items())]
        for point, paths, job in jobs:
            facts.update(self._answers(point, paths, job))
        return facts

    def read_headers(self, wanted: t.Mapping[str, str]) -> tuple[dict[str, image_header.ImageHeader], list[Reason]]:
        """Headers of images, given as path -> declared format; and why the header of some could not be read.

        What is on storage that may hang, and every block device, is read in a child.
        """
        headers: dict[str, image_header.ImageHeader] = {}
        problems: list[Reason] = []
        apart: dict[str, list[str]] = {}
        for path in sorted(wanted):
            try:
                real = self.local.resolve(path)
                mount = self._mounts.of(real)
                if mount is not None and may_hang(mount):
                    if mount.mount not in self.stuck:
                        apart.setdefault(mount.mount, []).append(path)
                    continue
                if stat.S_ISBLK(self._root.stat(real).st_mode):
                    apart.setdefault("block devices", []).append(path)
                    continue
                headers[path] = _header(self._root, real, wanted[path])
            except (FileNotFoundError, NotADirectoryError):
                continue  # no file, so no chain
            except (OSError, ValueError, HostReadError) as error:
                problems.append(trouble(error, _CHAIN).about(f"backing chain of {path}"))
        jobs = [(point, Job(self._far_headers(paths, wanted), self._timeout)) for point, paths in sorted(apart.items())]
        for point, job in jobs:
            for path, fields_, problem in job.items():
                if problem:
                    problems.append(Reason(*problem).about(f"backing chain of {path}"))
                elif fields_ is not None:
                    headers[path] = image_header.ImageHeader(*fields_)
            if job.problem:
                problems.append(job.problem.about(f"backing chains on {point}"))
        return headers, problems

    def _far_headers(self, paths: list[str], wanted: t.Mapping[str, str]) -> t.Callable[[], t.Iterator[t.Any]]:
        def work() -> t.Iterator[t.Any]:
            links = Paths(self._root, self._mounts, enter=True)
            for path in paths:
                try:
                    header = _header(self._root, links.resolve(path), wanted[path])
                    yield path, [header.backing, header.backing_format, header.data_file], None
                except (FileNotFoundError, NotADirectoryError):
                    yield path, None, None
                except (OSError, ValueError, HostReadError) as error:
                    problem = trouble(error, _CHAIN)
                    yield path, None, (problem.code, problem.text)

        return work

    def look_inside(self, pid: int, wanted: t.Iterable[str]) -> dict[str, PathFacts]:
        """Facts about each of these paths as the process sees them, in its own mount namespace."""
        prefix = f"/proc/{pid}/root"
        try:
            self._root.stat(prefix + "/")
        except OSError as error:  # not there or not for us: that says nothing of the files
            return {path: PathFacts(FileFacts(error=reason(error))) for path in wanted}
        paths = Paths(self._root, MountTable(()), prefix)
        return {path: look(self._root, paths, path, prefix) for path in set(wanted)}

    def look_contained(self, pid: int, wanted: t.Iterable[str]) -> dict[str, PathFacts]:
        """Facts about each of these paths as a process in a container sees them, on storage that may hang, too.

        ``resolved`` is the same file's path on the host; where the host does not show it, the way through /proc.
        """
        view, paths = ProcessView(self._root, pid), sorted(set(wanted))

        def work() -> t.Iterator[t.Any]:
            for path, plain, rdev, entered in self._far(paths, view.prefix)():
                real = plain["resolved"] or path
                plain["resolved"] = view.host_path(real, self._mounts) or view.prefix + real
                yield path, plain, rdev, entered

        facts = self._answers(view.prefix, paths, Job(work, self._timeout))
        for seen in facts.values():
            mount = self._mounts.of(seen.facts.resolved or "")
            in_proc = (seen.facts.resolved or "").startswith(view.prefix)
            seen.facts.mount = None if mount is None or in_proc else mount.mount
        return facts

    def _far(self, wanted: list[str], prefix: str = "") -> t.Callable[[], t.Iterator[t.Any]]:
        def work() -> t.Iterator[t.Any]:
            paths = Paths(self._root, MountTable(()) if prefix else self._mounts, prefix, enter=True)
            for path in wanted:
                facts, rdev, entered = look(self._root, paths, path, prefix)
                plain = {item.name: getattr(facts, item.name) for item in fields(facts)}
                memory = facts.remembered
                plain["remembered"] = [memory.label, memory.references, memory.timestamp] if memory else None
                yield path, plain, rdev, entered

        return work

    def _answers(self, point: str, wanted: list[str], job: Job) -> dict[str, PathFacts]:
        facts: dict[str, PathFacts] = {}
        for path, plain, rdev, entered in job.items():
            memory = plain["remembered"]
            plain["remembered"] = Remembered(*memory) if memory else None
            facts[path] = PathFacts(FileFacts(**plain), rdev, entered)
            facts[path].facts.mount = point if facts[path].facts.exists else None
        if job.problem:
            self.stuck[point] = job.problem
            if job.bug:
                self.bugs.append(job.problem)
        why = f"{point}: {job.problem or 'no answer for this file'}"
        for path in wanted:
            facts.setdefault(path, PathFacts(FileFacts(error=why, mount=point)))
        return facts
