# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules across hosts. Each check takes the comparison of all hosts, which audit/fleet/comparison.py makes.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .. import finding as f
from ..fleet import category_ranges, duplicate_uuids, static_labels
from ..fleet.comparison import Comparison
from ..fleet.reach_now import Group
from ._common import NIST_AC4, NIST_CM3, NIST_CM6, NIST_SC4, NIST_SC39, NIST_SI2

_REFERENCES = (NIST_SC4, NIST_SC39, NIST_AC4)


@dataclass(frozen=True)
class FleetRule(f.RuleBase):
    """Rule across hosts. Its check takes the comparison of all hosts."""

    check: t.Callable[[Comparison], t.Iterable[f.FleetHit]]


def _groups(fleet: Comparison, groups: t.Iterable[Group]) -> t.Iterator[f.FleetHit]:
    for group in groups:
        copied = {"copied_from_documentation": True} if static_labels.is_example(group.key) else {}
        yield fleet.confirmation.hit(group, **copied)


def _shared_storage(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return _groups(fleet, (group for group in fleet.groups if not group.containers and group.reach == "E2"))


def _same_host(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return _groups(fleet, (group for group in fleet.groups if not group.containers and group.reach == "E1"))


def _containers(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return _groups(fleet, (group for group in fleet.groups if group.containers))


def _on_migration(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return (meeting.hit() for meeting in fleet.meetings)


def _by_chance(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return fleet.by_chance.hits()


def _overlapping(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return category_ranges.overlapping(fleet.ranges, fleet.statics, fleet.host_groups)


def _too_narrow(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return category_ranges.too_narrow(fleet.ranges)


def _outside_range(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return category_ranges.outside_range(fleet.ranges)


def _drift(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return static_labels.drift(fleet.ledger, fleet.statics, fleet.running, fleet.whole)


def _example_labels(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return static_labels.examples(fleet.statics, fleet.reported)


def _duplicate_uuids(fleet: Comparison) -> t.Iterable[f.FleetHit]:
    return duplicate_uuids.hits(fleet.duplicates.values())


SHARED = FleetRule(
    id="CAT-001",
    title="Guests on different hosts can open each other's files on shared storage",
    severity="critical",
    scope="fleet",
    why=(
        "The guests' categories are equal, or one has all of the other's, and their hosts mount the same labelled "
        "storage. SELinux then lets one guest's QEMU read and write the other's disks, as far as owner and mode do."
    ),
    fix=(
        "Give one guest of each pair another label. A dynamic guest draws a new one at its next power cycle; a static "
        "<seclabel> must be changed before. For good: a category range of its own for every host, or a label of its "
        "own for every guest."
    ),
    cost="guest_power_cycle",
    needs=("guests", "storage"),
    check=_shared_storage,
    references=_REFERENCES,
)

LOCAL = FleetRule(
    id="CAT-002",
    title="Guests on one host can open each other's files",
    severity="critical",
    scope="fleet",
    why=(
        "The guests' categories are equal, or one has all of the other's, on the same host. libvirt checks neither "
        "static labels nor a dynamic draw against them, so nothing but owner and mode keeps these guests apart."
    ),
    fix=(
        "Give one guest of each pair another label: remove its static <seclabel>, or write one that contains no other "
        "guest's categories, then power-cycle it. A dynamic guest draws a new label at its next power cycle."
    ),
    cost="guest_power_cycle",
    needs=("guests",),
    check=_same_host,
    references=_REFERENCES,
)

MEETING = FleetRule(
    id="CAT-003",
    title="Guests could open each other's files once they meet on one host",
    severity="high",
    scope="fleet",
    why=(
        "Their static labels are equal, or one has all of the other's categories. They are apart now, but a migration "
        "inside their pool, or a start of one that is off, brings them together. libvirt never checks a static label."
    ),
    fix=(
        "Give one guest of each pair another static label, and power-cycle it if it runs. Until then do not start or "
        "move these guests to one host; the guard refuses it where it is installed."
    ),
    cost="guest_power_cycle",
    needs=("guests",),
    check=_on_migration,
    references=_REFERENCES,
)

CHANCE = FleetRule(
    id="CAT-004",
    title="Guests on different hosts have equal categories, with no storage in common",
    severity="info",
    scope="fleet",
    why=(
        "Each host draws pairs on its own, so equal pairs are expected in a large fleet. They are harmless until the "
        "guests meet: on one host by migration, or on labelled storage that both hosts mount."
    ),
    fix="Nothing is urgent. Many more than expected point to labels that were copied; ranges per host end it.",
    cost="none",
    needs=("guests",),
    check=_by_chance,
)

OVERLAP = FleetRule(
    id="CAT-005",
    title="Category ranges of hosts that share storage or guests overlap",
    severity="medium",
    scope="fleet",
    why=(
        "Somebody gave a libvirt daemon a range of its own, so that no other host of its label domain draws the same "
        "categories. Another daemon's range overlaps it, so both may give guests one pair, and such guests reach each "
        "other's files on storage that the hosts share."
    ),
    fix=(
        "Give each host of the label domain a range of its own, away from the categories of static labels, or all of "
        "them one range when all guests there have static labels. Then restart the daemons; guests go on, and keep "
        "their categories until their next power cycle."
    ),
    cost="daemon_restart",
    needs=("libvirt", "storage"),
    check=_overlapping,
    references=(NIST_SC4, NIST_AC4, NIST_CM6),
)

NARROW = FleetRule(
    id="CAT-006",
    title="A host's category range is too narrow for its guests",
    severity="high",
    scope="host",
    why=(
        "libvirt draws pairs from the range until it finds a free one, and its search does not end when none is left: "
        "the start of one more guest then hangs, and the daemon with it. The fewer are left, the longer each start "
        "takes."
    ),
    fix=(
        "Give the daemon a wider range (64 categories have 2,016 pairs), or static labels to some of its guests, or "
        "move guests to another host. Then restart the daemon; guests go on."
    ),
    cost="daemon_restart",
    needs=("libvirt", "guests"),
    check=_too_narrow,
    references=(NIST_CM6,),
)

OUTSIDE = FleetRule(
    id="CAT-007",
    title="Guests run with categories outside their daemon's range",
    severity="info",
    scope="host",
    why=(
        "libvirt drew these categories when the daemon had another range, or the guest came by migration. Until its "
        "next power cycle the guest holds categories that may belong to another host or to a static label, so a new "
        "range keeps guests apart only when all of them have drawn from it."
    ),
    fix="Power-cycle the guests when their owners agree: each then draws from the range. Nothing else is needed.",
    cost="guest_power_cycle",
    needs=("libvirt", "guests"),
    check=_outside_range,
)

DRIFT = FleetRule(
    id="CAT-008",
    title="The ledger of labels and the fleet disagree",
    severity="medium",
    scope="fleet",
    why=(
        "The ledger keeps labels apart only as long as guests have what it gave them. A label that it does not know "
        "may be given to another guest tomorrow, and a guest with a label of its own choice may hold another's."
    ),
    fix=(
        "Ask the ledger what it can settle: category_allocation with operation repair. A guest whose definition was "
        "changed by hand gets its label back from svirt.fleet.allocate, and runs with it after a power cycle."
    ),
    cost="operator",
    needs=("guests",),
    check=_drift,
    references=(NIST_CM3, NIST_CM6),
)

COPIED = FleetRule(
    id="CAT-009",
    title="A static label was copied from documentation",
    severity="medium",
    scope="fleet",
    why=(
        "The categories stand as an example in libvirt's or a distribution's documentation. Whoever follows the same "
        "page gives a guest the same label, and libvirt does not compare static labels: the next copy can open this "
        "guest's disks."
    ),
    fix=(
        "Give the guest a label of its own, or remove its static <seclabel> so that libvirt draws one. It counts from "
        "the guest's next power cycle."
    ),
    cost="guest_power_cycle",
    needs=("guests",),
    check=_example_labels,
    references=(NIST_SC4, NIST_CM6),
)

TWOFOLD = FleetRule(
    id="CAT-010",
    title="One guest runs on two hosts",
    severity="high",
    scope="fleet",
    why=(
        "Two hosts report an active guest with this uuid, and it is no migration: neither has it paused, or their "
        "disks are not the same. Either both write to its disks, which destroys them, or a guest was cloned with its "
        "uuid, or one host is in the inventory under two names, or one of the hosts lies."
    ),
    fix=(
        "Audit once more: a migration that ended between the probes of the two hosts looks the same. If it stays, see "
        "whether both names are one host, with one machine id and one boot: then take one of them out of the "
        "inventory, and end nothing. Else find out which one is the guest, and end the other in agreement with its "
        "owner. A clone needs a uuid of its own. Where no such guest was ever started, do not believe the host."
    ),
    cost="operator",
    needs=("guests",),
    check=_duplicate_uuids,
    references=(NIST_SC4, NIST_SI2),
)

ENGINES = FleetRule(
    id="CAT-011",
    title="A container and a guest have categories in common",
    severity="high",
    scope="fleet",
    why=(
        "Container engines draw from the same categories as libvirt and know nothing of its guests. With equal "
        "categories, or all of the other's, only the types stand between their files; where container-selinux is "
        "installed, the policy lets guests manage the files of containers."
    ),
    fix=(
        "Start the container anew, so that its engine draws another pair; or power-cycle the guest, if its label is "
        "dynamic. For good: keep the engine and libvirt's daemon to ranges of their own."
    ),
    cost="operator",
    needs=("guests", "containers"),
    check=_containers,
    references=_REFERENCES,
)

#: In the order of their ids.
RULES: tuple[FleetRule, ...] = (
    *(SHARED, LOCAL, MEETING, CHANCE, OVERLAP, NARROW, OUTSIDE, DRIFT, COPIED, TWOFOLD, ENGINES),
)
