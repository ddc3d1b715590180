# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Denials in the audit log, and whether the log is complete: the evidence before a host becomes enforcing.

While SELinux is permissive the kernel logs a denial once and then remembers that it let it pass, until the policy is
loaded anew. So a denial counts until then: that none came in the last hour proves nothing.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..result import Reason
from .context import type_of

#: Groups of denials that a result shows.
MAX_SHOWN = 50
#: auditd starts some seconds after the kernel; what came before waits for it in the kernel's queue.
_START_SLACK = 300.0

_TIME = re.compile(r"\baudit\((\d{1,12}\.\d{1,6}):\d+\)")
_STAMP = re.compile(r"(\d{9,12}\.\d{1,6})\s")
_DENIED = re.compile(r"avc:\s+denied\s+\{([^}]{0,500})\}")
_FIELD = re.compile(r"\b(scontext|tcontext|tclass|permissive)=(\S{1,300})")
# What a process chose, its name above all, is quoted or in hexadecimal: it holds no space and starts no line.
_RECORD = re.compile(
    r"""(?:\A(?:node=\S+\ )?|\baudit:\ )type=(?P<type>\w+)\ (?:msg=)?audit\(
      | \A\S+\ \S+\ audit(?:\[\d+\])?:\ (?P<name>[A-Z_]+)\ """,
    re.VERBOSE,
)
_RENEWALS = frozenset(("MAC_POLICY_LOAD", "1403", "MAC_CONFIG_CHANGE", "1405"))
_STATUS = frozenset(("MAC_STATUS", "1404"))
_PROCTITLES = frozenset(("PROCTITLE", "1327"))
_RELAXED = re.compile(r"\benforcing=0 old_enforcing=1\b")
_LOST = re.compile(
    r"kauditd_printk_skb: \d+ callbacks suppressed|\baudit: (?:audit_lost=\d|rate limit exceeded|backlog limit)"
)
#: The domains of guests, of libvirt and of what serves guests begin like this.
_VIRTUALISATION = ("virt", "svirt", "qemu", "swtpm", "passt")
#: Name of the guard's program, and what the command line of its script has; the audit log writes that in hexadecimal.
_GUARD = "svirt-guard"
_GUARD_SCRIPT = "svirt-fleet/guard.py"
GUARD_SCRIPT_HEX = _GUARD_SCRIPT.encode().hex().upper()
_COMM = re.compile(r"\bcomm=\"([^\" ]{1,64})\"")
_EVENT = re.compile(r"\baudit\((\d{1,12}\.\d{1,6}:\d+)\)")


@dataclass(frozen=True)
class Denial:
    """Equal denials, with their number."""

    source: str
    permissions: str
    class_: str
    target: str
    count: int = 1
    last: float = 0.0

    def document(self) -> dict[str, t.Any]:
        """As plain data."""
        return {
            "source": self.source,
            "permissions": self.permissions.split(),
            "class": self.class_,
            "target": self.target,
            "count": self.count,
            "last": self.last,
        }


class LoggedDenial(t.NamedTuple):
    """One record of a denial."""

    moment: float
    source: str
    permissions: str
    class_: str
    target: str
    #: Name of the program, and the event's time and serial number; empty where the record has none.
    program: str = ""
    event: str = ""


@dataclass(repr=False, eq=False)
class DenialLog:
    """Records of an audit log."""

    #: Denials that were logged only, not enforced.
    denied: list[LoggedDenial] = field(default_factory=list)
    #: Events in which the guard's script ran, by time and serial number.
    by_guard: set[str] = field(default_factory=set)
    #: Times at which the kernel forgot the denials that it had logged: policy loaded, boolean changed, made permissive.
    renewals: list[float] = field(default_factory=list)
    earliest: float | None = None
    latest: float = 0.0
    #: Times at which the kernel dropped messages.
    lost: list[float] = field(default_factory=list)
    #: Why the log could not be read; None when it was.
    problem: Reason | None = None

    def take(self, lines: t.Iterable[str]) -> None:
        """Read lines of the audit log, of ``journalctl -o short-unix``, or of dmesg."""
        for line in lines:
            moment = _moment(line)
            if moment is None:
                continue
            self.earliest = moment if self.earliest is None else min(self.earliest, moment)
            self.latest = max(self.latest, moment)
            record = _RECORD.search(line)
            kind = (record["type"] or record["name"]) if record else ""
            if kind in _RENEWALS or (kind in _STATUS and _RELAXED.search(line)):
                self.renewals.append(moment)
            elif _LOST.search(line):
                self.lost.append(moment)
            elif kind in _PROCTITLES:
                if GUARD_SCRIPT_HEX in line or _GUARD_SCRIPT in line:
                    self.by_guard.add(_event(line))
            else:
                self._denial(moment, line)

    def _denial(self, moment: float, line: str) -> None:
        match = _DENIED.search(line)
        if match is None:
            return
        # Where a field is named twice, the kernel's own comes last: what a process chose comes before it.
        fields = dict(_FIELD.findall(line[match.end() :]))
        source, target = (type_of(fields.get(name, "")) for name in ("scontext", "tcontext"))
        if fields.get("permissive", "1")[:1] != "0":
            permissions, class_ = " ".join(sorted(match[1].split())), fields.get("tclass", "?")[:40]
            comm = _COMM.search(line, match.end())
            program = comm[1] if comm else ""
            self.denied.append(
                LoggedDenial(moment, source or "?", permissions, class_, target or "?", program, _event(line))
            )


