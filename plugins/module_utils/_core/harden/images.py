# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files get which label, owner and mode, and which are left alone, with the reason.

Two steps, with a look at the files between them. ``candidates`` takes what the labels of the host's files say, as the
rules do (facts/images.py), and the caller's wishes; ``settle`` holds against each file what was seen of it: who has it
open, which hosts share it, what libvirt remembers of it. What is left open because other hosts share the storage is
decided here by what is known of those hosts (shared_use.py).

A file in use is never touched, with one exception: the image of a running guest, back to that guest's own label, when
no other guest uses it anywhere.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass, field, replace

from ..errors import PlanError
from ..facts import images
from ..facts.guests import selinux_off
from ..facts.subjects import HOST, guest_name, image_name
from ..libvirt import file_labels
from ..libvirt.qemu_conf import doubt_of, setting
from ..paths import below, below_any
from ..selinux.context import parse_context, read_context, type_of, unreadable
from ..selinux.file_contexts import NONE, ContextRule, label_by
from ..snapshot.model import NOT_APPLICABLE, OK, Guest, Snapshot
from ..words import some
from .shared_use import Elsewhere

# What may be repaired.
IN_USE = "in_use"
AT_REST = "at_rest"
READABLE = "readable"
ORPHANS = "orphans"
STALE_OWNERS = "stale_owners"
REPAIRS = (IN_USE, AT_REST, READABLE, ORPHANS, STALE_OWNERS)
#: A label that the caller named.
WISH = "label"

FALLBACK = "system_u:object_r:virt_image_t:s0"
#: Owner, group and mode of an image at rest that no guest's QEMU may read.
CLOSED = (0, 0, 0o600)

#: libvirt's own keeper of leases has images open while their guest runs.
_KEEPERS = frozenset(("virtlockd", "sanlock"))
_REMEMBERED = "trusted.libvirt.security."
_FTYPES = {"file": "f", "dir": "d", "block": "b", "char": "c", "socket": "s", "fifo": "p"}


@dataclass(frozen=True)
class Wish:
    """A label that the caller wants a file to have; None: the one that the policy gives the path."""

    path: str
    label: str | None = None


@dataclass(frozen=True)
class Wishes:
    """What the caller wants."""

    repair: frozenset[str] = frozenset()
    labels: tuple[Wish, ...] = ()
    #: Files elsewhere are left alone; empty: no bound.
    within: tuple[str, ...] = ()
    #: Where the policy has no label for a path, or one that every guest may write.
    fallback: str = FALLBACK
    elsewhere: tuple[Elsewhere, ...] = ()
    #: File-context rules that are about to be added: what the policy will say.
    rules: tuple[ContextRule, ...] = ()


@dataclass(frozen=True)
class Left:
    """Something that was asked for and is not done, and why."""

    subject: str
    why: str
    #: What would do it: guest_power_cycle, operator, …; empty where this module could, were it not for the reason.
    needs: str = ""

    def told(self) -> dict[str, str]:
        """In the result."""
        return {"subject": self.subject, **({"needs": self.needs} if self.needs else {}), "why": self.why}


@dataclass(frozen=True)
class Target:
    """A file that is to change, before anyone looked at it again."""

    path: str
    repair: str
    #: It lies in this process's own /dev, and nobody else sees it.
    pid: int | None = None
    device: str | None = None
    inode: int | None = None
    #: The label that it had when the host was read; None: any.
    found: str | None = None
    #: Give it a label: ``label``, or the policy's own for the path.
    relabel: bool = False
    label: str | None = None
    #: Take owner and mode from guests' QEMU: always, or only when guests may read its label.
    close: bool = False
    close_if_readable: bool = False
    #: Remove what libvirt remembers of it.
    forget: bool = False
    #: Processes of the one guest that may have it open.
    users: frozenset[int] = frozenset()
    #: Why owner and mode cannot be taken; empty when they can.
    kept: str = ""

    @property
    def key(self) -> tuple[int | None, str]:
        """What it is known by."""
        return (self.pid, self.path)


class Holder(t.NamedTuple):
    """Who has a file open. Number 0 is the kernel."""

    pid: int
    name: str


