# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section G: repairs that fit the situation. The whole table is in _core/audit/rules/test_repairs.py."""

from __future__ import annotations

import itertools
import re
import struct
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import labels_in_use
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet.labelled import labelled_parties
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet.reach_now import _FIX_AT_REST
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import RULES
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import fresh_labels
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import ImagePlan
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.domain_xml import parse_domain
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.file_labels import ImageTypes, resources
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import CategorySet
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import FileFacts, Snapshot

from tests.unit.support import factory, hosts
from tests.unit.support.factory import AT_REST, QEMU_UID, SHARED, image_label
from tests.unit.support.faults.case import conf, file_of, guest
from tests.unit.support.image_plans import codes, lines, plan
from tests.unit.support.judging import findings
from tests.unit.support.repair_table import TABLE

DATA = Path(__file__).parent / "data"
DISK = "/var/lib/libvirt/images/spare.qcow2"
DISK_XML = """
<disk type='file' device='disk'>
  <source file='/var/lib/libvirt/images/spare.qcow2'>{disk}</source>
  {backing}
  <target dev='vda'/>
</disk>"""
KEPT = "<seclabel model='dac' relabel='no'/>"


def host_with(devices: str, guest_label: str = "", mode: int = 0o660, label: str = AT_REST) -> Snapshot:
    """The host with guest spare, off, as its XML has it; its files are 107:107."""
    head = f"<name>spare</name><uuid>{factory.uuid(3)}</uuid>{guest_label}"
    domain = parse_domain(f"<domain type='kvm'>{head}<devices>{devices}</devices></domain>")
    snapshot = factory.host()
    spare = guest(snapshot, "spare")
    spare.persistent_labels = domain.seclabels
    spare.resources = resources(domain, False, ImageTypes())
    for number, item in enumerate(spare.resources):
        kind = "dir" if item.kind == "filesystem" else "file"
        item.file = FileFacts(True, "", kind, label, QEMU_UID, QEMU_UID, mode, "253:1", 900 + number, "/")
    return snapshot


def rules(snapshot: Snapshot) -> list[str]:
    return [item.rule for item in findings(snapshot)]


@pytest.mark.parametrize(
    ("disk", "guest_label"),
    [
        (KEPT, ""),
        ("", KEPT.replace("relabel", "type='dynamic' relabel")),
        ("", "<seclabel model='dac' type='static' relabel='no'><label>+107:+107</label></seclabel>"),
        ("", "<seclabel model='dac' type='static'><label>+107:+107</label></seclabel>"),
        ("", "<seclabel model='dac' type='none'/>"),
    ],
    ids=["disk", "guest", "static guest", "static guest by default", "none"],
)
def test_g1_an_image_whose_owner_libvirt_never_sets_is_left_alone(disk: str, guest_label: str) -> None:
    snapshot = host_with(DISK_XML.format(disk=disk, backing=""), guest_label)
    assert "IMG-007" not in rules(snapshot)
    for repair in (
        ("readable",),
        ("at_rest", "readable"),
        ("in_use", "at_rest", "readable", "orphans", "stale_owners"),
    ):
        assert plan(snapshot, repair) == ImagePlan()
    # Also when its label is set back: owner and mode stay.
    file_of(snapshot, "spare").file.label = image_label("s0:c7,c8")
    assert [action for action, _subject, _to in lines(plan(snapshot))] == ["relabel"]


def test_g1_the_same_image_is_closed_where_libvirt_gives_it_back() -> None:
    labelled = "<seclabel model='dac' relabel='yes'><label>+107:+107</label></seclabel>"
    for disk in ("", labelled, "<seclabel model='selinux' relabel='yes'/>"):
        snapshot = host_with(DISK_XML.format(disk=disk, backing=""))
        assert rules(snapshot) == ["IMG-007"]
        assert lines(plan(snapshot)) == [("close", f"image {DISK}", "0:0 0600")]


def test_g1_a_layer_inherits_from_the_top_of_its_chain() -> None:
    store = "<backingStore type='file'><format type='qcow2'/><source file='/base.qcow2'>{}</source></backingStore>"
    for disk, backing, expected in (
        (KEPT, "", {"disk": False, "backing": False}),
        ("", KEPT, {"disk": True, "backing": False}),
        ("", "", {"disk": True, "backing": True}),
    ):
        snapshot = host_with(DISK_XML.format(disk=disk, backing=store.format(backing)))
        assert {item.kind: item.sets_owner for item in guest(snapshot, "spare").resources} == expected


