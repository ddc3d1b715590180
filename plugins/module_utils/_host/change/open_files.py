# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that have files open: one pass through /proc for many files, and files that the kernel has open.

Files are identified by device and inode, so neither their names nor the mount namespaces of the processes matter.
Files that NFS clients have open are in the NFS server's own list.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import os
import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError
from ..._core.harden.images.model import FileHolder
from ..base.deadline import Job
from ..base.root import Root, reason, text_of
from ..probe.guest_files import device

#: Device as MAJOR:MINOR, and inode.
Identity = tuple[str, int]

_GONE = (FileNotFoundError, ProcessLookupError, NotADirectoryError)
_NFSD = "/proc/fs/nfsd/clients"
_OPEN_BY_CLIENT = re.compile(r'superblock: "([0-9a-f]+):([0-9a-f]+):(\d+)"')
_MAX_MAPS = 16 * 1024 * 1024


@dataclass
class OpenFiles:
    """Holders of each file."""

    holders: dict[Identity, list[FileHolder]] = field(default_factory=dict)
    #: Why the list may be incomplete; empty when it is complete.
    problem: str = ""

    def of(self, identity: Identity) -> list[FileHolder]:
        """Holders of this file."""
        return self.holders.get(identity, [])

    def add(self, identity: Identity, holder: FileHolder) -> None:
        """Add a holder, once."""
        holders = self.holders.setdefault(identity, [])
        if holder not in holders:
            holders.append(holder)


def find(root: Root, files: t.Mapping[Identity, str], timeout: float) -> OpenFiles:
    """Holders of these files, each given with its path. Runs in a child: a file on dead storage may hang it."""
    result = OpenFiles()
    if not files:
        return result
    try:
        us = os.getpid()  # this process holds files only to change them
        job = Job(lambda: _OpenFileScan(root, files, us).run(), timeout)
    except OSError as error:
        return OpenFiles(problem=reason(error))
    for item in job.items():
        if len(item) == 1:
            result.problem = result.problem or item[0]
        else:
            result.add((item[0], item[1]), FileHolder(item[2], item[3]))
    result.problem = result.problem or str(job.problem or "")
    return result


ScanItem = tuple[t.Any, ...]


@dataclass(repr=False, eq=False)
class _OpenFileScan:
    """Yields (device, inode, pid, name) for each holder, and (why,) for what could not be read."""

    root: Root
    files: t.Mapping[Identity, str]
    us: int

    def run(self) -> t.Iterator[ScanItem]:
        if not self.root.privileged:
            yield ("not root",)
        names = {(posixpath.basename(path), inode): (number, inode) for (number, inode), path in self.files.items()}
        ours = {self.us, os.getpid()}
        for pid in self.root.listdir("/proc"):
            if pid.isdigit() and int(pid) not in ours:
                yield from self._process(int(pid), names)
        yield from self._kernel()
        yield from self._clients()

    def _process(self, pid: int, names: t.Mapping[tuple[str, int], Identity]) -> t.Iterator[ScanItem]:
        seen: set[Identity] = set()
        try:
            for number in self.root.listdir(f"/proc/{pid}/fd"):
                identity = self._identity(f"/proc/{pid}/fd/{number}")
                if identity in self.files:
                    seen.add(identity)  # type: ignore[arg-type]  # files holds no None
            seen.update(self._mapped(pid, names))
        except _GONE:
            pass
        except (OSError, HostReadError) as error:
            yield (f"process {pid}: {reason(error)}",)
        for identity in seen:
            yield (*identity, pid, self.root.line(f"/proc/{pid}/comm") or "")

    def _identity(self, path: str) -> Identity | None:
        try:
            facts = self.root.stat(path)
        except _GONE:
            return None
        except OSError:
            # The file's storage is dead or private: none of ours, which answered. Else the process is closed to us.
            self.root.readlink(path)
            return None
        return device(facts.st_dev), facts.st_ino

    def _mapped(self, pid: int, names: t.Mapping[tuple[str, int], Identity]) -> t.Iterator[Identity]:
        """Files that are mapped although their descriptor is closed."""
        last = None
        for line in self.root.read_bytes(f"/proc/{pid}/maps", _MAX_MAPS).splitlines():
            words = line.split(None, 5)
            if len(words) < 6 or words[4] == b"0" or words[3:] == last:
                continue
            last = words[3:]
            major, _colon, minor = words[3].partition(b":")
            inode = int(words[4])
            identity = (f"{int(major, 16)}:{int(minor, 16)}", inode)
            # btrfs shows another device here than stat does
            named = names.get((posixpath.basename(text_of(words[5])), inode))
            if identity in self.files:
                yield identity
            elif named is not None:
                yield named

    def _kernel(self) -> t.Iterator[ScanItem]:
        """Loop devices, swap files and files that the host serves as disks."""
        for path, name in self._served():
            identity = self._identity(path)
            if identity in self.files and identity is not None:
                yield (*identity, 0, name)

    def _served(self) -> t.Iterator[tuple[str, str]]:
        for loop in self._names("/sys/block"):
            path = self.root.line(f"/sys/block/{loop}/loop/backing_file") if loop.startswith("loop") else None
            if path:
                yield path, f"device {loop}"
        try:
            swaps = self.root.read_text("/proc/swaps").splitlines()[1:]
        except (OSError, HostReadError):
            swaps = []
        for line in swaps:
            yield line.split(None, 1)[0].replace("\\040", " "), "the kernel's swap"
        targets = "/sys/kernel/config/target/core"
        for backend in self._names(targets):
            for disk in self._names(f"{targets}/{backend}") if backend.startswith("fileio_") else []:
                path = self.root.line(f"{targets}/{backend}/{disk}/udev_path")
                if path:
                    yield path, f"iSCSI disk {disk}"

    def _clients(self) -> t.Iterator[ScanItem]:
        """Files that NFS 4 clients have open."""
        for client in self._names(_NFSD):
            try:
                states = text_of(self.root.read_bytes(f"{_NFSD}/{client}/states"))
            except _GONE:
                continue
            except (OSError, HostReadError) as error:
                yield (f"{_NFSD}/{client}: {reason(error)}",)
                continue
            for major, minor, inode in _OPEN_BY_CLIENT.findall(states):
                identity = (f"{int(major, 16)}:{int(minor, 16)}", int(inode))
                if identity in self.files:
                    yield (*identity, 0, f"NFS client {client}")

    def _names(self, folder: str) -> list[str]:
        try:
            return self.root.names(folder)
        except (OSError, HostReadError):
            return []
