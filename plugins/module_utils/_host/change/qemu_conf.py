# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu.conf on the host: its text, the facts of the host that matter for it, and its change.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from ..._core.errors import HostReadError
from ..._core.harden.daemon_restart import newer
from ..._core.harden.qemu_conf import files_of_guests
from ..._core.libvirt.qemu_conf import MAX_TEXT
from ..._core.result import Reason
from ..._core.snapshot.model import Daemon
from ..base.file_write import FileState, change_file
from ..base.journal import Journal
from ..base.root import Root, label_of, reason
from ..probe import daemon, processes, selinux, storage
from ..probe.probe import Options, Probe, Tools

#: For a file that the host does not have yet, as distributions ship it.
MODE = 0o600
_LABEL = "security.selinux"


@dataclass(repr=False, eq=False)
class QemuConfFacts:
    """Facts of the host that matter for qemu.conf."""

    text: str
    #: The file exists.
    present: bool
    #: SELinux's mode, and the kernel's security modules.
    mode: str
    lsms: list[str]
    #: Label for a new file; None where SELinux is off.
    label: str | None
    #: The daemon that runs the guests; None where none runs.
    daemon: Daemon | None
    #: Why the daemon does not read the file; empty where it does.
    unread: str = ""
    #: Why it is not settled which daemon reads it; None where it is.
    unsettled: Reason | None = None
    #: The file changed after the daemon started.
    stale: bool = False
    #: Folders that the host exports by NFS from file systems of its own.
    exported: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)


def read(root: Root, path: str, exports: bool = False) -> QemuConfFacts:
    """Read the file and the host, which has libvirt. Raises HostReadError."""
    present = root.exists(path)
    text = _text(root, path)
    security = selinux.read(root).facts
    enabled = security.mode != "disabled"
    label = _label_beside(root, path) if enabled else None
    running = daemon.find(root, processes.read(root, ()).daemons, container_types=security.container_types).daemon
    facts = QemuConfFacts(
        text, present, security.mode, security.lsms, label, running if running and running.pid else None
    )
    facts.unsettled = daemon.setup_doubt(root, running)
    if facts.daemon is not None:
        facts.unread = daemon.host_files_unread(facts.daemon)
        started = daemon.started_at(root, facts.daemon)
        facts.stale = bool(newer(daemon.changes(root, [path]), started))
    if exports:
        facts.exported = _exported(root, facts.warnings)
    return facts


def guest_files(root: Root, timeout: float, tools: Tools | None = None) -> tuple[frozenset[str], str]:
    """Paths of all files of guests, running or defined, and why they are not all known."""
    return files_of_guests(Probe(root, Options(timeout), tools or Tools()).take())


def write(path: str, text: str, facts: QemuConfFacts, journal: Journal) -> None:
    """Change the file and journal its old state. Raises HostWriteError and JournalError."""
    basis = FileState(_bytes(facts.text) if facts.present else None)
    mode = None if facts.present else MODE
    change_file(path, _bytes(text), journal, mode=mode, label=facts.label, basis=basis)


def _label_beside(root: Root, path: str) -> str | None:
    """The label of the file's folder, which the policies give to the files there as well; None where it has none."""
    try:
        return label_of(root.getxattr(posixpath.dirname(path), _LABEL))
    except OSError:
        return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(root: Root, path: str) -> str:
    try:
        return root.read_text(path, MAX_TEXT)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise HostReadError(f"{path} cannot be read: {reason(error)}") from error


def _exported(root: Root, warnings: list[str]) -> tuple[str, ...]:
    """Exported folders, without those on remote file systems: libvirt knows these as shared by their type."""
    exports, problem = storage.exports(root)
    table, more = storage.mount_table(root)
    warnings += [why.text for why in (problem, more) if why]
    mounts = {item.path: table.of(item.path) for item in exports}
    return tuple(sorted(path for path, mount in mounts.items() if mount is None or not mount.remote))