def _no_dynamic_ownership(snapshot: Snapshot) -> None:
    parsed, problems = qemu_conf.parse((DATA / "no-dynamic-ownership.qemu.conf").read_text())
    conf(snapshot).assignments += parsed
    conf(snapshot).problems += problems


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_g2_without_dynamic_ownership_no_repair_speaks_of_chown(row: t.Any) -> None:
    snapshot = row.host()
    if snapshot.libvirt.conf is None:
        return
    _no_dynamic_ownership(snapshot)
    assert [item.fix for item in findings(snapshot) if "chown" in item.fix or "chmod" in item.fix] == []
    assert [action for action, _subject, _to in lines(plan(snapshot)) if action == "close"] == []


def test_g2_the_finding_stays_with_a_repair_that_can_be_done() -> None:
    snapshot = host_with(DISK_XML.format(disk="", backing=""))
    _no_dynamic_ownership(snapshot)
    (finding,) = (item for item in findings(snapshot) if item.rule == "IMG-007")
    assert "semanage fcontext" in finding.fix
    assert finding.cost == "operator"
    assert codes(plan(snapshot)) == {f"image {DISK}": "no_dynamic_ownership"}


SHARED_FOLDER = """
<filesystem type='mount' accessmode='passthrough'>
  <driver type='{driver}'/><source dir='/srv/share'/><target dir='share'/>
</filesystem>"""


@pytest.mark.parametrize("driver", ["virtiofs", "path"])
def test_g3_a_shared_folder_has_a_repair_that_can_be_done(driver: str) -> None:
    snapshot = host_with(SHARED_FOLDER.format(driver=driver), label=SHARED)
    guest(snapshot, "spare").risks = []
    (finding,) = (item for item in findings(snapshot) if item.rule == "IMG-006")
    assert finding.subject == "folder /srv/share"
    assert "folder" in finding.title
    for wrong in ("<shareable/>", "restorecon", "chcon LABEL PATH"):
        assert wrong not in finding.fix
    assert "static label" in finding.fix
    assert "chcon -R -l LEVEL PATH" in finding.fix
    found = plan(snapshot)
    assert found.changes == []
    assert codes(found) == {"image /srv/share": "not_labelled_by_libvirt"}


@pytest.mark.parametrize("kind", ["disk", "filesystem"])
@pytest.mark.parametrize("active", [True, False])
def test_image_label_sets_no_label_that_libvirt_would_not(kind: str, active: bool) -> None:
    """Per-device relabel='no', shared folders, block devices, in every label."""
    for label, file_kind in itertools.product((SHARED, image_label("s0:c7,c8"), AT_REST), ("file", "dir", "block")):
        snapshot = factory.host()
        it = guest(snapshot, "web" if active else "spare")
        item = file_of(snapshot, it.name)
        item.kind, item.role, item.expected, item.file.label, item.file.kind = kind, "untouched", None, label, file_kind
        found = plan(snapshot)
        assert [line for line in lines(found) if item.path in line[1]] == []


def runs_as(snapshot: Snapshot, name: str, uid: int) -> None:
    """The guest's XML gives it a user of its own."""
    for process in snapshot.processes:
        if process.guest == guest(snapshot, name).uuid:
            process.uid = uid


@pytest.mark.parametrize(("uid", "readable"), [(1001, True), (1002, False), (QEMU_UID, False)])
def test_g_an_image_at_rest_of_another_user_than_the_configured_one(uid: int, readable: bool) -> None:
    snapshot = host_with(DISK_XML.format(disk="", backing=""), mode=0o600)
    disk = file_of(snapshot, "spare").file
    disk.uid = disk.gid = 1001
    runs_as(snapshot, "web", uid)
    assert rules(snapshot) == (["IMG-007"] if readable else [])
    assert lines(plan(snapshot)) == ([("close", f"image {DISK}", "0:0 0600")] if readable else [])
    for finding in findings(snapshot):
        assert finding.evidence["run_as_owner"] == ["guest web"]


