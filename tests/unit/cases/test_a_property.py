# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The property behind section A: one more host, honest or lying, takes nothing away from what is said of the others.

``SVIRT_EXAMPLES`` sets the number of fleets.
"""

from __future__ import annotations

import itertools
import os
import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.finding import SEVERITIES, Finding
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StorageStatementError
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.support.fleets import nfs
from tests.unit.support.sharing_fleets import Judged, disk, guest, host, involved, judged, label, mounted, move

EXAMPLES = int(os.environ.get("SVIRT_EXAMPLES", "200"))
NAMES = ("kvm0", "kvm1", "kvm2")
LEVELS = ("s0:c1,c2", "s0:c1,c2,c3", "s0:c3,c4", "s0:c392,c662")
FOLDER = "/srv/images"


def _local(exports: t.Sequence[str]) -> s.Storage:
    return s.Storage(
        "/", "ext4", "/dev/vda1", True, identity="uuid:1", exports=list(exports), labelled_exports=list(exports)
    )


MOUNTS = st.sampled_from(
    [
        None,
        nfs("/share", "nfs:filer:/vol"),
        nfs("/share", "nfs:192.0.2.9:/vol"),
        nfs("/share", "nfs:filer:/vol/sub"),
        nfs("/share", "nfs:filer:/other"),
        nfs("/share", "nfs:kvm0:/srv/images"),
        nfs("/share", "nfs:vip:/srv/images"),
        nfs("/share", "nfs:vip:/"),
        mounted("50 1 0:60 / /share rw - ceph 192.0.2.1:6789,192.0.2.2:6789:/vms rw,seclabel"),
        mounted("50 1 0:60 / /share rw - ceph 192.0.2.2:6789:/vms rw,seclabel,mds_namespace=a"),
        mounted("50 1 0:60 / /share rw - ceph 192.0.2.1:6789,192.0.2.2:6789:/vms rw,seclabel,fs=b"),
        mounted("50 1 0:60 / /share rw - nfs4 filer:/vol rw,seclabel,port=20049"),
        mounted("50 1 0:60 / /share rw - ceph a@0f0f0f0f-1111-4222-8333-444444444444.fs=/vms rw,seclabel"),
        s.Storage("/share", "gfs2", "/dev/san", True, identity="uuid:5a17", remote=True),
    ]
)
#: Folder on the host, and mount point.
PLACES = st.sampled_from([("/share", "/share"), (FOLDER, "/"), ("/var/lib", "/")])


@st.composite
def disks(draw: st.DrawFn) -> s.Resource:
    folder, mount = draw(PLACES)
    number = draw(st.integers(0, 2))
    at_rest = draw(st.one_of(st.none(), st.sampled_from(LEVELS)))
    inode = draw(st.one_of(st.just(number), st.none(), st.just(number + 10)))
    return disk(f"{folder}/d{number}.qcow2", inode, mount, label(at_rest) if at_rest else None)


@st.composite
def guests(draw: st.DrawFn) -> s.Guest:
    number, level = draw(st.integers(0, 4)), draw(st.sampled_from(LEVELS))
    state = draw(st.sampled_from(["running", "running", "paused", "shutoff"]))
    parts: dict[str, t.Any] = {"state": state, "resources": draw(st.lists(disks(), max_size=2))}
    static = draw(st.booleans())
    if state == "shutoff":
        parts |= {"active": False, "context": None, "live": []}
    parts |= draw(st.sampled_from([{}, {}, {}, {"kind": "lxc"}, {"persistent": False}]))
    return guest(number, level, static, **parts)


@st.composite
def snapshots(draw: st.DrawFn, name: str, names: st.SearchStrategy[str] | None = None) -> s.Snapshot:
    mount = draw(MOUNTS)
    exports = draw(st.sampled_from([(), (), (FOLDER,), ("/srv",)]))
    orphans = [
        s.Orphan(f"/share/d{number}.qcow2", label(draw(st.sampled_from(LEVELS))), "/share", "0:60", number)
        for number in draw(st.sets(st.integers(0, 2), max_size=2))
    ]
    node = draw(names) if names is not None else name
    chosen = draw(st.lists(guests(), max_size=3, unique_by=lambda item: item.uuid))
    storage = [_local(exports), *([mount] if mount else [])]
    return host(node, *chosen, storage=storage, orphans=orphans if mount else [])


@st.composite
def fleets(draw: st.DrawFn) -> tuple[dict[str, s.Snapshot], str, s.Snapshot]:
    old = {name: draw(snapshots(name)) for name in NAMES[: draw(st.integers(2, 3))]}
    added = draw(st.sampled_from(["aaa", "zzz"]))
    return old, added, draw(snapshots(added, st.sampled_from([added, "kvm0", "kvm1", "filer", "vip", "192.0.2.9"])))


def _stays(finding: Finding, after: t.Iterable[Finding]) -> bool:
    """A finding that is at least as severe names all that this finding named."""
    if finding.rule == "CAT-010":  # guests of the same hosts are reported together
        return involved(finding) <= {member for one in after if one.rule == finding.rule for member in involved(one)}
    rank = SEVERITIES.index(finding.severity)
    return any(SEVERITIES.index(one.severity) <= rank and involved(finding) <= involved(one) for one in after)


def _check_findings(before: Judged, after: Judged) -> None:
    for finding in before.fleet.findings:
        # What is equal by chance is counted, and a file of no guest on one host may be somebody's elsewhere.
        if finding.reach != "E4" and len({name for name, _guest in involved(finding)} | {finding.host}) > 1:
            assert _stays(finding, after.fleet.findings), finding
    named = {name for one in after.fleet.findings if one.rule == "CAT-001" for name, _guest in involved(one)}
    assert before.unknown("CAT-001") <= after.unknown("CAT-001") | named


def _check_repairs(before: Judged, after: Judged) -> None:
    for name, folders in before.elsewhere.items():
        for folder, known in folders.items():
            now = after.elsewhere[name][folder]
            assert known["complete"] or not now["complete"]
            used = {(entry["inode"], entry["by"]) for entry in known["in_use"]}
            assert used <= {(entry["inode"], entry["by"]) for entry in now["in_use"]}


def _check_labels(before: Judged, after: Judged) -> None:
    for one, other in itertools.combinations(sorted(before.domains), 2):
        assert before.domains[one] != before.domains[other] or after.domains[one] == after.domains[other]
    _check_unique(after)


def _check_unique(result: Judged) -> None:
    """No two guests of a domain get one label."""
    labels: dict[tuple[str, str], str] = {}
    for name, orders in result.operation.result.hosts.items():
        for order in orders["guests"]:
            place = result.domains[name], order["label"]
            assert labels.setdefault(place, order["guest"]) == order["guest"]


#: The operator's word about storage: none, and two mounts that are different, of which one has all its hosts stated.
STATED: tuple[list[dict[str, t.Any]], ...] = (
    [],
    [
        {"name": "vms", "sources": ["filer:/vol"], "hosts": ["kvm0", "kvm1"]},
        {"name": "far", "sources": ["192.0.2.9:/vol"]},
    ],
)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(fleets(), st.sampled_from(STATED))
def test_one_more_host_takes_nothing_away(
    drawn: tuple[dict[str, s.Snapshot], str, s.Snapshot], stated: list[dict[str, t.Any]]
) -> None:
    old, added, liar = drawn
    new = {**old, added: liar}
    try:
        before, after = judged(old, stated), judged(new, stated)
    except StorageStatementError:
        return  # what the hosts show disproves the statements: no run goes on
    _check_findings(before, after)
    _check_repairs(before, after)
    _check_labels(before, after)
    there = {one.uuid for one in old["kvm1"].guests}  # that it is there already is no danger
    for known in sorted({one.uuid for snapshot in old.values() for one in snapshot.guests} - there):
        if move(old, known, "kvm1") != "allowed":
            assert move(new, known, "kvm1") != "allowed"


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(fleets())
def test_guests_that_may_share_storage_have_labels_of_their_own(
    drawn: tuple[dict[str, s.Snapshot], str, s.Snapshot],
) -> None:
    old, _added, _liar = drawn
    result = judged(old)
    _check_unique(result)
    for finding in result.fleet.findings:
        hosts = {name for name, _guest in involved(finding)}
        if finding.rule == "CAT-001":
            assert len({result.domains[name] for name in hosts}) == 1


def test_no_host_leaves_others_out_of_the_evidence() -> None:
    share = nfs("/share", "nfs:filer:/vol")
    crowd = [guest(100 + number, "s0:c1,c2") for number in range(600)]
    hosts = {"aaa": host("aaa", *crowd, storage=[share])}
    hosts |= {name: host(name, guest(number, "s0:c1,c2"), storage=[share]) for number, name in enumerate(NAMES)}
    (finding,) = [one for one in judged(hosts).fleet.findings if one.rule == "CAT-001"]
    assert {(name, f"guest{number}") for number, name in enumerate(NAMES)} <= involved(finding)
