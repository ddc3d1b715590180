# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import math
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import context
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.fleets import disk, guest, host, nfs

FILER = "nfs:filer:/vol"


def judged(*hosts: s.Snapshot) -> analysis.Fleet:
    return analysis.judge([analysis.compared_host(snapshot.host.name, snapshot) for snapshot in hosts])


def told(result: analysis.Fleet) -> list[tuple[str, str | None, str, str, list[str]]]:
    """Rule, class, host, subject and all guests of each finding."""
    return [
        (
            finding.rule,
            finding.reach,
            finding.host,
            finding.subject,
            sorted(entry["uuid"] for key in ("guests", "reaches") for entry in finding.evidence.get(key, [])),
        )
        for finding in result.findings
        if finding.reach != "E4"
    ]


def sharing(name: str, *guests: s.Guest) -> s.Snapshot:
    return host(name, guests, storage=[nfs("/share", FILER)])


def on_share(uuid: str, level: str, **parts: t.Any) -> s.Guest:
    return guest(uuid, level, f"/share/{uuid}.qcow2", mount="/share", **parts)


def test_guests_of_their_own_categories_are_no_finding() -> None:
    result = judged(sharing("kvm1", on_share("a", "s0:c1,c2")), sharing("kvm2", on_share("b", "s0:c1,c3")))
    assert result.findings == ()
    assert result.guests == 2


def test_equal_on_one_host_is_e1_however_it_is_written() -> None:
    result = judged(host("kvm1", [guest("a", "s0:c2,c1"), guest("b", "s0:c1,c2"), guest("c", "s0:c1,c3")]))
    assert told(result) == [("CAT-002", "E1", "kvm1", "s0:c1,c2", ["a", "b"])]
    assert result.findings[0].severity == "critical"


def test_equal_on_two_hosts_with_shared_labelled_storage_is_e2() -> None:
    result = judged(sharing("kvm1", on_share("a", "s0:c1,c2")), sharing("kvm2", on_share("b", "s0:c1,c2")))
    assert told(result) == [("CAT-001", "E2", "", "s0:c1,c2", ["a", "b"])]
    evidence = result.findings[0].evidence
    assert evidence["storage"] == [FILER]
    assert evidence["shared_by"] == ["identity"]
    assert evidence["hosts"] == ["kvm1", "kvm2"]


@pytest.mark.parametrize(
    "storage",
    [
        [],
        [nfs("/share", "nfs:filer:/other")],
        [nfs("/share", FILER, labelled=False)],
        [
            s.Storage(
                "/share", "nfs4", "filer:/vol", True, context="system_u:object_r:nfs_t:s0", identity=FILER, remote=True
            )
        ],
    ],
)
def test_equal_without_common_labelled_storage_is_chance(storage: list[s.Storage]) -> None:
    other = host("kvm2", [on_share("b", "s0:c1,c2")], storage=storage)
    result = judged(sharing("kvm1", on_share("a", "s0:c1,c2")), other)
    assert told(result) == []
    assert [(finding.rule, finding.severity, finding.reach) for finding in result.findings] == [
        ("CAT-004", "info", "E4")
    ]
    assert result.equal_by_chance == 1
    assert result.expected_by_chance == pytest.approx(1 / math.comb(1024, 2))


def test_equal_file_systems_of_cloned_hosts_are_not_shared() -> None:
    def cloned(name: str, uuid: str) -> s.Snapshot:
        root = s.Storage("/", "ext4", "/dev/vda1", True, identity="uuid:5eed")
        return host(name, [guest(uuid, "s0:c1,c2", "/var/lib/a.qcow2")], storage=[root])

    assert told(judged(cloned("kvm1", "a"), cloned("kvm2", "b"))) == []


def test_a_clustered_file_system_is_shared() -> None:
    def clustered(name: str, uuid: str) -> s.Snapshot:
        disks = s.Storage("/share", "gfs2", "/dev/san", True, identity="uuid:5a17", remote=True)
        return host(name, [on_share(uuid, "s0:c1,c2")], storage=[disks])

    assert [entry[0] for entry in told(judged(clustered("kvm1", "a"), clustered("kvm2", "b")))] == ["CAT-001"]


def test_a_guest_seen_on_two_hosts_is_one_guest() -> None:
    arriving = on_share("a", "s0:c1,c2", state="paused")
    result = judged(sharing("kvm1", on_share("a", "s0:c1,c2")), sharing("kvm2", arriving))
    assert result.findings == ()
    assert result.guests == 1


def test_what_runs_on_two_hosts_is_reported_and_hides_no_collision() -> None:
    result = judged(sharing("kvm1", on_share("a", "s0:c1,c2")), sharing("kvm2", on_share("a", "s0:c1,c2")))
    assert [(finding.rule, finding.severity, finding.subject) for finding in result.findings] == [
        ("CAT-001", "critical", "s0:c1,c2"),
        ("CAT-010", "high", "guest guest-a"),
    ]