@dataclass(frozen=True)
class Soak:
    """Denials since the kernel last forgot those that it had logged."""

    #: When that was; None: unknown.
    since: float | None
    #: Of domains that keep the host from being made enforcing.
    denials: tuple[Denial, ...] = ()
    #: Of all others, those of domains that stay permissive among them.
    others: tuple[Denial, ...] = ()
    #: Denials of the guard, which works without these permissions.
    own: tuple[Denial, ...] = ()
    #: Why the log is no evidence; None when it is complete.
    problem: Reason | None = None

    def of(self, type_: str) -> list[Denial]:
        """The denials of one domain, but for the guard's."""
        return [denial for denial in (*self.denials, *self.others) if denial.source == type_]


def soak(
    log: DenialLog,
    booted_at: float | None,
    types: t.Collection[str],
    stays_permissive: t.Callable[[str], bool] = lambda _type: False,
) -> Soak:
    """Whether the log holds all denials since the kernel last forgot them, and these denials.

    ``types`` are those of guests, and others that count. ``stays_permissive`` tells whether a domain is permissive also
    on the enforcing host: it is denied nothing there.
    """
    if log.problem:
        return Soak(None, problem=log.problem)
    if booted_at is None:
        return Soak(None, problem=Reason("boot_time_unknown", "when the host booted could not be read"))
    since = max([booted_at, *log.renewals])
    if log.earliest is None or log.latest < booted_at:
        return Soak(None, problem=Reason("no_record", "the log has no record since the host booted"))
    if log.earliest > since + _START_SLACK:
        why = "the log begins after the host booted; load the policy anew (load_policy), so that it is complete"
        return Soak(None, problem=Reason("log_begins_late", why))
    if any(moment >= since for moment in log.lost):
        why = "the kernel dropped messages; run auditd, then load the policy anew (load_policy)"
        return Soak(since, problem=Reason("messages_dropped", why))
    recent = [item for item in log.denied if item.moment >= since]
    own = [item for item in recent if _is_own(log, item, types)]
    denials = _grouped(item for item in recent if not _is_own(log, item, types))
    counted = tuple(denial for denial in denials if counts(denial.source, types, stays_permissive))
    return Soak(since, counted, tuple(denial for denial in denials if denial not in counted), tuple(_grouped(own)))


def counts(
    type_: str, types: t.Collection[str], stays_permissive: t.Callable[[str], bool] = lambda _type: False
) -> bool:
    """Whether a denial of the domain keeps a host from being made enforcing. One without a valid label always does."""
    if type_ == "?":
        return True
    return (type_ in types or type_.startswith(_VIRTUALISATION)) and not stays_permissive(type_)


def _is_own(log: DenialLog, item: LoggedDenial, types: t.Collection[str]) -> bool:
    """Whether the guard was denied. It runs in the daemon's domain; a guest may choose any name."""
    if item.source in types or item.source == "?":
        return False
    return item.program == _GUARD or (bool(item.event) and item.event in log.by_guard)


def _grouped(items: t.Iterable[LoggedDenial]) -> list[Denial]:
    groups: dict[tuple[str, str, str, str], list[float]] = {}
    for item in items:
        groups.setdefault((item.source, item.permissions, item.class_, item.target), []).append(item.moment)
    return [Denial(*key, len(times), max(times)) for key, times in sorted(groups.items())]


def _event(line: str) -> str:
    match = _EVENT.search(line)
    return match[1] if match else ""


def _moment(line: str) -> float | None:
    match = _TIME.search(line) or _STAMP.match(line)
    return float(match[1]) if match else None
