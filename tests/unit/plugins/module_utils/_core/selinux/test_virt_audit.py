# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""libvirt's records in the audit log, with names and labels that tenants chose."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import virt_audit as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.virt_audit import AuditScan, VirtEvent
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import audit_log as log
from tests.unit.support.audit_log import BASE, uuid


def only(line: str) -> VirtEvent:
    event = a.parse_line(line)
    assert event is not None
    return event


def test_a_label_a_start_and_a_stop() -> None:
    assert only(log.label(10.5, 1, "s0:c1,c2")) == VirtEvent(10.5, a.LABEL, uuid(1), "web", f"{BASE}:s0:c1,c2")
    assert only(log.start(11, 1, pid=99)) == VirtEvent(11.0, a.START, uuid(1), "web", pid=99, reason="booted")
    assert only(log.start(11, 1, result="failed")).kind == a.START_FAILED
    assert only(log.stop(12, 1, reason="destroyed")) == VirtEvent(12.0, a.STOP, uuid(1), "web", reason="destroyed")


def test_older_and_richer_forms_of_a_record() -> None:
    assert only(log.label(1, 1, "s0:c1,c2", model="")).label == f"{BASE}:s0:c1,c2"
    enriched = log.label(1, 1, "s0:c1,c2") + '\x1dUID="root" AUID="unset"'
    assert only(enriched).label == f"{BASE}:s0:c1,c2"
    assert only("node=kvm1.example " + log.start(1, 1)).kind == a.START
    modular = log.start(1, 1).replace("vm-pid=4711", "vm-pid=4711 init-pid=7")
    assert only(modular).pid == 4711


@pytest.mark.parametrize(
    "line",
    [
        log.label(1, 1, "+107:+107", model=" model=dac"),
        log.label(1, 1, "s0:c1,c2", result="failed"),
        log.sent("VIRT_CONTROL", 1, f'virt=lxc op=init vm="a" uuid={uuid(1)} vm-pid=1 init-pid=2').replace(
            "op=init vm", "op=init reason=booted vm"
        ),
        log.sent("VIRT_RESOURCE", 1, f'virt=kvm resrc=disk reason=start vm="a" uuid={uuid(1)} old-disk="?"'),
        log.start(1, 1).replace("uid=0", "uid=1000"),
        log.record("USER_CMD", 1, "msg='cmd=" + log.start(1, 1) + "'"),
        log.record("CONFIG_CHANGE", 1, "op=set audit_enabled=1 old=1 auid=0"),
        "",
        "type=VIRT_CONTROL",
    ],
)
def test_what_is_about_something_else(line: str) -> None:
    assert a.parse_line(line) is None


@given(st.text(min_size=1, max_size=80))
def test_no_name_forges_a_field(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    for line in (log.label(1, 1, "s0:c1,c2", name), log.start(1, 1, name), log.stop(1, 1, name)):
        event = only(line)
        assert (event.uuid, event.name) == (uuid(1), name[: a.MAX_NAME])
        assert event.kind in (a.LABEL, a.START, a.STOP)


def test_a_name_that_is_no_utf8_is_kept_as_an_escape() -> None:
    line = log.start(1, 1).replace('vm="web"', "vm=41FF20")
    assert only(line).name == "A\\xff "


@pytest.mark.parametrize(
    "level",
    [
        "s0:c1 c2",
        "s0:c1,c2 img-ctx=x model=selinux exe=/x",
        "s0' res=success",
        "s0:" + "c1," * 3000,
    ],
)
def test_a_label_that_brings_fields_of_its_own_is_damaged(level: str) -> None:
    event = only(log.label(1, 1, level))
    assert (event.kind, event.uuid, event.name, event.label) == (a.DAMAGED, uuid(1), "web", "")


@pytest.mark.parametrize(
    "line",
    [
        log.record("VIRT_CONTROL", 1, "pid=1 uid=0 auid=1 ses=1 msg='cut"),
        log.sent("VIRT_CONTROL", 1, "virt=kvm op=start"),
        log.start(1, 1).replace(uuid(1), "none"),
    ],
)
def test_a_record_that_cannot_be_understood_is_no_silence(line: str) -> None:
    assert only(line) == VirtEvent(1.0, a.DAMAGED)


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    for type_ in ("VIRT_CONTROL", "VIRT_MACHINE_ID", "DAEMON_START", "CONFIG_CHANGE", "1305"):
        event = a.event_of(type_, 1.0, text)
        assert event is None or event.kind in a.KINDS
    a.parse_line(text)


def scan(*lines: str) -> AuditScan:
    result = AuditScan()
    result.take(line.encode("utf-8", "surrogateescape") for line in lines)
    return result


def test_the_log_stops_and_begins_again() -> None:
    seen = scan(
        log.record("AVC", 5, "avc: denied"),
        log.record("DAEMON_END", 6, "op=terminate res=success", 4000),
        log.record("DAEMON_START", 9, "op=start ver=4.0.2", 9000),
        log.record("AVC", 9.5, "avc: denied", 101),
        log.record("CONFIG_CHANGE", 10, "op=set audit_enabled=0 old=1 auid=0", 102),
        log.record("AVC", 11, "avc: denied", 103),
    )
    assert [event.kind for event in seen.events] == [a.LOG_OFF, a.LOG_ON, a.LOG_OFF]
    assert (seen.first, seen.last, seen.since) == (5.0, 11.0, 5.0)


def test_a_host_that_records_no_boot_is_seen_to_boot() -> None:
    """The kernel counts from each boot on; auditd's own records have other numbers."""
    seen = scan(
        log.record("SYSCALL", 5, "arch=c000003e", 70_000),
        log.record("DAEMON_START", 60, "op=start", 5),
        log.record("CONFIG_CHANGE", 60.1, "op=set audit_backlog_limit=8192", 3),
    )
    assert [(event.kind, event.at) for event in seen.events] == [(a.LOG_ON, 60.0), (a.BOOT, 60.1)]


def test_the_newest_events_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(a, "MAX_EVENTS", 3)
    seen = scan(log.record("AVC", 1, ""), *(log.start(10 + number, number) for number in range(5)))
    assert [event.uuid for event in seen.events] == [uuid(2), uuid(3), uuid(4)]
    assert seen.since == 12.0
