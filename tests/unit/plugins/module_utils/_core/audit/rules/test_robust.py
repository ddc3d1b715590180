# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules never raise, whatever a snapshot lacks, and what people chose to call things comes through unharmed."""

from __future__ import annotations

import typing as t
from dataclasses import fields, is_dataclass

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import RULES, judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import document
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.field_types import field_types
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import AREAS, OK, Coverage, Snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._core.utf8 import clean_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.support import factory
from tests.unit.support.faults.all import CASES

HOSTILE = (
    "a\nb",
    "{{ 7 * 7 }}",
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "x" * 1024,
    "a: b / c",
    "\u202eevil",
    "\udc80",  # a name that is not UTF-8, as Python reads it
)

_LABELS = st.sampled_from(
    (
        "",
        "unlabeled",
        "system_u:object_r:svirt_image_t",
        "system_u:object_r:svirt_image_t:SystemLow",
        "system_u:system_r:svirt_t:s0:c1.c",
        "system_u:system_r:svirt_t:s0-s0:c0.c1023",
        "system_u:system_r:unconfined_t",
        "a:b:c:d",
        "\0",
        ":" * 50,
    )
)
_TEXT = st.one_of(_LABELS, st.text(max_size=20), st.sampled_from(("static", "none", "dynamic", "enforcing", "/")))


def _places(value: t.Any) -> t.Iterator[tuple[t.Any, str, t.Any]]:
    """Every field of every object of a snapshot, with its type."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _places(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _places(item)
    elif is_dataclass(value) and not isinstance(value, type):
        hints = field_types(type(value))
        for item in fields(value):
            yield value, item.name, hints[item.name]
            yield from _places(getattr(value, item.name))


def _spoilt(draw: st.DrawFn, hint: t.Any, value: t.Any) -> t.Any:
    """Another value that the schema allows in that place."""
    if type(None) in t.get_args(hint) and draw(st.booleans()):
        return None
    if isinstance(value, (list, dict)):
        return type(value)()
    if isinstance(value, str) or str in t.get_args(hint):
        return draw(_TEXT)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return draw(st.integers(-(2**40), 2**40))
    return value


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A healthy host with a few faults, then with values missing or replaced at random."""
    snapshot = factory.host()
    for case in draw(st.lists(st.sampled_from(CASES), max_size=4)):
        try:
            case.fault(snapshot)
        except (AssertionError, StopIteration, ValueError):
            continue  # another fault took away what this one breaks
    places = [place for place in _places(snapshot) if place[1] not in ("coverage", "schema")]
    for index in draw(st.lists(st.integers(0, len(places) - 1), max_size=12, unique=True)):
        owner, name, hint = places[index]
        if owner is not snapshot:
            setattr(owner, name, _spoilt(draw, hint, getattr(owner, name)))
    for area in AREAS:
        if draw(st.integers(0, 9)) == 0:
            snapshot.coverage[area] = Coverage(draw(st.sampled_from((f.UNKNOWN, f.NOT_APPLICABLE))), "why")
    return document.decode_snapshot(document.encode(snapshot))  # so a host could have sent it


@given(snapshots(), st.sampled_from(f.PROFILES))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rules_never_raise(snapshot: Snapshot, profile: str) -> None:
    judgement = judge("kvm1", snapshot, f.Settings(profile))
    assert len(judgement.outcomes) == len(RULES)
    fingerprints = [finding.fingerprint for finding in judgement.findings]
    assert all(finding.subject and finding.evidence for finding in judgement.findings)
    assert len(set(fingerprints)) == len(fingerprints) or _twice(snapshot)


def _twice(snapshot: Snapshot) -> bool:
    """Whether two guests, types or files have one name, by spoiling or by a fault that was injected twice."""
    keys = [guest.uuid for guest in snapshot.guests]
    keys += [f"type {facts.name}" for facts in snapshot.selinux.types]
    keys += [f"boolean {boolean.name}" for boolean in snapshot.selinux.booleans]
    keys += [f"orphan {orphan.path}" for orphan in snapshot.orphans]
    keys += [f"process {process.pid} {process.name}" for process in snapshot.processes]
    keys += [f"file {item.path}" for guest in snapshot.guests for item in guest.resources]
    return len(set(keys)) < len(keys)


@pytest.mark.parametrize("area", AREAS)
def test_an_area_that_was_not_read_never_passes(area: str) -> None:
    snapshot = factory.host()
    snapshot.coverage[area] = Coverage(f.UNKNOWN, "it hung")
    judgement = judge("kvm1", snapshot, f.Settings())
    status = {outcome.rule: outcome.status for outcome in judgement.outcomes}
    for rule in RULES:
        if area in rule.needs:
            assert status[rule.id] in (f.UNKNOWN, f.NOT_APPLICABLE)


@pytest.mark.parametrize("area", AREAS)
def test_nothing_was_read_at_all(area: str) -> None:
    snapshot = factory.host()
    snapshot.guests, snapshot.processes, snapshot.storage = [], [], []
    snapshot.selinux = type(snapshot.selinux)(mode="enforcing")
    snapshot.libvirt = type(snapshot.libvirt)()
    snapshot.coverage = {name: Coverage(f.UNKNOWN, "not root") for name in AREAS}
    snapshot.coverage[area] = Coverage(OK)
    judgement = judge("kvm1", snapshot, f.Settings())
    assert judgement.findings == ()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_come_through_unharmed(name: str) -> None:
    snapshot = factory.host()
    guest = snapshot.guests[0]
    guest.name = name
    guest.context = factory.DAEMON
    guest.persistent = False
    disk = snapshot.guests[1].resources[0]
    disk.path = f"{factory.IMAGES}/{name}"
    disk.file.label = factory.AT_REST
    result = {finding.rule: finding for finding in judge("kvm1", snapshot, f.Settings()).findings}
    assert set(result) == {"GST-002", "IMG-002"}
    assert result["GST-002"].subject == f"guest {name}"
    assert result["IMG-002"].subject == f"image {factory.IMAGES}/{name}"
    # The report is a document: bytes of a name that are not UTF-8 are shown as escapes.
    assert document.encode(result["IMG-002"])["subject"] == f"image {factory.IMAGES}/{clean_text(name)}"
