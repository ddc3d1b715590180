# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Section C: the label that a file rightly has depends on history, not only on the XML."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts import images
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import domain_xml, file_labels
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support import factory
from tests.unit.support.judging import found

DATA = Path(__file__).parent / "data"
TYPES = file_labels.ImageTypes()
LEVEL = "s0:c41,c264"
OWN = factory.image_label(LEVEL)
OTHERS = factory.image_label("s0:c1,c2")
UUID = "6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a09"


def guest_of(xml: str, labels: t.Mapping[str, str], *, active: bool = True) -> s.Guest:
    """The guest of an XML, whose files carry these labels, by path; those that are not named, its own."""
    domain = domain_xml.parse_domain(xml)
    made = s.Guest(domain.uuid, domain.name, "running" if active else "shutoff", active, kind=domain.kind)
    if active:
        made.pid, made.context, made.live = 1001, factory.process_label(LEVEL), domain.seclabels
    made.resources = file_labels.resources(domain, active, TYPES)
    for item in made.resources:
        shown = factory.resource(item.kind, item.path, item.role, labels.get(item.path, OWN))
        item.file = replace(shown.file, uid=0, gid=0)
    return made


def host_of(*guests: s.Guest) -> s.Snapshot:
    """A host with these guests only."""
    return replace(factory.host(), guests=list(guests), processes=[])


def image_rules(snapshot: s.Snapshot) -> list[tuple[str, str, str]]:
    return [item for item in found(snapshot) if item[0].startswith("IMG")]


def read(name: str) -> str:
    return (DATA / f"{name}.xml").read_text(encoding="utf-8")


def chain_xml(*below: str, top: str = "/i/top.qcow2", more: str = "", own: str = "") -> str:
    """A guest with one chain. ``own`` is the <seclabel> of the top."""
    chain = "<backingStore/>"
    for path in reversed(below):
        chain = f"<backingStore type='file'><format type='qcow2'/><source file='{path}'/>{chain}</backingStore>"
    return (
        f"<domain type='kvm' id='1'><name>vm1</name><uuid>{UUID}</uuid><devices><disk type='file'>"
        f"<driver type='qcow2'/><source file='{top}'>{own}</source>{chain}{more}<target dev='vda'/></disk></devices>"
        f"<seclabel type='dynamic' model='selinux' relabel='yes'><label>{factory.process_label(LEVEL)}</label>"
        f"<imagelabel>{OWN}</imagelabel></seclabel></domain>"
    )


@pytest.mark.parametrize("name", ["chain-snapshot", "chain-commit"])
def test_c_live_snapshot_and_active_commit(name: str) -> None:
    assert image_rules(host_of(guest_of(read(name), {}))) == []


@pytest.mark.parametrize("labels", [(OWN, OWN), (OWN, factory.CONTENT), (factory.CONTENT, OWN)])
def test_c_middle_or_aborted_commit_leaves_either_label_below_the_top(labels: tuple[str, str]) -> None:
    xml = chain_xml("/i/middle.qcow2", "/i/base.qcow2")
    labelled = dict(zip(("/i/middle.qcow2", "/i/base.qcow2"), labels))
    assert image_rules(host_of(guest_of(xml, labelled))) == []


def test_c_data_file_below_the_top() -> None:
    store = "<dataStore type='file'><format type='raw'/><source file='/i/base.data'/></dataStore>"
    xml = chain_xml("/i/base.qcow2").replace(
        "<source file='/i/base.qcow2'/>", f"<source file='/i/base.qcow2'>{store}</source>"
    )
    for label in (OWN, factory.CONTENT):
        assert image_rules(host_of(guest_of(xml, {"/i/base.data": label}))) == []
    assert image_rules(host_of(guest_of(xml, {"/i/base.data": OTHERS}))) == [("IMG-001", "high", "image /i/base.data")]


def test_c_base_of_a_transient_disk() -> None:
    xml = chain_xml("/i/base.qcow2", more="<transient/>")
    assert image_rules(host_of(guest_of(xml, {"/i/base.qcow2": factory.CONTENT}))) == []


