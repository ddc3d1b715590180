# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import context
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.fleets import PROCESS, guest, host, nfs

LEVELS = st.sets(st.integers(0, 4), min_size=2, max_size=4)
#: Categories, host (0 to 3), runs, has its disk on the share.
STATICS = st.lists(st.tuples(LEVELS, st.integers(0, 3), st.booleans(), st.booleans()), max_size=10)


def static(number: int, categories: set[int], runs: bool, share: bool) -> s.Guest:
    level = f"s0:{context.CategorySet.of(categories)}"
    labels = [s.SecLabel("selinux", "static", label=PROCESS + level)]
    mount = "/share" if share else "/"
    machine = guest(str(number), level, f"{mount}/{number}", mount=mount, live=labels, persistent_labels=labels)
    if not runs:
        machine.active, machine.state, machine.context, machine.live = False, "shutoff", None, []
    return machine


@settings(max_examples=150)
@given(STATICS)
def test_who_could_meet_is_what_brute_force_finds(drawn: list[tuple[set[int], int, bool, bool]]) -> None:
    """kvm0 and kvm1 share storage, kvm2 is in a pool with kvm1, kvm3 is alone."""
    guests: dict[int, list[s.Guest]] = {number: [] for number in range(4)}
    for number, (categories, place, runs, share) in enumerate(drawn):
        guests[place].append(static(number, categories, runs, share))
    hosts = [
        host(f"kvm{place}", guests[place], storage=[nfs("/share", "nfs:filer:/vol")] if place < 2 else [])
        for place in range(4)
    ]
    result = analysis.judge([analysis.compared_host(one.host.name, one) for one in hosts], (), [["kvm1", "kvm2"]])

    def moves(place: int, share: bool) -> bool:
        return place in (1, 2) or (place == 0 and share)

    expected: set[tuple[str, str]] = set()
    for one, (mine, here, runs, share) in enumerate(drawn):
        for other, (theirs, there, others_run, others_share) in enumerate(drawn):
            if one == other or not mine >= theirs or 3 in {here, there} - ({3} if here == there else set()):
                continue
            if here != there and not (moves(here, share) or moves(there, others_share)):
                continue
            e1 = runs and others_run and here == there
            e2 = runs and others_run and here != there and max(here, there) < 2 and others_share
            if not e1 and not e2:
                expected |= {
                    (f"s0:{context.CategorySet.of(mine)}", str(one)),
                    (f"s0:{context.CategorySet.of(mine)}", str(other)),
                }
    found = {
        (finding.subject, entry["uuid"])
        for finding in result.findings
        if finding.rule == "CAT-003"
        for name in ("guests", "reaches")
        for entry in finding.evidence.get(name, ())
    }
    # A pair that one group of class E1 or E2 names together is reported, though it meets there by way of others.
    told = [
        (finding.subject, {entry["uuid"] for name in ("guests", "reaches") for entry in finding.evidence.get(name, ())})
        for finding in result.findings
        if finding.reach in ("E1", "E2")
    ]
    assert found <= expected
    for level, uuid in expected - found:
        assert any(subject == level and uuid in members for subject, members in told)
