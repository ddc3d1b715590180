# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Wording of the reasons of the ledger, in one place. Other tests assert codes."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import (
    clock,
    host_orders,
    ledger_check,
    lifecycle,
    operations,
    ranges,
    static_labels,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import parse_domains
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import QUARANTINED, Row
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Pending, Refusal

from tests.unit.support.labels import SMALL, domain, guest, row, sets, use, uuid

OWN = "c8,c10,c12,c15"
G1, G2 = f"guest1 ({uuid(1)})", f"guest2 ({uuid(2)})"

WORDS = {
    "bands_changed": (
        'its labels in the ledger are of old, it is configured with {"bands": [[32, 248], [280, 248], [528, 248], '
        '[776, 248]], "dynamic": [0, 32]}: labels of both could meet; give the bands back, or give the domain another '
        "name to begin anew"
    ),
    "base_label_unknown": (
        "libvirt's base label for kvm guests on kvm1 is not known, so neither is the type of its label; see that the "
        "daemon answers there and that its security driver is selinux"
    ),
    "definition_differs": (
        "the ledger says s0:c8,c10,c12,c15, its definition on kvm1 says s0:c8,c10,c12,c17; reserve gives the order to "
        "write the ledger's label"
    ),
    "guest_not_in_ledger": "the ledger has no guest of this name or uuid; correct it",
    "guest_not_seen": "no guest of this name or uuid was seen; correct it",
    "guest_unread": "it could not be read on kvm1: broken XML",
    "host_of_no_domain": (
        "it was last seen on kvm9, which is no host of a domain here; if that is gone, name it in release"
    ),
    "hosts_never_read": (
        "1 guests get no label: kvm2 was never read wholly, and labels in use there are not known; let the probe read "
        "it as root, take it out of hosts and domains when it is gone, or set allow_unread"
    ),
    "hosts_unread": "not seen, but kvm2 could not be read, so it keeps its label",
    "label_not_free": (
        "its label s0:c8,c10,c12,c15 is of the code, but not in the ledger: another guest, container or file uses it "
        "or a part of it, or it is of another tenant than default; reserve gives it a label of its own"
    ),
    "label_shared": f"{G1} on kvm1, {G2} on kvm1 use it; reserve gives each its own label",
    "no_label_left": (
        "1 of its guests get no label in domain prod: of its 9 labels none is left that neither dominates nor is "
        "dominated by one in use; make two tenants of it, let libvirt's dynamic guests draw from the domain's dynamic "
        "band only, or give the guest bands more categories, under a new name of the domain"
    ),
    "no_range_left": (
        "domain prod has 3 hosts, and 2 ranges of 512 categories fit into c0.c1023, less where static labels lie: "
        "kvm3 get none; use the strategy static, which has no such bound, or release the hosts of the domain and give "
        "it range_width 341: 3 hosts, each with 57970 pairs and so guests"
    ),
    "no_tenant_number_left": (
        "all 4 numbers of tenants are in use in domain prod; give the tenant bands more categories, under a new name "
        "of the domain"
    ),
    "not_in_ledger": "it has the label s0:c32,c280,c528,c777, which the ledger does not know; repair: true adds it",
    "pair_outside_range": "it runs on kvm1 with c600, outside of the host's range c0.c511, until its power cycle",
    "quarantined_label_seen": (
        "its label s0:c8,c10,c12,c15 is in quarantine, but the guest is seen with it; reserve gives it back"
    ),
    "quarantined_label_taken": (
        "its label s0:c8,c10,c12,c15 was in quarantine and is now in use by another; it gets a new one when the "
        "quarantine is over"
    ),
    "quarantined_label_used": f"it is in quarantine for {G1}, but {G2} on kvm1 uses it",
    "range_differs": "its daemon draws from c0.c1023, the ledger says c64.c127; apply the ledger's range there",
    "range_of_other_width": (
        "it keeps its range c0.c63, 64 categories, though range_width is 512; to change it, release the hosts of the "
        "domain, then reserve"
    ),
    "range_overlaps": "its range c0.c511 overlaps that of another host; reserve gives it its own",
    "runs_with_other_label": "it runs on kvm1 with c1,c2 until its power cycle; then it has s0:c8,c10,c12,c15",
    "tenant_differs": (
        "the ledger has it for tenant default, it is to be of acme; release it, then reserve a label of the other "
        "tenant when the quarantine is over"
    ),
    "transient": "it has no persistent definition on kvm1 that a label could be written to; define it first",
}


