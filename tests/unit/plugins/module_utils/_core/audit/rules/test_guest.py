# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests: one rule reports a fault of a label, and none reports sound labels."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.domain_xml import RISKS
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Assignment,
    Process,
    SecLabel,
    SecurityModel,
    Snapshot,
    TypeFacts,
)

from tests.unit.support import factory
from tests.unit.support.factory import process_label
from tests.unit.support.faults.case import conf, guest
from tests.unit.support.judging import findings, found, status


def started_with(label: str, persistent: list[SecLabel] | None = None) -> Snapshot:
    """The host whose guest web runs with this label, has no files, and this persistent XML."""
    snapshot = factory.host()
    web = guest(snapshot, "web")
    web.context, web.resources = label, []
    web.live = [SecLabel("selinux", "dynamic", True, label)]
    web.persistent_labels = persistent or []
    return snapshot


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (process_label("s0:c1,c2"), None),
        (process_label("s0:c1,c2", "svirt_tcg_t"), None),
        (process_label("s0:c1,c2,c3"), None),
        (process_label("s0:c1.c8"), None),
        (process_label("s0-s0:c1,c2"), None),
        (process_label("s0:c1.c9"), "GST-006"),
        (process_label("s0-s0:c0.c1023"), "GST-006"),
        (process_label("s0"), "GST-005"),
        (process_label("s0:c7"), "GST-005"),
        (process_label("s0:c1,c2", "container_t"), "GST-004"),
        (factory.DAEMON, "GST-010"),
        (process_label("s0", "virtqemud_t"), "GST-010"),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023", "GST-010"),
        ("system_u:system_r:unconfined_service_t:s0", "GST-010"),
        (process_label("s0:c1,c2", "spc_t"), "GST-010"),
    ],
)
def test_each_label_has_at_most_one_fault(label: str, expected: str | None) -> None:
    result = [rule for rule, _severity, _subject in found(started_with(label))]
    assert result == ([] if expected is None else [expected])


@pytest.mark.parametrize(("constrained", "severity"), [(True, "medium"), (False, "high"), (None, "high")])
def test_foreign_type_is_worse_when_categories_do_not_bind_it(constrained: bool | None, severity: str) -> None:
    snapshot = started_with(process_label("s0:c1,c2", "custom_t"))
    snapshot.selinux.types.append(TypeFacts("custom_t", known=True, permissive=False, constrained=constrained))
    assert found(snapshot) == [("GST-004", severity, "guest web")]


@pytest.mark.parametrize(
    ("persistent", "expected"),
    [
        ([], "GST-010"),
        ([SecLabel("selinux", "static", True, process_label("s0:c1,c2"))], "GST-010"),
        ([SecLabel(None, "none")], "GST-002"),
        ([SecLabel("selinux", "none")], "GST-002"),
        ([SecLabel("none", "none")], "GST-010"),  # names another model, so the guest gets a label next time
        ([SecLabel("dac", "static", True, "+0:+0")], "GST-010"),
        ([SecLabel("selinux", "static", True, factory.DAEMON)], "GST-002"),
    ],
)
def test_unconfined_now_and_after_a_power_cycle(persistent: list[SecLabel], expected: str) -> None:
    assert found(started_with(factory.DAEMON, persistent)) == [(expected, "critical", "guest web")]


def test_unconfined_guest_without_persistent_xml() -> None:
    snapshot = started_with(factory.DAEMON)
    guest(snapshot, "web").persistent = False
    assert found(snapshot) == [("GST-002", "critical", "guest web")]


def test_power_cycle_does_not_confine_while_the_driver_is_off() -> None:
    snapshot = started_with(factory.DAEMON)
    snapshot.libvirt.models = [SecurityModel("none")]
    assert ("GST-002", "critical", "guest web") in found(snapshot)


def test_power_cycle_does_not_confine_what_is_unconfined_by_default() -> None:
    snapshot = started_with(factory.DAEMON)
    conf(snapshot).assignments.append(Assignment("security_default_confined", 0, 9))
    result = found(snapshot)
    assert ("GST-002", "critical", "guest web") in result
    assert ("LIB-004", "high", "qemu.conf security_default_confined") in result


def test_label_without_levels_still_shows_that_a_guest_is_unconfined() -> None:
    assert status(started_with("system_u:system_r:virtd_t"), "GST-010") == "fail"


