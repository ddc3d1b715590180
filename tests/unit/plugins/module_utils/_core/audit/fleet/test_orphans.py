# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support.fleets import disk, guest, host, nfs

LABEL = "system_u:object_r:svirt_image_t:s0:c7,c8"
FILER = "nfs:filer:/vol"


def seeing(
    name: str, *guests: s.Guest, orphan: bool = True, identity: str = FILER, inode: int | None = 77
) -> s.Snapshot:
    """A host that mounts the share, and sees a file there that carries the label of no guest of its own."""
    result = [s.Orphan("/share/old.qcow2", LABEL, "/share", "0:50", inode)] if orphan else []
    return host(name, guests, storage=[nfs("/share", identity)], orphans=result)


def judged(*hosts: s.Snapshot, unread: t.Sequence[str] = ()) -> analysis.Fleet:
    return analysis.judge([analysis.compared_host(snapshot.host.name, snapshot) for snapshot in hosts], unread)


def told(result: analysis.Fleet) -> list[tuple[str, str]]:
    return [(finding.rule, finding.host) for finding in result.findings]


def test_a_file_that_no_guest_of_any_host_has_is_reported_once() -> None:
    assert told(judged(seeing("kvm1"), seeing("kvm2"))) == [("IMG-005", "kvm1")]


def test_without_inodes_each_host_reports_it() -> None:
    result = judged(seeing("kvm1", inode=None), seeing("kvm2", inode=None))
    assert told(result) == [("IMG-005", "kvm1"), ("IMG-005", "kvm2")]


@pytest.mark.parametrize(
    "owner",
    [
        guest("a", "s0:c8,c7", resources=[disk("/elsewhere/old.qcow2", "/share", 77)]),
        guest("a", None, active=False, resources=[disk("/elsewhere/old.qcow2", "/share", 77)]),
    ],
)
def test_a_file_of_a_guest_on_another_host_is_no_orphan(owner: s.Guest) -> None:
    result = judged(seeing("kvm1"), seeing("kvm2", owner, orphan=False))
    assert (told(result), result.outcomes) == ([], {})


def test_a_guest_at_its_level_whose_files_are_not_known_may_own_it() -> None:
    unread = guest("a", "s0:c8,c7", resources=[disk("/elsewhere/a", None)])
    result = judged(seeing("kvm1"), seeing("kvm2", unread, orphan=False))
    assert told(result) == []
    (outcome,) = result.outcomes["kvm1"]
    assert (outcome.rule, outcome.codes) == ("IMG-005", ("guest_may_own_it",))


def test_a_guest_without_disks_at_its_level_reaches_it() -> None:
    result = judged(seeing("kvm1"), seeing("kvm2", guest("a", "s0:c8,c7"), orphan=False))
    assert [(entry.rule, entry.reach) for entry in result.findings] == [("IMG-005", "E2")]


def test_a_claim_on_other_storage_settles_nothing() -> None:
    stranger = guest("x", "s0:c3,c4", resources=[disk("/local/old.qcow2", "/", 77)])
    assert told(judged(seeing("kvm1"), seeing("kvm2", stranger))) == [("IMG-005", "kvm1")]


def test_what_reaches_a_file_stays_a_finding_when_another_host_claims_it() -> None:
    runner = guest("a", "s0:c7,c8", "/share/own.qcow2", mount="/share")
    claim = guest("x", "s0:c3,c4", resources=[disk("/share/old.qcow2", "/share", 77)])
    (entry,) = judged(seeing("kvm1"), seeing("kvm2", runner), seeing("kvm3", claim, orphan=False)).findings
    assert (entry.rule, entry.reach, entry.cost) == ("IMG-005", "E2", "operator")


@pytest.mark.parametrize("runs_on", ["kvm1", "kvm2"])
def test_a_file_of_none_that_a_running_guest_reaches_is_reported_with_the_guest(runs_on: str) -> None:
    runner = guest("a", "s0:c7,c8", "/share/own.qcow2", mount="/share")
    hosts = [seeing(name, *([runner] if name == runs_on else [])) for name in ("kvm1", "kvm2")]
    (found,) = judged(*hosts).findings
    assert (found.rule, found.host, found.reach) == ("IMG-005", "kvm1", "E2")
    assert [(one["guest"], one["host"]) for one in found.evidence["reached_by"]] == [("guest-a", runs_on)]
    assert found.evidence["hosts"] == sorted({"kvm1", runs_on})


