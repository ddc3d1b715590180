# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import LabelError, PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import images as lp
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.shared_use import Elsewhere, InUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.file_contexts import of_folder
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    UNKNOWN,
    Assignment,
    Coverage,
    FileFacts,
    Orphan,
    Remembered,
    SecLabel,
    Snapshot,
)

from tests.unit.support import factory
from tests.unit.support.factory import AT_REST, BOOTED, CONTENT, IMAGES, SHARE, SHARED, image_label
from tests.unit.support.faults.case import file_of, guest, set_key
from tests.unit.support.faults.image import CASES

ALL = frozenset(lp.REPAIRS)
OTHERS = image_label("s0:c7,c8")
WEB = image_label("s0:c17,c42")
REMEMBERED = "trusted.libvirt.security."


def seen_of(facts: FileFacts, **more: t.Any) -> lp.Seen:
    """The file as it was when the host was read."""
    memory = {}
    if facts.remembered is not None:
        values = {"selinux": facts.remembered.label, "ref_selinux": facts.remembered.references}
        values["timestamp_selinux"] = facts.remembered.timestamp
        memory = {REMEMBERED + name: str(value) for name, value in values.items() if value is not None}
    base = lp.Seen("", facts.kind, facts.device, facts.inode, 1, facts.label, facts.uid or 0, facts.gid or 0)
    return replace(base, **{"mode": facts.mode or 0, "memory": memory, "default": AT_REST, **more})


def survey(snapshot: Snapshot, targets: t.Iterable[lp.Target], **more: t.Any) -> dict[t.Any, lp.Seen]:
    """What a look at the files gives when nothing happened meanwhile."""
    by_path = {item.file.resolved or item.path: item.file for one in snapshot.guests for item in one.resources}
    for orphan in snapshot.orphans:
        by_path[orphan.path] = FileFacts(True, "", "file", orphan.label, 107, 107, 0o600, orphan.device, orphan.inode)
    found = {}
    for target in targets:
        facts = by_path.get(target.path) or FileFacts(True, "", "file", CONTENT, 0, 0, 0o644, "253:1", 77)
        found[target.key] = seen_of(facts, **more)
    return found


def plan(
    snapshot: Snapshot, repair: t.Collection[str] = ALL, see: dict[str, t.Any] | None = None, **more: t.Any
) -> lp.Plan:
    """All of it, as the module does it."""
    wishes = lp.Wishes(frozenset(repair), **more)
    targets, first = lp.candidates(snapshot, wishes)
    second = lp.settle(snapshot, wishes, targets, survey(snapshot, targets, **(see or {})))
    return lp.Plan(second.changes, first.refused + second.refused, first.pending + second.pending)


def lines(found: lp.Plan) -> list[tuple[str, str, t.Any]]:
    return [(line["action"], line["subject"], line["to"]) for change in found.changes for line in change.actions()]


def whys(found: lp.Plan) -> dict[str, str]:
    return {left.subject: left.why for left in (*found.refused, *found.pending)}


