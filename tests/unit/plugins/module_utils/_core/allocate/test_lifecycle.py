# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import lifecycle as life
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import static_labels as a
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.clock import ledger_time
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import (
    NO_RANK,
    OBSERVED,
    PUBLISHED,
    QUARANTINED,
    RELEASED,
    RESERVED,
    LedgerPlan,
    Row,
)

from tests.unit.support.labels import guest, reasons, row, sets, use, uuid

OWN = "c8,c10,c12,c15"
HOSTS = frozenset({"kvm1", "kvm2"})
NOW = ledger_time(None, 50.0)


def sight(*guests: t.Any, read: t.Collection[str] = HOSTS, hosts: t.Any = None) -> life.Observations:
    uses = [use(host, *(one for one in guests if one.host == host)) for host in ("kvm1", "kvm2", "kvm5")]
    domains = {"prod": HOSTS} if hosts is None else hosts
    return life.Observations(
        a.homes(uses), read, domains, {host: name for name, all_ in domains.items() for host in all_}
    )


def observe(one: Row, seen: life.Observations, now: float = 50.0) -> LedgerPlan:
    return life.observe([one], seen, 50.0, ledger_time(None, now))


def states(made: LedgerPlan) -> list[tuple[str, str]]:
    return [(change.action, change.row.state) for change in made.changes if change.row is not None]


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (guest(1), RESERVED),
        (guest(1, defined="c8,c10,c12,c16"), RESERVED),
        (guest(1, defined=OWN, relabels=False), RESERVED),
        (guest(1, defined=OWN, running="c1,c2"), PUBLISHED),
        (guest(1, defined=OWN, files=sets("c1,c2")), PUBLISHED),
        (guest(1, defined=OWN), OBSERVED),
        (guest(1, defined=OWN, running=OWN), OBSERVED),
        (guest(1, defined=OWN, running=OWN, files=sets("c8,c10")), OBSERVED),
    ],
)
def test_the_state_is_what_definition_process_and_files_show(one: t.Any, state: str) -> None:
    assert life.seen_state(row(1, 0), [one]) == state
    expected = [] if state == RESERVED else [("observe", state)]
    assert states(observe(row(1, 0, RESERVED), sight(one))) == expected


def test_a_state_never_goes_back_but_a_difference_is_reported() -> None:
    planned = observe(row(1, 0, OBSERVED), sight(guest(1, defined=OWN, running="c1,c2")))
    assert (states(planned), planned.refused) == ([], [])
    drifted = observe(row(1, 0, OBSERVED), sight(guest(1, defined="c8,c10,c12,c16")))
    assert states(drifted) == []
    assert reasons(drifted.refused) == [("guest1", "definition_differs")]


def test_a_guest_that_moved_is_written_down_where_it_is() -> None:
    planned = observe(row(1, 0), sight(guest(1, "kvm2", OWN)))
    assert [(change.action, change.old, change.new) for change in planned.changes] == [("locate", "kvm1", "kvm2")]


def test_a_guest_that_is_gone_goes_to_quarantine_only_when_all_hosts_were_read() -> None:
    planned = observe(row(1, 0), sight())
    assert states(planned) == [("quarantine", QUARANTINED)]
    assert planned.changes[0].row is not None
    assert planned.changes[0].row.until == 100.0
    partly = observe(row(1, 0), sight(read={"kvm1"}))
    assert states(partly) == []
    assert reasons(partly.pending) == [("guest1", "hosts_unread")]


def test_a_guest_that_is_seen_in_another_domain_only_is_gone_from_its_own() -> None:
    hosts = {"prod": HOSTS, "other": frozenset({"kvm5"})}
    planned = observe(row(1, 0), sight(guest(1, "kvm5", OWN), hosts=hosts))
    assert states(planned) == [("quarantine", QUARANTINED)]


def test_a_row_of_a_host_that_nobody_names_is_kept_and_reported() -> None:
    planned = observe(row(1, 0, domain="old", host="kvm9"), sight())
    assert planned.changes == []
    assert reasons(planned.refused) == [("guest1", "host_of_no_domain")]


def test_a_row_of_a_domain_that_has_another_name_is_followed() -> None:
    planned = observe(row(1, 0, PUBLISHED, domain="auto-kvm1"), sight(guest(1, defined=OWN)))
    assert states(planned) == [("observe", OBSERVED)]


def test_a_label_that_another_has_replaced_goes_when_it_is_seen_no_more() -> None:
    rows = [row(1, 0, domain="auto-kvm1"), row(1, 1)]
    still = life.observe(rows, sight(guest(1, defined="c8,c10,c12,c16", files=sets(OWN))), 50.0, NOW)
    assert states(still) == []
    gone = life.observe(rows, sight(guest(1, defined="c8,c10,c12,c16")), 50.0, NOW)
    assert [(change.action, change.row.domain) for change in gone.changes if change.row] == [
        ("quarantine", "auto-kvm1")
    ]


@pytest.mark.parametrize(
    ("until", "seen", "released"),
    [(60.0, False, False), (50.0, False, True), (40.0, False, True), (40.0, True, False)],
)
def test_a_label_rests_until_its_time_is_over_and_nobody_is_seen_with_it(
    until: float, seen: bool, released: bool
) -> None:
    result = sight(guest(1, files=sets(OWN))) if seen else sight(guest(1))
    planned = observe(row(1, 0, QUARANTINED, until=until), result)
    assert states(planned) == ([("release", RELEASED)] if released else [])
    assert bool(planned.pending) is seen
    if released and planned.changes[0].row is not None:
        assert planned.changes[0].row.rank == NO_RANK


def test_publish_is_for_reserved_labels_of_these_guests_on_these_hosts() -> None:
    rows = [row(1, 0, RESERVED), row(2, 1, RESERVED, host="kvm2"), row(3, 2, OBSERVED)]

    def published(uuids: t.Any, hosts: t.Any) -> list[str]:
        return [change.row.uuid for change in life.publish(rows, uuids, hosts).changes if change.row is not None]

    assert published(None, None) == [uuid(1), uuid(2)]
    assert published({"guest1"}, None) == published(None, {"kvm1"}) == [uuid(1)]
    assert published({uuid(3)}, None) == published({uuid(1)}, {"kvm2"}) == []


@pytest.mark.parametrize(
    ("uuids", "hosts", "gone"),
    [({uuid(1)}, set(), [1]), ({"guest2"}, set(), [2]), (set(), {"kvm2"}, [2]), (set(), set(), [])],
)
def test_release_puts_what_people_name_into_quarantine(uuids: t.Any, hosts: t.Any, gone: list[int]) -> None:
    rows = [row(1, 0), row(2, 1, host="kvm2")]
    planned = life.release(rows, uuids, hosts, 50.0, NOW)
    assert [(change.action, change.row.uuid) for change in planned.changes if change.row] == [
        ("quarantine", uuid(number)) for number in gone
    ]


def test_release_without_quarantine_and_after_it_frees_the_label() -> None:
    rows = [row(1, 0), row(2, 1, QUARANTINED, until=40.0), row(3, 2, QUARANTINED, until=60.0)]
    planned = life.release(rows, {uuid(1)}, set(), 0.0, NOW)
    assert [(change.action, change.subject.partition(" ")[0]) for change in planned.changes] == [
        ("release", "guest1"),
        ("release", "guest2"),
    ]
