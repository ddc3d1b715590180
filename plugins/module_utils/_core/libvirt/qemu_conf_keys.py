# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of qemu.conf, by libvirt version: type, accepted values and bounds, as the daemon checks them at its start.

Facts are from libvirt 9 to 12 (src/qemu/qemu_conf.c, src/util/virconf.c, src/util/vircgroup.c, NEWS.rst); no code is.
Values that depend on the host (users, folders, ...) are checked in qemu_conf_host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ..snapshot.model import Assignment, ConfProblem
from .secrets import blanked_value

BOOL = "bool"
INT = "int"
UINT = "uint"
TEXT = "text"
LIST = "list"
TEXT_OR_LIST = "text or list"
TEXT_OR_UINT = "text or uint"
#: libvirt 6 and later do not read the key any more, so any value will do.
OBSOLETE = "obsolete"

Version = tuple[int, ...]
#: The last version that the table describes. A later one may read keys that the table does not have.
NEWEST: Version = (12, 0)
_ALWAYS: Version = (0,)


@dataclass(frozen=True)
class ConfKey:
    """A key of qemu.conf."""

    kind: str
    #: Texts that the daemon accepts, for the value or for each member of the list; None: any.
    values: frozenset[str] | None = None
    #: First version that reads the key; all that are older than libvirt 9 have the same here.
    since: Version = _ALWAYS
    #: First version that does not read it any more.
    until: Version | None = None
    #: First version that checks the value when the daemon starts, not when the key is used.
    checked: Version = _ALWAYS


def _keys(kind: str, *names: str, **more: t.Any) -> dict[str, ConfKey]:
    return {name: ConfKey(kind, **more) for name in names}


_FORMATS = frozenset(("raw", "gzip", "bzip2", "xz", "lzop", "zstd", "sparse"))
_SCOPES = frozenset(("none", "persistent", "transient", "all"))
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "net_cls", "perf_event")
_TLS = ("default", "vnc", "chardev", "migrate", "backup")

#: The one table of keys.
TABLE: dict[str, ConfKey] = {
    **_keys(TEXT, *(f"{name}_tls_x509_cert_dir" for name in (*_TLS, "spice", "nbd"))),
    **_keys(TEXT, *(f"{name}_tls_x509_secret_uuid" for name in (*_TLS, "nbd"))),
    **_keys(
        TEXT, *(f"{name}_tls_priority" for name in ("default", "chardev", "migrate", "backup", "nbd")), since=(11, 6)
    ),
    **_keys(BOOL, *(f"{name}_tls_x509_verify" for name in _TLS)),
    **_keys(BOOL, "vnc_tls", "spice_tls", "chardev_tls", "nbd_tls", "migrate_tls_force"),
    **_keys(BOOL, "vxhs_tls", until=(12, 0)),
    **_keys(TEXT, "vxhs_tls_x509_cert_dir", "vxhs_tls_x509_secret_uuid", until=(12, 0)),
    **_keys(TEXT, "vnc_listen", "vnc_password", "vnc_sasl_dir", "spice_listen", "spice_password", "spice_sasl_dir"),
    **_keys(TEXT, "rdp_tls_x509_cert_dir", "rdp_listen", "rdp_username", "rdp_password", "qemu_rdp", since=(11, 1)),
    **_keys(BOOL, "vnc_auto_unix_socket", "vnc_sasl", "vnc_allow_host_audio"),
    **_keys(BOOL, "spice_auto_unix_socket", "spice_sasl", "nographics_allow_host_audio"),
    **_keys(UINT, "remote_display_port_min", "remote_display_port_max"),
    **_keys(UINT, "remote_websocket_port_min", "remote_websocket_port_max"),
    **_keys(TEXT_OR_LIST, "security_driver", "hugetlbfs_mount"),
    **_keys(BOOL, "security_default_confined", "security_require_confined", "dynamic_ownership", "remember_owner"),
    **_keys(TEXT, "user", "group", "swtpm_user", "swtpm_group"),
    "cgroup_controllers": ConfKey(LIST, frozenset((*_CONTROLLERS, "name=systemd"))),
    **_keys(LIST, "cgroup_device_acl", "nvram", "capability_filters"),
    **_keys(INT, "seccomp_sandbox", "keepalive_interval"),
    "namespaces": ConfKey(LIST, frozenset(("mount",))),
    "shared_filesystems": ConfKey(LIST, since=(10, 8)),
    **_keys(TEXT, "save_image_format", "dump_image_format", "snapshot_image_format", values=_FORMATS, checked=(11, 2)),
    **_keys(TEXT, "auto_dump_path", "memory_backing_dir"),
    **_keys(BOOL, "auto_dump_bypass_cache", "auto_start_bypass_cache"),
    **_keys(BOOL, "auto_save_bypass_cache", "auto_shutdown_restore", since=(11, 2)),
    "auto_shutdown_try_save": ConfKey(TEXT, frozenset(("none", "persistent")), since=(11, 2)),
    **_keys(TEXT, "auto_shutdown_try_shutdown", "auto_shutdown_poweroff", values=_SCOPES, since=(11, 2)),
    **_keys(UINT, "auto_start_delay", "auto_shutdown_wait", since=(11, 2)),
    **_keys(TEXT, "bridge_helper", "pr_helper", "slirp_helper", "dbus_daemon", "lock_manager"),
    "stdio_handler": ConfKey(TEXT, frozenset(("logd", "file"))),
    **_keys(UINT, "max_processes", "max_files", "max_threads_per_process", "max_queued"),
    "max_core": ConfKey(TEXT_OR_UINT, frozenset(("unlimited",))),
    **_keys(BOOL, "dump_guest_core", "set_process_name", "mac_filter", "relaxed_acs_check"),
    **_keys(BOOL, "allow_disk_format_probing", "log_timestamp", "virtiofsd_debug"),
    **_keys(BOOL, "storage_use_nbdkit", since=(10, 0)),
    **_keys(OBSOLETE, "clear_emulator_capabilities"),
    **_keys(TEXT, "migration_address", "migration_host"),
    "sched_core": ConfKey(TEXT, frozenset(("none", "vcpus", "emulator", "full")), since=(8, 9)),
    "deprecation_behavior": ConfKey(TEXT),
    "default_cpu_deprecated_features": ConfKey(TEXT, frozenset(("off", "on", "none")), since=(11, 6)),
    **_keys(UINT, "keepalive_count", "gluster_debug_level", "migration_port_min", "migration_port_max"),
}

