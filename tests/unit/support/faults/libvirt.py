# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of libvirt's daemon and its qemu.conf."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Assignment,
    ConfProblem,
    InstalledGuard,
    SecurityModel,
    Snapshot,
)

from .case import Case, conf, set_key


def _driver_none(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_driver", "none")
    snapshot.libvirt.models = [SecurityModel("none"), SecurityModel("dac")]


def _not_answering(snapshot: Snapshot) -> None:
    snapshot.libvirt.models = None


def _not_explicit(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_driver", None)


def _no_file(snapshot: Snapshot) -> None:
    snapshot.libvirt.conf = None


def _edited(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_driver", "none")
    conf(snapshot).changed_at = snapshot.taken_at - 10


def _changed_somehow(snapshot: Snapshot) -> None:
    conf(snapshot).changed_at = snapshot.taken_at - 10


def _not_confined(snapshot: Snapshot) -> None:
    conf(snapshot).assignments.append(_assignment("security_default_confined", 0))


def _not_required(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_require_confined", None)


def _syntax_error(snapshot: Snapshot) -> None:
    conf(snapshot).problems.append(ConfProblem(7, "syntax", "", "expecting a value"))


def _duplicate(snapshot: Snapshot) -> None:
    conf(snapshot).assignments.append(_assignment("security_driver", "none"))
    conf(snapshot).problems.append(ConfProblem(9, "duplicate", "security_driver", "libvirt uses the first"))


def _quoted(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_require_confined", "1")
    conf(snapshot).problems.append(ConfProblem(4, "wrong_type", "security_require_confined", "expected 0 or 1"))


def _assignment(key: str, value: object) -> Assignment:
    return Assignment(key, value, 9)


def _narrow_range(snapshot: Snapshot) -> None:
    _daemon_context(snapshot, "system_u:system_r:virtd_t:s0-s0:c0.c6")


def _started_by_hand(snapshot: Snapshot) -> None:
    _daemon_context(snapshot, "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023")


def _label_unknown(snapshot: Snapshot) -> None:
    _daemon_context(snapshot, None)


def _daemon_context(snapshot: Snapshot, context: str | None) -> None:
    assert snapshot.libvirt.daemon is not None
    snapshot.libvirt.daemon.context = context


def _old(snapshot: Snapshot) -> None:
    snapshot.libvirt.version = "7.0.0"


def _no_version(snapshot: Snapshot) -> None:
    snapshot.libvirt.version = None


def _guard_without_view(snapshot: Snapshot) -> None:
    snapshot.libvirt.guard = InstalledGuard(["svirt_tcg_t"])


def _guard_without_settings(snapshot: Snapshot) -> None:
    snapshot.libvirt.guard = InstalledGuard()


CASES = (
    Case("LIB-001", "qemu.conf security_driver", _driver_none, _not_answering),
    Case("LIB-002", "qemu.conf security_driver", _not_explicit, _no_file),
    Case("LIB-003", "qemu.conf security_driver", _edited, _changed_somehow),
    Case("LIB-003", "qemu.conf security_driver", _edited, _not_answering, "daemon silent"),
    Case("LIB-004", "qemu.conf security_default_confined", _not_confined, _no_file),
    Case("LIB-005", "qemu.conf security_require_confined", _not_required, _no_file),
    Case("LIB-005", "qemu.conf security_require_confined", _not_required, _syntax_error, "syntax error"),
    Case("LIB-006", "qemu.conf", _syntax_error, _no_file, "syntax error"),
    Case("LIB-006", "qemu.conf security_driver", _duplicate, _no_file, "duplicate"),
    Case("LIB-006", "qemu.conf security_require_confined", _quoted, _no_file, "quoted number"),
    Case("LIB-007", "daemon libvirtd", _narrow_range, _label_unknown, "range"),
    Case("LIB-007", "daemon libvirtd", _started_by_hand, _label_unknown, "type"),
    Case("LIB-008", "host", _old, _no_version),
    Case("LIB-009", "type svirt_t", _guard_without_view, _guard_without_settings),
)
