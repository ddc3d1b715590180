# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which surveyed files change, and why the others are left alone.

Held against each file: who has it open, what libvirt remembers of it, and what other hosts that share its storage use
(shared_use.py).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ...facts import images
from ...facts.guests import selinux_off
from ...facts.subjects import guest_name
from ...libvirt import file_labels
from ...paths import below, below_any
from ...result import Reason, Refusal
from ...selinux.context import read_context, type_of
from ...selinux.file_contexts import NONE, label_by
from ...snapshot.model import Snapshot
from ...words import some
from ..shared_use import FolderUse
from .model import CLOSED, IN_USE, REMEMBERED, FileHolder, ImageChange, ImageKey, ImagePlan, ImageTarget, SurveyedFile
from .requested import ImageRequests

#: libvirt's lock daemons have images open while their guest runs.
_LOCK_DAEMONS = frozenset(("virtlockd", "sanlock"))
_FTYPES = {"file": "f", "dir": "d", "block": "b", "char": "c", "socket": "s", "fifo": "p"}


def settle(
    snapshot: Snapshot,
    requests: ImageRequests,
    targets: t.Iterable[ImageTarget],
    files: t.Mapping[ImageKey, SurveyedFile],
) -> ImagePlan:
    """The change of each file, by the survey."""
    plan = ImagePlan()
    judge = _Judge(snapshot, requests)
    for target in targets:
        outcome = judge.outcome(target, files.get(target.key) or SurveyedFile(error="it was not looked at"))
        if isinstance(outcome, Refusal):
            plan.refused.append(outcome)
        elif outcome is not None:
            plan.changes.append(outcome)
    return plan


def not_foreseen(changes: t.Iterable[ImageChange], foreseen: t.Collection[str]) -> list[ImageChange]:
    """The changes without those of images in use that an earlier task in check mode planned, by their subjects."""
    return [item for item in changes if item.target.repair != IN_USE or item.target.subject not in foreseen]