@dataclass
class Seen:
    """A file as it was found just before it is to change."""

    error: str = ""
    kind: str | None = None
    device: str | None = None
    inode: int | None = None
    links: int = 1
    label: str | None = None
    uid: int = 0
    gid: int = 0
    mode: int = 0
    #: trusted.libvirt.security.* attributes, without their closing NUL.
    memory: dict[str, str] = field(default_factory=dict)
    #: What the policy gives the path.
    default: str | None = None
    holders: list[Holder] = field(default_factory=list)
    #: Why it is not known who has it open; empty when it is.
    blind: str = ""
    #: Another host may see it: a network or cluster file system.
    remote: bool = False
    #: Files there carry labels of their own.
    labelled: bool = True

    @property
    def owner(self) -> str:
        """Owner, group and mode in words."""
        return f"{self.uid}:{self.gid} {self.mode:04o}"


@dataclass(frozen=True)
class Change:
    """What is done to one file."""

    target: Target
    seen: Seen
    label: str | None = None
    close: bool = False
    forget: tuple[str, ...] = ()
    shared: bool = False

    def actions(self) -> list[dict[str, t.Any]]:
        """Its lines of the plan."""
        subject, seen = subject_of(self.target), self.seen
        told: list[dict[str, t.Any]] = []
        if self.label is not None:
            told.append({"action": "relabel", "subject": subject, "from": seen.label, "to": self.label})
        if self.close:
            told.append({"action": "close", "subject": subject, "from": seen.owner, "to": _owner(*CLOSED)})
        if self.forget:
            memory = {name[len(_REMEMBERED) :]: seen.memory[name] for name in self.forget}
            told.append({"action": "forget_owner", "subject": subject, "from": memory, "to": None})
        return told

    def states(self) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        """The file before and after, as plain data."""
        seen = self.seen
        before = {"label": seen.label, "owner": seen.owner, "remembered": sorted(seen.memory)}
        after = {
            "label": seen.label if self.label is None else self.label,
            "owner": _owner(*CLOSED) if self.close else seen.owner,
            "remembered": sorted(set(seen.memory) - set(self.forget)),
        }
        return before, after


@dataclass
class Plan:
    """What is done, and what is not."""

    changes: list[Change] = field(default_factory=list)
    refused: list[Left] = field(default_factory=list)
    pending: list[Left] = field(default_factory=list)


def subject_of(target: Target) -> str:
    """A file as a subject."""
    return image_name(target.path)


def checked(wish: Wish) -> Wish:
    """The wish, when it can be understood. Raises PlanError and LabelError."""
    if not wish.path.startswith("/") or "\0" in wish.path:
        raise PlanError(f"path {wish.path[:200]!r} is not absolute; give the file's real path from / on")
    if wish.label is not None:
        parse_context(wish.label)
    return replace(wish, path=posixpath.normpath("/" + wish.path.lstrip("/")))


def candidates(snapshot: Snapshot, wishes: Wishes) -> tuple[list[Target], Plan]:
    """What is to be looked at again, and what is left alone at once."""
    plan = Plan()
    repair = set(wishes.repair)
    blind = _unknown_guests(snapshot)
    if blind:
        if repair:
            plan.refused.append(Left(HOST, blind))
        plan.refused += [Left(image_name(wish.path), blind) for wish in wishes.labels]
        return [], plan
    if repair and selinux_off(snapshot):
        plan.refused.append(Left(HOST, "SELinux is off, so labels mean nothing now"))
        repair -= {IN_USE, AT_REST, READABLE, ORPHANS}
    found: dict[tuple[int | None, str], Target] = {}
    named = {wish.path for wish in wishes.labels}
    for outcome in _Repairs(snapshot, frozenset(repair)).all():
        if isinstance(outcome, Left):
            (plan.pending if outcome.needs else plan.refused).append(outcome)
        elif outcome.path not in named or outcome.pid is not None:
            found[outcome.key] = _both(found[outcome.key], outcome) if outcome.key in found else outcome
    for wish in wishes.labels:
        found[(None, wish.path)] = Target(wish.path, WISH, relabel=True, label=wish.label)
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0] or 0))], plan