def test_a_wide_label_is_one_finding_per_host_with_all_it_reaches() -> None:
    guests = [guest("w", "s0:c0.c1023"), guest("a", "s0:c1,c2"), guest("b", "s0:c3,c4")]
    result = judged(host("kvm1", guests))
    assert told(result) == [("CAT-002", "E1", "kvm1", "s0:c0.c1023", ["a", "b", "w"])]
    assert [entry["uuid"] for entry in result.findings[0].evidence["guests"]] == ["w"]


def test_a_superset_reaches_across_hosts_one_way() -> None:
    result = judged(sharing("kvm1", on_share("w", "s0:c1,c2,c3")), sharing("kvm2", on_share("a", "s0:c1,c3")))
    assert told(result) == [("CAT-001", "E2", "", "s0:c1.c3", ["a", "w"])]
    assert [entry["uuid"] for entry in result.findings[0].evidence["reaches"]] == ["a"]


def test_a_guest_without_files_on_the_share_is_not_reached_through_it() -> None:
    local = guest("a", "s0:c1,c3", "/var/a.qcow2")
    result = judged(sharing("kvm1", on_share("w", "s0:c1,c2,c3")), sharing("kvm2", local))
    assert told(result) == []


@pytest.mark.parametrize(
    "parts",
    [{"resources": []}, {"error": "XML broken"}, {"resources": [disk("/gone", None)]}],
)
def test_a_guest_whose_files_are_not_known_may_have_some_anywhere(parts: dict[str, t.Any]) -> None:
    result = judged(sharing("kvm1", on_share("a", "s0:c1,c2")), sharing("kvm2", guest("b", "s0:c1,c2", **parts)))
    assert [entry[0] for entry in told(result)] == ["CAT-001"]


def test_block_devices_share_no_labels() -> None:
    def on_lun(uuid: str) -> s.Guest:
        return guest(uuid, "s0:c1,c2", resources=[disk("/dev/mapper/lun", "/dev", kind="block")])

    assert told(judged(sharing("kvm1", on_lun("a")), sharing("kvm2", on_lun("b")))) == []


@pytest.mark.parametrize(
    "left_out",
    [
        guest("b", "s0:c1,c2", context="system_u:system_r:virtd_t:s0:c1,c2"),
        guest("b", "s0:c1"),
        guest("b", "s0"),
        guest("b", "s0:c1,c2", active=False),
        guest("b", "s0:c1,c2", kind="xen"),
    ],
)
def test_guests_that_other_rules_report_are_left_out(left_out: s.Guest) -> None:
    types = [s.TypeFacts("svirt_t", True, False, True), s.TypeFacts("virtd_t", True, False, False)]
    one = host("kvm1", [guest("a", "s0:c1,c2"), left_out], selinux=s.SELinux(mode="enforcing", types=types))
    assert judged(one).findings == ()


def test_a_label_that_was_not_read_is_a_doubt() -> None:
    compared = analysis.compared_host("kvm1", host("kvm1", [guest("a", None), guest("b", None, context="SystemLow")]))
    assert [doubt.code for doubt in compared.doubts] == ["label_unreadable"] * 2
    assert ["guest-a" in compared.doubts[0].text, "guest-b" in compared.doubts[1].text] == [True, True]
    assert compared.guests == ()


def test_a_host_without_selinux_is_left_out_without_doubt() -> None:
    compared = analysis.compared_host("kvm1", host("kvm1", [guest("a", None)], selinux=s.SELinux(mode="disabled")))
    assert (compared.guests, compared.doubts) == ((), ())


# -- who shares storage ----------------------------------------------------------------------------------------------


def exporter(name: str, *guests: s.Guest, folder: str = "/srv/images") -> s.Snapshot:
    root = s.Storage("/", "ext4", "/dev/vda1", True, identity="uuid:5eed", exports=[folder], labelled_exports=[folder])
    return host(name, guests, storage=[root])


def importer(name: str, identity: str, *guests: s.Guest) -> s.Snapshot:
    return host(name, guests, storage=[nfs("/share", identity)])


@pytest.mark.parametrize(
    ("identity", "proof"),
    [
        ("nfs:kvm1:/srv/images", "server name"),
        ("nfs:KVM1.example.org:/srv/images", "server name"),
        ("nfs:kvm1:/srv/images/below", "server name"),
        ("nfs:kvm1:/", "server name"),
        ("nfs:kvm1:/images", "server name"),
        ("nfs:10.0.0.1:/srv/images", "path of the export"),
    ],
)
def test_an_exporter_shares_with_its_clients(identity: str, proof: str) -> None:
    source = exporter("kvm1.example.org", guest("a", "s0:c1,c2", "/srv/images/a.qcow2"))
    result = judged(source, importer("kvm2", identity, on_share("b", "s0:c1,c2")))
    assert [entry[0] for entry in told(result)] == ["CAT-001"]
    assert result.findings[0].evidence["shared_by"] == [proof]


