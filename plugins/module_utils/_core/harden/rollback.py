# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of a rollback: which entries of the journal are restored, which must not be, and how they are shown.

Nothing is restored that is not as this collection left it: a definition that somebody changed since, a link to another
file, a folder that others use. The journal keeps secrets; what is shown has none.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import base64
import json
import posixpath
import typing as t
from dataclasses import dataclass, field

from ..errors import DomainXmlError
from ..libvirt import domain_edit
from ..libvirt.domain_edit import Filter
from ..libvirt.domain_xml import parse_domain
from ..libvirt.file_labels import confinement
from ..libvirt.secrets import blanked
from ..result import Pending, Reason, Refusal, Step
from ..snapshot.model import SecLabel
from ..system.own_files import LINK, PROGRAM
from .guest_definition import POWER_CYCLE
from .seclabel import shown

FILE, GUEST, INTERFACE, PATH = "file", "guest", "interface", "path"
DAEMON, REBOOT = "daemon_restart", "reboot"
#: Larger files are named in a diff, not shown.
MAX_SHOWN = 256 * 1024

#: Files that take effect only after something else, by the start of their path.
_FILE_NEEDS = (
    (
        ("/etc/libvirt/qemu.conf", "/etc/systemd/system/libvirtd.service", "/etc/systemd/system/virtqemud.service"),
        DAEMON,
    ),
    (("/etc/default/grub", "/etc/selinux/config", "/etc/kernel/", "/boot/", "/efi/"), REBOOT),
)
_NEEDS = {
    DAEMON: Reason(DAEMON, "the daemon reads it when it starts"),
    REBOOT: Reason(REBOOT, "it is read when the host boots"),
    POWER_CYCLE: Reason(POWER_CYCLE, "a running guest keeps its label until its next start"),
}
_UNIT_FOLDER = "/etc/systemd/system/"


class JournalEntry(t.Protocol):
    """An entry of the journal, as far as a plan needs it."""

    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def before(self) -> dict[str, t.Any]: ...
    @property
    def after(self) -> dict[str, t.Any] | None: ...


E = t.TypeVar("E", bound=JournalEntry)


@dataclass(frozen=True)
class RollbackRun(t.Generic[E]):
    """One run of a module with its entries; ``problem`` is the reason why its journal cannot be read."""

    path: str
    entries: tuple[E, ...]
    problem: str = ""

    @property
    def name(self) -> str:
        """Number of the run, and its module."""
        return posixpath.basename(self.path).partition(".")[0]


@dataclass(repr=False, eq=False)
class RollbackOutcome(t.Generic[E]):
    """State of each entry after a rollback."""

    restored: list[tuple[RollbackRun[E], E]] = field(default_factory=list)
    #: Objects that must not be restored now.
    refused: list[Refusal] = field(default_factory=list)
    #: Objects whose restoration failed.
    failed: list[Refusal] = field(default_factory=list)


def document(runs: t.Iterable[RollbackRun[E]]) -> list[dict[str, t.Any]]:
    """The runs as plain data."""
    return [
        {"run": run.name, "entries": len(run.entries), **({"problem": run.problem} if run.problem else {})}
        for run in runs
    ]


def plan(runs: t.Iterable[RollbackRun[E]]) -> list[Step]:
    """The entries in the order in which they are restored."""
    return [Step("put_back", entry.subject, entry.kind, run.name) for run in runs for entry in reversed(run.entries)]


def pending(entries: t.Iterable[E]) -> list[Pending]:
    """What has to happen until the restored entries take effect."""
    waits: dict[str, Pending] = {}
    for entry in entries:
        needs = _needs(entry)
        if needs is not None:
            waits[entry.subject] = Pending(entry.subject, needs, _NEEDS[needs])
    return list(waits.values())


def units_changed(entries: t.Iterable[E]) -> bool:
    """Whether systemd has to read its files again."""
    return any(entry.kind == FILE and entry.subject.startswith(_UNIT_FOLDER) for entry in entries)


def _needs(entry: JournalEntry) -> str | None:
    if entry.kind == GUEST:
        return POWER_CYCLE
    if entry.kind != FILE:
        return None
    return next((needs for starts, needs in _FILE_NEEDS if entry.subject.startswith(starts)), None)


# -- whether an object is still ours -----------------------------------------------------------------------------------


