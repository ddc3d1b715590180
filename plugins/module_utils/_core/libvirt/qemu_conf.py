# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu.conf by libvirt's own grammar, and what its keys mean for sVirt.

libvirt uses the FIRST assignment of a key and ignores later ones without a message. With a syntax error, a quoted
boolean or an unknown driver the daemon does not start. Unknown keys are ignored without a message.

Facts about the grammar are from libvirt's virconf and qemu_conf; no code is.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import string
import typing as t
from dataclasses import dataclass

from ..result import Reason
from ..snapshot.model import Assignment, ConfProblem, QemuConf
from . import qemu_conf_keys
from .qemu_conf_keys import BOOL, INT, TABLE, TEXT, TEXT_OR_LIST, UINT, NegativeNumber, Version, shown

__all__ = ["BOOL", "INT", "TEXT", "TEXT_OR_LIST", "UINT"]

#: Bound on the text; the file as shipped has some 40 KiB.
MAX_TEXT = 1024 * 1024
#: Bound on lists inside lists: libvirt's grammar has them, none of its keys does.
MAX_DEPTH = 50

#: Keys that libvirt reads, by type.
KEYS: dict[str, str] = {name: key.kind for name, key in TABLE.items()}

SHARED = "shared_filesystems"

#: What libvirt takes for a key when no line says otherwise; None where it probes or where the build decides.
DEFAULTS: dict[str, t.Any] = {
    "security_driver": None,
    "security_default_confined": 1,
    "security_require_confined": 0,
    "user": None,
    "group": None,
    "dynamic_ownership": 1,
    "remember_owner": 1,
    "namespaces": ["mount"],
    "seccomp_sandbox": -1,
    "relaxed_acs_check": 0,
    "stdio_handler": "logd",
    "shared_filesystems": [],
}

_SLASHES = re.compile(r"\A/+")
_BLANKS = re.compile(r"[ \t]*")
_BLANKS_AND_ENDS = re.compile(r"[ \t\r\n]*")
_TO_END = re.compile(r"[^\r\n]*")
_TO_QUOTE = {'"': re.compile(r'[^"\r\n]*'), "'": re.compile(r"[^'\r\n]*")}
_NAME = re.compile(r"[A-Za-z0-9_]*")
_DIGITS = re.compile(r"[0-9]*")
_MAX_NUMBER = (1 << 63) - 1


@dataclass(frozen=True)
class SecurityDriver:
    """What ``security_driver`` means to libvirt."""

    #: explicit, unset (libvirt probes and fails open), none (no sVirt) or invalid (the daemon does not start).
    kind: str
    names: tuple[str, ...] = ()
    why: str = ""

    @property
    def selinux(self) -> bool:
        """SELinux is asked for, so a host without it fails closed."""
        return self.kind == "explicit" and "selinux" in self.names


@dataclass(frozen=True)
class AssignmentPlace:
    """Position of an assignment in the text."""

    key: str
    #: Where its name begins, where its value begins, and where its value has ended.
    start: int
    value: int
    end: int


class Conf(t.Protocol):
    """Anything that holds assignments: a QemuConf."""

    @property
    def assignments(self) -> list[Assignment]:
        """Every assignment in the file's order."""


def parse(text: str) -> tuple[list[Assignment], list[ConfProblem]]:
    """Every assignment in order, and everything that libvirt rejects or ignores. Never raises.

    libvirt reads nothing of a file with a syntax error; here what stands before the error is given.
    """
    if len(text) > MAX_TEXT:
        return [], [ConfProblem(1, "syntax", "", f"the file is longer than {MAX_TEXT} characters")]
    parser = _Parser(text)
    problems: list[ConfProblem] = []
    try:
        parser.parse()
    except _SyntaxError as error:
        problems.append(ConfProblem(parser.line, "syntax", parser.key, str(error)))
    first = effective(parser.assignments)
    for item in parser.assignments:
        if first[item.key] is not item:
            message = f"libvirt uses the first assignment, in line {first[item.key].line}, and ignores this one"
            problems.append(ConfProblem(item.line, "duplicate", item.key, message))
    problems.extend(qemu_conf_keys.judge(list(first.values())))
    return [_plain(item) for item in parser.assignments], sorted(problems, key=lambda item: item.line)