def test_what_the_exporter_does_not_export_is_not_reached() -> None:
    source = exporter("kvm1", guest("a", "s0:c1,c3", "/srv/images-private/a.qcow2"))
    result = judged(source, importer("kvm2", "nfs:kvm1:/srv/images", on_share("w", "s0:c1,c2,c3")))
    assert told(result) == []


def test_an_export_that_another_file_system_covers_shares_nothing() -> None:
    source = exporter("kvm1", guest("a", "s0:c1,c2", "/srv/images/a.qcow2"))
    source.storage.append(nfs("/srv/images", "nfs:filer:/vol"))
    assert told(judged(source, importer("kvm2", "nfs:kvm1:/srv/images", on_share("b", "s0:c1,c2")))) == []


def test_one_inode_proves_an_exporter_and_excludes_no_other() -> None:
    def exporting(name: str, uuid: str, inode: int) -> s.Snapshot:
        return exporter(name, guest(uuid, "s0:c1,c2", resources=[disk("/srv/images/base.qcow2", "/", inode)]))

    client = importer(
        "kvm3", "nfs:10.0.0.1:/srv/images", guest("c", "s0:c1,c2", resources=[disk("/share/base.qcow2", "/share", 77)])
    )
    (proved,) = judged(exporting("kvm1", "a", 77), client).findings
    assert proved.evidence["shared_by"] == ["a file with one inode number"]
    both = judged(exporting("kvm1", "a", 77), exporting("kvm2", "b", 78), client)
    assert told(both) == [("CAT-001", "E2", "", "s0:c1,c2", ["a", "b", "c"])]


def test_two_clients_of_one_exporter_share_though_they_name_it_differently() -> None:
    result = judged(
        exporter("kvm1"),
        importer("kvm2", "nfs:kvm1:/srv/images", on_share("a", "s0:c1,c2")),
        importer("kvm3", "nfs:10.0.0.1:/srv/images", on_share("b", "s0:c1,c2")),
    )
    assert [entry[0] for entry in told(result)] == ["CAT-001"]


# -- the fingerprint, and all of it against brute force ---------------------------------------------------------------


def test_a_third_guest_makes_it_another_finding() -> None:
    two = [guest("a", "s0:c1,c2"), guest("b", "s0:c1,c2")]
    before, again, after = (judged(host("kvm1", guests)) for guests in (two, two[::-1], [*two, guest("c", "s0:c1,c2")]))
    assert before.findings[0].fingerprint == again.findings[0].fingerprint
    assert before.findings[0].fingerprint != after.findings[0].fingerprint


LEVELS = st.sets(st.integers(0, 5), min_size=2, max_size=5)
GUESTS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), LEVELS, st.booleans()), max_size=12)


@settings(max_examples=300)
@given(GUESTS)
def test_the_groups_hold_exactly_the_pairs_that_brute_force_finds(drawn: list[tuple[int, int, set[int], bool]]) -> None:
    guests: dict[int, list[s.Guest]] = {number: [] for number in range(4)}
    running: dict[int, set[int]] = {}
    for uuid, number, categories, runs in drawn:
        level = f"s0:{context.CategorySet.of(categories)}"
        guests[number].append(on_share(str(uuid), level, state="running" if runs else "paused"))
        running.setdefault(uuid, set()).update([number] if runs else [])
    # What runs on two hosts is no migration: each of them is a guest of its own.
    placed = [
        ((uuid, number if len(running[uuid]) > 1 else None), uuid, number, categories)
        for uuid, number, categories, _runs in drawn
    ]
    result = judged(*(sharing(f"kvm{number}", *guests[number]) for number in range(3)), host("kvm3", guests[3]))
    involved: dict[str, set[tuple[str, int]]] = {"E1": set(), "E2": set()}
    for who, uuid, number, categories in placed:
        for other, theirs_uuid, elsewhere, theirs in placed:
            if who == other or not categories >= theirs:
                continue
            reach = "E1" if number == elsewhere else "E2" if 3 not in (number, elsewhere) else None
            if reach:
                involved[reach] |= {(str(uuid), number), (str(theirs_uuid), elsewhere)}
    for reach, expected in involved.items():
        found = {
            (entry["uuid"], int(entry["host"][3:]))
            for finding in result.findings
            if finding.reach == reach
            for key in ("guests", "reaches")
            for entry in finding.evidence.get(key, [])
        }
        assert found == expected


def test_labels_of_a_large_fleet_do_not_collide_in_dictionaries() -> None:
    pairs = [context.CategorySet.of((one, other)) for one in range(0, 1024, 16) for other in range(one + 1, 1024, 16)]
    assert len({hash(pair) for pair in pairs}) == len(pairs)
