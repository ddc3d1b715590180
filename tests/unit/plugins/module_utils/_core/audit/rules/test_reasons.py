# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes and wording of why a rule cannot judge, in one place. Other tests assert codes."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules import (
    _common,
    guest,
    image,
    libvirt,
    network,
    selinux,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    UNKNOWN,
    Assignment,
    BootEntry,
    ConfProblem,
    Coverage,
    InstalledGuard,
    Process,
    Remembered,
    Snapshot,
    TypeFacts,
    Xen,
)

from tests.unit.support import factory
from tests.unit.support.factory import IMAGES
from tests.unit.support.faults import case
from tests.unit.support.sources import reason_codes

Change = t.Callable[[Snapshot], None]


@dataclass(frozen=True)
class Row:
    """A rule that cannot judge after a change, with its reason."""

    code: str
    rule: str
    change: Change
    why: str
    #: The host before the change.
    make: t.Callable[[], Snapshot] = factory.host
    status: str = f.UNKNOWN


def _set(path: str, value: t.Any) -> Change:
    """Set a field of the snapshot."""

    def change(snapshot: Snapshot) -> None:
        *parts, last = path.split(".")
        at: t.Any = snapshot
        for part in parts:
            at = at[int(part)] if part.isdigit() else getattr(at, part)
        setattr(at, last, value)

    return change


def _each(*changes: Change) -> Change:
    def change(snapshot: Snapshot) -> None:
        for one in changes:
            one(snapshot)

    return change


def _guest(name: str, field: str, value: t.Any) -> Change:
    return lambda snapshot: setattr(case.guest(snapshot, name), field, value)


def _file(name: str, field: str, value: t.Any) -> Change:
    return lambda snapshot: setattr(case.file_of(snapshot, name).file, field, value)


def _entry(**fields: t.Any) -> Change:
    entry = BootEntry("grub.cfg", "Linux", "ro", **fields)
    return lambda snapshot: snapshot.selinux.boot_entries.append(entry)


def _process(role: str, exe: str, context: str) -> Change:
    return lambda snapshot: snapshot.processes.append(Process(4711, role, exe, None, context, 0))


def _problem(kind: str) -> Change:
    problem = ConfProblem(7, kind, "" if kind == "syntax" else "security_require_confined", "expecting a value")
    return lambda snapshot: case.conf(snapshot).problems.append(problem)


def _one_guest_type(snapshot: Snapshot) -> None:
    """Whether guests are emulated decides about the boolean that emulation needs."""
    snapshot.selinux.guest_types = []


def _guests_unread(snapshot: Snapshot) -> None:
    """The rule that is asked needs only other areas."""
    snapshot.coverage["guests"] = Coverage(UNKNOWN, "")
    for item in snapshot.guests:
        item.kind = "kvm"


def _without_label(snapshot: Snapshot) -> None:
    live = case.guest(snapshot, "web").live[0]
    live.label = None


def _no_scope(snapshot: Snapshot) -> None:
    """A guest's QEMU is in the daemon's control group, so that its helpers cannot be known by theirs."""
    _process("bash", "/usr/bin/bash", factory.process_label("s0:c17,c42"))(snapshot)
    snapshot.processes[0].cgroup = "/system.slice/libvirtd.service"


def _type_not_asked(snapshot: Snapshot) -> None:
    del snapshot.selinux.types[0]


def _another_distribution(snapshot: Snapshot) -> None:
    """Its running kernel had a choice, and its entries have none."""
    snapshot.host.os_id, snapshot.host.os_like = "gentoo", []
    snapshot.selinux.cmdline = "ro security=selinux"


def _exported_and_named(snapshot: Snapshot) -> None:
    snapshot.guests = [case.guest(snapshot, "db")]
    snapshot.storage[0].exports = [IMAGES]
    snapshot.libvirt.version = "10.0.0"
    case.conf(snapshot).assignments.append(Assignment("shared_filesystems", [IMAGES], 9))


def _xen_asked(snapshot: Snapshot) -> None:
    snapshot.coverage["xen"] = Coverage("ok")
    snapshot.xen = Xen(None)


def _expected_unknown(snapshot: Snapshot) -> None:
    case.file_of(snapshot, "web").expected = None


def _storage_unread(snapshot: Snapshot) -> None:
    for item in (resource for one in snapshot.guests for resource in one.resources):
        item.file.mount = "/"
    case.file_of(snapshot, "spare").file.mount = "/gone"


def _filters_unread(snapshot: Snapshot) -> None:
    snapshot.libvirt.filters = None
    del snapshot.guests[1:]
    snapshot.guests[0].persistent_interfaces = []


def _on_share(snapshot: Snapshot) -> None:
    spare = case.file_of(snapshot, "spare")
    spare.file.label = factory.image_label("s0:c7,c8")
    snapshot.storage[0].remote = True


def _owner_unread(snapshot: Snapshot) -> None:
    file = case.file_of(snapshot, "spare").file
    file.uid, file.mode = None, 0o640


