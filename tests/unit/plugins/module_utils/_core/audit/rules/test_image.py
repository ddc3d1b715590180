# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files: which rule reports a label, and what libvirt leaves behind on purpose."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.orphans import by_reporter
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Access,
    Assignment,
    Orphan,
    Process,
    Remembered,
    Snapshot,
    Storage,
)

from tests.unit.support import factory
from tests.unit.support.factory import IMAGES, SHARE, image_label, resource
from tests.unit.support.faults.case import conf, file_of, guest
from tests.unit.support.judging import findings, found, status

WEB = f"image {IMAGES}/web.qcow2"
SPARE = f"image {IMAGES}/spare.qcow2"
_ANY_GUEST = "system_u:system_r:svirt_t:s0:c1022,c1023"


def exported(*named: str, labelled: bool = True) -> Snapshot:
    """The images are exported; only the guest with a static label is there."""
    snapshot = factory.host()
    snapshot.guests = [guest(snapshot, "db")]
    snapshot.storage[0].exports = [IMAGES]
    snapshot.storage[0].labelled_exports = [IMAGES] if labelled else []
    if named:
        conf(snapshot).assignments.append(Assignment("shared_filesystems", list(named), 9))
    return snapshot


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (image_label("s0:c17,c42"), None),
        (image_label("s0:c42,c17"), None),
        ("unconfined_u:object_r:svirt_image_t:s0:c17,c42", None),
        (image_label("s0:c17"), "IMG-001"),
        (image_label("s0:c17,c42,c99"), "IMG-002"),
        (image_label("s0:c1,c2"), "IMG-002"),
        (factory.AT_REST, "IMG-002"),
        (factory.CONTENT, "IMG-002"),
        ("system_u:object_r:unlabeled_t:s0", "IMG-002"),
        (factory.SHARED, "IMG-006"),
    ],
)
def test_label_of_a_running_guests_own_image(label: str, expected: str | None) -> None:
    snapshot = factory.host()
    file_of(snapshot, "web").file.label = label
    assert [(rule, subject) for rule, _host, subject in found(snapshot)] == ([(expected, WEB)] if expected else [])


def test_the_policy_may_let_the_guest_in_by_another_type() -> None:
    snapshot = factory.host()
    label = "system_u:object_r:custom_image_t:s0"
    file_of(snapshot, "web").file.label = label
    snapshot.selinux.access.append(Access(_ANY_GUEST, label, read=True, write=True))
    assert found(snapshot) == [("IMG-001", "high", WEB)]


@pytest.mark.parametrize("kind", ["backing", "cdrom"])
def test_wrong_label_of_what_is_only_read(kind: str) -> None:
    snapshot = factory.host()
    item = file_of(snapshot, "web", kind)
    item.file.label = factory.AT_REST
    assert found(snapshot) == [("IMG-001", "high", f"image {item.path}")]


def test_image_that_another_running_guest_took() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "db")
    disk.path = f"{IMAGES}/web.qcow2"
    disk.file = file_of(snapshot, "web").file
    assert found(snapshot) == [("IMG-002", "critical", WEB)]
    assert findings(snapshot)[0].evidence["guest"] == "db"


def test_file_of_a_running_guest_is_not_judged_by_a_guest_that_is_off() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "spare")
    disk.path, disk.file = f"{IMAGES}/web.qcow2", file_of(snapshot, "web").file
    assert found(snapshot) == []


def test_shareable_disk_is_meant_to_be_open_but_not_another_disk() -> None:
    snapshot = factory.host()
    assert found(snapshot) == []
    next(item for item in guest(snapshot, "db").resources if item.target == "vdb").shareable = False
    assert found(snapshot) == []  # its role says so too
    file_of(snapshot, "db").file.label = factory.SHARED
    assert found(snapshot) == [("IMG-006", "critical", f"image {IMAGES}/db.raw")]


def test_file_of_a_guest_without_relabelling_is_reported_when_it_is_open() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "web")
    disk.role, disk.expected, disk.file.label = "untouched", None, factory.SHARED
    assert found(snapshot) == [("IMG-006", "critical", WEB)]


def test_left_over_label_and_remembered_owner_are_one_finding() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "spare")
    disk.file.label, disk.file.remembered = image_label("s0:c1,c2"), Remembered(factory.AT_REST, 1, "1")
    assert found(snapshot) == [("IMG-001", "medium", SPARE)]
    assert findings(snapshot)[0].cost == "none"


def test_left_over_label_on_shared_storage_may_be_in_use_elsewhere() -> None:
    snapshot = factory.host()
    snapshot.storage.append(factory.share())
    factory.on_share(guest(snapshot, "spare")).file.label = image_label("s0:c1,c2")
    assert "IMG-001" not in {item.rule for item in findings(snapshot)}
    assert status(snapshot, "IMG-001") == "unknown"


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "expected"),
    [
        (0, 0, 0o600, "pass"),
        (0, 0, 0o640, "pass"),
        (0, 0, 0o644, "fail"),
        (107, 0, 0o600, "fail"),
        (0, 107, 0o640, "fail"),
        (0, 107, 0o600, "pass"),
        (107, 107, 0o040, "fail"),
        (0, 0, None, "unknown"),
    ],
)
def test_owner_and_mode_of_an_image_at_rest(uid: int, gid: int, mode: int | None, expected: str) -> None:
    snapshot = factory.host()
    facts = file_of(snapshot, "spare").file
    facts.uid, facts.gid, facts.mode = uid, gid, mode
    assert status(snapshot, "IMG-007") == expected


