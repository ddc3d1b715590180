# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of guests' files and of the storage that they lie on."""

from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Orphan, Remembered, Snapshot

from ..factory import AT_REST, IMAGES, SHARE, SHARED, image_label, on_share, resource, share
from .case import Case, area_unknown, file_of, guest

_OTHERS = image_label("s0:c7,c8")


def _backing_of_another(snapshot: Snapshot) -> None:
    file_of(snapshot, "web", "backing").file.label = _OTHERS


def _left(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.label = _OTHERS


def _half_the_pair(snapshot: Snapshot) -> None:
    """The guest still gets in, and so does everyone with c17."""
    file_of(snapshot, "web").file.label = image_label("s0:c17")


def _no_label(snapshot: Snapshot) -> None:
    file_of(snapshot, "web").file.label = None


def _lost(snapshot: Snapshot) -> None:
    """What a failed migration leaves: the other host's draw."""
    file_of(snapshot, "web").file.label = _OTHERS


def _set_back(snapshot: Snapshot) -> None:
    """What a successful migration from the exporting host leaves."""
    file_of(snapshot, "db").file.label = AT_REST


def _exported(snapshot: Snapshot) -> None:
    snapshot.storage[0].exports = snapshot.storage[0].labelled_exports = [IMAGES]
    snapshot.guests = [guest(snapshot, "db")]


def _exported_and_no_conf(snapshot: Snapshot) -> None:
    _exported(snapshot)
    snapshot.libvirt.conf = None


def _dynamic_on_share(snapshot: Snapshot) -> None:
    snapshot.storage.append(share())
    on_share(guest(snapshot, "web"))


def _orphan(snapshot: Snapshot) -> None:
    snapshot.orphans.append(Orphan(f"{IMAGES}/gone.raw", _OTHERS, "/", "253:1", 99))


def _open(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.label = SHARED


def _open_while_running(snapshot: Snapshot) -> None:
    file_of(snapshot, "web").file.label = SHARED


def _no_label_at_rest(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.label = None


def _readable(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.mode = 0o644


def _policy_not_asked(snapshot: Snapshot) -> None:
    _readable(snapshot)
    snapshot.selinux.access.clear()


def _unlabelled(snapshot: Snapshot) -> None:
    snapshot.storage.append(share(labelled=False))
    on_share(guest(snapshot, "web")).file.label = "system_u:object_r:nfs_t:s0"


def _mount_unknown(snapshot: Snapshot) -> None:
    on_share(guest(snapshot, "web"))


def _remembered(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, str(snapshot.host.booted_at))


def _count_unknown(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, None, None)


def _device(snapshot: Snapshot, label: str | None) -> None:
    own = image_label("s0:c17,c42")
    device = resource("disk", "/dev/vg/web", "image", label, own, target="vdb", in_namespace=True)
    guest(snapshot, "web").resources.append(device)


def _device_of_host(snapshot: Snapshot) -> None:
    _device(snapshot, "system_u:object_r:fixed_disk_device_t:s0")


def _device_unknown(snapshot: Snapshot) -> None:
    _device(snapshot, None)


CASES = (
    Case("IMG-001", f"image {IMAGES}/base.qcow2", _backing_of_another, _no_label, "backing file"),
    Case("IMG-001", f"image {IMAGES}/spare.qcow2", _left, _no_label_at_rest, "left over"),
    Case("IMG-001", f"image {IMAGES}/web.qcow2", _half_the_pair, _no_label, "subset"),
    Case("IMG-002", f"image {IMAGES}/web.qcow2", _lost, _no_label),
    Case("IMG-002", f"image {IMAGES}/db.raw", _set_back, area_unknown("images"), "set back"),
    Case("IMG-003", f"folder {IMAGES}", _exported, _exported_and_no_conf),
    Case("IMG-004", "guest web", _dynamic_on_share, area_unknown("storage")),
    Case("IMG-005", f"image {IMAGES}/gone.raw", _orphan, area_unknown("orphans")),
    Case("IMG-006", f"image {IMAGES}/spare.qcow2", _open, _no_label_at_rest),
    Case("IMG-006", f"image {IMAGES}/web.qcow2", _open_while_running, _no_label, "running"),
    Case("IMG-007", f"image {IMAGES}/spare.qcow2", _readable, _policy_not_asked),
    Case("IMG-008", f"storage {SHARE}", _unlabelled, _mount_unknown),
    Case("IMG-009", f"image {IMAGES}/spare.qcow2", _remembered, _count_unknown),
    Case("IMG-010", "image /dev/vg/web", _device_of_host, _device_unknown),
)