class _Judge:
    def __init__(self, snapshot: Snapshot, requests: ImageRequests) -> None:
        self.snapshot = snapshot
        self.requests = requests
        self.exports = [folder for storage in snapshot.storage for folder in storage.exports]
        self.types = file_labels.ImageTypes.of(snapshot.selinux.image_types)
        self.readable = {item.target: item.read for item in images.asked_by_guests(snapshot) if item.read}
        self.asked = {item.target for item in images.asked_by_guests(snapshot)}
        self.running: dict[t.Any, str] = {}
        for file in images.files(snapshot):
            if file.active and not file.in_namespace:
                name = guest_name(file.active[0].guest)
                self.running[file.real_path] = self.running[(file.facts.device, file.facts.inode)] = name

    def outcome(self, target: ImageTarget, file: SurveyedFile) -> ImageChange | Refusal | None:
        """The change, why there is none, or None where nothing is to change."""
        if file.error:
            return Refusal(target.subject, Reason("not_readable", file.error))
        change = self._change(target, file)
        if not change.steps():
            return Refusal(target.subject, target.kept) if target.kept else None
        for check in (self._same_as_read, self._bounds, self._in_use, self._remembered, self._shared):
            reason = check(target, file)
            if reason is not None:
                return Refusal(target.subject, reason)
        return Refusal(target.subject, target.kept) if target.kept else change

    def _change(self, target: ImageTarget, file: SurveyedFile) -> ImageChange:
        label = (target.label or self._default(target, file)) if target.relabel else None
        rests = file.label if label is None else label
        close = target.close
        if target.close_if_readable:
            close = bool(self.readable.get(rests or "")) or rests not in self.asked
        if (file.uid, file.gid, file.mode) == CLOSED or target.kept:
            close = False
        forget = tuple(sorted(file.memory)) if target.forget else ()
        label = None if label == file.label else label
        return ImageChange(target, file, label, close, forget, self._is_shared(target, file))

    def _default(self, target: ImageTarget, file: SurveyedFile) -> str:
        """The label that the policy gives the path, unless there is none or it lets every guest write."""
        ftype = _FTYPES.get(file.kind or "", "f")
        label = label_by(self.requests.rules, target.path, ftype) or file.default
        if label is None or label == NONE or type_of(label) == self.types.image:
            return self.requests.fallback
        return label

    def _same_as_read(self, target: ImageTarget, file: SurveyedFile) -> Reason | None:
        """Why it is not the file in the snapshot, or none whose label may be set."""
        kinds = {"block", "char", "file"} if target.pid else {"file", "dir"}
        if file.kind not in kinds:
            return Reason("not_a_plain_file", f"it is no plain file but a {file.kind}")
        has_identity = target.inode is not None and target.device is not None
        if has_identity and (file.device, file.inode) != (target.device, target.inode):
            return Reason("another_file", "there is another file now than when the host was read")
        if target.read_label is not None and file.label != target.read_label:
            text = f"its label is {file.label} now, and was {target.read_label} when the host was read"
            return Reason("label_changed", text)
        if file.kind != "dir" and file.links != 1:
            text = f"it has {file.links} names (hard links), and the others would change with it"
            return Reason("hard_links", text)
        return None

    def _bounds(self, target: ImageTarget, file: SurveyedFile) -> Reason | None:
        if target.pid is not None:
            return None
        if self.requests.within and not below_any(target.path, self.requests.within):
            return Reason("out_of_bounds", f"it does not lie in {some(self.requests.within)}")
        if target.relabel and not file.labelled and not selinux_off(self.snapshot):
            return Reason("storage_without_labels", "its storage keeps no labels of its own")
        return None

    def _in_use(self, target: ImageTarget, file: SurveyedFile) -> Reason | None:
        if target.pid is not None:
            return None  # a node that one guest alone sees
        if target.repair != IN_USE:
            guest = self.running.get(target.path) or self.running.get((file.device, file.inode))
            if guest:
                text = f"{guest} runs and uses it; power-cycle the guest when its owner agrees"
                return Reason("guest_runs", text)
        if file.kind == "dir":
            return None  # what lies in it stays open to whoever has it open
        if file.blind:
            return Reason("holders_unknown", f"it is not known who has it open: {file.blind}")
        holders = [str(holder) for holder in file.holders if not self._may_hold(target, holder)]
        return Reason("open", f"in use: open by {some(holders)}") if holders else None

    @staticmethod
    def _may_hold(target: ImageTarget, holder: FileHolder) -> bool:
        return target.repair == IN_USE and (holder.pid in target.users or holder.name in _LOCK_DAEMONS)

    def _remembered(self, target: ImageTarget, file: SurveyedFile) -> Reason | None:
        if target.repair == IN_USE:
            return None
        for model in ("selinux", "dac"):
            count = file.memory.get(f"{REMEMBERED}ref_{model}", "0")
            timestamp = file.memory.get(f"{REMEMBERED}timestamp_{model}")
            if count == "0" or images.of_another_boot(self.snapshot, timestamp):
                continue
            text = (
                f"in use: libvirt counts {count[:20]} users of it since the host booted (trusted.libvirt.security."
                f"ref_{model}); when no guest has it, start and stop its guest once"
            )
            return Reason("counted_by_libvirt", text)
        return None

    def _is_shared(self, target: ImageTarget, file: SurveyedFile) -> bool:
        return target.pid is None and (file.remote or below_any(target.path, self.exports))

    def _shared(self, target: ImageTarget, file: SurveyedFile) -> Reason | None:
        if file.kind == "dir" or not self._is_shared(target, file):
            return None
        folders = [item for item in self.requests.elsewhere if below(target.path, item.folder)]
        if not folders:
            text = "other hosts share its storage, and what they use of it is not known: say it by elsewhere"
            return Reason("use_elsewhere_unknown", text)
        reasons = (_used_elsewhere(use, target, file) for use in folders)
        return next((reason for reason in reasons if reason is not None), None)


def _used_elsewhere(use: FolderUse, target: ImageTarget, file: SurveyedFile) -> Reason | None:
    """Why another host may use the file."""
    if not use.complete:
        text = f"other hosts share {use.folder}: {use.why or 'what they use of it is not known'}"
        return Reason("use_elsewhere_unknown", text)
    used = next((entry for entry in use.in_use if _same_file(entry.inode, entry.path, target, file)), None)
    if used is not None:
        return Reason("in_use_elsewhere", f"in use on another host: {used.by}")
    level = "" if target.repair == IN_USE else _opening_level(use.levels, file.label)
    if level:
        text = f"a guest on another host that shares {use.folder} runs at {level}, which opens it"
        return Reason("readable_elsewhere", text)
    return None


def _same_file(inode: int | None, path: str, target: ImageTarget, file: SurveyedFile) -> bool:
    return (inode is not None and inode == file.inode) or path == target.path


def _opening_level(levels: t.Iterable[str], label: str | None) -> str:
    """A level whose guests the label's categories let in. A label without categories lets in all: none is given."""
    own = read_context(label)
    if own is None or not own.categories.mask:
        return ""
    for level in levels:
        other = read_context(f"u:r:t:{level}")
        if other is not None and other.high.dominates(own.high):
            return level
    return ""