def test_none_for_another_model_is_no_fault() -> None:
    snapshot = factory.host()
    guest(snapshot, "spare").persistent_labels = [SecLabel("none", "none"), SecLabel("dac", "none")]
    assert found(snapshot) == []


def test_none_waits_for_the_next_start_of_a_confined_guest() -> None:
    snapshot = factory.host()
    guest(snapshot, "web").persistent_labels = [SecLabel(None, "none")]
    assert found(snapshot) == [("GST-003", "high", "guest web")]


def test_wide_is_measured_by_the_daemons_range() -> None:
    snapshot = started_with(process_label("s0:c24.c31"))
    assert found(snapshot) == []
    assert snapshot.libvirt.daemon is not None
    snapshot.libvirt.daemon.context = "system_u:system_r:virtd_t:s0-s0:c24.c31"
    assert found(snapshot) == [("GST-006", "critical", "guest web")]


def test_equal_sets_agree_however_they_are_written() -> None:
    snapshot = started_with("system_u:system_r:svirt_t:s0:c1.c3")
    guest(snapshot, "web").live[0].label = "unconfined_u:unconfined_r:svirt_t:s0:c3,c1,c2"
    assert found(snapshot) == []


def test_static_label_waits_for_a_power_cycle() -> None:
    snapshot = factory.host()
    guest(snapshot, "web").persistent_labels = [SecLabel("selinux", "static", True, process_label("s0:c1,c2,c3,c4"))]
    assert found(snapshot) == [("GST-010", "low", "guest web")]
    snapshot = factory.host()
    guest(snapshot, "db").persistent_labels = []
    assert found(snapshot) == [("GST-010", "low", "guest db")]


def test_inactive_guests_and_other_kinds_have_no_process_to_judge() -> None:
    snapshot = factory.host()
    for name, kind in (("web", "lxc"), ("db", "xen")):
        guest(snapshot, name).kind, guest(snapshot, name).context = kind, None
    assert [status(snapshot, f"GST-{number:03}") for number in range(2, 11)] == ["pass"] * 9


def test_confined_qemu_outside_libvirt_is_less_bad() -> None:
    snapshot = factory.host()
    snapshot.processes += [
        Process(50, "qemu", "/usr/bin/qemu", None, process_label("s0:c5,c6"), 0),
        Process(51, "qemu", "/usr/bin/qemu", None, "unconfined_u:unconfined_r:unconfined_t:s0", 0),
        Process(52, "swtpm", "/usr/bin/swtpm", None, "unconfined_u:unconfined_r:unconfined_t:s0", 0),
    ]
    assert found(snapshot) == [("GST-001", "critical", "process 51 qemu"), ("GST-001", "high", "process 50 qemu")]
    assert len({item.fingerprint for item in findings(snapshot)}) == 2


def test_two_strays_of_one_name_are_two_findings() -> None:
    snapshot = factory.host()
    for pid in (50, 51):
        snapshot.processes.append(Process(pid, "qemu", "/usr/bin/qemu", "twin", factory.DAEMON, 0))
    assert len({item.fingerprint for item in findings(snapshot)}) == 2


def test_stray_is_reported_where_there_is_no_libvirt_at_all() -> None:
    snapshot = factory.host()
    snapshot.guests.clear()
    snapshot.coverage["guests"].status = snapshot.coverage["libvirt"].status = "not_applicable"
    snapshot.processes = [Process(50, "qemu", "/usr/bin/qemu", "x", factory.DAEMON, 0)]
    assert found(snapshot) == [("GST-001", "critical", "process 50 x")]


@pytest.mark.parametrize("risk", sorted(RISKS))
def test_every_risk_that_the_probe_can_name_is_reported(risk: str) -> None:
    snapshot = factory.host()
    guest(snapshot, "spare").risks = [risk]
    (item,) = findings(snapshot)
    assert item.rule == "GST-009"
    assert item.evidence["risks"] == {risk: RISKS[risk]}


def test_severity_of_risks_is_that_of_the_worst() -> None:
    snapshot = factory.host()
    guest(snapshot, "spare").risks = ["transient_disk", "custom_argv", "passthrough_usb"]
    assert found(snapshot) == [("GST-009", "high", "guest spare")]