@pytest.mark.parametrize("label", [OWN, factory.CONTENT, "system_u:object_r:svirt_image_t:s0:c9"])
def test_c_chain_with_a_label_of_its_own(label: str) -> None:
    own = "<seclabel model='selinux'><label>system_u:object_r:svirt_image_t:s0:c9</label></seclabel>"
    labels = {"/i/top.qcow2": "system_u:object_r:svirt_image_t:s0:c9", "/i/base.qcow2": label}
    assert image_rules(host_of(guest_of(chain_xml("/i/base.qcow2", own=own), labels))) == []


@pytest.mark.parametrize(
    "label", [OTHERS, factory.AT_REST, factory.image_label("s0:c41"), factory.image_label("s0:c41,c264,c9")]
)
def test_c_no_history_leaves_another_label_in_a_chain(label: str) -> None:
    snapshot = host_of(guest_of(chain_xml("/i/base.qcow2"), {"/i/base.qcow2": label}))
    assert image_rules(snapshot) == [("IMG-001", "high", "image /i/base.qcow2")]


def test_c_no_history_leaves_the_content_label_on_a_top() -> None:
    snapshot = host_of(guest_of(chain_xml(), {"/i/top.qcow2": factory.CONTENT}))
    assert image_rules(snapshot) == [("IMG-002", "critical", "image /i/top.qcow2")]


@pytest.mark.parametrize("active", [True, False])
def test_c_the_guests_own_label_is_wrong_where_another_guest_uses_the_file(active: bool) -> None:
    one = guest_of(chain_xml("/i/base.qcow2"), {})
    other_xml = chain_xml("/i/base.qcow2", top="/i/other.qcow2").replace(UUID, UUID[:-1] + "8").replace("c41", "c40")
    other = guest_of(other_xml, {"/i/other.qcow2": factory.image_label("s0:c40,c264")}, active=active)
    other.name, other.context = "vm2", factory.process_label("s0:c40,c264") if active else None
    if not active:
        other.resources[1].file.label = factory.AT_REST
    rules = image_rules(host_of(one, other))
    assert ("IMG-001", "high", "image /i/base.qcow2") in rules


@pytest.mark.parametrize(("level", "expected"), [("s0:c1,c2", []), (LEVEL, ["/i/base.qcow2"])])
def test_c_after_the_stop_a_base_keeps_the_pair_of_the_run_that_is_over(level: str, expected: list[str]) -> None:
    xml = chain_xml("/i/base.qcow2")
    off = guest_of(xml, {"/i/top.qcow2": factory.AT_REST}, active=False)
    runner = factory.dynamic_guest()
    runner.context = factory.process_label(level)
    runner.resources = []
    snapshot = host_of(off, runner)
    assert [file.path for file, status in images.judged(snapshot) if status.status == images.LEFT] == expected
    assert image_rules(snapshot) == []  # a breach is the fleet's: CAT-002


#: Operations on a chain as the lists of files from the top down: each gives the chain, and labels that it sets.
OPERATIONS: dict[str, t.Callable[[list[str], int], tuple[list[str], dict[str, str]]]] = {
    "start": lambda chain, _n: (chain, dict.fromkeys(chain[1:], factory.CONTENT) | {chain[0]: OWN}),
    "snapshot": lambda chain, n: ([f"/i/s{n}", *chain], {f"/i/s{n}": OWN}),
    "active commit": lambda chain, _n: ([chain[-1]], {chain[-1]: OWN}),
    "middle commit": lambda chain, _n: ([*chain[:-2], chain[-1]] if len(chain) > 3 else chain, {chain[-1]: OWN}),
    "aborted commit": lambda chain, _n: (chain, {chain[-1]: OWN}),
    "pull": lambda chain, _n: ([chain[0]], {}),
}


@pytest.mark.parametrize("seed", range(40))
def test_c_every_history_of_a_chain_is_sound(seed: int) -> None:
    chain, labels, number = ["/i/base"], {"/i/base": OWN}, seed
    for step in range(12):
        number = (number * 1103515245 + 12345) % (1 << 31)
        name = sorted(OPERATIONS)[number % len(OPERATIONS)]
        chain, changed = OPERATIONS[name](chain, step)
        labels |= changed
        snapshot = host_of(guest_of(chain_xml(*chain[1:], top=chain[0]), {path: labels[path] for path in chain}))
        assert image_rules(snapshot) == [], name