@pytest.mark.parametrize(
    ("uid", "mode", "expected"), [(107, 0o600, "fail"), (108, 0o600, "pass"), (0, 0o640, "unknown")]
)
def test_user_of_running_guests_stands_in_for_the_configured_one(uid: int, mode: int, expected: str) -> None:
    snapshot = factory.host()
    snapshot.libvirt.qemu_uid, snapshot.libvirt.qemu_gids = None, []
    facts = file_of(snapshot, "spare").file
    facts.uid, facts.mode = uid, mode
    assert status(snapshot, "IMG-007") == expected


def test_guests_that_run_as_root_read_everything() -> None:
    snapshot = factory.host()
    snapshot.libvirt.qemu_uid = 0
    assert found(snapshot) == [("IMG-007", "high", SPARE)]


def test_unknown_user_leaves_a_private_image_unknown() -> None:
    snapshot = factory.host()
    snapshot.libvirt.qemu_uid, snapshot.processes = None, []
    assert status(snapshot, "IMG-007") == "unknown"


def test_readable_image_is_no_fault_where_the_policy_says_no() -> None:
    snapshot = factory.debian_host()
    file_of(snapshot, "spare").file.mode = 0o644
    assert status(snapshot, "IMG-007") == "pass"


def test_image_that_serves_others_as_backing_file_may_be_read() -> None:
    snapshot = factory.host()
    template = file_of(snapshot, "spare")
    template.file.mode, template.file.label = 0o644, factory.CONTENT
    clone = resource("backing", template.path, "content", None, readonly=True)
    clone.file = template.file
    other = factory.powered_off_guest()
    other.uuid, other.name, other.resources = factory.uuid(9), "clone", [clone]
    snapshot.guests.append(other)
    assert found(snapshot) == []


@pytest.mark.parametrize(
    ("named", "labelled", "expected"),
    [
        ((), True, [("IMG-003", "high", f"folder {IMAGES}")]),
        ((), False, [("IMG-003", "medium", f"folder {IMAGES}")]),
        ((IMAGES,), True, []),
        ((f"{IMAGES}/",), True, []),
        (("/var/lib",), True, []),
        (("/var/lib/libvirt/image",), True, [("IMG-003", "high", f"folder {IMAGES}")]),
    ],
)
def test_exported_folder(named: tuple[str, ...], labelled: bool, expected: list[tuple[str, str, str]]) -> None:
    assert found(exported(*named, labelled=labelled)) == expected


@pytest.mark.parametrize("version", ["9.0.0", "10.7.0"])
def test_a_libvirt_that_ignores_the_key_needs_another_repair(version: str) -> None:
    snapshot = exported()
    snapshot.libvirt.version = version
    (finding,) = findings(snapshot)
    assert (finding.rule, finding.severity, finding.cost) == ("IMG-003", "high", "operator")
    assert "mount the export" in finding.fix
    named = exported(IMAGES)
    named.libvirt.version = version
    assert [item.rule for item in findings(named) if item.rule == "IMG-003"] == []
    assert status(named, "IMG-003") == "unknown"


def test_export_without_images_and_images_without_export() -> None:
    snapshot = exported()
    snapshot.storage[0].exports = snapshot.storage[0].labelled_exports = ["/srv/isos"]
    assert found(snapshot) == []


def test_export_covers_only_files_of_its_own_file_system() -> None:
    snapshot = exported()
    snapshot.storage.append(Storage(IMAGES, "nfs4", "other:/", labelled=True, identity="nfs:other:/", remote=True))
    for item in guest(snapshot, "db").resources:
        item.file.mount = IMAGES
    assert found(snapshot) == []
    snapshot.storage[1].exports = snapshot.storage[1].labelled_exports = [IMAGES]  # and exported once more
    assert found(snapshot) == []


def test_dynamic_guest_on_labelled_export_of_its_own_host() -> None:
    snapshot = exported(IMAGES)
    snapshot.guests.append(factory.dynamic_guest())
    assert found(snapshot) == [("IMG-004", "high", "guest web")]
    snapshot = exported(IMAGES, labelled=False)
    snapshot.guests.append(factory.dynamic_guest())
    assert found(snapshot) == []


def test_static_guest_on_the_share_and_dynamic_guest_that_only_reads_there() -> None:
    snapshot = factory.host()
    snapshot.storage.append(factory.share())
    factory.on_share(guest(snapshot, "db"))
    file_of(snapshot, "web", "cdrom").file.mount = SHARE
    assert found(snapshot) == []