@pytest.mark.parametrize("owner", [QEMU_UID, 0])
def test_g_nothing_is_given_to_root_while_a_guest_runs_as_root(owner: int) -> None:
    snapshot = host_with(DISK_XML.format(disk="", backing=""), mode=0o600)
    disk = file_of(snapshot, "spare").file
    disk.uid = disk.gid = owner
    runs_as(snapshot, "web", 0)
    (finding,) = [item for item in findings(snapshot) if item.rule == "IMG-007" and item.subject == f"image {DISK}"]
    assert "chown" not in finding.fix
    assert [line for line in lines(plan(snapshot)) if line[0] == "close"] == []
    assert codes(plan(snapshot))[f"image {DISK}"] == "guests_run_as_root"


def _every_fix() -> t.Iterator[str]:
    yield from (rule.fix for rule in RULES)
    yield from (item.fix for row in TABLE for item in findings(row.host()))
    yield _FIX_AT_REST


def test_g_no_repair_relies_on_a_label_that_the_policy_may_not_have() -> None:
    """restorecon does nothing where a path has no label by policy, and opens an image where that is the guests' type.

    A repair that names a rule of file contexts makes such a label itself.
    """
    relying = {fix for fix in _every_fix() if re.search(r"restorecon -R?F PATH", fix)}
    assert len(relying) > 4
    for fix in relying:
        assert "rule of file contexts" in fix or ("<<none>>" in fix and f"set {AT_REST} by chcon" in fix), fix


# -- a managed save, which the next start resumes by the XML in it -----------------------------------------------------

SAVE = "/var/lib/libvirt/qemu/save/web.save"
NONE_LABEL = "<seclabel type='none' model='selinux'/>"


def save(xml: str, magic: str = "LibvirtQemudSave", order: str = "<") -> bytes:
    content = xml.encode() + b"\0"
    return magic.encode() + struct.pack(f"{order}19I", 2, len(content), 1, 0, *[0] * 15) + content + b"QEVM"


def with_save(content: bytes, active: bool = False) -> Snapshot:
    """EL 9 with guest web, off, and its managed save."""
    tree = hosts.el9()
    tree.file(SAVE, content, mode=0o600)
    if not active:
        for path in [path for path in tree.entries if path.startswith((f"/proc/{hosts.PID}", "/run/libvirt/qemu/web"))]:
            del tree.entries[path]
        tree.file(hosts.IMAGE, label=hosts.REST_LABEL)
        tree.libvirt[:] = hosts.answer(state="shutoff", active=False)
    return hosts.look(tree)


def labelled(seclabel: str) -> str:
    return hosts.domain().replace("</domain>", f"{seclabel}</domain>")


@pytest.mark.parametrize("order", ["<", ">"])
def test_g_a_guest_that_is_saved_starts_with_the_label_in_its_save(order: str) -> None:
    snapshot = with_save(save(labelled(NONE_LABEL), order=order))
    (finding,) = [item for item in findings(snapshot) if item.rule.startswith("GST-00") and item.rule != "GST-009"]
    assert (finding.rule, finding.evidence["saved"]) == ("GST-003", "type=none")
    assert "managed save" in finding.fix


def test_g_a_static_label_in_a_save_is_in_use() -> None:
    level = "s0:c7,c9"
    static = f"<seclabel type='static' model='selinux'><label>{factory.process_label(level)}</label></seclabel>"
    snapshot = with_save(save(labelled(static)))
    assert [party.key for party in labelled_parties("kvm1", snapshot).statics] == [level]
    assert CategorySet.of((7, 9)) in fresh_labels.labels("kvm1", snapshot).in_use
    assert CategorySet.of((7, 9)) in labels_in_use.label_use("kvm1", snapshot).guests[0].held


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (save("<domain"), "xml_malformed"),
        (save(hosts.domain())[:200], "save_unread"),
    ],
)
def test_g_a_save_that_cannot_be_read_leaves_the_guests_unknown(content: bytes, why: str) -> None:
    snapshot = with_save(content)
    assert snapshot.coverage["guests"].codes == [why]


@pytest.mark.parametrize(
    ("content", "active"),
    [
        (save(hosts.domain()), False),
        (save(labelled(NONE_LABEL), "LibvirtQemudPart"), False),  # libvirt removes it
        (b"", False),
        (b"LibvirtQemudSave", False),
        (b"something else" * 100, False),
        (save(labelled(NONE_LABEL)), True),  # of an earlier run: libvirt resumes nothing while the guest runs
    ],
)
def test_g_other_saves_change_nothing(content: bytes, active: bool) -> None:
    snapshot = with_save(content, active)
    assert snapshot.coverage["guests"].status == "ok"
    assert {"GST-003", "GST-002"}.isdisjoint(rules(snapshot))
