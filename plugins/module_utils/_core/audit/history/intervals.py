# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From when to when each guest of a host had which label, from the audit log's events in their order.

An interval has two spans: where the guest *surely* had the label, and where it *may* have had it. They are equal where
the log shows both ends. Where the log was off, or a record is missing, the sure span ends with the last evidence and
the possible one goes on to the next, and the host has a doubt.

Moments of one host are compared by their place in the log, whatever its clock did; those of two hosts by time.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ...result import Reason
from ...selinux import virt_audit as a
from ...selinux.virt_audit import VirtEvent

LOG, PROCESS, LEDGER = "log", "process", "ledger"

#: Seconds by which times of a log may go back without a change of the clock: records are queued.
CLOCK_SLACK = 1.0
#: Seconds from the end of auditd to a boot that a host may take without a record that it went down.
SHUTDOWN_TIME = 900.0
#: Doubts of a host that are kept.
MAX_DOUBTS = 1000


class Moment(t.NamedTuple):
    """A place in a host's log, and its time."""

    order: int
    at: float


class Span(t.NamedTuple):
    """From one moment to another."""

    first: Moment
    last: Moment


@dataclass(frozen=True)
class Interval:
    """A guest with its label."""

    host: str
    uuid: str
    name: str
    #: Empty: the log does not say.
    label: str
    possible: Span
    #: None: there is no moment at which it surely had the label.
    sure: Span | None
    #: How it began: seen, or before_log.
    start: str
    #: How it ended: the reason of libvirt, boot, running, or unseen.
    end: str
    #: Where the label is from: log, process (of the running guest), or ledger, which has the level only.
    source: str = LOG


@dataclass(frozen=True)
class GuestNow:
    """A guest that runs when the log is read, by the snapshot."""

    uuid: str
    name: str
    pid: int
    #: Label of its process; empty: not read.
    label: str


@dataclass(frozen=True)
class HostLog:
    """What was read of a host."""

    host: str
    events: t.Sequence[VirtEvent]
    #: Time of the first record that was read, of whatever type.
    since: float
    #: When it was read.
    until: float
    #: Guests that ran then; None: not known.
    running: t.Sequence[GuestNow] | None = None


@dataclass(frozen=True)
class Doubt:
    """A time of which a host's history is not known, in whole or for one guest."""

    host: str
    since: float
    until: float
    reason: Reason
    uuid: str = ""
    name: str = ""


@dataclass
class HostHistory:
    """Intervals of one host, and what is not known of it."""

    host: str
    since: float
    until: float
    intervals: list[Interval] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    #: Doubts above MAX_DOUBTS.
    more_doubts: int = 0


@dataclass
class _Open:
    uuid: str
    name: str
    label: str
    begin: Moment
    #: None: it began at some time before.
    sure_begin: Moment | None
    start: str
    started: bool = False
    pid: int = 0
    #: Last moment at which it surely had the label still; None: up to now.
    last_sure: Moment | None = None
    source: str = LOG


def history(log: HostLog) -> HostHistory:
    """The intervals of a host."""
    return _Builder(log).build()


