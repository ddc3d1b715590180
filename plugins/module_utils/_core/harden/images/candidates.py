# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a repair concerns, by the audit's rules on the snapshot (facts/images.py).

A file in use is never touched, with one exception: the image of a running guest, back to that guest's own label, when
no other guest uses it anywhere. Storage that other hosts share is left to settle.py, after the survey.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ...facts import images
from ...facts.guests import selinux_off
from ...facts.subjects import HOST, guest_name, image_name
from ...libvirt.file_labels import UNTOUCHED
from ...result import Pending, Reason, Refusal
from ...selinux.context import Context, read_context, unreadable
from ...snapshot.model import NOT_APPLICABLE, OK, Guest, Snapshot
from ...words import some
from .model import AT_REST, IN_USE, ORPHANS, READABLE, REQUESTED, STALE_OWNERS, ImageKey, ImagePlan, ImageTarget
from .requested import ImageRequests

Outcome = t.Union[ImageTarget, Refusal, Pending]


def candidates(snapshot: Snapshot, requests: ImageRequests) -> tuple[list[ImageTarget], ImagePlan]:
    """Files to survey, and those that are left alone without a survey."""
    plan = ImagePlan()
    repair = set(requests.repair)
    blind = _unknown_guests(snapshot)
    if blind is not None:
        if repair:
            plan.refused.append(Refusal(HOST, blind))
        plan.refused += [Refusal(image_name(request.path), blind) for request in requests.labels]
        return [], plan
    if repair and selinux_off(snapshot):
        plan.refused.append(Refusal(HOST, Reason("selinux_off", "SELinux is off, so labels mean nothing now")))
        repair -= {IN_USE, AT_REST, READABLE, ORPHANS}
    targets: dict[ImageKey, ImageTarget] = {}
    named = {request.path for request in requests.labels}
    for outcome in _Repairs(snapshot, frozenset(repair)).all():
        if isinstance(outcome, Pending):
            plan.pending.append(outcome)
        elif isinstance(outcome, Refusal):
            plan.refused.append(outcome)
        elif outcome.path not in named or outcome.pid is not None:
            targets[outcome.key] = _both(targets[outcome.key], outcome) if outcome.key in targets else outcome
    for request in requests.labels:
        targets[(None, request.path)] = ImageTarget(request.path, REQUESTED, relabel=True, label=request.label)
    return [targets[key] for key in sorted(targets, key=lambda key: (key[1], key[0] or 0))], plan


def _unknown_guests(snapshot: Snapshot) -> Reason | None:
    """Why the files that guests use are not all known."""
    for area in ("guests", "processes"):
        covered = snapshot.coverage.get(area)
        if covered is None or covered.status not in (OK, NOT_APPLICABLE):
            why = covered.why if covered is not None else "not read"
            text = f"not all {area} could be read ({why}), and any of them may use the file"
            return Reason(f"{area}_unknown", text)
    return None


def _both(first: ImageTarget, second: ImageTarget) -> ImageTarget:
    """Two repairs of one file in one change."""
    return replace(
        first if first.relabel else second,
        close=first.close or second.close,
        forget=first.forget or second.forget,
        kept=first.kept or second.kept,
    )