def test_a_healthy_host_needs_nothing() -> None:
    for snapshot in (factory.host(), factory.debian_host(), factory.fedora_host()):
        assert plan(snapshot) == lp.Plan()


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
    found = plan(snapshot)
    assert lines(found) == EXPECTED[str(case)]
    assert whys(found) == {}


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
    found = plan(snapshot)
    assert (found.changes, found.refused) == ([], [])
    (left,) = found.pending
    assert (left.subject, left.needs) == (f"image {IMAGES}/base.qcow2", "guest_power_cycle")


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in EXPECTED], ids=str)
def test_only_what_was_asked_for_is_repaired(case: t.Any) -> None:
    snapshot = factory.host()
    case.fault(snapshot)
    assert plan(snapshot, ()) == lp.Plan()
    assert sum(bool(plan(snapshot, (one,)).changes) for one in lp.REPAIRS) == 1


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in EXPECTED], ids=str)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"links": 2}, "it has 2 names (hard links), and the others would change with it"),
        ({"inode": 5}, "there is another file now than when the host was read"),
        ({"kind": "socket"}, "it is no plain file but a socket"),
        ({"label": "system_u:object_r:var_t:s0"}, "its label is system_u:object_r:var_t:s0 now, and was"),
        ({"error": "gone"}, "gone"),
    ],
)
def test_what_changed_since_is_left_alone(case: t.Any, change: dict[str, t.Any], why: str) -> None:
    snapshot = factory.host()
    case.fault(snapshot)
    found = plan(snapshot, see=change)
    assert found.changes == []
    assert why in found.refused[0].why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"holders": [lp.Holder(77, "qemu-img")]}, "in use: open by process 77 qemu-img"),
        ({"holders": [lp.Holder(0, "device loop3")]}, "in use: open by device loop3"),
        ({"blind": "no answer within 3 s"}, "it is not known who has it open: no answer within 3 s"),
        ({"labelled": False}, "its storage keeps no labels of its own"),
    ],
)
@pytest.mark.parametrize("name", ["IMG-001 left over", "IMG-002", "IMG-005", "IMG-006"])
def test_files_in_use_are_left_alone(name: str, change: dict[str, t.Any], why: str) -> None:
    snapshot = factory.host()
    next(case for case in CASES if str(case) == name).fault(snapshot)
    found = plan(snapshot, see=change)
    assert found.changes == []
    assert [left.why for left in found.refused] == [why]


def test_an_image_in_use_by_its_own_guest_alone_is_given_back() -> None:
    snapshot = factory.host()
    file_of(snapshot, "web").file.label = OTHERS
    own = [lp.Holder(1001, "qemu-kvm"), lp.Holder(1003, "swtpm"), lp.Holder(55, "virtlockd")]
    assert lines(plan(snapshot, see={"holders": own})) == EXPECTED["IMG-002"]
    other = [*own, lp.Holder(1002, "qemu-kvm")]
    assert plan(snapshot, see={"holders": other}).refused[0].why == "in use: open by process 1002 qemu-kvm"


def test_an_image_of_two_running_guests_is_left_alone() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "web")
    disk.file.label = OTHERS
    guest(snapshot, "db").resources.append(replace(disk, target="vdz", expected=image_label("s0:c40,c300,c600,c900")))
    found = plan(snapshot)
    assert found.changes == []
    assert "guest web, guest db use it at once" in whys(found)[f"image {disk.path}"]


def test_the_label_to_give_back_is_the_one_that_the_process_has() -> None:
    snapshot = factory.host()
    file_of(snapshot, "web").file.label = OTHERS
    guest(snapshot, "web").context = factory.process_label("s0:c1,c2")
    found = plan(snapshot)
    assert found.changes == []
    assert found.pending[0].why == "guest web runs at s0:c1,c2, but its XML gives its images s0:c17,c42"


def test_a_label_at_rest_takes_owner_and_memory_with_it() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "spare").file
    disk.label, disk.uid, disk.gid = OTHERS, 107, 107
    disk.remembered = Remembered(AT_REST, 1, "1500000000")
    found = plan(snapshot)
    assert [line[0] for line in lines(found)] == ["relabel", "close", "forget_owner"]
    assert [line[0] for line in lines(plan(snapshot, (lp.AT_REST,)))] == ["relabel", "forget_owner"]
    snapshot.selinux.access = [replace(item, read=False) for item in snapshot.selinux.access]  # as on Debian
    assert [line[0] for line in lines(plan(snapshot))] == ["relabel", "forget_owner"]


def test_what_libvirt_counts_users_of_is_in_use() -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.label = OTHERS
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, str(BOOTED))
    found = plan(snapshot)
    assert found.changes == []
    assert found.refused[0].why.startswith("in use: libvirt counts 1 users of it since the host booted")
    dac = {"memory": {f"{REMEMBERED}ref_dac": "2", f"{REMEMBERED}timestamp_dac": str(BOOTED + 1)}}
    assert "ref_dac" in plan(snapshot, see=dac).refused[0].why