class _Builder:
    def __init__(self, log: HostLog) -> None:
        self._log = log
        self._result = HostHistory(log.host, log.since, log.until)
        self._open: dict[str, _Open] = {}
        #: Guests that were seen to stop, with the moment; ``_clear``: since then all others are known not to run.
        self._stopped: dict[str, Moment] = {}
        self._clear: Moment | None = None
        self._begin = self._now = Moment(-1, log.since)
        #: From when on the log has no gap.
        self._whole_since = self._begin
        #: Where the log stopped, and where it began again since.
        self._off: Moment | None = None
        self._on: Moment | None = None
        self._went_down = False

    def build(self) -> HostHistory:
        for order, event in enumerate(self._log.events):
            self._take(event, Moment(order, event.at))
        end = Moment(len(self._log.events), self._log.until)
        self._check_clock(end)
        self._settle_gap(end)
        self._finish(end)
        self._result.intervals.sort(key=lambda item: (item.possible.first.order, item.uuid, item.source))
        return self._result

    def _take(self, event: VirtEvent, now: Moment) -> None:
        before = self._now
        self._check_clock(now)
        self._now = now
        if event.kind == a.LOG_OFF:
            self._settle_gap(now)
            self._off = self._off or now
        elif event.kind == a.LOG_ON:
            self._settle_gap(now)  # one before this, after which no guest was recorded
            self._off = self._off or before
            self._on = now
        elif event.kind == a.SHUTDOWN:
            self._went_down = True
        elif event.kind == a.BOOT:
            self._boot(self._off or before, now)
        else:
            self._settle_gap(now)
            self._guest(event, now)

    # -- the log itself ------------------------------------------------------------------------------------------------

    def _check_clock(self, now: Moment) -> None:
        back = self._now.at - now.at
        if back > CLOCK_SLACK:
            text = f"the clock was set back by {back:.0f} s, so earlier times are not certain"
            self._doubt(now.at, self._now.at, Reason("clock_set_back", text))
            self._widen(back)

    def _widen(self, seconds: float) -> None:
        """Times before a change of the clock may be wrong by as much: nothing of them is sure to other hosts."""

        def earlier(moment: Moment) -> Moment:
            return Moment(moment.order, moment.at - seconds)

        def later(moment: Moment) -> Moment:
            return Moment(moment.order, moment.at + seconds)

        def narrowed(span: Span | None) -> Span | None:
            return Span(later(span.first), earlier(span.last)) if span else None

        self._result.intervals = [
            replace(
                item,
                possible=Span(earlier(item.possible.first), later(item.possible.last)),
                sure=narrowed(item.sure),
            )
            for item in self._result.intervals
        ]
        for guest in self._open.values():
            guest.begin = earlier(guest.begin)
            guest.sure_begin = later(guest.sure_begin) if guest.sure_begin else None
            guest.last_sure = earlier(guest.last_sure) if guest.last_sure else None
        self._begin, self._whole_since = earlier(self._begin), later(self._whole_since)
        self._stopped = {uuid: earlier(moment) for uuid, moment in self._stopped.items()}
        self._clear = earlier(self._clear) if self._clear else None

    def _boot(self, last: Moment, now: Moment) -> None:
        """All guests ended before the host booted; between its last record and this one there were none."""
        if self._off is not None and not self._went_down and now.at - self._off.at > SHUTDOWN_TIME:
            text = "the audit log was off for some time before the host booted, and guests may have come and gone"
            self._doubt(self._off.at, now.at, Reason("log_off", text))
        self._off = self._on = None
        self._went_down = False
        for guest in list(self._open.values()):
            self._close(guest, guest.last_sure or last, now, a.BOOT)
        self._stopped.clear()
        self._clear = self._whole_since = now

    def _settle_gap(self, now: Moment) -> None:
        """A log that began again without a boot of the host: what happened meanwhile is not known."""
        if self._off is None or self._on is None:
            if self._off is not None and now.order == len(self._log.events):
                self._gap(self._off, now)  # still off
            return
        self._gap(self._off, self._on)
        self._off = self._on = None

    def _gap(self, since: Moment, until: Moment) -> None:
        self._doubt(since.at, until.at, Reason("log_off", "the audit log was off, and guests may have come and gone"))
        for guest in self._open.values():
            guest.last_sure = guest.last_sure or since
        self._stopped.clear()
        self._clear, self._whole_since = None, until

    # -- guests --------------------------------------------------------------------------------------------------------

    def _guest(self, event: VirtEvent, now: Moment) -> None:
        if event.kind == a.DAMAGED:
            text = "a record about the guest cannot be understood" if event.uuid else "a record cannot be understood"
            self._doubt(now.at, now.at, Reason("record_damaged", text), event.uuid, event.name)
            return
        known = self._open.get(event.uuid)
        if event.kind == a.LABEL:
            self._label(event, known, now)
        elif event.kind == a.START:
            self._start(event, known, now)
        elif event.kind == a.START_FAILED:
            if known is not None and not known.started:
                self._close(known, now, now, "failed")
                self._stopped[event.uuid] = now
        else:
            self._stop(event, known, now)

    def _label(self, event: VirtEvent, known: _Open | None, now: Moment) -> None:
        """A label is chosen right before a start: what ran before has ended."""
        if known is not None:
            self._lost(known, now)
        self._open[event.uuid] = _Open(event.uuid, event.name, event.label, now, now, "seen")

    def _start(self, event: VirtEvent, known: _Open | None, now: Moment) -> None:
        if known is not None and known.started:
            self._lost(known, now)
            known = None
        if known is None:
            known = self._open[event.uuid] = _Open(event.uuid, event.name, "", now, now, "seen")
        known.started, known.pid = True, event.pid

    def _stop(self, event: VirtEvent, known: _Open | None, now: Moment) -> None:
        if known is None:
            stopped = self._stopped.get(event.uuid) or self._clear
            if stopped is not None and event.reason == "failed":
                return  # the end of a start that failed
            known = self._unseen(event.uuid, event.name, "", stopped, now)
        self._close(known, known.last_sure or now, now, event.reason or "stopped")
        self._stopped[event.uuid] = now

    def _unseen(self, uuid: str, name: str, label: str, stopped: Moment | None, now: Moment) -> _Open:
        """A guest that runs, and whose start the log does not have.

        It ran since before the log began, or since a gap of it, unless the log shows that it did not run then.
        """
        if stopped is not None:
            text = "the log shows no start of the guest after its last stop"
            self._doubt(stopped.at, now.at, Reason("start_missing", text), uuid, name)
            return _Open(uuid, name, label, stopped, now, "unseen", started=True)
        return _Open(uuid, name, label, self._begin, self._whole_since, "before_log", started=True)

    def _lost(self, known: _Open, now: Moment) -> None:
        """The end of a guest is not in the log: it starts anew."""
        if known.started:
            text = "the guest started again, and the log does not show that it stopped"
            self._doubt(known.begin.at, now.at, Reason("stop_missing", text), known.uuid, known.name)
        self._close(known, known.last_sure or known.begin, now, "unseen")

    def _finish(self, end: Moment) -> None:
        running = None if self._log.running is None else {guest.uuid: guest for guest in self._log.running}
        for known in list(self._open.values()):
            guest = running.pop(known.uuid, None) if running is not None else None
            if guest is not None:
                self._still_running(known, guest, end)
            elif running is None:
                self._close(known, known.last_sure or end, end, "running")
            else:
                self._lost_now(known, end)
        for guest in (running or {}).values():
            stopped = self._stopped.get(guest.uuid) or self._clear
            known = self._unseen(guest.uuid, guest.name, guest.label, stopped, end)
            known.source = PROCESS
            self._close(known, end, end, "running")

    def _lost_now(self, known: _Open, end: Moment) -> None:
        text = "the guest does not run, and the log does not show that it stopped"
        self._doubt(known.begin.at, end.at, Reason("stop_missing", text), known.uuid, known.name)
        self._close(known, known.last_sure or known.begin, end, "unseen")

    def _still_running(self, known: _Open, guest: GuestNow, end: Moment) -> None:
        same = bool(guest.pid) and guest.pid == known.pid
        if same:
            known.last_sure = None  # one process: it ran all the time, whatever the log missed
        if known.label and guest.label and level_text(known.label) != level_text(guest.label):
            text = "the guest's process has another label now than the log says"
            self._doubt(known.begin.at, end.at, Reason("label_differs", text), known.uuid, known.name)
            self._close(replace(known, label=guest.label, source=PROCESS, sure_begin=None), end, end, "running")
            known.last_sure = known.begin
        elif not known.label and same:
            known.label, known.source = guest.label, PROCESS
        self._close(known, known.last_sure or end, end, "running")

    def _close(self, known: _Open, sure_end: Moment, end: Moment, why: str) -> None:
        self._open.pop(known.uuid, None)
        sure = None
        if known.sure_begin is not None and known.sure_begin.order <= sure_end.order:
            sure = Span(known.sure_begin, sure_end)
        if not known.label:
            text = "the log does not show the guest's label"
            self._doubt(known.begin.at, end.at, Reason("label_unknown", text), known.uuid, known.name)
        item = Interval(
            host=self._log.host,
            uuid=known.uuid,
            name=known.name,
            label=known.label,
            possible=Span(known.begin, end),
            sure=sure,
            start=known.start,
            end=why,
            source=known.source,
        )
        self._result.intervals.append(item)

    def _doubt(self, since: float, until: float, reason: Reason, uuid: str = "", name: str = "") -> None:
        if len(self._result.doubts) < MAX_DOUBTS:
            self._result.doubts.append(Doubt(self._log.host, since, until, reason, uuid, name))
        else:
            self._result.more_doubts += 1


def level_text(label: str) -> str:
    """The part of a label that has the categories."""
    return label.rstrip("\0\n").split(":", 3)[-1]
