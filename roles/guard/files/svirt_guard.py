# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges whether a guest may start on this host, or come to it: not when sVirt would not keep it from another guest.

libvirt calls the hook /etc/libvirt/hooks/qemu.d/svirt-guard with the guest's name, an operation and a part of it, and
its XML on standard input. That hook hands over here only what may be refused at all: it ends with 0 for all else, as
libvirt ends a *running* guest when a hook fails at "reconnect".

Exit status: 0 go on, 77 refused (the reason is on standard error, for libvirt to pass on). Anything else is a fault of
the guard itself, and the hook decides by its settings. The guard never calls libvirt: the daemon waits for it.

It causes no denial of SELinux. It looks at no process but those that libvirt's status files name, and only where the
policy lets the daemon's domain read a process with the label that the status file has. The module that installs the
guard asks the loaded policy for that, and writes the answer into the settings; where the domain may ask the policy
itself, the guard asks anew at each call. A process that may not be read is judged by its status file.

Nothing but Python's own library is needed, version 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import signal
import sys
import syslog
import time
import typing as t
from xml.parsers import expat

ALLOWED, REFUSED, FAULT = 0, 77, 70

SETTINGS = "/etc/svirt-fleet/guard.json"
STATUS = "/run/libvirt/qemu"
STARTING = "/run/libvirt/svirt-guard.starting"
SELINUX = "/sys/fs/selinux"
#: What reading a process takes: /proc/PID is a folder with the label of the process.
READING = (("process", ("getattr",)), ("file", ("open", "read")), ("dir", ("search",)))

#: A definition is read as a stream, up to this size. libvirt takes texts of 4 MiB from a client; a text of quotes has
#: 24 MiB once it is escaped. A larger definition is refused: size is no reason to let a guest start unjudged.
MAX_XML = 64 * 1024 * 1024
#: No ordinary definition is larger: one for which the time limit passes is refused, too.
LARGE_XML = 4 * 1024 * 1024
#: Smallest and largest part that is read at once. Parts grow: expat scans an unfinished tag again with each part.
PART, LARGEST_PART = 64 * 1024, 32 * 1024 * 1024
MAX_TEXT = 4096
#: Characters of a name that are kept.
MAX_NAME = 200
MAX_GUESTS = 10_000
#: Seconds for which a guest that was let through counts as running, until its process can be seen.
STARTING_SECONDS = 30.0
#: Seconds to wait for the verdict on another guest that starts at the same time.
LOCK_SECONDS = 2.0

#: The final label is known here, so a guest without one is unconfined; before, a dynamic label is yet to be drawn.
FINAL = ("start", "begin")
EARLY = (("prepare", "begin"), ("migrate", "begin"), ("restore", "begin"))

EVERYTHING = (1 << 1024) - 1
_LEVEL = re.compile(r"s(0|[1-9][0-9]{0,3})(?::([c0-9.,]{1,4096}))?\Z")
_CATEGORIES = re.compile(r"c(0|[1-9][0-9]{0,3})(?:\.c(0|[1-9][0-9]{0,3}))?\Z")
_TYPE = re.compile(r"[A-Za-z0-9_.$@+-]{1,200}\Z")
#: The control group of a guest, as libvirt names it with systemd and without.
_SCOPE = re.compile(r"(?:/[^/\n]*)*?/(?:machine-qemu[^/\n]*\.scope|[^/\n]*\.libvirt-qemu)(?=/|$)")


class GuardError(Exception):
    """The guard cannot judge."""


class TooLargeError(GuardError):
    """A definition is larger than any that libvirt writes."""


class TimeUp(BaseException):
    """The time limit has passed. No handler of other errors may hold it."""


class Settings(t.NamedTuple):
    """What the administrator chose; the defaults hold where nothing can be read."""

    collision: str = "refuse"
    errors: str = "allow"
    time_limit: float = 5.0
    log: str = "refusals"
    #: Types of processes that the daemon's domain may read, as the loaded policy said at the installation.
    readable: t.Sequence[str] = ()
    #: The daemon's domain may ask the loaded policy itself.
    ask: bool = False


