# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Survey, label and restore images, each through one open descriptor from the first check to the last.

A path is walked component by component; no link below the given folder is followed. The change applies to the file
behind the descriptor, whatever happens to the path meanwhile. The descriptor is checked before and after the change:
one name only, the planned inode, the planned label, and after it a path that still leads there. If a check fails after
the change, the file is restored.

While a file changes, libvirt's own lock on its metadata is held: a guest that starts at the same moment either comes
first, and its label is seen, or after, and sets its own.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import os
import stat
import typing as t
from dataclasses import asdict, dataclass, field

from ..._core.errors import HostReadError, HostWriteError, PlanError, SvirtError
from ..._core.harden.images.model import (
    CLOSED,
    REMEMBERED,
    FileHolder,
    ImageChange,
    ImageKey,
    ImageTarget,
    SurveyedFile,
    owner_text,
)
from ..._core.paths import below
from ..._core.result import Reason
from ..base.deadline import Job
from ..base.journal import Entry, Journal
from ..base.paths import MountTable, may_hang
from ..base.root import Root, label_of, reason, text_of
from ..probe.guest_files import LABEL, device
from ..probe.storage import mount_table
from . import file_contexts, open_files

KIND = "label"

_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "dir"),
    (stat.S_ISBLK, "block"),
    (stat.S_ISCHR, "char"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISFIFO, "fifo"),
)
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: libvirt locks this byte of a file while it changes the file's label (virSecurityManagerMetadataLock).
_LOCK_BYTE = 1
_NO_LOCK = (errno.EACCES, errno.EAGAIN)
#: Seconds for one pass through /proc when a label is put back.
_SCAN_TIMEOUT = 30.0


class _RefusedError(SvirtError):
    """The file is left alone, or restored; the message says why."""


