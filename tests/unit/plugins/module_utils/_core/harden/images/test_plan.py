# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Which files image_label repairs, and which it leaves alone: candidates and survey together."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images import model
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import (
    REMEMBERED,
    REPAIRS,
    FileHolder,
    ImageChange,
    ImagePlan,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.requested import FALLBACK, ImageRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.settle import not_foreseen
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.shared_use import FileUse, FolderUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Step
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    UNKNOWN,
    Assignment,
    Coverage,
    Remembered,
    SecLabel,
    Snapshot,
)

from tests.unit.support import factory
from tests.unit.support.factory import AT_REST, BOOTED, CONTENT, IMAGES, SHARE, SHARED, image_label
from tests.unit.support.faults.case import file_of, guest, set_key
from tests.unit.support.faults.image import CASES
from tests.unit.support.image_plans import OTHERS, WEB, codes, lines, plan, with_orphan


def test_a_healthy_host_needs_nothing() -> None:
    for snapshot in (factory.host(), factory.debian_host(), factory.fedora_host()):
        assert plan(snapshot) == ImagePlan()


EXPECTED: dict[str, list[tuple[str, str, t.Any]]] = {
    "IMG-001 left over": [("relabel", f"image {IMAGES}/spare.qcow2", AT_REST)],
    "IMG-001 subset": [("relabel", f"image {IMAGES}/web.qcow2", WEB)],
    "IMG-002": [("relabel", f"image {IMAGES}/web.qcow2", WEB)],
    "IMG-002 set back": [("relabel", f"image {IMAGES}/db.raw", image_label("s0:c40,c300,c600,c900"))],
    "IMG-005": [("relabel", f"image {IMAGES}/gone.raw", AT_REST)],
    "IMG-006": [("relabel", f"image {IMAGES}/spare.qcow2", AT_REST)],
    "IMG-006 running": [("relabel", f"image {IMAGES}/web.qcow2", WEB)],
    "IMG-007": [("close", f"image {IMAGES}/spare.qcow2", "0:0 0600")],
    "IMG-010": [("relabel", "image /dev/vg/web", WEB)],
}


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in EXPECTED], ids=str)
def test_each_fault_that_can_be_repaired_is(case: t.Any) -> None:
    snapshot = factory.host()
    case.fault(snapshot)
    result = plan(snapshot)
    assert lines(result) == EXPECTED[str(case)]
    assert codes(result) == {}


def test_the_rest_needs_something_else() -> None:
    assert {str(case) for case in CASES} - set(EXPECTED) == {
        "IMG-001 backing file",  # a power cycle
        "IMG-003",  # other modules, other storage
        "IMG-004",
        "IMG-008",
        "IMG-009",  # here libvirt counts a user since the boot
    }


def test_a_wrong_backing_file_waits_for_a_power_cycle() -> None:
    snapshot = factory.host()
    file_of(snapshot, "web", "backing").file.label = OTHERS
    result = plan(snapshot)
    assert (result.changes, result.refused) == ([], [])
    (left,) = result.pending
    assert (left.subject, left.needs) == (f"image {IMAGES}/base.qcow2", "guest_power_cycle")
    assert left.reason.code == "not_its_own_image"


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in EXPECTED], ids=str)
def test_only_what_was_asked_for_is_repaired(case: t.Any) -> None:
    snapshot = factory.host()
    case.fault(snapshot)
    assert plan(snapshot, ()) == ImagePlan()
    assert sum(bool(plan(snapshot, (repair,)).changes) for repair in REPAIRS) == 1


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in EXPECTED], ids=str)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"links": 2}, "hard_links"),
        ({"inode": 5}, "another_file"),
        ({"kind": "socket"}, "not_a_plain_file"),
        ({"label": "system_u:object_r:var_t:s0"}, "label_changed"),
        ({"error": "gone"}, "not_readable"),
    ],
)
def test_what_changed_since_is_left_alone(case: t.Any, change: dict[str, t.Any], code: str) -> None:
    snapshot = factory.host()
    case.fault(snapshot)
    result = plan(snapshot, see=change)
    assert result.changes == []
    assert result.refused[0].reason.code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"holders": [FileHolder(77, "qemu-img")]}, "open"),
        ({"holders": [FileHolder(0, "device loop3")]}, "open"),
        ({"blind": "no answer within 3 s"}, "holders_unknown"),
        ({"labelled": False}, "storage_without_labels"),
    ],
)
@pytest.mark.parametrize("name", ["IMG-001 left over", "IMG-002", "IMG-005", "IMG-006"])
def test_files_in_use_are_left_alone(name: str, change: dict[str, t.Any], code: str) -> None:
    snapshot = factory.host()
    next(case for case in CASES if str(case) == name).fault(snapshot)
    result = plan(snapshot, see=change)
    assert result.changes == []
    assert [refusal.reason.code for refusal in result.refused] == [code]