#: Least and greatest port, and libvirt's defaults of both keys, by the start of their names.
_PORTS = {
    "remote_display_port": (5900, 5900, 65535),
    "remote_websocket_port": (5700, 5700, 65535),
    "migration_port": (1, 49152, 49215),
}
_MAX_PORT = 65535
_BOUNDS = {INT: (-(2**31), 2**31 - 1), UINT: (0, 2**32 - 1)}
_EXPECTED = {
    BOOL: "0 or 1 without quotes",
    INT: "a whole number without quotes",
    UINT: "a whole number without quotes or minus sign",
    TEXT: "a text in quotes",
    LIST: "a list of texts",
    TEXT_OR_LIST: "a text in quotes or a list of texts",
    TEXT_OR_UINT: "a text in quotes or a whole number",
}
_DRIVERS = ("selinux", "apparmor", "none")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_STOPS = "the daemon does not start with it"


class NegativeNumber(int):
    """A number written with a minus sign, which libvirt takes for another type; -0 too."""


def version_of(text: str | None) -> Version | None:
    """A version for comparison; None when there is none."""
    match = _VERSION.match(text or "")
    return tuple(int(number or 0) for number in match.groups()) if match else None


def judge(assignments: t.Sequence[Assignment]) -> t.Iterator[ConfProblem]:
    """Problems of assignments, of which each key has one, by the newest version that the table describes."""
    for item in assignments:
        yield from _judge(item)
    yield from _port_problems(assignments)


def for_version(problem: ConfProblem, version: Version | None) -> ConfProblem:
    """The problem as a libvirt of this version has it."""
    key = TABLE.get(problem.key)
    if problem.kind == "unknown_key" and key is None and (version is None or version[:2] > NEWEST):
        message = f"not known to libvirt {_shown_version(NEWEST)}; whether the host's libvirt reads it is not known"
        return ConfProblem(problem.line, "unverified", problem.key, message)
    if key is None or version is None or problem.kind in ("syntax", "duplicate", "unknown_key"):
        return problem
    if _reads(key, version) and not (problem.kind == "bad_value" and version < key.checked):
        return problem
    # Distributions bring keys and checks to older versions.
    message = (
        f"{problem.message}, where it reads or checks this key; libvirt {_shown_version(version)} as released does not"
    )
    return ConfProblem(problem.line, "unverified", problem.key, message)


def not_read(name: str, line: int, version: Version) -> ConfProblem | None:
    """The problem of a known key that a libvirt of this version does not read; None when it does."""
    key = TABLE.get(name)
    if key is None or _reads(key, version):
        return None
    return ConfProblem(
        line, "unknown_key", name, f"libvirt {_shown_version(version)} does not know this key and ignores it"
    )


def ignores(name: str, version: str | None) -> bool:
    """A libvirt of this version, as released, does not read a key that others do. False where it is not known."""
    key, number = TABLE.get(name), version_of(version)
    return key is not None and number is not None and not _reads(key, number)


def _reads(key: ConfKey, version: Version) -> bool:
    return key.since <= version and (key.until is None or version < key.until)


def _shown_version(version: Version) -> str:
    return ".".join(map(str, version))


