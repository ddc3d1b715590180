# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu.conf by libvirt's own grammar, and what its keys mean for sVirt.

libvirt uses the FIRST assignment of a key and ignores later ones without a message. With a syntax error, a quoted
boolean or an unknown driver the daemon does not start. Unknown keys are ignored without a message.

Facts about the grammar are from libvirt's virconf and qemu_conf; no code is.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import string
import typing as t
from dataclasses import dataclass

from ..snapshot.model import Assignment, ConfProblem, QemuConf

#: Bound on the text; the file as shipped has some 40 KiB.
MAX_TEXT = 1024 * 1024
#: Bound on lists inside lists: libvirt's grammar has them, none of its keys does.
MAX_DEPTH = 50

BOOL = "bool"
INT = "int"
UINT = "uint"
TEXT = "text"
LIST = "list"
TEXT_OR_LIST = "text or list"
TEXT_OR_UINT = "text or uint"

_TLS = ("default", "vnc", "chardev", "migrate", "backup")

#: Keys that libvirt 11 reads, by type. The one table of them.
KEYS: dict[str, str] = {
    **{f"{name}_tls_x509_cert_dir": TEXT for name in (*_TLS, "spice", "rdp", "vxhs", "nbd")},
    **{f"{name}_tls_x509_secret_uuid": TEXT for name in (*_TLS, "vxhs", "nbd")},
    **{f"{name}_tls_x509_verify": BOOL for name in _TLS},
    **dict.fromkeys(("vnc_tls", "spice_tls", "chardev_tls", "vxhs_tls", "nbd_tls", "migrate_tls_force"), BOOL),
    **dict.fromkeys(("vnc_listen", "vnc_password", "vnc_sasl_dir"), TEXT),
    **dict.fromkeys(("spice_listen", "spice_password", "spice_sasl_dir"), TEXT),
    **dict.fromkeys(("rdp_listen", "rdp_username", "rdp_password"), TEXT),
    **dict.fromkeys(("vnc_auto_unix_socket", "vnc_sasl", "vnc_allow_host_audio"), BOOL),
    **dict.fromkeys(("spice_auto_unix_socket", "spice_sasl", "nographics_allow_host_audio"), BOOL),
    **dict.fromkeys(("remote_display_port_min", "remote_display_port_max"), UINT),
    **dict.fromkeys(("remote_websocket_port_min", "remote_websocket_port_max"), UINT),
    "security_driver": TEXT_OR_LIST,
    "security_default_confined": BOOL,
    "security_require_confined": BOOL,
    "user": TEXT,
    "group": TEXT,
    "dynamic_ownership": BOOL,
    "remember_owner": BOOL,
    "cgroup_controllers": LIST,
    "cgroup_device_acl": LIST,
    "seccomp_sandbox": INT,
    "namespaces": LIST,
    "shared_filesystems": LIST,
    "swtpm_user": TEXT,
    "swtpm_group": TEXT,
    **dict.fromkeys(("save_image_format", "dump_image_format", "snapshot_image_format", "auto_dump_path"), TEXT),
    **dict.fromkeys(("auto_dump_bypass_cache", "auto_start_bypass_cache", "auto_save_bypass_cache"), BOOL),
    **dict.fromkeys(("auto_shutdown_try_save", "auto_shutdown_try_shutdown", "auto_shutdown_poweroff"), TEXT),
    **dict.fromkeys(("auto_start_delay", "auto_shutdown_wait"), UINT),
    "auto_shutdown_restore": BOOL,
    "hugetlbfs_mount": TEXT_OR_LIST,
    **dict.fromkeys(("bridge_helper", "pr_helper", "slirp_helper", "qemu_rdp", "dbus_daemon", "stdio_handler"), TEXT),
    **dict.fromkeys(("max_processes", "max_files", "max_threads_per_process", "max_queued"), UINT),
    "max_core": TEXT_OR_UINT,
    **dict.fromkeys(("dump_guest_core", "set_process_name", "clear_emulator_capabilities"), BOOL),
    **dict.fromkeys(("mac_filter", "relaxed_acs_check", "allow_disk_format_probing", "log_timestamp"), BOOL),
    **dict.fromkeys(("virtiofsd_debug", "storage_use_nbdkit"), BOOL),
    **dict.fromkeys(("lock_manager", "migration_address", "migration_host", "memory_backing_dir"), TEXT),
    **dict.fromkeys(("sched_core", "deprecation_behavior"), TEXT),
    "keepalive_interval": INT,
    **dict.fromkeys(("keepalive_count", "gluster_debug_level"), UINT),
    **dict.fromkeys(("migration_port_min", "migration_port_max"), UINT),
    "nvram": LIST,
    "capability_filters": LIST,
}

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

#: Values that the daemon takes; any other keeps it from starting.
_VALUES: dict[str, frozenset[t.Any]] = {
    "allow_disk_format_probing": frozenset((0,)),
    "cgroup_controllers": frozenset(("cpu", "cpuacct", "cpuset", "memory", "devices", "blkio", "freezer", "net_cls")),
    "max_core": frozenset(("unlimited",)),
    "namespaces": frozenset(("mount",)),
    "stdio_handler": frozenset(("logd", "file")),
}