def places(text: str) -> list[AssignmentPlace]:
    """Position of each assignment, in the order of ``parse``; none for a text with a syntax error."""
    parser = _Parser(text)
    try:
        parser.parse()
    except _SyntaxError:
        return []
    return parser.places


def fault(key: str, value: t.Any) -> ConfProblem | None:
    """Why libvirt would refuse the value for the key; None when it accepts it."""
    return next(qemu_conf_keys.judge([Assignment(key, value, 1)]), None)


def effective(assignments: t.Iterable[Assignment]) -> dict[str, Assignment]:
    """The assignment that counts for each key: the first."""
    first: dict[str, Assignment] = {}
    for item in assignments:
        first.setdefault(item.key, item)
    return first


def setting(conf: Conf, key: str) -> t.Any:
    """The value in force for a key: the first assignment's, else libvirt's default."""
    assignment = effective(conf.assignments).get(key)
    if assignment is None:
        return DEFAULTS.get(key)
    return _shared_folders(conf, assignment.value) if key == SHARED else assignment.value


def _shared_folders(conf: Conf, value: t.Any) -> t.Any:
    """shared_filesystems as libvirt uses it: canonical paths, up to the first folder that does not exist."""
    resolved = getattr(conf, "shared_folders", None)
    if resolved is not None or not isinstance(value, list):
        return value if resolved is None else list(resolved)
    return [_SLASHES.sub("/", posixpath.normpath(path)) if isinstance(path, str) else path for path in value]


def security_driver(conf: Conf) -> SecurityDriver:
    """What the file asks of libvirt's security drivers."""
    assignment = effective(conf.assignments).get("security_driver")
    if assignment is None:
        return SecurityDriver("unset", (), "no line sets it")
    value = [assignment.value] if isinstance(assignment.value, str) else assignment.value
    if not isinstance(value, list):
        return SecurityDriver("invalid", (), "it must be a text or a list of texts")
    if not value:
        return SecurityDriver("unset", (), "an empty list is the same as no line")
    names = tuple(str(name) for name in value)
    why = qemu_conf_keys.driver_fault(names)
    if why:
        return SecurityDriver("invalid", names, why)
    return SecurityDriver("none" if names == ("none",) else "explicit", names)


def problems_for(conf: QemuConf, version: Version | None) -> list[ConfProblem]:
    """Problems of the file for a libvirt of this version; None: not known, so that unknown keys are unverified."""
    known = {problem.key for problem in conf.problems if problem.kind != "duplicate"}
    judged = [qemu_conf_keys.for_version(problem, version) for problem in conf.problems]
    if version is not None:
        rest = [item for key, item in effective(conf.assignments).items() if key not in known]
        unread = [qemu_conf_keys.not_read(item.key, item.line, version) for item in rest]
        judged += [problem for problem in unread if problem is not None]
    return sorted(judged, key=lambda problem: problem.line)


def _plain(item: Assignment) -> Assignment:
    """With a value that the snapshot can hold: text, whole number or list of texts."""
    value = item.value
    if isinstance(value, list):
        value = [member if isinstance(member, str) else shown(member) for member in value]
    elif isinstance(value, int):
        value = int(value)
    return Assignment(item.key, value, item.line)


class _SyntaxError(Exception):
    """What libvirt would say."""