def _judge(item: Assignment) -> t.Iterator[ConfProblem]:
    key = TABLE.get(item.key)
    if key is None:
        message = f"libvirt {_shown_version(NEWEST)} does not know this key and ignores it"
        yield ConfProblem(item.line, "unknown_key", item.key, message)
    elif key.kind != OBSOLETE and not _is(item.value, key.kind):
        message = f"expected {_EXPECTED[key.kind]}, found {shown(blanked_value(item.key, item.value))}; {_STOPS}"
        yield ConfProblem(item.line, "wrong_type", item.key, message)
    elif key.kind != OBSOLETE:
        why = _value_fault(item, key)
        if why:
            yield ConfProblem(item.line, "bad_value", item.key, why)


def _is(value: t.Any, kind: str) -> bool:
    if isinstance(value, list):
        return kind in (LIST, TEXT_OR_LIST) and all(isinstance(item, str) for item in value)
    if isinstance(value, str):
        return kind in (TEXT, TEXT_OR_LIST, TEXT_OR_UINT)
    return kind == INT or (kind in (BOOL, UINT, TEXT_OR_UINT) and not isinstance(value, NegativeNumber))


def _value_fault(item: Assignment, key: ConfKey) -> str:
    value = item.value
    if item.key == "security_driver":
        return driver_fault((value,) if isinstance(value, str) else tuple(value))
    if item.key == "allow_disk_format_probing" and value == 1:
        return f"libvirt supports only 0; {_STOPS}"
    if item.key in ("migration_host", "migration_address") and _is_localhost(value):
        return f"{shown(value)} is an address of the local host; {_STOPS}"
    if key.kind == BOOL and value not in (0, 1):
        return f"{shown(value)} is neither 0 nor 1; {_STOPS}"
    if isinstance(value, int):
        low, high = _BOUNDS.get(key.kind, (-(2**63), 2**63 - 1))
        return "" if low <= value <= high else f"the number is out of range; {_STOPS}"
    members = value if isinstance(value, list) else [value]
    wrong = next((member for member in members if key.values is not None and member not in key.values), None)
    return "" if wrong is None else f"{shown(wrong)} is not a value that libvirt accepts; {_STOPS}"


def driver_fault(names: tuple[str, ...]) -> str:
    """Why libvirt refuses these names as security drivers, on any host."""
    unknown = next((name for name in names if name not in _DRIVERS), None)
    if unknown == "dac":
        return f"dac may not be named: libvirt adds it by itself; {_STOPS}"
    if unknown is not None:
        return f"{unknown[:80]!r} is no security driver; {_STOPS}"
    if len(set(names)) < len(names):
        return f"a driver is named twice; {_STOPS}"
    if "none" in names and len(names) > 1:
        return f"none may not stand in a list with others; {_STOPS}"
    return ""


def _is_localhost(value: t.Any) -> bool:
    text = str(value)
    if text.startswith("[") and text.endswith("]") and ":" in text:
        text = text[1:-1]
    if text.startswith("localhost"):
        return True
    try:
        return ipaddress.ip_address(text) in (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    except ValueError:
        return _old_address(text) == (127 << 24 | 1)


def _old_address(text: str) -> int | None:
    """An IPv4 address in the forms that getaddrinfo reads too: one to four numbers, decimal, octal or hexadecimal."""
    parts = text.split(".")
    if len(parts) > 4 or not all(re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,11}", part) for part in parts):
        return None
    try:
        *first, last = [int(part, 16 if part[:2] in ("0x", "0X") else 8 if part[0] == "0" else 10) for part in parts]
    except ValueError:
        return None
    return sum(number << (24 - 8 * place) for place, number in enumerate(first)) + last


def _port_problems(assignments: t.Sequence[Assignment]) -> t.Iterator[ConfProblem]:
    """Ports below the least, above the greatest, or a greatest port that is less than the least one."""
    given = {item.key: item for item in assignments}
    for start, (least, default_low, default_high) in _PORTS.items():
        first, last = given.get(f"{start}_min"), given.get(f"{start}_max")
        low = first.value if first is not None and _is_port(first.value) else default_low
        high = last.value if last is not None and _is_port(last.value) else default_high
        item, why = last or first, ""
        if low < least:
            item, why = first, f"the least port is {least}"
        elif high > _MAX_PORT:
            why = f"the greatest port is {_MAX_PORT}"
        elif high < low:
            why = f"{start}_max, {high}, is less than {start}_min, {low}"
        if why and item is not None:
            yield ConfProblem(item.line, "bad_value", item.key, f"{why}; {_STOPS}")


def _is_port(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, NegativeNumber) and value <= _BOUNDS[UINT][1]


def shown(value: t.Any) -> str:
    """A value for a message, bounded."""
    return "a list" if isinstance(value, list) else repr(value)[:80]