_BLANKS = re.compile(r"[ \t]*")
_BLANKS_AND_ENDS = re.compile(r"[ \t\r\n]*")
_TO_END = re.compile(r"[^\r\n]*")
_TO_QUOTE = {'"': re.compile(r'[^"\r\n]*'), "'": re.compile(r"[^'\r\n]*")}
_NAME = re.compile(r"[A-Za-z0-9_]*")
_DIGITS = re.compile(r"[0-9]*")
_MAX_NUMBER = (1 << 63) - 1
_BOUNDS = {INT: (-(2**31), 2**31 - 1), UINT: (0, 2**32 - 1)}
_DRIVERS = ("selinux", "apparmor", "none")


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
    first: dict[str, int] = {}
    for item in parser.assignments:
        if item.key in first:
            message = f"libvirt uses the first assignment, in line {first[item.key]}, and ignores this one"
            problems.append(ConfProblem(item.line, "duplicate", item.key, message))
            continue
        first[item.key] = item.line
        problems.extend(_judge(item))
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
    return next(_judge(Assignment(key, value, 1)), None)


def effective(assignments: t.Iterable[Assignment]) -> dict[str, Assignment]:
    """The assignment that counts for each key: the first."""
    first: dict[str, Assignment] = {}
    for item in assignments:
        first.setdefault(item.key, item)
    return first


def setting(conf: Conf, key: str) -> t.Any:
    """The value in force for a key: the first assignment's, else libvirt's default."""
    assignment = effective(conf.assignments).get(key)
    return DEFAULTS.get(key) if assignment is None else assignment.value


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
    why = _driver_fault(names)
    if why:
        return SecurityDriver("invalid", names, why)
    return SecurityDriver("none" if names == ("none",) else "explicit", names)


def _driver_fault(names: tuple[str, ...]) -> str:
    unknown = next((name for name in names if name not in _DRIVERS), None)
    if unknown == "dac":
        return "dac may not be named: libvirt adds it by itself"
    if unknown is not None:
        return f"{unknown[:80]!r} is no security driver"
    if len(set(names)) < len(names):
        return "a driver is named twice"
    if "none" in names and len(names) > 1:
        return "none may not stand in a list with others"
    return ""


def _judge(item: Assignment) -> t.Iterator[ConfProblem]:
    """Problems of one assignment that counts."""
    kind = KEYS.get(item.key)
    if kind is None:
        yield ConfProblem(item.line, "unknown_key", item.key, "libvirt 11 does not know this key and ignores it")
    elif not _is(item.value, kind):
        message = f"expected {_EXPECTED[kind]}, found {_shown(item.value)}; the daemon does not start with it"
        yield ConfProblem(item.line, "wrong_type", item.key, message)
    else:
        why = _value_fault(item, kind)
        if why:
            yield ConfProblem(item.line, "bad_value", item.key, why)


_EXPECTED = {
    BOOL: "0 or 1 without quotes",
    INT: "a whole number without quotes",
    UINT: "a whole number without quotes or minus sign",
    TEXT: "a text in quotes",
    LIST: "a list of texts",
    TEXT_OR_LIST: "a text in quotes or a list of texts",
    TEXT_OR_UINT: "a text in quotes or a whole number",
}


def _is(value: t.Any, kind: str) -> bool:
    if isinstance(value, list):
        return kind in (LIST, TEXT_OR_LIST) and all(isinstance(item, str) for item in value)
    if isinstance(value, str):
        return kind in (TEXT, TEXT_OR_LIST, TEXT_OR_UINT)
    # libvirt takes a number with a minus sign, -0 too, for another type.
    return kind == INT or (kind in (BOOL, UINT, TEXT_OR_UINT) and not isinstance(value, _Negative))


def _value_fault(item: Assignment, kind: str) -> str:
    if item.key == "security_driver":
        names = (item.value,) if isinstance(item.value, str) else tuple(item.value)
        return _driver_fault(names)
    if kind == BOOL and item.value not in (0, 1):
        return f"{_shown(item.value)} is neither 0 nor 1; the daemon does not start with it"
    low, high = _BOUNDS.get(kind, (-_MAX_NUMBER, _MAX_NUMBER))
    if isinstance(item.value, int) and not low <= item.value <= high:
        return "the number is out of range; the daemon does not start with it"
    known = _VALUES.get(item.key)
    values = item.value if isinstance(item.value, list) else [item.value]
    wrong = next((value for value in values if known and value not in known), None)
    if wrong is None or (kind == TEXT_OR_UINT and isinstance(wrong, int)):
        return ""
    return f"{_shown(wrong)} is not a value that libvirt takes"


def _shown(value: t.Any) -> str:
    return "a list" if isinstance(value, list) else repr(value)[:80]


def _plain(item: Assignment) -> Assignment:
    """With a value that the snapshot can hold: text, whole number or list of texts."""
    value = item.value
    if isinstance(value, list):
        value = [member if isinstance(member, str) else _shown(member) for member in value]
    elif isinstance(value, int):
        value = int(value)
    return Assignment(item.key, value, item.line)


class _SyntaxError(Exception):
    """What libvirt would say."""


class _Negative(int):
    """A number written with a minus sign."""


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
        return _Negative(-number) if sign == "-" else number


#: Kinds of problems in qemu.conf for which libvirt refuses the file, so that its daemon does not start again.
REFUSED = frozenset(("syntax", "wrong_type", "bad_value"))


@dataclass(frozen=True)
class ConfDoubt:
    """Why the value of a key cannot be judged."""

    #: The key whose value libvirt refuses; None: it is the whole file.
    key: str | None
    why: str


def doubt_of(conf: QemuConf | None, key: str) -> ConfDoubt | None:
    """Why the value of a key cannot be judged; None when it can."""
    if conf is None:
        return ConfDoubt(None, "the file could not be read")
    for problem in conf.problems:
        if problem.kind == "syntax":
            return ConfDoubt(None, f"libvirt cannot parse the file: line {problem.line}: {problem.message}")
        if problem.kind in REFUSED and problem.key == key:
            return ConfDoubt(key, f"libvirt refuses the value: {problem.message}")
    return None