class _Parser:
    """A cursor over the text. At the end it sees an empty character, which no test accepts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self.key = ""
        self.assignments: list[Assignment] = []
        self.places: list[AssignmentPlace] = []

    def parse(self) -> None:
        while self.position < len(self.text):
            self._statement()
            self._separator()

    @property
    def _now(self) -> str:
        return self.text[self.position : self.position + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        """What the pattern, which also fits nothing, takes from here on."""
        match = pattern.match(self.text, self.position)
        taken = match.group() if match else ""
        self.position += len(taken)
        return taken

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self.line += self._take(pattern).count("\n")

    def _statement(self) -> None:
        self.key = ""
        self._skip(_BLANKS_AND_ENDS)
        if self._now == "#":
            self._take(_TO_END)
            return
        if not self._now or self._now not in string.ascii_letters:
            raise _SyntaxError("expecting a name")
        line, start = self.line, self.position
        self.key = self._take(_NAME)
        self._skip(_BLANKS)
        if self._now != "=":
            raise _SyntaxError("expecting an assignment")
        self.position += 1
        self._skip(_BLANKS)
        at = self.position
        self.assignments.append(Assignment(self.key, self._value(), line))
        self.places.append(AssignmentPlace(self.key, start, at, self.position))
        self._skip(_BLANKS)
        if self._now == "#":
            self._take(_TO_END)

    def _separator(self) -> None:
        self._skip(_BLANKS)
        if self._now == ";":
            self.position += 1
        elif self._now and self._now not in "\r\n":
            raise _SyntaxError("expecting a separator")
        self._skip(_BLANKS_AND_ENDS)

    def _value(self, depth: int = 0) -> t.Any:
        self._skip(_BLANKS)
        if self._now == "[":
            return self._list(depth)
        if self._now in ('"', "'"):
            return self._string()
        if self._now and self._now in string.digits + "+-":
            return self._number()
        if self._now == "#":
            raise _SyntaxError("expecting a value; libvirt allows no comment inside a list or before a value")
        raise _SyntaxError("expecting a value")

    def _list(self, depth: int) -> list[t.Any]:
        if depth > MAX_DEPTH:
            raise _SyntaxError("lists inside lists, too deep")
        self.position += 1
        self._skip(_BLANKS_AND_ENDS)
        members: list[t.Any] = []
        while self._now and self._now != "]":
            if members:
                if self._now != ",":
                    raise _SyntaxError("expecting a separator in list")
                self.position += 1
                self._skip(_BLANKS_AND_ENDS)
                if self._now == "]":
                    break
            members.append(self._value(depth + 1))
            self._skip(_BLANKS_AND_ENDS)
        if self._now != "]":
            raise _SyntaxError("list is not closed with ]")
        self.position += 1
        return members

    def _string(self) -> str:
        quote = self._now
        # Three quotes need one more character after the closing ones' place to count, as libvirt tests it.
        if self.text.startswith('"""', self.position) and self.position + 6 < len(self.text):
            start = self.position + 3
            end = self.text.find('"""', start)
            if end < 0:
                self.line += self.text.count("\n", start, len(self.text) - 2)
                raise _SyntaxError("unterminated string")
            self.line += self.text.count("\n", start, end)
            self.position = end + 3
            return self.text[start:end]
        self.position += 1
        content = self._take(_TO_QUOTE[quote])
        if self._now != quote:
            raise _SyntaxError("unterminated string")
        self.position += 1
        return content

    def _number(self) -> int:
        sign = self._now if self._now in "+-" else ""
        self.position += len(sign)
        digits = self._take(_DIGITS)
        if not digits:
            raise _SyntaxError("unterminated number")
        number = 0
        for digit in digits:
            number = number * 10 + int(digit)
            if number > _MAX_NUMBER:
                raise _SyntaxError("numeric overflow in conf value")
        return NegativeNumber(-number) if sign == "-" else number


#: Kinds of problems in qemu.conf for which libvirt refuses the file, so that its daemon does not start again.
REFUSED = frozenset(("syntax", "wrong_type", "bad_value"))
#: Kind of a problem that may be none: whether libvirt accepts the value could not be found out.
UNVERIFIED = "unverified"


@dataclass(frozen=True)
class ConfDoubt:
    """Why the value of a key cannot be judged."""

    #: The key whose value libvirt refuses; None: it is the whole file.
    key: str | None
    reason: Reason


#: Why nothing is known of a file that is None.
UNREAD = Reason("conf_unread", "the file could not be read")


def doubt_of(conf: QemuConf | None, key: str) -> ConfDoubt | None:
    """Why the value of a key cannot be judged; None when it can."""
    if conf is None:
        return ConfDoubt(None, UNREAD)
    for problem in conf.problems:
        if problem.kind == "syntax":
            why = f"libvirt cannot parse the file: line {problem.line}: {problem.message}"
            return ConfDoubt(None, Reason("conf_syntax", why))
        if problem.kind in REFUSED and problem.key == key:
            return ConfDoubt(key, Reason("conf_value_refused", f"libvirt refuses the value: {problem.message}"))
        if problem.kind == UNVERIFIED and problem.key == key:
            return ConfDoubt(key, Reason("conf_value_unverified", problem.message))
    return None