@pytest.mark.parametrize(
    ("profile", "kind", "severity"),
    [
        ("local", "nfs4", "high"),
        ("nfs", "nfs4", "low"),
        ("nfs", "fuse.glusterfs", "medium"),
        ("ovirt", "nfs", "low"),
        ("ovirt", "fuse.glusterfs", "low"),
        ("ovirt", "vfat", "medium"),
    ],
)
def test_storage_without_labels_by_profile(profile: str, kind: str, severity: str) -> None:
    snapshot = factory.host()
    snapshot.storage.append(factory.share(context="system_u:object_r:virt_image_t:s0"))
    snapshot.storage[-1].type = kind
    for name in ("web", "db"):
        factory.on_share(guest(snapshot, name), f"{SHARE}/{name}").file.label = "system_u:object_r:virt_image_t:s0"
    assert found(snapshot, profile=profile) == [("IMG-008", severity, f"storage {SHARE}")]


def test_block_devices_are_no_storage_without_labels() -> None:
    snapshot = factory.host()
    snapshot.storage.append(Storage("/dev/vg/db", "block", "/dev/vg/db", labelled=False, identity="lvm:a/b"))
    file_of(snapshot, "db").file.mount = "/dev/vg/db"
    assert found(snapshot) == []


def test_orphan_on_shared_storage_is_left_to_the_fleet() -> None:
    snapshot = factory.host()
    snapshot.storage.append(factory.share())
    orphan = Orphan(f"{SHARE}/x.raw", image_label("s0:c1,c2"), SHARE)
    snapshot.orphans = [orphan]
    assert found(snapshot) == []
    assert by_reporter(snapshot).across_hosts == (orphan,)
    snapshot.storage[0].exports = [IMAGES]
    snapshot.orphans = [Orphan(f"{IMAGES}/x.raw", image_label("s0:c1,c2"), "/")]
    assert by_reporter(snapshot).across_hosts == tuple(snapshot.orphans)


@pytest.mark.parametrize(
    ("references", "seconds", "expected"),
    [(1, 0, "fail"), (0, 0, "pass"), (0, 5, "pass"), (0, 7200, "fail"), (2, 7200, "fail")],
)
def test_remembered_owner(references: int, seconds: int, expected: str) -> None:
    snapshot = factory.host()
    stamp = str(factory.BOOTED - seconds)
    file_of(snapshot, "spare").file.remembered = Remembered(factory.AT_REST, references, stamp)
    assert status(snapshot, "IMG-009") == expected


def test_running_guest_may_be_remembered() -> None:
    snapshot = factory.host()
    file_of(snapshot, "web").file.remembered = Remembered(factory.AT_REST, 1, str(factory.BOOTED))
    assert found(snapshot) == []


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (image_label("s0:c17,c42"), []),
        (image_label("s0:c17"), [("IMG-010", "high", "image /dev/vg/web")]),
        (factory.SHARED, [("IMG-010", "high", "image /dev/vg/web")]),
        (image_label("s0:c1,c2"), [("IMG-010", "critical", "image /dev/vg/web")]),
        ("system_u:object_r:fixed_disk_device_t:s0", [("IMG-010", "critical", "image /dev/vg/web")]),
    ],
)
def test_device_in_the_guests_own_dev(label: str, expected: list[tuple[str, str, str]]) -> None:
    snapshot = factory.host()
    own = image_label("s0:c17,c42")
    device = resource("disk", "/dev/vg/web", "image", label, own, target="vdb", in_namespace=True)
    guest(snapshot, "web").resources.append(device)
    assert found(snapshot) == expected


def test_image_that_vanished_under_its_guest_is_unknown() -> None:
    snapshot = factory.host()
    file_of(snapshot, "web").file.exists = False
    file_of(snapshot, "web").file.label = None
    assert found(snapshot) == []
    assert status(snapshot, "IMG-002") == "unknown"


def test_missing_files_of_a_guest_that_is_off_are_nobodys_fault() -> None:
    snapshot = factory.host()
    for item in guest(snapshot, "spare").resources:
        item.file.exists, item.file.label = False, None
    assert {status(snapshot, f"IMG-{number:03}") for number in range(1, 11)} == {"pass"}


def test_storage_of_the_running_guest_seen_from_a_process_without_uid() -> None:
    snapshot = factory.host()
    snapshot.libvirt.qemu_uid = None
    snapshot.processes = [Process(1, "qemu", "/usr/bin/qemu", "web", None, None, factory.uuid(1))]
    file_of(snapshot, "spare").file.mode = 0o000
    assert status(snapshot, "IMG-007") == "pass"


def test_directory_at_rest_is_not_judged_by_its_own_mode() -> None:
    snapshot = factory.host()
    item = resource("tpm", "/var/lib/libvirt/swtpm/spare", "image", factory.AT_REST, target="")
    item.file.kind, item.file.mode = "dir", 0o711 | 0o004
    guest(snapshot, "spare").resources.append(item)
    assert found(snapshot) == []