def test_an_image_in_use_by_its_own_guest_alone_is_given_back() -> None:
    snapshot = factory.host()
    file_of(snapshot, "web").file.label = OTHERS
    own = [FileHolder(1001, "qemu-kvm"), FileHolder(1003, "swtpm"), FileHolder(55, "virtlockd")]
    assert lines(plan(snapshot, see={"holders": own})) == EXPECTED["IMG-002"]
    other = [*own, FileHolder(1002, "qemu-kvm")]
    assert plan(snapshot, see={"holders": other}).refused[0].reason.code == "open"


def test_an_image_of_two_running_guests_is_left_alone() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "web")
    disk.file.label = OTHERS
    guest(snapshot, "db").resources.append(replace(disk, target="vdz", expected=image_label("s0:c40,c300,c600,c900")))
    result = plan(snapshot)
    assert result.changes == []
    assert codes(result)[f"image {disk.path}"] == "used_by_several_guests"


def test_the_label_to_give_back_is_that_of_the_process() -> None:
    snapshot = factory.host()
    file_of(snapshot, "web").file.label = OTHERS
    guest(snapshot, "web").context = factory.process_label("s0:c1,c2")
    result = plan(snapshot)
    assert result.changes == []
    assert result.pending[0].reason.code == "guest_runs_at_other_level"


def test_a_label_at_rest_takes_owner_and_memory_with_it() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "spare").file
    disk.label, disk.uid, disk.gid = OTHERS, 107, 107
    disk.remembered = Remembered(AT_REST, 1, "1500000000")
    result = plan(snapshot)
    assert [line[0] for line in lines(result)] == ["relabel", "close", "forget_owner"]
    assert [line[0] for line in lines(plan(snapshot, (model.AT_REST,)))] == ["relabel", "forget_owner"]
    snapshot.selinux.access = [replace(item, read=False) for item in snapshot.selinux.access]  # as on Debian
    assert [line[0] for line in lines(plan(snapshot))] == ["relabel", "forget_owner"]


def test_what_libvirt_counts_users_of_is_in_use() -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.label = OTHERS
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, str(BOOTED))
    result = plan(snapshot)
    assert result.changes == []
    assert result.refused[0].reason.code == "counted_by_libvirt"
    dac = {"memory": {f"{REMEMBERED}ref_dac": "2", f"{REMEMBERED}timestamp_dac": str(BOOTED + 1)}}
    assert "ref_dac" in plan(snapshot, see=dac).refused[0].reason.text


def test_memory_of_another_boot_is_forgotten() -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, "1500000000")
    (change,) = plan(snapshot).changes
    memory = {"selinux": AT_REST, "ref_selinux": "1", "timestamp_selinux": "1500000000"}
    assert change.steps() == [Step("forget_owner", f"image {IMAGES}/spare.qcow2", memory, None)]


def test_two_repairs_of_one_file_are_one_change() -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, "1500000000")
    file_of(snapshot, "spare").file.mode = 0o644
    (change,) = plan(snapshot).changes
    assert [step.action for step in change.steps()] == ["close", "forget_owner"]


def _no_owners(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_driver", "selinux")
    conf = snapshot.libvirt.conf
    assert conf is not None
    conf.assignments.append(Assignment("dynamic_ownership", 0, 9))


def _kept_by_guest(snapshot: Snapshot) -> None:
    guest(snapshot, "spare").persistent_labels.append(SecLabel("dac", "static", False))


def _kept_by_disk(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").sets_owner = False


def _shared(snapshot: Snapshot) -> None:
    snapshot.storage[0].remote = True


def _device(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.kind = "block"


def _no_conf(snapshot: Snapshot) -> None:
    snapshot.libvirt.conf = None


def _root(snapshot: Snapshot) -> None:
    snapshot.libvirt.qemu_uid = 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (_no_owners, "no_dynamic_ownership"),
        (_no_conf, "owners_unknown"),
        (_root, "guests_run_as_root"),
        (_shared, "owner_on_shared_storage"),
        (_device, "device_node"),
    ],
)
def test_owners_are_only_taken_where_libvirt_gives_them_back(fault: t.Any, code: str) -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.mode = 0o644
    fault(snapshot)
    result = plan(snapshot)
    assert result.changes == []
    assert result.refused[0].reason.code == code


@pytest.mark.parametrize("repair", [REPAIRS, ("readable",), ("at_rest", "readable")])
def test_a_file_whose_owner_libvirt_leaves_alone_keeps_it(repair: tuple[str, ...]) -> None:
    for fault in (_kept_by_guest, _kept_by_disk):
        snapshot = factory.host()
        file_of(snapshot, "spare").file.mode = 0o660
        file_of(snapshot, "spare").file.uid = 107
        fault(snapshot)
        assert plan(snapshot, repair) == ImagePlan()
        file_of(snapshot, "spare").file.label = OTHERS
        assert {step[0] for step in lines(plan(snapshot, repair))} <= {"relabel"}


def test_a_folder_that_a_guest_left_behind_is_not_half_repaired() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "spare").file
    disk.label, disk.kind = OTHERS, "dir"
    (left,) = plan(snapshot).pending
    assert (left.needs, left.reason.code) == ("operator", "folder_of_guest")