def judged_guest(entry: JournalEntry, now: str | None) -> Reason | bool:
    """Whether a definition is to be restored (False: it already is as it was), or why it must not be.

    ``now``: the persistent XML, None where there is none. Raises DomainXmlError.
    """
    before = entry.before["xml"]
    if now is None:
        name = entry.before.get("name", entry.subject)
        return Reason("guest_gone", f"guest {name} is not defined any more, so its old definition was not put back")
    if not domain_edit.first_difference(before, now):
        return False
    if entry.after is not None:
        place = domain_edit.first_difference(entry.after["xml"], now)
    else:  # an older journal: this collection changes labels and filters only, so all else must be as it was
        place = domain_edit.first_difference(
            domain_edit.without_labels_and_filters(before), domain_edit.without_labels_and_filters(now)
        )
    if not place:
        return True
    text = f"its definition was changed since, at {place[:200]}, and putting the old one back would lose that; "
    return Reason("changed_since", f"guest {entry.before.get('name', entry.subject)}: {text}it was left alone")


def judged_interface(entry: JournalEntry, now: t.Mapping[str, t.Any] | None) -> Reason | bool:
    """Whether the filter of a running guest's interface is to be restored, or why it must not be.

    ``now``: the filter ``now`` and, as ``defined``, that of the persistent XML, which a live filter of ours equals;
    None: there is no such interface any more.
    """
    if now is None:
        return False
    present = parts(filter_of(now["now"]))
    if present == parts(filter_of(entry.before["filterref"])):
        return False
    ours = entry.after["filterref"] if entry.after is not None else now["defined"]
    if present == parts(filter_of(ours)):
        return True
    return Reason(
        "changed_since", f"interface {entry.subject}: its network filter was changed since; it was left alone"
    )


def judged_path(entry: JournalEntry, now: t.Mapping[str, t.Any]) -> Reason | bool:
    """Whether a link or folder is to be restored (False: it already is as it was), or why it must not be.

    ``now``: ``link`` (its target, None: no link), ``folder`` (whether it is one), ``other`` (whether it is neither).
    """
    absent = now["link"] is None and not now["folder"] and not now["other"]
    if now["other"]:
        return Reason("not_ours", f"{entry.subject} is another file by now; it was left alone")
    target = entry.before["link"]
    if target is not None:  # a link was removed
        if now["link"] == target:
            return False
        text = f"{entry.subject} is another link or a folder by now; it was left alone"
        return True if absent else Reason("not_ours", text)
    if absent:
        return False
    # A link or a folder was created; older journals do not record which.
    ours = entry.after or ({"link": PROGRAM} if entry.subject.endswith(LINK) else {"folder": True})
    if now["link"] is not None and now["link"] != ours.get("link"):
        text = f"{entry.subject} is a link to {now['link'][:200]} by now; it was left alone"
        return Reason("now_a_link" if ours.get("folder") else "not_ours", text)
    if now["folder"] and not ours.get("folder"):
        return Reason("not_ours", f"{entry.subject} is a folder by now; it was left alone")
    return True


def filter_of(document_: t.Mapping[str, t.Any] | None) -> Filter | None:
    """A filter from the journal."""
    if document_ is None:
        return None
    return Filter(document_["filter"], tuple((name, value) for name, value in document_["parameters"]))


def parts(item: Filter | None) -> tuple[t.Any, ...]:
    """A filter without the order of its parameters."""
    return () if item is None else (item.name, sorted(item.parameters))


# -- how entries are shown ---------------------------------------------------------------------------------------------


def shown_file(content: bytes | None) -> str:
    """The text of a file without secrets; large and binary files by their size."""
    if content is None:
        return ""
    try:
        text = content.decode("utf-8") if len(content) <= MAX_SHOWN else "\0"
    except UnicodeDecodeError:
        text = "\0"
    return f"{len(content)} bytes\n" if "\0" in text else blanked(text)


def shown_entry(entry: JournalEntry) -> str:
    """The former state of an entry: never the XML or the content of policy modules."""
    try:
        if entry.kind == FILE:
            content = entry.before["content"]
            return shown_file(None if content is None else base64.b64decode(content))
        if entry.kind == GUEST:
            return shown_guest(entry.before["xml"])
        if entry.kind == INTERFACE:
            return shown_filter(filter_of(entry.before["filterref"]))
        return json.dumps(entry.before, sort_keys=True, indent=2)[:MAX_SHOWN] + "\n"
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        return f"the journal's entry cannot be read: {type(error).__name__}\n"


def shown_guest(xml: str | None) -> str:
    """Label and filters of a definition, line by line."""
    if xml is None:
        return ""
    try:
        domain, cards = parse_domain(xml), domain_edit.cards(xml)
    except DomainXmlError as error:
        return f"the XML cannot be read: {error}\n"
    label: SecLabel | None = confinement(domain.seclabels)
    lines = [f"seclabel: {shown(label)}"]
    lines += [f"interface {card.mac}: {card.filter.shown() if card.filter else 'no filter'}" for card in cards]
    return "".join(f"{line}\n" for line in lines)


def shown_filter(item: Filter | None) -> str:
    """A filter in one line."""
    return f"{item.shown() if item is not None else 'no filter'}\n"