def test_memory_of_another_boot_is_forgotten() -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, "1500000000")
    (change,) = plan(snapshot).changes
    assert change.actions() == [
        {
            "action": "forget_owner",
            "subject": f"image {IMAGES}/spare.qcow2",
            "from": {"selinux": AT_REST, "ref_selinux": "1", "timestamp_selinux": "1500000000"},
            "to": None,
        }
    ]


def test_two_repairs_of_one_file_are_one_change() -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, "1500000000")
    file_of(snapshot, "spare").file.mode = 0o644
    (change,) = plan(snapshot).changes
    assert [line["action"] for line in change.actions()] == ["close", "forget_owner"]


def _no_owners(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_driver", "selinux")
    conf = snapshot.libvirt.conf
    assert conf is not None
    conf.assignments.append(Assignment("dynamic_ownership", 0, 9))


def _kept_by_guest(snapshot: Snapshot) -> None:
    guest(snapshot, "spare").persistent_labels.append(SecLabel("dac", "static", False))


def _no_conf(snapshot: Snapshot) -> None:
    snapshot.libvirt.conf = None


def _root(snapshot: Snapshot) -> None:
    snapshot.libvirt.qemu_uid = 0


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (_no_owners, "dynamic_ownership = 0"),
        (_kept_by_guest, "libvirt sets no owners for guest spare"),
        (_no_conf, "qemu.conf does not tell"),
        (_root, "guests run as root here"),
    ],
)
def test_owners_are_only_taken_where_libvirt_gives_them_back(fault: t.Any, why: str) -> None:
    snapshot = factory.host()
    file_of(snapshot, "spare").file.mode = 0o644
    fault(snapshot)
    found = plan(snapshot)
    assert found.changes == []
    assert why in found.refused[0].why


def test_a_folder_that_a_guest_left_behind_is_not_half_repaired() -> None:
    snapshot = factory.host()
    disk = file_of(snapshot, "spare").file
    disk.label, disk.kind = OTHERS, "dir"
    (left,) = plan(snapshot).pending
    assert left.needs == "guest_power_cycle"


def orphan(snapshot: Snapshot, path: str = f"{IMAGES}/gone.raw", label: str = OTHERS, mount: str = "/") -> Snapshot:
    snapshot.orphans.append(Orphan(path, label, mount, "253:1", 99))
    return snapshot


@pytest.mark.parametrize("default", [None, "<<none>>", SHARED, image_label("s0:c1,c2")])
def test_where_the_policy_has_no_good_label_there_is_one_to_fall_back_on(default: str | None) -> None:
    (change,) = plan(orphan(factory.host()), see={"default": default}).changes
    assert change.label == lp.FALLBACK
    (change,) = plan(orphan(factory.host()), see={"default": default}, fallback=CONTENT).changes
    assert change.label == CONTENT


def test_an_orphan_with_the_categories_of_a_running_guest_is_nobodys_to_decide() -> None:
    found = plan(orphan(factory.host(), label=image_label("s0:c42,c17")))
    assert found.changes == []
    assert (found.pending[0].needs, found.pending[0].why[:34]) == ("operator", "guest web runs with these categori")


def shared_host() -> Snapshot:
    snapshot = factory.host()
    snapshot.storage.append(factory.share())
    return snapshot