@pytest.mark.parametrize("default", [None, "<<none>>", SHARED, image_label("s0:c1,c2")])
def test_where_the_policy_has_no_good_label_there_is_one_to_fall_back_on(default: str | None) -> None:
    (change,) = plan(with_orphan(factory.host()), see={"default": default}).changes
    assert change.label == FALLBACK
    (change,) = plan(with_orphan(factory.host()), see={"default": default}, fallback=CONTENT).changes
    assert change.label == CONTENT


def test_an_orphan_with_the_categories_of_a_running_guest_is_nobodys_to_decide() -> None:
    result = plan(with_orphan(factory.host(), label=image_label("s0:c42,c17")))
    assert result.changes == []
    assert (result.pending[0].needs, result.pending[0].reason.code) == ("operator", "categories_in_use")


def shared_host() -> Snapshot:
    snapshot = factory.host()
    snapshot.storage.append(factory.share())
    return snapshot


def test_shared_storage_needs_to_be_known() -> None:
    snapshot = with_orphan(shared_host(), f"{SHARE}/gone.raw", mount=SHARE)
    see = {"remote": True}
    assert plan(snapshot, see=see).refused[0].reason.code == "use_elsewhere_unknown"
    known = FolderUse(SHARE, False, "kvm9 could not be read, and may use it")
    assert plan(snapshot, see=see, elsewhere=(known,)).refused[0].reason.code == "use_elsewhere_unknown"
    assert plan(snapshot, see=see, elsewhere=(replace(known, folder="/mnt/other", complete=True),)).changes == []
    known = FolderUse(SHARE, True)
    assert len(plan(snapshot, see=see, elsewhere=(known,)).changes) == 1


@pytest.mark.parametrize(
    ("known", "code"),
    [
        ({"in_use": (FileUse(99, "", "guest x on kvm2"),)}, "in_use_elsewhere"),
        ({"in_use": (FileUse(None, f"{SHARE}/gone.raw", "guest x on kvm2"),)}, "in_use_elsewhere"),
        ({"levels": ("s0:c7,c8",)}, "readable_elsewhere"),
        ({"levels": ("s0", "s0:c0.c9")}, "readable_elsewhere"),
    ],
)
def test_what_other_hosts_use_is_left_alone(known: dict[str, t.Any], code: str) -> None:
    snapshot = with_orphan(shared_host(), f"{SHARE}/gone.raw", mount=SHARE)
    result = plan(snapshot, see={"remote": True}, elsewhere=(FolderUse(SHARE, True, **known),))
    assert result.changes == []
    assert [refusal.reason.code for refusal in result.refused] == [code]


def test_what_another_host_uses_of_an_export_is_left_alone() -> None:
    snapshot = factory.host()
    snapshot.storage[0].exports = [IMAGES]
    file_of(snapshot, "spare").file.label = OTHERS
    assert plan(snapshot).changes == []
    assert len(plan(snapshot, elsewhere=(FolderUse(IMAGES, True),)).changes) == 1
    inode = file_of(snapshot, "spare").file.inode
    used = FolderUse(IMAGES, True, in_use=(FileUse(inode, "", "guest x on kvm2"),))
    assert plan(snapshot, elsewhere=(used,)).refused[0].reason.code == "in_use_elsewhere"


def test_a_lost_image_on_shared_storage_comes_back_though_another_guest_has_the_new_label() -> None:
    snapshot = shared_host()
    disk = factory.on_share(guest(snapshot, "db"))
    disk.file.label = OTHERS
    known = FolderUse(SHARE, True, levels=("s0:c7,c8",))
    (change,) = plan(snapshot, see={"remote": True}, elsewhere=(known,)).changes
    assert (change.label, change.shared) == (disk.expected, True)
    assert plan(snapshot, see={"remote": True}).changes == []
    used = replace(known, in_use=(FileUse(disk.file.inode, "", "guest db on kvm2"),))
    assert plan(snapshot, see={"remote": True}, elsewhere=(used,)).changes == []


def test_without_knowing_all_guests_nothing_is_done() -> None:
    snapshot = with_orphan(factory.host())
    snapshot.coverage["guests"] = Coverage(UNKNOWN, "no answer")
    result = plan(snapshot, labels=(ImageRequest(f"{IMAGES}/x.iso", CONTENT),))
    assert result.changes == []
    assert codes(result) == {"host": "guests_unknown", f"image {IMAGES}/x.iso": "guests_unknown"}


def test_without_selinux_labels_are_not_repaired() -> None:
    snapshot = with_orphan(factory.host())
    snapshot.selinux.mode = "disabled"
    assert codes(plan(snapshot)) == {"host": "selinux_off"}


def test_images_that_an_earlier_task_would_give_back_are_not_given_back_again() -> None:
    def change(path: str, repair: str) -> ImageChange:
        return ImageChange(model.ImageTarget(path, repair), model.SurveyedFile(), AT_REST)

    changes = [change("/a", model.IN_USE), change("/b", model.IN_USE), change("/a", model.AT_REST)]
    assert not_foreseen(changes, ["image /a"]) == changes[1:]
    assert not_foreseen(changes, ()) == changes