def _unknown_guests(snapshot: Snapshot) -> str:
    """Why it is not known which files guests use."""
    for area in ("guests", "processes"):
        covered = snapshot.coverage.get(area)
        if covered is None or covered.status not in (OK, NOT_APPLICABLE):
            why = covered.why if covered is not None else "not read"
            return f"not all {area} could be read ({why}), and any of them may use the file"
    return ""


def _both(one: Target, other: Target) -> Target:
    """Two repairs of one file at once."""
    return replace(
        one if one.relabel else other,
        close=one.close or other.close,
        forget=one.forget or other.forget,
        kept=one.kept or other.kept,
    )


@dataclass(frozen=True)
class _Repairs:
    """From what the labels of files say to repairs."""

    snapshot: Snapshot
    repair: frozenset[str]

    def all(self) -> t.Iterator[Target | Left]:
        by_path = {file.path: file for file in images.files(self.snapshot) if not file.in_namespace}
        own_dev = {_own_key(file): file for file in images.files(self.snapshot) if file.in_namespace}
        alone = self._alone()
        judged = list(images.judged(alone))
        for statuses in ((images.WRONG, images.LEFT), (images.LOST,), (images.OPEN,)):
            for found in (item for item, status in judged if status.status in statuses and not item.in_namespace):
                file = by_path[found.path]
                if file.active and IN_USE in self.repair:
                    yield self._in_use(file)
                elif not file.active and AT_REST in self.repair:
                    yield self._at_rest(file)
        for found, status in judged if IN_USE in self.repair else ():
            if found.in_namespace and status.status in (images.LOST, images.WRONG):
                yield self._in_use(own_dev[_own_key(found)])
        for found, status in judged if READABLE in self.repair else ():
            if images.guests_may_read(alone, found, status) is True:
                file = by_path[found.path]
                yield self._target(file, READABLE, close=True, kept=self._kept(file))
        for found in images.files(alone) if STALE_OWNERS in self.repair else ():
            if images.owner_is_stale(alone, found):
                yield self._target(by_path[found.path], STALE_OWNERS, forget=True)
        if ORPHANS in self.repair:
            yield from self._orphans()

    def _alone(self) -> Snapshot:
        """The host as if no other shared its storage: that is settled by what is known elsewhere."""
        alone = [replace(item, remote=False, exports=[], labelled_exports=[]) for item in self.snapshot.storage]
        return replace(self.snapshot, storage=alone)

    def _target(self, file: images.File, repair: str, **more: t.Any) -> Target:
        facts = file.facts
        return Target(file.real_path, repair, None, facts.device, facts.inode, facts.label, **more)

    def _in_use(self, file: images.File) -> Target | Left:
        subject = image_name(file.path)
        guests = {use.guest.uuid: use.guest for use in file.active}
        if len(guests) > 1:
            return Left(subject, f"{some([guest_name(guest) for guest in guests.values()])} use it at once")
        guest = next(iter(guests.values()))
        own = next((use.resource for use in file.active if use.own and use.resource.expected), None)
        if own is None or own.expected is None:
            why = f"it is no image of its own to {guest_name(guest)}; libvirt sets its label when the guest starts"
            return Left(subject, why, "guest_power_cycle")
        why = _not_its_label(guest, own.expected)
        if why:
            return Left(subject, why, "guest_power_cycle")
        pids = {item.pid for item in self.snapshot.processes if item.guest == guest.uuid} | {guest.pid or 0}
        pid = guest.pid if file.in_namespace else None
        target = self._target(file, IN_USE, relabel=True, label=own.expected, users=frozenset(pids - {0}))
        return replace(target, pid=pid)

    def _at_rest(self, file: images.File) -> Target | Left:
        if file.facts.kind == "dir":
            why = "it is a folder, and what lies in it has the label too; libvirt sets it when its guest starts"
            return Left(image_name(file.path), why, "guest_power_cycle")
        own = any(use.own for use in file.uses)
        close = own and READABLE in self.repair and images.owner_lets_in(self.snapshot, file.facts) is not False
        kept = self._kept(file) if close else ""
        return self._target(file, AT_REST, relabel=True, forget=True, close_if_readable=close and not kept, kept="")

    def _kept(self, file: images.File) -> str:
        """Why owner and mode cannot be taken: libvirt would not give them back when the guest starts."""
        conf = self.snapshot.libvirt.conf
        doubt = doubt_of(conf, "dynamic_ownership")
        if doubt is not None or conf is None:
            return f"qemu.conf does not tell whether libvirt sets owners: {doubt.why if doubt else 'it was not read'}"
        if setting(conf, "dynamic_ownership") == 0:
            return "libvirt sets no owners here (dynamic_ownership = 0), so its guest could not start"
        if self.snapshot.libvirt.qemu_uid == 0:
            return "guests run as root here, whom owner and mode do not hold back"
        for use in file.uses:
            labels = (*use.guest.persistent_labels, *use.guest.live)
            if any(item.model == "dac" and item.relabel is False for item in labels):
                return f"libvirt sets no owners for {guest_name(use.guest)} (relabel='no')"
        return ""

    def _orphans(self) -> t.Iterator[Target | Left]:
        for orphan in self.snapshot.orphans:
            context = read_context(orphan.label)
            owner = next((guest for guest in self.snapshot.guests if _runs_at(guest, context)), None)
            if owner is not None:
                why = f"{guest_name(owner)} runs with these categories: find out first what the file is to it"
                yield Left(image_name(orphan.path), why, "operator")
                continue
            yield Target(
                orphan.path, ORPHANS, None, orphan.device, orphan.inode, orphan.label, relabel=True, forget=True
            )