@dataclass(frozen=True)
class _Repairs:
    """Repairs of one host, by the labels of its files."""

    snapshot: Snapshot
    repair: frozenset[str]

    def all(self) -> t.Iterator[Outcome]:
        files = images.files(self.snapshot)
        by_path = {file.path: file for file in files if not file.in_namespace}
        own_dev = {_own_key(file): file for file in files if file.in_namespace}
        alone = self._alone()
        judged = list(images.judged(alone))
        for statuses in ((images.WRONG, images.LEFT), (images.LOST,), (images.OPEN,)):
            for item in (item for item, status in judged if status.status in statuses and not item.in_namespace):
                file = by_path[item.path]
                if file.active and IN_USE in self.repair:
                    yield self._in_use(file)
                elif not file.active and AT_REST in self.repair:
                    yield self._at_rest(file)
        for item, status in judged if IN_USE in self.repair else ():
            if item.in_namespace and status.status in (images.LOST, images.WRONG):
                yield self._in_use(own_dev[_own_key(item)])
        for item, status in judged if READABLE in self.repair else ():
            if images.guests_may_read(alone, item, status) is True:
                file = by_path[item.path]
                yield self._target(file, READABLE, close=True, kept=images.owner_must_stay(self.snapshot, file))
        for item in images.files(alone) if STALE_OWNERS in self.repair else ():
            if images.owner_is_stale(alone, item):
                yield self._target(by_path[item.path], STALE_OWNERS, forget=True)
        if ORPHANS in self.repair:
            yield from self._orphans()

    def _alone(self) -> Snapshot:
        """The host as if no other shared its storage: settle.py decides that by what is known elsewhere."""
        alone = [replace(item, remote=False, exports=[], labelled_exports=[]) for item in self.snapshot.storage]
        return replace(self.snapshot, storage=alone)

    def _target(self, file: images.File, repair: str, **more: t.Any) -> ImageTarget:
        facts = file.facts
        return ImageTarget(file.real_path, repair, None, facts.device, facts.inode, facts.label, **more)

    def _in_use(self, file: images.File) -> Outcome:
        subject = image_name(file.path)
        guests = {use.guest.uuid: use.guest for use in file.active}
        if len(guests) > 1:
            text = f"{some([guest_name(guest) for guest in guests.values()])} use it at once"
            return Refusal(subject, Reason("used_by_several_guests", text))
        guest = next(iter(guests.values()))
        own = next((use.resource for use in file.active if use.own and use.resource.expected), None)
        if own is None or own.expected is None:
            if all(use.resource.role == UNTOUCHED for use in file.active):
                return _not_labelled(file)
            text = f"it is no image of its own to {guest_name(guest)}; libvirt sets its label when the guest starts"
            return Pending(subject, "guest_power_cycle", Reason("not_its_own_image", text))
        other_label = _other_label(guest, own.expected)
        if other_label is not None:
            return Pending(subject, "guest_power_cycle", other_label)
        pids = {item.pid for item in self.snapshot.processes if item.guest == guest.uuid} | {guest.pid or 0}
        pid = guest.pid if file.in_namespace else None
        target = self._target(file, IN_USE, relabel=True, label=own.expected, users=frozenset(pids - {0}))
        return replace(target, pid=pid)

    def _at_rest(self, file: images.File) -> Outcome:
        if any(use.resource.role == UNTOUCHED for use in file.uses):
            return _not_labelled(file)
        if file.facts.kind == "dir":
            text = "it is a folder, and what lies in it has the label too: restorecon -RF while its guest is off"
            return Pending(image_name(file.path), "operator", Reason("folder_of_guest", text))
        own = any(use.own for use in file.uses)
        close = own and READABLE in self.repair and images.owner_lets_in(self.snapshot, file.facts) is not False
        close = close and images.owner_must_stay(self.snapshot, file) is None
        return self._target(file, AT_REST, relabel=True, forget=True, close_if_readable=close)

    def _orphans(self) -> t.Iterator[Outcome]:
        for orphan in self.snapshot.orphans:
            context = read_context(orphan.label)
            owner = next((guest for guest in self.snapshot.guests if _runs_at(guest, context)), None)
            if owner is not None:
                text = f"{guest_name(owner)} runs with these categories: find out first what the file is to it"
                yield Pending(image_name(orphan.path), "operator", Reason("categories_in_use", text))
                continue
            yield ImageTarget(
                orphan.path, ORPHANS, None, orphan.device, orphan.inode, orphan.label, relabel=True, forget=True
            )


def _not_labelled(file: images.File) -> Pending:
    """A file that libvirt does not label: a label set here would stay when its guest starts, and take it the file."""
    use = next(use for use in file.uses if use.resource.role == UNTOUCHED)
    text = f"libvirt does not label it for {guest_name(use.guest)}, so its label is for the operator to choose"
    return Pending(image_name(file.path), "operator", Reason("not_labelled_by_libvirt", text))


def _own_key(file: images.File) -> tuple[str, str]:
    """A file in a guest's own /dev: each guest has one of its own."""
    return file.uses[0].guest.uuid, file.path


def _runs_at(guest: Guest, context: Context | None) -> bool:
    own = read_context(guest.context)
    return guest.active and own is not None and context is not None and own.high == context.high


def _other_label(guest: Guest, label: str) -> Reason | None:
    """Why the guest's process would have no access by this label."""
    wanted, own = read_context(label), read_context(guest.context)
    if wanted is None or own is None:
        text = unreadable(guest.context if own is None else label, f"the label of {guest_name(guest)}")
        return Reason("label_of_guest_unreadable", text)
    if own.high != wanted.high:
        text = f"{guest_name(guest)} runs at {own.high}, but its XML gives its images {wanted.high}"
        return Reason("guest_runs_at_other_level", text)
    return None
