# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and symbolic links of a host, created and removed with a record in the journal, and restored from it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import errno
import os
import stat
import typing as t

from ..._core.errors import HostWriteError, PlanError
from ..._core.harden.rollback import judged_path
from ..._core.result import Reason
from ..base.journal import Entry, Journal, sync_folder
from ..base.root import reason

#: Journal entries about a link or folder that was created, or a link that was removed.
KIND = "path"


def make_folder(path: str, journal: Journal) -> None:
    """Create a folder and those above it that are missing. Raises HostWriteError."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_folder(parent, journal)
    journal.record([Entry(KIND, path, {"link": None}, {"folder": True})])
    try:
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)  # noqa: S103 - daemons of other users read these folders, whatever the umask is
        sync_folder(parent)
    except OSError as error:
        raise HostWriteError(f"{path} cannot be made: {reason(error)}") from error


def make_link(path: str, target: str, journal: Journal) -> None:
    """Create a symbolic link, by one step of the kernel. Raises HostWriteError."""
    journal.record([Entry(KIND, path, {"link": None}, {"link": target})])
    try:
        os.symlink(target, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        raise HostWriteError(f"{path} cannot be made: {reason(error)}") from error


def remove_link(path: str, target: str | None, journal: Journal) -> None:
    """Remove a symbolic link with this target. Raises HostWriteError."""
    journal.record([Entry(KIND, path, {"link": target}, {"link": None})])
    _remove(path)


def link_of(path: str) -> tuple[str | None, bool]:
    """The target of a symbolic link, None without one, and whether a file has its place. Raises HostWriteError."""
    try:
        return os.readlink(path), False
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            raise HostWriteError(f"{path} cannot be read: {reason(error)}") from error
        return None, error.errno == errno.EINVAL


def restore(entry: Entry) -> None:
    """Restore a removed link, or remove the link or folder that was created, while it is still ours.

    Raises PlanError where it is not, and HostWriteError.
    """
    verdict = judged_path(entry, look_at_path(entry))
    if isinstance(verdict, Reason):
        raise PlanError(verdict.text, verdict.code)
    if not verdict:
        return
    target = entry.before["link"]
    if target is None:
        _remove(entry.subject)
        return
    try:
        os.symlink(target, entry.subject)
        sync_folder(os.path.dirname(entry.subject))
    except FileExistsError as error:
        raise PlanError(
            f"{entry.subject} was created by somebody else just now; it was left alone", "not_ours"
        ) from error
    except OSError as error:
        raise HostWriteError(f"{entry.subject} cannot be made again: {reason(error)}") from error


def look_at_path(entry: Entry) -> dict[str, t.Any]:
    """What has the name of a link or folder of the journal now. Raises HostWriteError."""
    path = entry.subject
    parent = os.path.dirname(path)
    try:
        facts = os.lstat(path)
        if os.path.realpath(parent) != parent:  # a folder above became a link: whatever is there, it is not ours
            return {"link": None, "folder": False, "other": True}
        link = os.readlink(path) if stat.S_ISLNK(facts.st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return {"link": None, "folder": False, "other": False}
    except OSError as error:
        raise HostWriteError(f"{path} cannot be looked at: {reason(error)}") from error
    folder = stat.S_ISDIR(facts.st_mode)
    return {"link": link, "folder": folder, "other": link is None and not folder}


def _remove(path: str) -> None:
    """Remove a link or an empty folder; a folder that others use by now stays."""
    try:
        if os.path.islink(path):
            os.unlink(path)
        elif os.path.isdir(path):
            os.rmdir(path)
        else:
            return
        sync_folder(os.path.dirname(path))
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise HostWriteError(f"{path} cannot be removed: {reason(error)}") from error