def _own_key(file: images.File) -> str:
    """A file in a guest's own /dev: each guest has one of its own."""
    return f"{file.uses[0].guest.uuid}\0{file.path}"


def _runs_at(guest: Guest, context: t.Any) -> bool:
    own = read_context(guest.context)
    return guest.active and own is not None and context is not None and own.high == context.high


def _not_its_label(guest: Guest, label: str) -> str:
    """Why the label is not the one that the guest's process has access by."""
    wanted, own = read_context(label), read_context(guest.context)
    if wanted is None or own is None:
        return unreadable(guest.context if own is None else label, f"the label of {guest_name(guest)}")
    if own.high != wanted.high:
        return f"{guest_name(guest)} runs at {own.high}, but its XML gives its images {wanted.high}"
    return ""


def settle(snapshot: Snapshot, wishes: Wishes, targets: t.Iterable[Target], seen: t.Mapping[t.Any, Seen]) -> Plan:
    """What is done to each file, by what was seen of it."""
    plan = Plan()
    judge = _Judge(snapshot, wishes)
    for target in targets:
        outcome = judge.outcome(target, seen.get(target.key) or Seen(error="it was not looked at"))
        if isinstance(outcome, Left):
            plan.refused.append(outcome)
        elif outcome is not None:
            plan.changes.append(outcome)
    return plan