def test_shared_storage_needs_to_be_known() -> None:
    snapshot = orphan(shared_host(), f"{SHARE}/gone.raw", mount=SHARE)
    see = {"remote": True}
    assert plan(snapshot, see=see).refused[0].why.startswith("other hosts share its storage")
    known = Elsewhere(SHARE, False, "kvm9 could not be read, and may use it")
    assert plan(snapshot, see=see, elsewhere=(known,)).refused[0].why == f"other hosts share {SHARE}: {known.why}"
    assert plan(snapshot, see=see, elsewhere=(replace(known, folder="/mnt/other", complete=True),)).changes == []
    known = Elsewhere(SHARE, True)
    assert len(plan(snapshot, see=see, elsewhere=(known,)).changes) == 1


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"in_use": (InUse(99, "", "guest x on kvm2"),)}, "in use on another host: guest x on kvm2"),
        ({"in_use": (InUse(None, f"{SHARE}/gone.raw", "guest x on kvm2"),)}, "in use on another host: guest x on kvm2"),
        ({"levels": ("s0:c7,c8",)}, f"a guest on another host that shares {SHARE} runs at s0:c7,c8, which opens it"),
        (
            {"levels": ("s0", "s0:c0.c9")},
            f"a guest on another host that shares {SHARE} runs at s0:c0.c9, which opens it",
        ),
    ],
)
def test_what_other_hosts_use_is_left_alone(known: dict[str, t.Any], why: str) -> None:
    snapshot = orphan(shared_host(), f"{SHARE}/gone.raw", mount=SHARE)
    found = plan(snapshot, see={"remote": True}, elsewhere=(Elsewhere(SHARE, True, **known),))
    assert found.changes == []
    assert [left.why for left in found.refused] == [why]


def test_what_another_host_uses_of_an_export_is_left_alone() -> None:
    snapshot = factory.host()
    snapshot.storage[0].exports = [IMAGES]
    file_of(snapshot, "spare").file.label = OTHERS
    assert plan(snapshot).changes == []
    assert len(plan(snapshot, elsewhere=(Elsewhere(IMAGES, True),)).changes) == 1
    inode = file_of(snapshot, "spare").file.inode
    used = Elsewhere(IMAGES, True, in_use=(InUse(inode, "", "guest x on kvm2"),))
    assert plan(snapshot, elsewhere=(used,)).refused[0].why == "in use on another host: guest x on kvm2"


def test_a_lost_image_on_shared_storage_comes_back_though_another_guest_has_the_new_label() -> None:
    snapshot = shared_host()
    disk = factory.on_share(guest(snapshot, "db"))
    disk.file.label = OTHERS
    known = Elsewhere(SHARE, True, levels=("s0:c7,c8",))
    (change,) = plan(snapshot, see={"remote": True}, elsewhere=(known,)).changes
    assert (change.label, change.shared) == (disk.expected, True)
    assert plan(snapshot, see={"remote": True}).changes == []
    used = replace(known, in_use=(InUse(disk.file.inode, "", "guest db on kvm2"),))
    assert plan(snapshot, see={"remote": True}, elsewhere=(used,)).changes == []


def test_without_knowing_all_guests_nothing_is_done() -> None:
    snapshot = orphan(factory.host())
    snapshot.coverage["guests"] = Coverage(UNKNOWN, "no answer")
    found = plan(snapshot, labels=(lp.Wish(f"{IMAGES}/x.iso", CONTENT),))
    assert found.changes == []
    assert set(whys(found)) == {"host", f"image {IMAGES}/x.iso"}
    assert "not all guests could be read (no answer)" in whys(found)["host"]


def test_without_selinux_labels_are_not_repaired() -> None:
    snapshot = orphan(factory.host())
    snapshot.selinux.mode = "disabled"
    assert whys(plan(snapshot)) == {"host": "SELinux is off, so labels mean nothing now"}


def test_wishes() -> None:
    wish = lp.Wish("/srv/a.iso", CONTENT)
    assert plan(factory.host(), labels=(wish,)) == lp.Plan()  # it has that label
    wish = lp.Wish("/srv/a.iso", AT_REST)
    assert lines(plan(factory.host(), labels=(wish,))) == [("relabel", "image /srv/a.iso", AT_REST)]
    assert plan(factory.host(), labels=(wish,), within=("/srv",)).refused == []
    assert plan(factory.host(), labels=(wish,), within=("/srv/b", "/sr")).refused[0].why == (
        "it does not lie in /srv/b, /sr"
    )
    assert lines(plan(factory.host(), labels=(lp.Wish("/srv/a.iso"),))) == [("relabel", "image /srv/a.iso", AT_REST)]