class Level(t.NamedTuple):
    """Sensitivity, and categories as a bit mask."""

    sensitivity: int
    categories: int

    def reaches(self, other: Level) -> bool:
        """Whether a process with this level gets at what carries the other."""
        return self.sensitivity >= other.sensitivity and self.categories & other.categories == other.categories


class Guest(t.NamedTuple):
    """A guest as far as it matters here."""

    uuid: str
    name: str
    #: dynamic, static, none, or empty where SELinux has no part in the guest.
    kind: str = ""
    label: str = ""
    pid: int = 0
    #: The label is that of the status file; the process may not be read.
    unread: bool = False


# --- reading text -----------------------------------------------------------------------------------------------------


def level_of(label: str) -> Level:
    """The high level of a label, which decides what a process reaches. Raises GuardError, also where the kernel would
    not take the label: no process can have it.
    """
    parts = label.rstrip("\0\n").split(":", 3)
    ends = [_LEVEL.match(end) for end in parts[3].split("-")] if len(parts) == 4 and len(label) <= MAX_TEXT else []
    levels = [Level(int(match[1]), categories_of(match[2] or "")) for match in ends if match]
    if not 1 <= len(levels) == len(ends) <= 2 or not levels[-1].reaches(levels[0]):
        raise GuardError(f"the level of the label {shown(label)} cannot be understood")
    return levels[-1]


