# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's records in the audit log: which guest got which label, and when it started and stopped.

libvirt writes VIRT_MACHINE_ID when it has chosen a guest's label, then VIRT_CONTROL when the guest has started, and
again when it has stopped. The order of the fields is fixed. A guest's name is quoted, or in hexadecimal where it has a
space, a quote or a control character, so no name forges a field. A static label is the text of whoever defined the
guest: a record whose label has a space does not match, and counts as damaged.

Records of the log itself count too: without them a silent log would look like a quiet host.

Sources: libvirt's src/conf/domain_audit.c, audit's lib/audit_logging.c and lib/msg_typetab.h.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from collections import deque

from ..utf8 import clean_text
from .context import MAX_TEXT

#: libvirt chose a label; the guest started, failed to start, stopped.
LABEL, START, START_FAILED, STOP = "label", "start", "start_failed", "stop"
#: The host went down, and booted; the log stopped, and began again; a record about a guest cannot be understood.
SHUTDOWN, BOOT, LOG_OFF, LOG_ON, DAMAGED = "shutdown", "boot", "log_off", "log_on", "damaged"
KINDS = (LABEL, START, START_FAILED, STOP, SHUTDOWN, BOOT, LOG_OFF, LOG_ON, DAMAGED)

#: Numbers of the types of records, as the kernel and the journal have them.
TYPES = {
    "1127": "SYSTEM_BOOT",
    "1128": "SYSTEM_SHUTDOWN",
    "1200": "DAEMON_START",
    "1201": "DAEMON_END",
    "1202": "DAEMON_ABORT",
    "1206": "DAEMON_RESUME",
    "1208": "DAEMON_ERR",
    "1305": "CONFIG_CHANGE",
    "2500": "VIRT_CONTROL",
    "2502": "VIRT_MACHINE_ID",
}
#: Lines that matter start with one of these; ``node=`` comes before the type where auditd is set so.
_STARTS = frozenset((b"type=VIRT", b"type=DAEM", b"type=SYST", b"type=CONF"))
_NODE = b"node="
#: Events that are kept, the newest.
MAX_EVENTS = 100_000
#: Characters of a guest's name that are kept.
MAX_NAME = 200

_LINE = re.compile(
    r"(?:node=\S{1,255} )?type=(?P<type>\w{1,40}) msg=audit\((?P<at>\d{1,12}\.\d{1,9}):(?P<serial>\d{1,20})\): ?"
    r"(?P<text>.*)\Z",
    re.DOTALL,
)
_SENT = re.compile(r"(?:pid=-?\d+) uid=(\d+) auid=\d+ ses=\d+(?: subj=\S+)? msg='(.*)'\Z", re.DOTALL)
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_VM = r'vm=("[^"\s]*"|[0-9A-Fa-f]{2,8192})'
_MACHINE = re.compile(rf"virt=\S+ {_VM} uuid=({_UUID}) vm-ctx=(\S+) img-ctx=\S+(?: model=(\S+))? exe=")
_CONTROL = re.compile(rf"virt=\S+ op=(\w+) reason=(\S+) {_VM} uuid=({_UUID}) vm-pid=(-?\d{{1,10}})(?: \S+)? exe=")
_NAMED = re.compile(rf"virt=\S+ (?:op=\w+ reason=\S+ )?{_VM} uuid=({_UUID}) ")
_RESULT = re.compile(r" res=(\w+)\Z")
_ENABLED = re.compile(r"\baudit_enabled=([012]) old=([012])\b")
_LOG_OFF = frozenset(("DAEMON_END", "DAEMON_ABORT", "DAEMON_ERR"))
_LOG_ON = frozenset(("DAEMON_START", "DAEMON_RESUME"))


class VirtEvent(t.NamedTuple):
    """What one record says."""

    #: Seconds since the epoch, by the host's clock.
    at: float
    kind: str
    uuid: str = ""
    name: str = ""
    label: str = ""
    pid: int = 0
    reason: str = ""


def parse_line(line: str) -> VirtEvent | None:
    """The event of a line of auditd's log; None where it is about something else."""
    match = _LINE.match(line)
    return event_of(match["type"], float(match["at"]), match["text"]) if match else None