class _Judge:
    def __init__(self, snapshot: Snapshot, wishes: Wishes) -> None:
        self.snapshot = snapshot
        self.wishes = wishes
        self.exports = [folder for storage in snapshot.storage for folder in storage.exports]
        self.types = file_labels.ImageTypes.of(snapshot.selinux.image_types)
        self.readable = {item.target: item.read for item in images.asked_by_guests(snapshot) if item.read}
        self.asked = {item.target for item in images.asked_by_guests(snapshot)}
        self.running: dict[t.Any, str] = {}
        for file in images.files(snapshot):
            if file.active and not file.in_namespace:
                name = guest_name(file.active[0].guest)
                self.running[file.real_path] = self.running[(file.facts.device, file.facts.inode)] = name

    def outcome(self, target: Target, seen: Seen) -> Change | Left | None:
        """The change, why there is none, or None where all is well."""
        subject = subject_of(target)
        if seen.error:
            return Left(subject, seen.error)
        change = self._change(target, seen)
        if not change.actions():
            return Left(subject, target.kept) if target.kept else None
        for check in (self._another, self._bounds, self._in_use, self._remembered, self._shared):
            why = check(target, seen)
            if why:
                return Left(subject, why)
        if target.kept:
            return Left(subject, target.kept)
        return change

    def _change(self, target: Target, seen: Seen) -> Change:
        label = (target.label or self._default(target, seen)) if target.relabel else None
        rests = seen.label if label is None else label
        close = target.close
        if target.close_if_readable:
            close = bool(self.readable.get(rests or "")) or rests not in self.asked
        if (seen.uid, seen.gid, seen.mode) == CLOSED or target.kept:
            close = False
        forget = tuple(sorted(seen.memory)) if target.forget else ()
        label = None if label == seen.label else label
        return Change(target, seen, label, close, forget, self._is_shared(target, seen))

    def _default(self, target: Target, seen: Seen) -> str:
        """What the policy gives the path, unless that is nothing or lets every guest write."""
        ftype = _FTYPES.get(seen.kind or "", "f")
        label = label_by(self.wishes.rules, target.path, ftype) or seen.default
        if label is None or label == NONE or type_of(label) == self.types.image:
            return self.wishes.fallback
        return label

    def _another(self, target: Target, seen: Seen) -> str:
        """It is not the file that was read, or none whose label may be set."""
        kinds = {"block", "char", "file"} if target.pid else {"file", "dir"}
        if seen.kind not in kinds:
            return f"it is no plain file but a {seen.kind}"
        known = target.inode is not None and target.device is not None
        if known and (seen.device, seen.inode) != (target.device, target.inode):
            return "there is another file now than when the host was read"
        if target.found is not None and seen.label != target.found:
            return f"its label is {seen.label} now, and was {target.found} when the host was read"
        if seen.kind != "dir" and seen.links != 1:
            return f"it has {seen.links} names (hard links), and the others would change with it"
        return ""

    def _bounds(self, target: Target, seen: Seen) -> str:
        if target.pid is not None:
            return ""
        if self.wishes.within and not below_any(target.path, self.wishes.within):
            return f"it does not lie in {some(self.wishes.within)}"
        if target.relabel and not seen.labelled and not selinux_off(self.snapshot):
            return "its storage keeps no labels of its own"
        return ""

    def _in_use(self, target: Target, seen: Seen) -> str:
        if target.pid is not None:
            return ""  # a node that one guest alone sees
        if target.repair != IN_USE:
            guest = self.running.get(target.path) or self.running.get((seen.device, seen.inode))
            if guest:
                return f"{guest} runs and uses it; power-cycle the guest when its owner agrees"
        if seen.kind == "dir":
            return ""  # what lies in it stays open to whoever has it open
        if seen.blind:
            return f"it is not known who has it open: {seen.blind}"
        others = [item for item in seen.holders if not self._may_hold(target, item)]
        if others:
            return f"in use: open by {some([_holder(item) for item in others])}"
        return ""

    @staticmethod
    def _may_hold(target: Target, holder: Holder) -> bool:
        return target.repair == IN_USE and (holder.pid in target.users or holder.name in _KEEPERS)

    def _remembered(self, target: Target, seen: Seen) -> str:
        if target.repair == IN_USE:
            return ""
        for model in ("selinux", "dac"):
            count = seen.memory.get(f"{_REMEMBERED}ref_{model}", "0")
            timestamp = seen.memory.get(f"{_REMEMBERED}timestamp_{model}")
            if count == "0" or images.of_another_boot(self.snapshot, timestamp):
                continue
            return (
                f"in use: libvirt counts {count[:20]} users of it since the host booted (trusted.libvirt.security."
                f"ref_{model}); when no guest has it, start and stop its guest once"
            )
        return ""

    def _is_shared(self, target: Target, seen: Seen) -> bool:
        return target.pid is None and (seen.remote or below_any(target.path, self.exports))

    def _shared(self, target: Target, seen: Seen) -> str:
        if seen.kind == "dir" or not self._is_shared(target, seen):
            return ""
        known = [item for item in self.wishes.elsewhere if below(target.path, item.folder)]
        if not known:
            return "other hosts share its storage, and what they use of it is not known: tell by elsewhere"
        for item in known:
            if not item.complete:
                return f"other hosts share {item.folder}: {item.why or 'what they use of it is not known'}"
            used = next((use for use in item.in_use if _same_file(use.inode, use.path, target, seen)), None)
            if used is not None:
                return f"in use on another host: {used.by}"
            reader = "" if target.repair == IN_USE else _opened_by(item.levels, seen.label)
            if reader:
                return f"a guest on another host that shares {item.folder} runs at {reader}, which opens it"
        return ""