def categories_of(text: str) -> int:
    """A bit mask of c1,c5.c7. Raises GuardError."""
    mask = 0
    for part in text.split(",") if text else []:
        match = _CATEGORIES.match(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < 1024:
            raise GuardError(f"the categories {shown(text)} cannot be understood")
        mask |= (1 << (last + 1)) - (1 << first)
    return mask


def type_of(label: str) -> str:
    """The type in a label; empty where there is none."""
    parts = label.split(":", 3)
    return parts[2] if len(parts) > 2 else ""


def shown(text: str, room: int = 120) -> str:
    """Text that a tenant may have chosen, quoted, on one line, without anything that a terminal obeys."""
    text = text if len(text) <= room else text[:room] + "..."
    return "'" + "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text) + "'"


class _Reader:
    """Takes what it needs from a guest's XML, or from a status file; the rest is parsed and not kept."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._start, self._end
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.buffer_text, self.parser.buffer_size = True, PART
        #: Names of the open elements, down to the third.
        self._path: list[str] = []
        self._depth = 0
        self._text: list[str] = []
        self._room = 0
        self._ours = False

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._depth >= 3:
            self._depth += 1
            return
        if tag == "domstatus" and not self._path:
            self.found["pid"] = attributes.get("pid", "")
            return
        self._depth += 1
        path = self._path
        path.append(tag)
        if path == ["domain", "seclabel"]:
            # libvirt writes the model; one without is for the first driver, which is SELinux where the guard works.
            self._ours = attributes.get("model", "selinux") == "selinux" and "kind" not in self.found
            if self._ours:
                self.found["kind"] = attributes.get("type", "dynamic")
        elif path in (["domain", "uuid"], ["domain", "name"]) or (
            self._ours and path == ["domain", "seclabel", "label"]
        ):
            self._text, self._room = [], MAX_TEXT
            self.parser.CharacterDataHandler = self._keep  # of all other text, expat keeps nothing

    def _keep(self, part: str) -> None:
        self._text.append(part[: self._room])
        self._room -= len(self._text[-1])

    def _end(self, tag: str) -> None:
        if self._depth > 3:
            self._depth -= 1
            return
        if not self._depth:
            return  # of domstatus
        path = self._path
        if path in (["domain", "uuid"], ["domain", "name"]):
            self.found.setdefault(tag, "".join(self._text))
        elif self._ours and path == ["domain", "seclabel", "label"]:
            self.found["label"] = "".join(self._text).strip()
        self.parser.CharacterDataHandler = None
        path.pop()
        self._depth -= 1

    def _doctype(self, *_: object) -> None:
        raise GuardError("its XML declares a DOCTYPE; libvirt never writes one")


class Stream:
    """A definition that is read in parts, and how much of it was read."""

    def __init__(self, source: t.BinaryIO) -> None:
        self.size = 0
        self.ended = False
        self._source = source

    def parts(self) -> t.Iterator[bytes]:
        """The parts, up to the bound. Raises TooLargeError, and OSError."""
        while True:
            part = self._source.read(max(PART, min(self.size, LARGEST_PART)))
            if not part:
                self.ended = True
                return
            self.size += len(part)
            if self.size > MAX_XML:
                raise TooLargeError(f"its definition is larger than {MAX_XML} bytes, which no guest needs")
            yield part


def parse(xml: bytes | Stream) -> Guest:
    """A guest from its XML or its status file. Raises GuardError, and OSError."""
    reader = _Reader()
    stream = Stream(io.BytesIO(xml)) if isinstance(xml, bytes) else xml
    try:
        for part in stream.parts():
            reader.parser.Parse(part, False)
        reader.parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, RecursionError) as error:
        raise GuardError(f"its XML does not parse: {error}") from None
    found = reader.found
    if not found.get("uuid"):
        raise GuardError("its XML names no uuid")
    pid = found.get("pid", "")
    return Guest(
        found["uuid"].strip().lower(),
        found.get("name", "")[:MAX_NAME],
        found.get("kind", ""),
        found.get("label", ""),
        int(pid) if pid.isdigit() else 0,
    )


# --- reading the host -------------------------------------------------------------------------------------------------


def opened(path: str) -> t.BinaryIO:
    """A file to read. Raises OSError."""
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def read(path: str, limit: int) -> bytes:
    """A small file, at most one byte more than the limit. Raises OSError."""
    with opened(path) as file:
        return file.read(limit + 1)


def guest_of(path: str) -> Guest:
    """A guest from a file. Raises GuardError, and OSError."""
    with opened(path) as file:
        return parse(Stream(file))


def settings_of(root: str) -> tuple[Settings, str]:
    """The settings, and what is wrong with them; what is wrong has its default."""
    path = root + SETTINGS
    try:
        given = json.loads(read(path, 65536))
        given = {key: value for key, value in given.items() if key in Settings._fields}
    except FileNotFoundError:
        return Settings(), ""
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        return Settings(), f"{path} cannot be read, so defaults hold: {error}"
    good = {
        "collision": given.get("collision") in ("refuse", "allow"),
        "errors": given.get("errors") in ("refuse", "allow"),
        "time_limit": type(given.get("time_limit")) in (int, float) and 0 < given["time_limit"] <= 60,
        "log": given.get("log") in ("refusals", "all"),
        "readable": _are_types(given.get("readable")),
        "ask": isinstance(given.get("ask"), bool),
    }
    bad = [key for key in given if not good[key]]
    problem = f"{path} has a wrong value for {', '.join(bad)}, so the default holds" if bad else ""
    return Settings(**{key: value for key, value in given.items() if good[key]}), problem


def _are_types(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(item, str) and _TYPE.match(item) for item in given)


def own_label(root: str) -> str:
    """The label of the guard's own process, which is in the daemon's domain; empty where SELinux gives none."""
    try:
        label = read(f"{root}/proc/self/attr/current", MAX_TEXT).decode("utf-8", "replace").rstrip("\0\n")
    except OSError:
        return ""
    return label if label.count(":") >= 2 and "(" not in label else ""


class Policy:
    """Which processes the guard may read without a denial."""

    def __init__(self, root: str, settings: Settings) -> None:
        self._root, self._settings = root, settings
        self.own = own_label(root)
        self._answers: dict[str, bool] = {}

    @property
    def on(self) -> bool:
        """Whether SELinux is on. Every process may read its own label; not every domain may look into selinuxfs."""
        return bool(self.own) or os.path.exists(f"{self._root}{SELINUX}/enforce")

    def lets_read(self, label: str) -> bool:
        """Whether a process with this label may be read, as the policy has it. That the host is permissive, or the
        domain, does not count: a denial would be logged.
        """
        if not label:
            return False
        if not (self._settings.ask and self.own):
            return type_of(label) in self._settings.readable
        if label not in self._answers:
            try:
                self._answers[label] = all(self._allows(label, *needs) for needs in READING)
            except (OSError, ValueError, IndexError):
                self._answers[label] = False  # a label that the policy does not know, above all
        return self._answers[label]

    def _allows(self, label: str, tclass: str, permissions: t.Sequence[str]) -> bool:
        folder = f"{self._root}{SELINUX}/class/{tclass}"
        index = int(read(f"{folder}/index", 64))
        bits = [1 << (int(read(f"{folder}/perms/{name}", 64)) - 1) for name in permissions]
        handle = os.open(f"{self._root}{SELINUX}/access", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(handle, f"{self.own} {label} {index}".encode("utf-8", "surrogateescape"))
            allowed = int(os.read(handle, 4096).split()[0], 16)
        finally:
            os.close(handle)
        return all(allowed & bit for bit in bits)


def process_label(root: str, pid: int) -> str | None:
    """The label of a process; None when there is no such process. Raises OSError when it cannot be read."""
    try:
        return read(f"{root}/proc/{pid}/attr/current", MAX_TEXT).decode("utf-8", "replace").rstrip("\0\n")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH, errno.ENOTDIR):
            return None
        raise


def exists(root: str, pid: int) -> bool:
    """Whether there is such a process. With F_OK the kernel asks no policy."""
    return os.access(f"{root}/proc/{pid}", os.F_OK)


def is_guest(root: str, guest: Guest) -> bool:
    """Whether the process under a guest's number is its QEMU, whose label is not that of the status file.

    It is where libvirt put it into a guest's control group, or where its command line has the guest's uuid, as libvirt
    writes it; it has neither when the number is another process's by now. A program's name says nothing, and its
    executable is not looked at: following that link takes more than reading.
    """
    folder = f"{root}/proc/{guest.pid}"
    with contextlib.suppress(OSError):
        groups = read(f"{folder}/cgroup", 65536).decode("utf-8", "replace").split("\n")
        if any(_SCOPE.match(group.split(":", 2)[-1]) for group in groups):
            return True
    with contextlib.suppress(OSError):
        words = read(f"{folder}/cmdline", MAX_TEXT * 64).split(b"\0")
        return any(word == b"-uuid" and uuid.lower() == guest.uuid.encode() for word, uuid in zip(words, words[1:]))
    return False


def running(root: str, policy: Policy, problems: list[str]) -> t.Iterator[Guest]:
    """Every guest of libvirt's that runs here, with the label of its process where that may be read."""
    try:
        names = sorted(name for name in os.listdir(root + STATUS) if name.endswith(".xml"))
    except FileNotFoundError:
        names = []
    if len(names) > MAX_GUESTS:
        problems.append(f"{len(names) - MAX_GUESTS} guests were passed over: more than {MAX_GUESTS} run here")
    for name in names[:MAX_GUESTS]:
        try:
            guest = with_process(root, guest_of(f"{root}{STATUS}/{name}"), policy)
        except FileNotFoundError:
            continue  # it has ended since
        except (OSError, GuardError) as error:
            problems.append(f"guest {shown(name[:-4])}, which may run here, was passed over: {error}")
            continue
        if guest is not None:
            yield guest


def with_process(root: str, guest: Guest, policy: Policy) -> Guest | None:
    """A guest with the label that its process has; None when it has no process (any more)."""
    if not guest.pid or not exists(root, guest.pid):
        return None
    noted = guest._replace(unread=True)
    # libvirt starts a guest without a label in its own domain, and so with the guard's own label.
    if not policy.lets_read(guest.label or policy.own):
        return noted
    try:
        label = process_label(root, guest.pid)
    except OSError:
        return noted
    if label is None:
        return None
    if label == guest.label or is_guest(root, guest):
        return guest._replace(label=label)
    return None  # the number is another process's by now


# --- judging ----------------------------------------------------------------------------------------------------------


def flaw(guest: Guest, final: bool) -> str:
    """Why a guest is not kept apart from any other; empty when its own label is in order, or not drawn yet."""
    if guest.kind == "none" or (final and not guest.label):
        return "it has no label of its own, so SELinux would not confine it"
    if not guest.label:
        return ""
    categories = level_of(guest.label).categories
    if not categories:
        return "its label has no categories, so every guest reaches what is its own"
    if categories == EVERYTHING:
        return "its label has all categories, so it reaches every guest"
    return ""


def collision(guest: Guest, others: t.Iterable[Guest], problems: list[str]) -> str:
    """Which guest is not kept apart from this one, and how; empty when all are."""
    mine = level_of(guest.label)
    for other in others:
        if other.uuid == guest.uuid:
            continue
        if not other.label:
            problems.append(f"guest {shown(other.name)}, which runs here unconfined, was passed over")
            continue
        try:
            theirs = level_of(other.label)
        except GuardError as error:
            problems.append(f"guest {shown(other.name)} was passed over: {error}")
            continue
        there, back = mine.reaches(theirs), theirs.reaches(mine)
        if there or back:
            how = "has the categories of" if there and back else "reaches" if there else "is reached by"
            state = "was let through a moment ago" if other.kind == "starting" else "runs here"
            state += ", as libvirt's status file has it" if other.unread else ""
            return f"it {how} guest {shown(other.name)} ({shown(other.label)}), which {state}"
    return ""


class Starting:
    """Guests that were let through a moment ago and have no process yet: two may start at the same time."""

    def __init__(self, root: str) -> None:
        self._rows: list[tuple[str, str, str, float]] = []
        self._path = root + STARTING
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(self._handle)
                    raise GuardError(f"{self._path} has been locked for {LOCK_SECONDS:g} s") from None
                time.sleep(0.02)

    def guests(self) -> list[Guest]:
        """Those that count still."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._rows = []
        try:
            size = os.fstat(self._handle).st_size
            for uuid, name, label, at in json.loads(os.pread(self._handle, min(size, MAX_XML), 0) or b"[]"):
                if 0 <= now - at < STARTING_SECONDS:
                    self._rows.append((str(uuid), str(name), str(label), at))
        except (ValueError, TypeError):
            pass  # the file was cut off or changed; it is written anew
        return [Guest(uuid, name, "starting", label) for uuid, name, label, _at in self._rows]

    def add(self, guest: Guest) -> None:
        """Note a guest that was let through."""
        rows = [row for row in self._rows if row[0] != guest.uuid]
        rows.append((guest.uuid, guest.name, guest.label, time.clock_gettime(time.CLOCK_BOOTTIME)))
        content = json.dumps(rows).encode()
        os.pwrite(self._handle, content, 0)
        os.ftruncate(self._handle, len(content))

    def close(self) -> None:
        """Let the next guest be judged."""
        os.close(self._handle)


def judge(
    root: str, operation: tuple[str, str], xml: bytes | Stream, policy: Policy, problems: list[str]
) -> tuple[Guest, str]:
    """The guest, and why it is refused; empty when it may go on. Raises GuardError."""
    final = operation == FINAL
    guest = parse(xml)
    if not final and guest.kind == "dynamic":
        guest = guest._replace(label="")  # if it has one, it is that of an earlier run
    why = flaw(guest, final)
    if why or not guest.label:
        return guest, why
    if not final:
        return guest, collision(guest, running(root, policy, problems), problems)
    try:
        starting = Starting(root)
    except (OSError, GuardError) as error:
        problems.append(f"guests that start at the same time are not compared: {error}")
        return guest, collision(guest, running(root, policy, problems), problems)
    try:
        why = collision(guest, [*running(root, policy, problems), *starting.guests()], problems)
        if not why:
            starting.add(guest)
        return guest, why
    except OSError as error:
        raise GuardError(str(error)) from error
    finally:
        starting.close()


def decide(root: str, arguments: t.Sequence[str], xml: Stream, settings: Settings, trouble: str) -> int:
    """The exit status, after everything that is to be said was said."""
    name = shown(arguments[0])
    operation = (arguments[1], arguments[2])
    policy = Policy(root, settings)
    if (operation != FINAL and operation not in EARLY) or not policy.on:
        return ALLOWED
    problems = [trouble] if trouble else []
    why, label = "", ""
    try:
        guest, why = judge(root, operation, xml, policy, problems)
        label = f" ({shown(guest.label)})" if guest.label else ""
        if why and guest.kind == "dynamic" and operation == FINAL:
            why += "; libvirt drew its categories by chance, start it again"
    except TooLargeError as error:
        why = str(error)
    except (GuardError, OSError) as error:
        problems.append(f"guest {name} was not judged: {error}")
    if why:
        return _refuse(f"guest {name}{label} was refused: {why}", settings)
    for problem in problems:
        log(syslog.LOG_ERR, f"{operation[0]}: {problem}")
    if problems and settings.errors == "refuse":
        return _refuse(f"guest {name} was refused, for the guard is set to refuse when in doubt: {problems[0]}", None)
    if trouble:
        return FAULT  # what the administrator chose for this is written into the hook too
    if settings.log == "all":
        log(syslog.LOG_INFO, f"{operation[0]}: guest {name}{label} was let through")
    return ALLOWED


def _refuse(text: str, settings: Settings | None) -> int:
    if settings is not None and settings.collision == "allow":
        log(syslog.LOG_WARNING, f"{text} - but collisions are set to be allowed, so it was let through")
        return ALLOWED
    signal.setitimer(signal.ITIMER_REAL, 0)  # the verdict stands, however long the log takes
    say(text)
    log(syslog.LOG_WARNING, text)
    return REFUSED


def say(text: str) -> None:
    """Tell whoever starts the guest: libvirt passes it on."""
    with contextlib.suppress(OSError):
        os.write(2, f"svirt-guard: {text}\n".encode("ascii", "backslashreplace"))


def log(level: int, text: str) -> None:
    """Tell the host's log."""
    syslog.syslog(level, text.encode("ascii", "backslashreplace").decode().replace("\n", " ")[:2000])


# --- running ----------------------------------------------------------------------------------------------------------


def self_test(root: str) -> int:
    """Whether this Python can do the work, on data of its own; the host's guests are not looked at."""
    label = "<seclabel type='static' model='selinux'><label>u:r:svirt_t:s0:c2,c1</label></seclabel>"
    mine = parse(f"<domain><name>a</name><uuid>u1</uuid>{label}</domain>".encode())
    cases = (("s0:c1.c2", True), ("s0:c1", True), ("s0-s0:c0.c1023", True), ("s0:c1,c3", False), ("s1:c5", False))
    for level, collides in cases:
        if bool(collision(mine, [Guest("u2", "b", label=f"u:r:svirt_t:{level}")], [])) != collides:
            say(f"the self-test failed: {mine.label} beside {level}")
            return FAULT
    _settings, trouble = settings_of(root)
    if trouble or sys.version_info < (3, 9):
        say(f"the self-test failed: {trouble or 'Python 3.9 or newer is needed'}")
        return FAULT
    print("svirt-guard: ok", flush=True)  # whoever waits sees it, however long this process takes to end
    return ALLOWED


def _time_up(*_: object) -> t.NoReturn:
    raise TimeUp


def main(arguments: t.Sequence[str], stdin: t.BinaryIO, root: str = "") -> int:
    """Judge one call of the hook."""
    if list(arguments) == ["--self-test"]:
        return self_test(root)
    if len(arguments) < 3:
        say("expected GUEST OPERATION SUB-OPERATION, as libvirt calls a hook")
        return FAULT
    syslog.openlog("svirt-guard", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    settings, trouble = settings_of(root)
    signal.signal(signal.SIGALRM, _time_up)
    signal.setitimer(signal.ITIMER_REAL, settings.time_limit)
    xml = Stream(stdin)
    try:
        return decide(root, arguments, xml, settings, trouble)
    except TimeUp:
        reason = f"no verdict within {settings.time_limit:g} s, of which {xml.size} bytes of its definition were read"
    except Exception as error:  # whatever it is, it must not keep a guest from its start
        reason = f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if xml.size > LARGE_XML and not xml.ended:
        why = (
            f"its definition is so large that it was not read within {settings.time_limit:g} s ({xml.size} bytes were)"
        )
        return _refuse(f"guest {shown(arguments[0])} was refused: {why}", settings)
    text = f"guest {shown(arguments[0])} was not judged: {reason}"
    log(syslog.LOG_ERR, text)
    if settings.errors == "refuse":
        return _refuse(text, None)
    return FAULT if trouble else ALLOWED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer))