def test_a_file_without_an_inode_at_a_running_guests_level_may_be_its_own() -> None:
    runner = guest("a", "s0:c7,c8", "/share/own.qcow2", mount="/share")
    assert told(judged(seeing("kvm1", inode=None), seeing("kvm2", runner, inode=None))) == []


def test_a_guest_on_a_host_without_the_storage_does_not_own_it() -> None:
    stranger = seeing("kvm3", guest("a", "s0:c7,c8"), orphan=False, identity="nfs:filer:/other")
    assert told(judged(seeing("kvm1"), seeing("kvm2", orphan=False), stranger)) == [("IMG-005", "kvm1")]


@pytest.mark.parametrize(
    ("others", "unread", "code"),
    [
        ([seeing("kvm2")], ["kvm3"], "hosts_unread"),
        ([seeing("kvm2", guest("a", None), orphan=False)], [], "label_unreadable"),
        ([], [], "sharers_not_audited"),
    ],
)
def test_what_nobody_can_know_is_unknown(others: list[s.Snapshot], unread: list[str], code: str) -> None:
    result = judged(seeing("kvm1"), *others, unread=unread)
    assert told(result) == []
    outcome = result.outcomes["kvm1"][-1]
    assert (outcome.rule, outcome.status, outcome.codes) == ("IMG-005", "unknown", (code,))


def test_a_label_below_an_export_without_labels_is_this_hosts_alone() -> None:
    root = s.Storage("/", "ext4", "/dev/vda1", True, exports=["/srv"])
    result = [s.Orphan("/srv/old.qcow2", LABEL, "/", "8:1", 5)]
    assert told(judged(host("kvm1", storage=[root], orphans=result))) == [("IMG-005", "kvm1")]


def at_rest(label: str = LABEL) -> s.Guest:
    """A guest that is off, whose disk carries the label."""
    image = disk("/share/old.qcow2", "/share", 77)
    image.file.label = label
    return guest("off", None, active=False, resources=[image])


def running(uuid: str, level: str) -> s.Guest:
    return guest(uuid, level, f"/share/{uuid}.qcow2", mount="/share")


@pytest.mark.parametrize("level", ["s0:c7,c8", "s0:c7,c8,c9"])
def test_file_with_an_owner_that_a_guest_reaches_is_reported_by_the_comparison_alone(level: str) -> None:
    result = judged(seeing("kvm1"), seeing("kvm2", at_rest(), orphan=False), seeing("kvm3", running("a", level)))
    (entry,) = [finding for finding in result.findings if finding.severity == "critical"]
    assert (entry.rule, [item.rule for item in result.findings]) == ("CAT-001", ["CAT-001"])
    named = [item for key in ("guests", "reaches") for item in entry.evidence.get(key, ())]
    assert "/share/old.qcow2" in {item.get("file") for item in named}


def test_file_whose_owner_runs_at_its_level_is_reported_by_the_comparison_alone() -> None:
    owner = guest("own", "s0:c7,c8", resources=[disk("/share/old.qcow2", "/share", 77)])
    result = judged(seeing("kvm1"), seeing("kvm2", owner, orphan=False), seeing("kvm3", running("a", "s0:c7,c8")))
    assert told(result) == [("CAT-001", "")]


def test_file_is_reported_as_an_orphan_where_the_comparison_does_not_name_all_that_reach_it() -> None:
    # Its own host reports a label that only one of the two guests reaches.
    owner = at_rest(LABEL.replace("c7,c8", "c7,c9"))
    reaching = [running("a", "s0:c7,c8"), running("b", "s0:c7,c8,c9")]
    result = judged(seeing("kvm1"), seeing("kvm2", owner, orphan=False), seeing("kvm3", *reaching))
    assert ("IMG-005", "kvm1") in told(result)