ROWS = (
    Row("mode_invalid", "SEL-001", _set("selinux.mode", "?"), "host: mode '?' is not one that SELinux has"),
    Row(
        "config_unread",
        "SEL-003",
        _set("selinux.configured_mode", None),
        "host: SELINUX= of /etc/selinux/config could not be read",
    ),
    Row("no_boot_entry", "SEL-004", _set("selinux.boot_entries", []), "host: no boot entry of this host was found"),
    Row(
        "decided_at_boot",
        "SEL-004",
        _entry(alternatives=["selinux=0"]),
        "host: whether the entry weakens this host is not known, for a condition decides at boot: grub.cfg: Linux",
    ),
    Row(
        "security_module_unknown",
        "SEL-004",
        _another_distribution,
        "host: the entry's arguments name no security module, and whether this host's kernels start SELinux by "
        "themselves is not known; name it: security=selinux: /boot/loader/entries/6.12.conf: Linux 6.12",
    ),
    Row(
        "maybe_another_system",
        "SEL-004",
        _entry(alternatives=["selinux=0"], own=None),
        "host: whether the entry weakens this host is not known, for it may start another system: grub.cfg: Linux",
    ),
    Row(
        "arguments_unresolved",
        "SEL-004",
        _entry(unresolved=["kernelopts"]),
        "host: the entry's arguments are not known, for nothing that was read assigns kernelopts: grub.cfg: Linux",
    ),
    Row(
        "categories_unread",
        "SEL-005",
        _set("selinux.mls", None),
        "host: whether the loaded policy has categories could not be read",
    ),
    Row("selinux_off", "SEL-005", _set("selinux.mode", "disabled"), "host: SELinux is off, so labels mean nothing now"),
    Row(
        "permissive_unread",
        "SEL-006",
        _set("selinux.types.0.permissive", None),
        "type svirt_t: whether the type is permissive could not be read",
    ),
    Row(
        "shipped_permissive_unread",
        "SEL-006",
        lambda snapshot: snapshot.selinux.types.append(TypeFacts("virtqemud_t", True, permissive=True)),
        "type virtqemud_t: whether the distribution ships it permissive could not be read",
    ),
    Row(
        "type_not_asked",
        "SEL-006",
        _type_not_asked,
        "type svirt_t: the loaded policy was not asked about this type",
    ),
    Row("no_categories", "SEL-007", _set("selinux.mls", False), "host: no policy with categories is in force"),
    Row(
        "constraint_unread",
        "SEL-007",
        _set("selinux.types.0.constrained", None),
        "type svirt_t: whether categories bind the type could not be read",
    ),
    Row("booleans_unread", "SEL-008", _set("selinux.booleans", []), "host: no SELinux boolean could be read"),
    Row(
        "guest_types_unread",
        "SEL-008",
        _one_guest_type,
        "boolean virt_use_execmem: the policy's guest types could not be read, so emulated guests may need it",
        factory.debian_host,
    ),
    Row(
        "guests_unread",
        "SEL-008",
        _guests_unread,
        "boolean virt_use_execmem: the guests could not be read, so some of them may be emulated and need it",
        factory.debian_host,
    ),
    Row(
        "flask_unread",
        "SEL-009",
        _xen_asked,
        "host: the state of XSM/FLASK could not be read",
    ),
    Row(
        "xen",
        "SEL-001",
        _set("xen", Xen("enforcing")),
        "under Xen guests are held by FLASK, not by sVirt",
        status=f.NOT_APPLICABLE,
    ),
    Row(
        "drivers_unread",
        "LIB-001",
        _set("libvirt.models", None),
        "host: the running daemon could not be asked for its security drivers",
    ),
    Row("conf_unread", "LIB-002", _set("libvirt.conf", None), "qemu.conf: the file could not be read"),
    Row("conf_unread", "LIB-006", _set("libvirt.conf", None), "qemu.conf: the file could not be read"),
    Row(
        "conf_syntax",
        "LIB-005",
        _problem("syntax"),
        "qemu.conf: libvirt cannot parse the file: line 7: expecting a value",
    ),
    Row(
        "conf_value_refused",
        "LIB-005",
        _problem("bad_value"),
        "qemu.conf security_require_confined: libvirt refuses the value: expecting a value",
    ),
    Row(
        "conf_value_unverified",
        "LIB-005",
        _problem("unverified"),
        "qemu.conf security_require_confined: expecting a value",
    ),
    Row(
        "conf_value_unverified",
        "LIB-006",
        _problem("unverified"),
        "qemu.conf security_require_confined: expecting a value",
    ),
    Row(
        "times_unread",
        "LIB-003",
        _set("libvirt.conf.changed_at", None),
        "qemu.conf: when the file was changed, or when the daemon started, could not be read",
    ),
    Row(
        "file_changed",
        "LIB-003",
        _set("libvirt.conf.changed_at", factory.NOW),
        "qemu.conf: changed after the daemon started, which may still use other values until it is restarted",
    ),
    Row("no_daemon", "LIB-007", _set("libvirt.daemon", None), "host: no daemon with a label runs"),
    Row(
        "label_unread", "LIB-007", _set("libvirt.daemon.context", None), "daemon libvirtd: its label could not be read"
    ),
    Row(
        "guard_settings_old",
        "LIB-009",
        _set("libvirt.guard", InstalledGuard()),
        "host: the guard's settings do not say which processes it may read; run guard_hook again",
    ),
    Row(
        "daemon_type_unread",
        "LIB-007",
        _set("libvirt.daemon.types", []),
        "daemon libvirtd: which type the loaded policy has for it is not known, as its program's label is not",
    ),
    Row(
        "daemon_asleep",
        "LIB-007",
        _each(_set("libvirt.daemon.context", None), _set("libvirt.daemon.pid", None)),
        "daemon libvirtd: it does not run, so its label is not known yet",
    ),
    Row("version_unread", "LIB-008", _set("libvirt.version", None), "host: libvirt's version could not be read: None"),
    Row(
        "guests_unread",
        "GST-001",
        _each(_process("qemu", "/usr/bin/qemu-kvm", factory.process_label("s0:c1,c2")), _guests_unread),
        "process 4711 qemu-kvm: the guests could not be read, so it may be one of them",
    ),
    Row("guest_unread", "GST-003", _guest("spare", "error", "broken XML"), "guest spare: broken XML"),
    Row("guest_unread", "GST-009", _guest("spare", "error", "broken XML"), "guest spare: broken XML"),
    Row(
        "label_unreadable",
        "GST-002",
        _guest("web", "context", None),
        "guest web: the label of its process could not be read",
    ),
    Row(
        "no_live_label",
        "GST-007",
        _guest("web", "live", []),
        "guest web: its live XML has no SELinux label to compare with",
    ),
    Row("live_label_empty", "GST-007", _without_label, "guest web: its live XML has a <seclabel> without a label"),
    Row(
        "may_be_helper",
        "GST-011",
        _no_scope,
        "process 4711 bash: guest web has the same label and no control group of its own, so it may be its helper",
    ),
    Row(
        "guests_unread",
        "GST-011",
        _each(_process("bash", "/usr/bin/bash", factory.process_label("s0:c1,c2")), _guests_unread),
        "process 4711 bash: the guests could not be read, so it may serve one of them",
    ),
    Row(
        "label_unknown",
        "IMG-001",
        _file("spare", "label", None),
        f"image {IMAGES}/spare.qcow2: its label could not be read",
    ),
    Row(
        "gone",
        "IMG-001",
        _file("web", "exists", False),
        f"image {IMAGES}/web.qcow2: its guest runs, but the file is not there",
    ),
    Row(
        "key_ignored",
        "IMG-003",
        _exported_and_named,
        f"folder {IMAGES}: libvirt 10.0.0 as released ignores shared_filesystems, which libvirt 10.8 and later read.",
    ),
    Row(
        "expected_unknown",
        "IMG-001",
        _expected_unknown,
        f"image {IMAGES}/web.qcow2: the label that libvirt would set is not known",
    ),
    Row(
        "may_run_elsewhere",
        "IMG-001",
        _on_share,
        f"image {IMAGES}/spare.qcow2: it carries a guest's categories, and its guest may run on another host",
    ),
    Row(
        "label_not_asked",
        "IMG-007",
        _each(_file("spare", "mode", 0o644), _set("selinux.access", [])),
        f"image {IMAGES}/spare.qcow2: the loaded policy was not asked whether guests may read its label",
    ),
    Row(
        "owner_access_unknown",
        "IMG-007",
        _owner_unread,
        f"image {IMAGES}/spare.qcow2: whether owner and mode let guests' QEMU read it is not known",
    ),
    Row(
        "storage_unknown",
        "IMG-008",
        _storage_unread,
        f"image {IMAGES}/spare.qcow2: the storage that it lies on could not be read",
    ),
    Row(
        "references_unread",
        "IMG-009",
        _file("spare", "remembered", Remembered(factory.AT_REST, None, None)),
        f"image {IMAGES}/spare.qcow2: the count of its remembered users could not be read",
    ),
    Row(
        "filters_unread",
        "NET-002",
        _filters_unread,
        "interface 52:54:00:00:00:01 of guest web: libvirt's network filters could not be read",
    ),
    Row("guest_unread", "NET-001", _guest("web", "error", "broken XML"), "guest web: broken XML"),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.code}-{row.rule}")
def test_reasons_read_so(row: Row) -> None:
    snapshot = row.make()
    row.change(snapshot)
    outcome = next(one for one in judge("kvm1", snapshot, f.Settings()).outcomes if one.rule == row.rule)
    assert (outcome.status, outcome.codes, outcome.why) == (row.status, (row.code,), row.why)


def test_no_reason_is_left_out() -> None:
    codes = reason_codes(_common, guest, image, libvirt, network, selinux, qemu_conf)
    assert codes - {row.code for row in ROWS} == set()
