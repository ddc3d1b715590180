# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux on the host: which of several faults is reported, and what is no fault."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Boolean,
    BootEntry,
    Snapshot,
    TypeFacts,
)

from tests.unit.support import factory
from tests.unit.support.judging import found, status


def with_entry(snapshot: Snapshot, arguments: str) -> Snapshot:
    snapshot.selinux.boot_entries.append(BootEntry("grub.cfg", "Other", arguments))
    return snapshot


@pytest.mark.parametrize(
    ("mode", "configured", "expected"),
    [
        ("enforcing", "enforcing", []),
        ("enforcing", "Enforcing ", []),
        ("enforcing", "permissive", ["SEL-003"]),
        ("enforcing", "disabled", ["SEL-003"]),
        ("permissive", "enforcing", ["SEL-002"]),
        ("permissive", "permissive", ["SEL-002"]),
        ("permissive", "disabled", ["SEL-002", "SEL-003"]),
        ("disabled", "disabled", ["SEL-001"]),
        ("disabled", "enforcing", ["SEL-001"]),
    ],
)
def test_only_what_gets_worse_is_reported_beside_what_is(mode: str, configured: str, expected: list[str]) -> None:
    snapshot = factory.host()
    snapshot.selinux.mode, snapshot.selinux.configured_mode = mode, configured
    assert [rule for rule, _severity, _subject in found(snapshot)] == expected


@pytest.mark.parametrize(
    ("mode", "arguments", "expected"),
    [
        ("enforcing", "ro selinux=0", ["SEL-004"]),
        ("enforcing", "ro enforcing=0", ["SEL-004"]),
        ("enforcing", "ro security=apparmor", ["SEL-004"]),
        ("enforcing", "ro selinux=0 selinux=1", []),
        ("permissive", "ro enforcing=0", ["SEL-002"]),
        ("permissive", "ro selinux=0", ["SEL-002", "SEL-004"]),
        ("disabled", "ro selinux=0", ["SEL-001"]),
    ],
)
def test_boot_entries(mode: str, arguments: str, expected: list[str]) -> None:
    snapshot = with_entry(factory.host(), arguments)
    snapshot.selinux.mode = mode
    assert [rule for rule, _severity, _subject in found(snapshot)] == expected


def test_many_weak_entries_are_one_finding() -> None:
    snapshot = factory.host()
    for entry in snapshot.selinux.boot_entries:
        entry.arguments += " selinux=0"
    assert found(with_entry(snapshot, "ro selinux=0")) == [("SEL-004", "high", "host")]


def test_debian_entry_that_does_not_choose_selinux() -> None:
    snapshot = with_entry(factory.debian_host(), "root=/dev/vda1 ro single")
    assert ("SEL-004", "high", "host") in found(snapshot)


def test_permissive_types() -> None:
    snapshot = factory.fedora_host()
    assert not [item for item in found(snapshot) if item[0] == "SEL-006"]
    snapshot.selinux.types.append(TypeFacts("virtlogd_t", known=True, permissive=True, constrained=False))
    assert ("SEL-006", "high", "type virtlogd_t") in found(snapshot)
    assert status(snapshot, "SEL-006", permissive_allowed=("virtlogd_t",)) == "pass"


def test_a_name_alone_does_not_excuse_a_permissive_type() -> None:
    snapshot = factory.fedora_host()
    for shipped, expected in ((False, "fail"), (None, "unknown"), (True, "pass")):
        snapshot.selinux.types[-1].shipped = shipped
        assert status(snapshot, "SEL-006") == expected


def test_guest_types_are_never_allowed_to_be_permissive() -> None:
    snapshot = factory.host()
    snapshot.selinux.types[0].permissive = True
    assert found(snapshot, permissive_allowed=("svirt_t",)) == [("SEL-006", "critical", "type svirt_t")]


def test_type_that_the_policy_does_not_know_is_no_fault() -> None:
    snapshot = factory.host()
    snapshot.selinux.types[1] = TypeFacts("svirt_tcg_t", known=False)
    assert found(snapshot) == []
    assert {status(snapshot, rule) for rule in ("SEL-006", "SEL-007")} == {"pass"}


@pytest.mark.parametrize(
    ("boolean", "profile", "expected"),
    [
        ("virt_use_nfs", "local", ["SEL-008"]),
        ("virt_use_nfs", "nfs", []),
        ("virt_use_nfs", "ovirt", []),
        ("virt_use_samba", "nfs", ["SEL-008"]),
        ("virt_use_sanlock", "ovirt", []),
        ("virt_use_usb", "local", []),
        ("deny_execmem", "local", []),
    ],
)
def test_booleans_by_profile(boolean: str, profile: str, expected: list[str]) -> None:
    snapshot = factory.host()
    snapshot.selinux.booleans = [Boolean(boolean, True, True)]
    assert [rule for rule, _severity, _subject in found(snapshot, profile=profile)] == expected


def test_boolean_that_waits_to_be_committed_counts() -> None:
    snapshot = factory.host()
    snapshot.selinux.booleans = [Boolean("virt_use_nfs", False, True)]
    assert found(snapshot) == [("SEL-008", "medium", "boolean virt_use_nfs")]


def test_execmem_is_needed_only_by_emulated_guests_without_a_type_of_their_own() -> None:
    debian = factory.debian_host()
    assert status(debian, "SEL-008") == "pass"
    for guest in debian.guests:
        guest.kind = "kvm"
    assert status(debian, "SEL-008") == "fail"
    debian.coverage["guests"].status = "unknown"
    assert status(debian, "SEL-008") == "unknown"
    redhat = factory.host()
    redhat.guests[0].kind = "qemu"
    redhat.selinux.booleans = [Boolean("virt_use_execmem", True, True)]
    assert found(redhat) == [("SEL-008", "medium", "boolean virt_use_execmem")]