def test_a_new_rule_counts_for_a_wish_already() -> None:
    wish, rules = lp.Wish("/data/vms"), (of_folder("/data/vms"),)
    see = {"kind": "dir", "links": 5, "default": "system_u:object_r:default_t:s0"}
    found = plan(factory.host(), labels=(wish,), rules=rules, see=see)
    assert lines(found) == [("relabel", "image /data/vms", AT_REST)]


def test_a_wish_never_touches_what_a_running_guest_uses() -> None:
    for path in (f"{IMAGES}/web.qcow2", f"{IMAGES}/base.qcow2", f"{IMAGES}/quorum.raw"):
        (left,) = plan(factory.host(), labels=(lp.Wish(path, AT_REST),)).refused
        assert "runs and uses it" in left.why
    inode = file_of(factory.host(), "web").file.inode
    (left,) = plan(factory.host(), labels=(lp.Wish("/srv/a", AT_REST),), see={"inode": inode}).refused
    assert "guest web runs and uses it" in left.why


def test_a_wish_goes_before_a_repair() -> None:
    snapshot = orphan(factory.host())
    found = plan(snapshot, labels=(lp.Wish(f"{IMAGES}/gone.raw", CONTENT),))
    assert lines(found) == [("relabel", f"image {IMAGES}/gone.raw", CONTENT)]


@pytest.mark.parametrize(
    ("wish", "error"),
    [(lp.Wish("a"), PlanError), (lp.Wish("/a\0"), PlanError), (lp.Wish("/a", "nonsense"), LabelError)],
)
def test_wishes_that_make_no_sense(wish: lp.Wish, error: type[Exception]) -> None:
    with pytest.raises(error):
        lp.checked(wish)


def test_paths_of_wishes_are_made_plain() -> None:
    assert lp.checked(lp.Wish("//srv//./a/../b")).path == "/srv/b"


def test_labels_that_the_policy_does_not_know() -> None:
    wishes = lp.Wishes(labels=(lp.Wish("/a", "u:object_r:nonsense_t:s0"), lp.Wish("/b")))
    assert lp.unknown_labels(wishes, lambda label: label != lp.FALLBACK) == ["u:object_r:nonsense_t:s0"]
    assert lp.unknown_labels(wishes, lambda _label: False) == []


def test_the_result_tells_what_was_done_and_what_was_not() -> None:
    snapshot = orphan(factory.host())
    file_of(snapshot, "spare").file.label = OTHERS
    found = plan(snapshot)
    whole = lp.result(found, [], {})
    assert whole["changed"] is True
    assert [line["subject"] for line in whole["plan"]] == [f"image {IMAGES}/gone.raw", f"image {IMAGES}/spare.qcow2"]
    assert whole["before"]["files"][f"{IMAGES}/gone.raw"]["label"] == OTHERS
    assert whole["after"]["files"][f"{IMAGES}/gone.raw"]["label"] == AT_REST
    failed = {change.target.key: "moved" for change in found.changes}
    none = lp.result(found, [], failed)
    assert (none["changed"], none["plan"]) == (False, whole["plan"])
    assert none["after"] == none["before"]
    assert none["refused"][0] == {"subject": f"image {IMAGES}/gone.raw", "why": "moved"}
    assert [item["before_header"] for item in lp.diff(whole)] == [
        f"{IMAGES}/gone.raw (label)",
        f"{IMAGES}/spare.qcow2 (label)",
    ]
    assert lp.diff(whole)[0]["after"].startswith(f"label: {AT_REST}\nowner: ")


def test_names_that_are_no_text_are_shown_escaped() -> None:
    snapshot = orphan(factory.host(), f"{IMAGES}/\udcff.raw")
    (line,) = lp.result(plan(snapshot), [], {})["plan"]
    assert line["subject"] == f"image {IMAGES}/\\xff.raw"
