# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt: what is in force, what the file says, and which of the two is reported."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Assignment,
    ConfProblem,
    InstalledGuard,
    SecurityModel,
    Snapshot,
)

from tests.unit.support import factory
from tests.unit.support.faults.case import conf, set_key
from tests.unit.support.judging import codes, findings, found, status


def host(driver: t.Any = "selinux", models: t.Sequence[str] | None = ("selinux", "dac")) -> Snapshot:
    snapshot = factory.host()
    set_key(snapshot, "security_driver", driver)
    snapshot.libvirt.models = None if models is None else [SecurityModel(model) for model in models]
    return snapshot


def idle(snapshot: Snapshot) -> Snapshot:
    """The daemon left when it had nothing to do; its socket starts it again."""
    assert snapshot.libvirt.daemon is not None
    snapshot.libvirt.daemon.pid = snapshot.libvirt.daemon.started_at = snapshot.libvirt.daemon.context = None
    snapshot.libvirt.models = None
    return snapshot


@pytest.mark.parametrize(
    ("driver", "models", "expected"),
    [
        ("selinux", ("selinux", "dac"), []),
        (["selinux"], ("selinux", "dac"), []),
        (None, ("selinux", "dac"), ["LIB-002"]),
        ([], ("selinux", "dac"), ["LIB-002"]),
        (None, ("none", "dac"), ["LIB-001"]),
        ("none", ("none", "dac"), ["LIB-001"]),
        ("none", ("selinux", "dac"), ["LIB-003"]),
        ("apparmor", ("selinux", "dac"), ["LIB-003"]),
        ("selinux", ("none", "dac"), ["LIB-001"]),
        ("selinux", (), ["LIB-001"]),
    ],
)
def test_driver_in_force_and_in_the_file(driver: t.Any, models: tuple[str, ...], expected: list[str]) -> None:
    assert [rule for rule, _severity, _subject in found(host(driver, models))] == expected


@pytest.mark.parametrize(("driver", "expected"), [("selinux", []), (None, ["LIB-002"]), ("none", ["LIB-001"])])
def test_idle_daemon_reads_the_file_when_it_starts(driver: t.Any, expected: list[str]) -> None:
    snapshot = idle(host(driver))
    conf(snapshot).changed_at = snapshot.taken_at
    assert [rule for rule, _severity, _subject in found(snapshot)] == expected
    assert status(snapshot, "LIB-003") == "pass"


def test_first_assignment_counts() -> None:
    snapshot = host()
    conf(snapshot).assignments.append(Assignment("security_require_confined", 0, 9))
    assert found(snapshot) == []


@pytest.mark.parametrize(("after", "expected"), [(-1.0, "pass"), (1.0, "pass"), (30.0, "unknown")])
def test_file_that_was_changed_after_the_daemon_started(after: float, expected: str) -> None:
    snapshot = host()
    conf(snapshot).changed_at = factory.DAEMON_STARTED + after
    assert status(snapshot, "LIB-003") == expected
    assert found(snapshot) == []


def test_driver_that_is_missing_because_selinux_is_off() -> None:
    snapshot = host(None, ("none", "dac"))
    snapshot.selinux.mode = "disabled"
    assert ("SEL-001", "critical", "host") in found(snapshot)
    assert status(snapshot, "LIB-001") == "unknown"


def test_driver_that_was_switched_off_by_hand_is_reported_even_then() -> None:
    snapshot = host("none", ("none", "dac"))
    snapshot.selinux.mode = "disabled"
    assert status(snapshot, "LIB-001") == "fail"


def test_refused_value_is_reported_once() -> None:
    snapshot = host("selinx")
    conf(snapshot).problems.append(ConfProblem(3, "bad_value", "security_driver", "'selinx' is no security driver"))
    assert found(snapshot) == [("LIB-006", "high", "qemu.conf security_driver")]
    assert codes(snapshot, "LIB-002") == ("conf_value_refused",)


@pytest.mark.parametrize(("second", "severity"), [("selinux", "low"), ("none", "medium")])
def test_duplicate_is_worse_when_it_says_something_else(second: str, severity: str) -> None:
    snapshot = host()
    for line in (8, 9):
        conf(snapshot).assignments.append(Assignment("security_driver", second, line))
        conf(snapshot).problems.append(ConfProblem(line, "duplicate", "security_driver", "passed over"))
    assert found(snapshot) == [("LIB-006", severity, "qemu.conf security_driver")]
    assert findings(snapshot)[0].evidence["lines"] == [8, 9]


def test_unknown_key_is_low() -> None:
    snapshot = host()
    conf(snapshot).problems.append(ConfProblem(5, "unknown_key", "security_drivr", "not known"))
    assert found(snapshot) == [("LIB-006", "low", "qemu.conf security_drivr")]
    assert findings(snapshot)[0].cost == "operator"


@pytest.mark.parametrize(
    ("context", "severity"),
    [
        ("system_u:system_r:virtd_t:s0-s0:c0.c1023", None),
        ("system_u:system_r:virtd_t:s0", None),
        ("system_u:system_r:virtqemud_t:s0", None),
        ("unconfined_u:system_r:virtd_t:s0-s0:c0.c1023", None),
        ("system_u:system_r:virtd_t:s0-s0:c256.c511", None),
        ("system_u:system_r:virtd_t:s0-s0:c0.c255,c512.c767", "medium"),
        ("system_u:system_r:virtd_t:s0:c0.c10-s0:c0.c1023", "medium"),
        ("system_u:system_r:unconfined_service_t:s0-s0:c0.c1023", "medium"),
        ("system_u:system_r:virtd_t:s0-s0:c5", "high"),
        ("system_u:system_r:virtd_t:s0-s0:c5,c9", "high"),
        ("system_u:system_r:virtd_t:s0-s0:c0.c6", "high"),
    ],
)
def test_daemons_own_label(context: str, severity: str | None) -> None:
    snapshot = host()
    assert snapshot.libvirt.daemon is not None
    snapshot.libvirt.daemon.context = context
    assert found(snapshot) == ([] if severity is None else [("LIB-007", severity, "daemon libvirtd")])


@pytest.mark.parametrize(
    ("version", "expected"),
    [("7.4.0", "fail"), ("7.5.0", "pass"), ("10.0.0", "pass"), ("6.0.0-37.el8", "fail"), ("seven", "unknown")],
)
def test_version_with_single_categories(version: str, expected: str) -> None:
    snapshot = host()
    snapshot.libvirt.version = version
    assert status(snapshot, "LIB-008") == expected


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (None, "pass"),
        (InstalledGuard(["svirt_t"]), "pass"),
        (InstalledGuard([], asks=True), "pass"),
        (InstalledGuard(["svirt_tcg_t"]), "fail"),
        (InstalledGuard(), "unknown"),
    ],
)
def test_a_guard_that_may_not_read_running_guests_is_reported(guard: InstalledGuard | None, expected: str) -> None:
    snapshot = host()
    snapshot.libvirt.guard = guard
    assert status(snapshot, "LIB-009") == expected


def test_guests_that_are_not_confined_as_guests_are_no_matter_of_the_guards_view() -> None:
    snapshot = host()
    snapshot.libvirt.guard = InstalledGuard(["svirt_t"])
    for guest in snapshot.guests:
        guest.context = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
    assert status(snapshot, "LIB-009") == "pass"