def unknown_labels(wishes: Wishes, lacks: t.Callable[[str], bool]) -> list[str]:
    """Labels of the wishes that the loaded policy does not know. ``lacks`` asks it about one label."""
    labels = {wish.label for wish in wishes.labels if wish.label} | {wishes.fallback}
    labels |= {rule.context for rule in wishes.rules if rule.context and rule.context != NONE}
    return sorted(label for label in labels if lacks(label))


def _same_file(inode: int | None, path: str, target: Target, seen: Seen) -> bool:
    return (inode is not None and inode == seen.inode) or path == target.path


def _opened_by(levels: t.Iterable[str], label: str | None) -> str:
    """A level whose guests the label's categories let in; labels without categories let in all, and tell nothing."""
    own = read_context(label)
    if own is None or not own.categories.mask:
        return ""
    for level in levels:
        other = read_context(f"u:r:t:{level}")
        if other is not None and other.high.dominates(own.high):
            return level
    return ""


def _holder(holder: Holder) -> str:
    return f"process {holder.pid} {holder.name}" if holder.pid else holder.name


def _owner(uid: int, gid: int, mode: int) -> str:
    return f"{uid}:{gid} {mode:04o}"


def result(
    plan: Plan,
    contexts: t.Sequence[tuple[ContextRule, ContextRule]],
    not_made: t.Mapping[tuple[int | None, str], str],
) -> dict[str, t.Any]:
    """What the module gives back. ``not_made`` are changes that turned out not to be possible, with the reason."""
    lines = [
        {"action": "fcontext", "subject": new.subject, "from": old.context, "to": new.context} for old, new in contexts
    ]
    before: dict[str, t.Any] = {"fcontexts": {old.subject: old.context for old, _new in contexts}, "files": {}}
    after: dict[str, t.Any] = {"fcontexts": {new.subject: new.context for _old, new in contexts}, "files": {}}
    refused = list(plan.refused)
    done = len(contexts)
    for change in plan.changes:
        target, (was, will_be) = change.target, change.states()
        name = target.path if target.pid is None else f"{target.path} of process {target.pid}"
        lines += change.actions()
        before["files"][name] = was
        after["files"][name] = was if target.key in not_made else will_be
        if target.key in not_made:
            refused.append(Left(subject_of(target), not_made[target.key]))
        else:
            done += 1
    told = {
        "changed": done > 0,
        "plan": lines,
        "before": before,
        "after": after,
        "refused": [item.told() for item in sorted(refused, key=_by_subject)],
        "pending": [item.told() for item in sorted(plan.pending, key=_by_subject)],
    }
    return t.cast("dict[str, t.Any]", _clean(told))


def diff(told: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    """The result's before and after as Ansible shows differences."""
    found = []
    for part in ("fcontexts", "files"):
        for name, was in told["before"][part].items():
            now = told["after"][part][name]
            header = f"{name} (label)" if part == "files" else name
            found.append({"before_header": header, "after_header": header, "before": _lines(was), "after": _lines(now)})
    return found


def _lines(state: t.Any) -> str:
    if state is None:
        return ""
    if isinstance(state, str):
        return f"{state}\n"
    remembered = "".join(f"remembered: {name}\n" for name in state["remembered"])
    return f"label: {state['label']}\nowner: {state['owner']}\n{remembered}"


def _by_subject(item: Left) -> tuple[str, str]:
    return (item.subject, item.why)


def _clean(value: t.Any) -> t.Any:
    """Names on a host are bytes: those that are no UTF-8 are shown as \\xNN."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