class AuditScan:
    """Reads auditd's files, line by line, from the oldest to the newest.

    Not every host records that it booted. The kernel counts its records from each boot on, so the host booted where
    the count after a start of auditd is lower than before. auditd's own records have other numbers.
    """

    def __init__(self) -> None:
        self.events: deque[VirtEvent] = deque(maxlen=MAX_EVENTS)
        #: Times of the first and the last record; None: there is none.
        self.first: float | None = None
        self.last: float | None = None
        #: Events that were read, those that were dropped too.
        self.count = 0
        #: The last record of the kernel, and the one before auditd started.
        self._before: bytes = b""
        self._line: bytes = b""
        self._started = False

    @property
    def since(self) -> float | None:
        """From when on the events are complete."""
        return self.events[0].at if self.count > len(self.events) else self.first

    def take(self, lines: t.Iterable[bytes]) -> None:
        """Read the lines of one file."""
        for line in lines:
            if self.first is None:
                self.first = self._time(line)
            if self._started:
                self._after_start(line)
            if line[:9] in _STARTS or line.startswith(_NODE):
                self._event(line)
            elif line:
                self._line = line
        if self._line:
            self.last = self._time(self._line) or self.last

    def _event(self, line: bytes) -> None:
        event = parse_line(line.decode("utf-8", "surrogateescape").rstrip("\n"))
        if b"type=DAEMON_" not in line[:300]:
            self._line = line
        if event is None:
            return
        self.events.append(event)
        self.count += 1
        if event.kind == LOG_ON and event.reason == "daemon_start":
            self._before, self._started = self._line, True

    def _after_start(self, line: bytes) -> None:
        """Look at the first record of the kernel after a start of auditd."""
        if b"type=DAEMON_" in line[:300]:
            return
        old, new = self._match(self._before), self._match(line)
        if new is None:
            return
        self._started = False
        if old is not None and int(new["serial"]) < int(old["serial"]):
            self.events.append(VirtEvent(float(new["at"]), BOOT))
            self.count += 1

    def _time(self, line: bytes) -> float | None:
        match = self._match(line)
        return float(match["at"]) if match else None

    def _match(self, line: bytes) -> re.Match[str] | None:
        return _LINE.match(line[:400].decode("utf-8", "replace"))


def event_of(type_: str, at: float, text: str) -> VirtEvent | None:
    """The event of a record of this type, by name or number; None where it is about something else."""
    type_ = TYPES.get(type_, type_)
    if type_ in ("SYSTEM_BOOT", "SYSTEM_SHUTDOWN"):
        return VirtEvent(at, BOOT if type_ == "SYSTEM_BOOT" else SHUTDOWN)
    if type_ in _LOG_OFF or type_ in _LOG_ON:
        return VirtEvent(at, LOG_ON if type_ in _LOG_ON else LOG_OFF, reason=type_.lower())
    if type_ == "CONFIG_CHANGE":
        enabled = _ENABLED.search(text)
        if enabled is None or (enabled[1] == "0") == (enabled[2] == "0"):
            return None
        return VirtEvent(at, LOG_OFF if enabled[1] == "0" else LOG_ON, reason="audit_enabled")
    if type_ not in ("VIRT_CONTROL", "VIRT_MACHINE_ID"):
        return None
    sent = _SENT.match(text.partition("\x1d")[0].rstrip())  # after it, auditd may repeat fields in words
    if sent is None:
        return VirtEvent(at, DAMAGED)
    if sent[1] != "0":
        return None  # the system's libvirt runs as root
    return _machine(at, sent[2]) if type_ == "VIRT_MACHINE_ID" else _control(at, sent[2])


def _machine(at: float, text: str) -> VirtEvent | None:
    match = _MACHINE.match(text)
    # A level may hold spaces in libvirt's eyes: a label must not bring fields of its own.
    if match is None or len(match[3]) > MAX_TEXT or any(text.count(field) != 1 for field in (" img-ctx=", " exe=")):
        return _damaged(at, text)
    label, model = match[3], match[4]
    if model not in ("selinux", None) or (model is None and label.count(":") < 2) or not _succeeded(text):
        return None  # DAC has labels too
    return _named(VirtEvent(at, LABEL, match[2], match[1], label))


def _control(at: float, text: str) -> VirtEvent | None:
    match = _CONTROL.match(text)
    if match is None:
        return _damaged(at, text)
    op, reason = match[1], match[2][:40]
    if op not in ("start", "stop"):
        return None
    kind = STOP if op == "stop" else START if _succeeded(text) else START_FAILED
    return _named(VirtEvent(at, kind, match[4], match[3], pid=max(int(match[5]), 0), reason=reason))


def _succeeded(text: str) -> bool:
    result = _RESULT.search(text)
    return result is not None and result[1] == "success"


def _damaged(at: float, text: str) -> VirtEvent:
    match = _NAMED.match(text)
    return _named(VirtEvent(at, DAMAGED, match[2], match[1])) if match else VirtEvent(at, DAMAGED)


def _named(event: VirtEvent) -> VirtEvent:
    """The event with the guest's name as libvirt has it. An impossible name does not cost the event."""
    text = event.name
    if text.startswith('"'):
        name = text[1:-1]
    else:
        try:
            name = bytes.fromhex(text).decode("utf-8", "surrogateescape")
        except ValueError:
            name = text
    return event._replace(name=clean_text(name)[:MAX_NAME])