@contextlib.contextmanager
def opened(path: str, within: t.Sequence[str] = (), pid: int | None = None) -> t.Iterator[int]:
    """The file itself, by a descriptor for reading and changing its attributes only. Raises OSError.

    Links are followed in the path of a folder of ``within`` that the file lies in, for its owner chose it, and nowhere
    else: a link below it is an error. With ``pid``, the path starts at that process's own root.
    """
    start = next((top for top in sorted(within, key=len, reverse=True) if below(path, top)), "/")
    rest = path[len(start.rstrip("/")) :] if pid is None else path
    handle = os.open(start if pid is None else f"/proc/{pid}/root/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = [name for name in rest.split("/") if name]
        for index, name in enumerate(names):
            if name in (".", ".."):
                raise OSError(errno.EINVAL, "the path is not plain", path)
            flags = _STEP if index == len(names) - 1 else _STEP | os.O_DIRECTORY
            try:
                following = os.open(name, flags, dir_fd=handle)
            except NotADirectoryError as error:
                raise OSError(errno.ELOOP, "a link or no folder is on the way", path) from error
            os.close(handle)
            handle = following
        if stat.S_ISLNK(os.fstat(handle).st_mode):
            raise OSError(errno.ELOOP, "it is a symbolic link", path)
        yield handle
    finally:
        os.close(handle)


@dataclass(frozen=True)
class ImageState:
    """A file as it is."""

    kind: str
    device: str
    inode: int
    links: int
    uid: int
    gid: int
    mode: int
    #: The label and what libvirt remembers, raw.
    xattrs: dict[str, bytes] = field(default_factory=dict)

    @property
    def label(self) -> str | None:
        """The label as text."""
        return label_of(self.xattrs.get(LABEL))


def state_of(handle: int) -> ImageState:
    """The file behind a descriptor. Raises OSError."""
    facts = os.fstat(handle)
    path = _by(handle)
    try:
        names = [name for name in os.listxattr(path) if name.startswith(REMEMBERED)]
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        names = []
    # The label is not always listed: file systems without attributes still have one while SELinux is on.
    xattrs = {name: value for name in [LABEL, *names] if (value := _xattr(path, name)) is not None}
    kind = next((kind for test, kind in _KINDS if test(facts.st_mode)), "link")
    number = device(facts.st_dev)
    mode = stat.S_IMODE(facts.st_mode)
    return ImageState(kind, number, facts.st_ino, facts.st_nlink, facts.st_uid, facts.st_gid, mode, xattrs)


def _xattr(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def _by(handle: int) -> str:
    """Path of the file behind the descriptor."""
    return f"/proc/self/fd/{handle}"


@dataclass(repr=False, eq=False)
class ImageSurvey:
    """Reads many files just before they change: state, label, and the processes that have them open."""

    root: Root
    within: tuple[str, ...]
    timeout: float
    #: Another table of file contexts than the host's.
    contexts: str | None = None

    def take(self, targets: t.Sequence[ImageTarget]) -> dict[ImageKey, SurveyedFile]:
        """Each file as it is now. A file that cannot be read has its ``error`` set."""
        mounts, problem = mount_table(self.root)
        if problem:
            files = {target.key: SurveyedFile(error=problem.text) for target in targets}
        else:
            files = self._look(targets, mounts)
        self._defaults(targets, files)
        self._holders(targets, files)
        return files

    def _look(self, targets: t.Sequence[ImageTarget], mounts: MountTable) -> dict[ImageKey, SurveyedFile]:
        far: dict[str, list[ImageTarget]] = {}
        files: dict[ImageKey, SurveyedFile] = {}
        for target in targets:
            mount = mounts.of(self._real(target)) if target.pid is None else None
            if mount is not None and may_hang(mount):
                far.setdefault(mount.mount, []).append(target)
            else:
                files[target.key] = self._read(target)
            if mount is not None and target.key in files:
                files[target.key].labelled = mount.labelled
        jobs = [(point, group, Job(self._far(group), self.timeout)) for point, group in sorted(far.items())]
        for point, group, job in jobs:
            mount = mounts.of(point)
            for index, plain in job.items():
                plain["holders"] = []
                files[group[index].key] = SurveyedFile(**plain)
            for target in group:
                problem = f"{point}: {job.problem or 'no answer for this file'}"
                surveyed = files.setdefault(target.key, SurveyedFile(error=problem))
                surveyed.remote = mount is not None and mount.remote
                surveyed.labelled = mount is not None and mount.labelled
        return files

    def _real(self, target: ImageTarget) -> str:
        """Where the file lies, with the links in the path of its folder followed."""
        folder = next((top for top in sorted(self.within, key=len, reverse=True) if below(target.path, top)), None)
        if folder is None:
            return target.path
        return os.path.realpath(folder).rstrip("/") + target.path[len(folder.rstrip("/")) :]

    def _far(self, targets: t.Sequence[ImageTarget]) -> t.Callable[[], t.Iterator[t.Any]]:
        def work() -> t.Iterator[t.Any]:
            for index, target in enumerate(targets):
                yield index, asdict(self._read(target))

        return work

    def _read(self, target: ImageTarget) -> SurveyedFile:
        try:
            with opened(target.path, self.within, target.pid) as handle:
                state = state_of(handle)
        except (OSError, ValueError) as error:
            return SurveyedFile(error=reason(error))
        memory = {name: text_of(value).rstrip("\0") for name, value in state.xattrs.items() if name != LABEL}
        facts = (state.kind, state.device, state.inode, state.links, state.label, state.uid, state.gid, state.mode)
        return SurveyedFile("", *facts, memory=memory)

    def _defaults(self, targets: t.Sequence[ImageTarget], files: t.Mapping[ImageKey, SurveyedFile]) -> None:
        unlabelled = [
            target for target in targets if target.relabel and target.label is None and not files[target.key].error
        ]
        try:
            labels = file_contexts.defaults(
                [(target.path, files[target.key].kind or "") for target in unlabelled], self.timeout, self.contexts
            )
        except HostReadError as error:
            for target in unlabelled:
                files[target.key].error = reason(error)
            return
        for target in unlabelled:
            files[target.key].default = labels[(target.path, files[target.key].kind or "")]

    def _holders(self, targets: t.Sequence[ImageTarget], files: t.Mapping[ImageKey, SurveyedFile]) -> None:
        paths = {
            (item.device, item.inode): target.path
            for target in targets
            if not (item := files[target.key]).error and target.pid is None and item.kind == "file"
            if item.device is not None and item.inode is not None
        }
        opened_files = open_files.find(self.root, paths, self.timeout)
        for item in files.values():
            if (item.device, item.inode) in paths:
                item.holders = list(opened_files.of((item.device or "", item.inode or 0)))
                item.blind = opened_files.problem


def apply(
    changes: t.Sequence[ImageChange], within: t.Sequence[str], journal: Journal, root: Root
) -> dict[ImageKey, Reason]:
    """Make the changes, each checked once more. Gives the reason for each that was not made.

    Everything goes into the journal at once, before the first change. Raises JournalError; then nothing was changed.
    """
    refused = _opened_since(changes, root)
    changes = [change for change in changes if change.target.key not in refused]
    entries: list[Entry] = []
    ready: list[ImageChange] = []
    for change in changes:
        target = change.target
        try:
            with opened(target.path, within, target.pid) as handle:
                entries.append(_entry(change, _as_planned(handle, change), within))
            ready.append(change)
        except (OSError, ValueError, _RefusedError) as error:
            refused[target.key] = _why(error)
    journal.record(entries)
    for change in ready:
        try:
            _change(change, within)
        except (OSError, _RefusedError, HostWriteError) as error:
            refused[change.target.key] = _why(error)
    return refused


def _opened_since(changes: t.Iterable[ImageChange], root: Root) -> dict[ImageKey, Reason]:
    """Files opened since the survey: waiting for the journal and compiling rules takes time."""
    files = {
        (change.file.device, change.file.inode): change
        for change in changes
        if change.target.pid is None and change.file.kind == "file"
        if change.file.device is not None and change.file.inode is not None
    }
    paths = {identity: change.target.path for identity, change in files.items()}
    opened_files = open_files.find(root, paths, _SCAN_TIMEOUT)
    refused = {}
    for identity, change in files.items():
        fresh = [holder for holder in opened_files.of(identity) if holder not in change.file.holders]
        if fresh:
            refused[change.target.key] = Reason("open", f"in use since just now: open by {_names(fresh)}")
        elif opened_files.problem:
            text = f"it is not known who has it open: {opened_files.problem}"
            refused[change.target.key] = Reason("holders_unknown", text)
    return refused


def _why(error: BaseException) -> Reason:
    """The reason that an error gives, without the path of the descriptor."""
    if isinstance(error, OSError) and error.strerror:
        return Reason("not_writable", f"{error.strerror}; it is as it was")
    return Reason(error.code if isinstance(error, SvirtError) else "not_writable", reason(error))


def _entry(change: ImageChange, state: ImageState, within: t.Sequence[str]) -> Entry:
    return Entry(
        KIND,
        change.target.path,
        {
            "pid": change.target.pid,
            "within": [folder for folder in within if below(change.target.path, folder)],
            "shared": change.shared,
            "device": state.device,
            "inode": state.inode,
            "owner": [state.uid, state.gid, state.mode] if change.close else None,
            "xattrs": {name: _text(state.xattrs.get(name)) for name in _touched(change)},
            "set": change.label,
        },
    )


def _touched(change: ImageChange) -> list[str]:
    return ([LABEL] if change.label is not None else []) + list(change.forget)


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")


def _as_planned(handle: int, change: ImageChange) -> ImageState:
    """The file's state, when file and state are as planned."""
    state, file = state_of(handle), change.file
    if (state.device, state.inode) != (file.device, file.inode):
        raise _RefusedError("another file is in its place now; it was left alone", "another_file")
    if state.kind != "dir" and state.links != 1:
        raise _RefusedError(f"it has {state.links} names (hard links) now; it was left alone", "hard_links")
    if state.label != file.label:
        raise _RefusedError(
            f"its label is {state.label} now, so somebody else is at work; it was left alone", "label_changed"
        )
    memory = {name: text_of(value).rstrip("\0") for name, value in state.xattrs.items() if name != LABEL}
    if memory != file.memory:
        raise _RefusedError("what libvirt remembers of it changed just now; it was left alone", "remembered_changed")
    return state


def _change(change: ImageChange, within: t.Sequence[str]) -> None:
    """One file. Raises OSError and _RefusedError; the file is then as it was."""
    target = change.target
    with opened(target.path, within, target.pid) as handle, _libvirt_lock(handle):
        before = _as_planned(handle, change)
        try:
            _set(handle, change)
            _still_there(handle, change, within)
        except BaseException:
            _undo(handle, before, _touched(change), change.close)
            raise


def _set(handle: int, change: ImageChange) -> None:
    path = _by(handle)
    if change.close:
        os.chown(path, CLOSED[0], CLOSED[1])
        os.chmod(path, CLOSED[2])
    if change.label is not None:
        _label(path, change.label)
    for name in change.forget:
        with contextlib.suppress(FileNotFoundError):
            os.removexattr(path, name)


def _label(path: str, label: str) -> None:
    try:
        os.setxattr(path, LABEL, label.encode() + b"\0")
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise _RefusedError(
                f"the loaded policy does not know the label {label}", "label_unknown_to_policy"
            ) from error
        raise


def _still_there(handle: int, change: ImageChange, within: t.Sequence[str]) -> None:
    """It got no second name meanwhile and was not moved away, which would take the change out of its folder."""
    facts = os.fstat(handle)
    if not stat.S_ISDIR(facts.st_mode) and facts.st_nlink != 1:
        raise _RefusedError(
            f"it got another name while it was changed ({facts.st_nlink} now); it is as it was", "hard_links"
        )
    try:
        with opened(change.target.path, within, change.target.pid) as again:
            now = os.fstat(again)
    except OSError as error:
        text = f"its path changed while it was changed ({reason(error)}); it is as it was"
        raise _RefusedError(text, "path_changed") from error
    if (now.st_dev, now.st_ino) != (facts.st_dev, facts.st_ino):
        raise _RefusedError("another file took its place while it was changed; it is as it was", "another_file")


def _put_back(handle: int, before: ImageState, names: t.Iterable[str], owner: bool) -> None:
    path = _by(handle)
    for name in names:
        value = before.xattrs.get(name)
        if value is not None:
            os.setxattr(path, name, value)
        else:
            _remove(path, name)
    if owner:
        os.chown(path, before.uid, before.gid)
        os.chmod(path, before.mode)


def _undo(handle: int, before: ImageState, names: t.Iterable[str], owner: bool) -> None:
    try:
        _put_back(handle, before, names, owner)
    except OSError as error:
        why = error.strerror or str(error)
        raise HostWriteError(
            f"only a part of it was changed, and could not be put back: {why}", "not_restored"
        ) from error


def _remove(path: str, name: str) -> None:
    try:
        os.removexattr(path, name)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise


@contextlib.contextmanager
def _libvirt_lock(handle: int) -> t.Iterator[None]:
    """Hold libvirt off the file's metadata, where the file can be locked."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        yield
        return
    try:
        lock = os.open(_by(handle), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # a file system that is read-only: libvirt locks nothing there either
        yield
        return
    try:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LOCK_BYTE)
        except OSError as error:
            if error.errno in _NO_LOCK:
                raise _RefusedError(
                    "libvirt is just changing its label; it was left alone", "libvirt_changes_label"
                ) from error
        yield
    finally:
        os.close(lock)


def restore(entry: Entry, root: Root | None = None, dry: bool = False) -> None:
    """Restore a file's label, owner, mode and attributes from the journal; ``dry``: only see whether that may be.

    Raises PlanError where that must not be: the file is in use, or is another one. Raises HostWriteError where it
    cannot be; the file is then unchanged.
    """
    before = _checked(entry)
    try:
        with opened(entry.subject, before.within, before.pid) as handle, _libvirt_lock(handle):
            now = state_of(handle)
            if before.holds(now):
                return  # a run that was killed had not changed it yet, or another rollback was before this one
            _refuse(entry.subject, before, now, root or Root())
            if dry:
                return
            try:
                _put_back(handle, before.state(now), before.xattrs, before.owner is not None)
            except BaseException:
                _undo(handle, now, before.xattrs, before.owner is not None)
                raise
    except FileNotFoundError as error:
        if before.pid is not None:
            return  # the node went with the guest that had it
        text = f"image {entry.subject}: it is gone ({reason(error)}); there is nothing to put back"
        raise PlanError(text, "file_gone") from error
    except _RefusedError as error:
        raise PlanError(f"image {entry.subject}: {error}", error.code) from None
    except (OSError, ValueError) as error:
        text = f"image {entry.subject} cannot be put back: {reason(error)}; it is as it was"
        raise HostWriteError(text, "not_writable") from error


@dataclass(frozen=True)
class _JournalledFile:
    pid: int | None
    within: list[str]
    shared: bool
    device: str
    inode: int
    owner: tuple[int, int, int] | None
    xattrs: dict[str, bytes | None]
    set: str | None

    def holds(self, now: ImageState) -> bool:
        """Whether the file has its former state already."""
        same = (now.device, now.inode) == (self.device, self.inode)
        owner = self.owner in (None, (now.uid, now.gid, now.mode))
        return same and owner and all(now.xattrs.get(name) == value for name, value in self.xattrs.items())

    def changed_by_others(self, now: ImageState) -> str:
        """What of owner, mode and libvirt's notes is neither as it was nor as it was set; empty where nothing is."""
        if self.owner is not None and not self._owner_is_ours(now):
            return f"its owner and mode are {owner_text(now.uid, now.gid, now.mode)} now"
        for name, value in self.xattrs.items():
            if name != LABEL and now.xattrs.get(name) not in (None, value):
                return f"libvirt remembers an owner of it again ({name})"
        return ""

    def _owner_is_ours(self, now: ImageState) -> bool:
        """As it was, as it was set, or between the two, where a run was killed."""
        uid, gid, mode = self.owner or CLOSED
        return (now.uid, now.gid) in ((uid, gid), CLOSED[:2]) and now.mode in (mode, mode & 0o1777, CLOSED[2])

    def state(self, now: ImageState) -> ImageState:
        """The file's former state; what the change did not touch is as it is now."""
        uid, gid, mode = self.owner or (now.uid, now.gid, now.mode)
        kept = {name: value for name, value in self.xattrs.items() if value is not None}
        return ImageState(now.kind, now.device, now.inode, now.links, uid, gid, mode, kept)


def _checked(entry: Entry) -> _JournalledFile:
    try:
        before = dict(entry.before)
        before["xattrs"] = {
            name: None if value is None else base64.b64decode(value) for name, value in before["xattrs"].items()
        }
        before["owner"] = None if before["owner"] is None else tuple(before["owner"])
        if any(name != LABEL and not name.startswith(REMEMBERED) for name in before["xattrs"]):
            raise ValueError("an attribute that is none of ours")
        return _JournalledFile(**before)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"image {entry.subject}: the journal's entry is none of a label ({error})"
        raise PlanError(text, "bad_journal_entry") from error


def _refuse(path: str, before: _JournalledFile, now: ImageState, root: Root) -> None:
    if (now.device, now.inode) != (before.device, before.inode):
        raise PlanError(f"image {path}: another file is in its place now; it was left alone", "another_file")
    if now.kind != "dir" and now.links != 1:
        raise PlanError(f"image {path}: it has {now.links} names (hard links) now; it was left alone", "hard_links")
    if before.pid is not None:
        text = f"image {path}: process {before.pid} still runs and uses it; it was left alone"
        raise PlanError(text, "guest_runs")
    if before.shared and before.set is not None and now.label != before.set:
        raise PlanError(
            f"image {path}: other hosts share its storage, and its label is {now.label} now, so that one of them may "
            "use it; it was left alone",
            "use_elsewhere_unknown",
        )
    old = before.xattrs.get(LABEL)  # a run that was killed may not have set the new one yet
    was = text_of(old).rstrip("\0") if old is not None else None
    if before.set is not None and now.label not in (before.set, was):
        text = f"image {path}: its label is {now.label} now, which this collection did not set; it was left alone"
        raise PlanError(text, "changed_since")
    others = before.changed_by_others(now)
    if others:
        text = f"image {path}: {others}, which this collection did not set; it was left alone"
        raise PlanError(text, "changed_since")
    if now.kind != "file":
        return
    opened_files = open_files.find(root, {(now.device, now.inode): path}, _SCAN_TIMEOUT)
    holders = _names(opened_files.of((now.device, now.inode)))
    if holders:
        raise PlanError(f"image {path}: in use: open by {holders}; it was left alone", "open")
    if opened_files.problem:
        why = f"it is not known who has it open: {opened_files.problem}"
        raise PlanError(f"image {path}: {why}; it was left alone", "holders_unknown")


def _names(holders: t.Sequence[FileHolder]) -> str:
    return ", ".join(str(holder) for holder in holders[:3])