def from_lifecycle() -> t.Iterator[Refusal | Pending]:
    seen = lifecycle.Observations(
        static_labels.homes([use("kvm1", guest(3, defined=OWN, running=OWN))]), {"kvm1"}, {"prod": {"kvm1", "kvm2"}}
    )
    rows = [row(1, 0, domain="old", host="kvm9"), row(2, 1), row(3, 0, QUARANTINED, until=90.0)]
    plan = lifecycle.observe(rows, seen, 50.0, clock.ledger_time(None, 50.0))
    yield from plan.refused
    yield from plan.pending


def from_checks() -> t.Iterator[Refusal | Pending]:
    uses = [use("kvm1", guest(1, running="c1,c2"), baselabels={})]
    yield from host_orders.orders(uses, {uuid(1): row(1, 0)}).refused
    yield from host_orders.orders([use("kvm1", guest(1, running="c1,c2"))], {uuid(1): row(1, 0)}).pending
    yield from ledger_check.compare(SMALL, [use("kvm1", guest(1, defined="c8,c10,c12,c17"))], [row(1, 0)])
    yield from ledger_check.compare(SMALL, [use("kvm1", guest(1, defined=OWN), guest(2, defined=OWN))], [])
    yield from ledger_check.compare(SMALL, [use("kvm1", guest(2, defined=OWN))], [row(1, 0, QUARANTINED)])
    slots = [ranges.Slot("prod", "kvm1", 64, 127)]
    yield from ledger_check.compare_ranges([use("kvm1", range=DaemonRange(0, 1023))], slots)


def from_static_labels() -> t.Iterator[Refusal | Pending]:
    def refused(*guests: t.Any, rows: t.Sequence[Row] = (), tenants: t.Any = None, **parts: t.Any) -> list[Refusal]:
        usage = static_labels.DomainUse(domain("kvm1", "kvm2"), [use("kvm1", *guests)], **parts)
        ledger = static_labels.DomainLedger(rows, tenants={"default": 0})
        return static_labels.allocate(usage, ledger, static_labels.LabelRequest(tenants or {})).refused

    yield from refused(guest(1, error="broken XML"), guest(2, persistent=False))
    yield from refused(guest(1), unknown=["kvm2"])
    yield from refused(*(guest(number) for number in range(10)))
    yield from refused(*(guest(number) for number in range(5)), tenants={f"guest{n}": f"t{n}" for n in range(1, 5)})
    yield from refused(guest(1), rows=[row(1, 0)], tenants={"guest1": "acme"})
    yield from refused(guest(1), guest(2, running=OWN), rows=[row(1, 0, QUARANTINED)])
    usage = static_labels.DomainUse(domain("kvm1"), [use("kvm1", guest(1, defined=OWN), strangers=sets(OWN))])
    yield from static_labels.rebuild(usage, static_labels.DomainLedger(), static_labels.LabelRequest()).refused


def from_ranges() -> t.Iterator[Refusal | Pending]:
    hosts = [use(f"kvm{number}") for number in (1, 2, 3)]
    wide = domain("kvm1", "kvm2", "kvm3", strategy="range", range_width=512)
    yield from ranges.allot(static_labels.DomainUse(wide, hosts), (), ()).refused
    slots = [ranges.Slot("prod", "kvm1", 0, 63)]
    one = replace(wide, hosts=("kvm1",))
    yield from ranges.allot(static_labels.DomainUse(one, hosts[:1]), slots, ()).refused
    running = [use("kvm1", guest(1, running="c600"))]
    yield from ranges.allot(static_labels.DomainUse(one, running), (), ()).pending
    drawn = [use(host, range=DaemonRange(0, 511)) for host in ("kvm1", "kvm2")]
    yield from ranges.rebuild(static_labels.DomainUse(wide, drawn), ()).refused


def from_operations() -> t.Iterator[Refusal | Pending]:
    named = parse_domains([{"name": "prod", "hosts": ["kvm1"]}])
    fleet = operations.FleetRead(["kvm1"], [use("kvm1", guest(1, defined="c32,c280,c528,c777"))], named=named)
    request = static_labels.LabelRequest(guests={"nobody"})
    other = operations.LedgerState([row(2, 1)], codes={"prod": "old"})
    yield from operations.reserve(other, fleet, request).result.refused
    yield from operations.publish(operations.LedgerState(), [], ["nobody"]).result.refused
    yield from operations.repair(operations.LedgerState(), fleet, static_labels.LabelRequest()).result.pending


def test_reasons_read_so() -> None:
    sources = (from_lifecycle, from_checks, from_static_labels, from_ranges, from_operations)
    entries = [entry for source in sources for entry in source()]
    assert {entry.reason.code: entry.reason.text for entry in entries} == WORDS
