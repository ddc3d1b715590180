# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section A: a name that somebody chose is no identity, and what is not known to be the same may be the same."""

from __future__ import annotations

import itertools
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StorageStatementError
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support.fleets import nfs
from tests.unit.support.sharing_fleets import PAIR, disk, guest, host, judged, label, lines, mounted, move, uuid

MOUNTS = lines(Path(__file__).parent / "data" / "storage-names.mountinfo")
SPELLINGS = list(itertools.combinations(MOUNTS, 2))
FILER = nfs("/share", "nfs:filer:/vol")
FAR = nfs("/share", "nfs:192.0.2.9:/vol")


def exporting(*guests: s.Guest, folder: str = "/srv/images", name: str = "kvm1") -> s.Snapshot:
    root = s.Storage("/", "ext4", "/dev/vda1", True, identity="uuid:1", exports=[folder], labelled_exports=[folder])
    return host(name, *guests, storage=[root])


def on_root(number: int, path: str = "/srv/images/a.qcow2", **parts: t.Any) -> s.Guest:
    return guest(number, resources=[disk(path, 500 + number, "/")], **parts)


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_a1_one_share_under_two_names_is_no_pass(one: str, other: str) -> None:
    result = judged(
        {
            "kvm1": host("kvm1", guest(1), storage=[mounted(one)]),
            "kvm2": host("kvm2", guest(2), storage=[mounted(other)]),
        }
    )
    assert "CAT-001" in result.rules or result.unknown("CAT-001") == {"kvm1", "kvm2"}
    assert "CAT-004" not in result.rules


def test_a1_one_file_seen_on_both_is_proof() -> None:
    both = [guest(1), guest(2, resources=[disk("/share/guest2.qcow2", 2), disk("/share/base.qcow2", 77)])]
    both[0].resources.append(disk("/share/base.qcow2", 77))
    result = judged({"kvm1": host("kvm1", both[0], storage=[FILER]), "kvm2": host("kvm2", both[1], storage=[FAR])})
    assert "CAT-001" in result.rules


@pytest.mark.parametrize("identity", ["nfs:192.0.2.9:/srv/images", "nfs:192.0.2.9:/images", "nfs:192.0.2.9:/"])
def test_a1_an_exporter_of_the_fleet_by_another_name(identity: str) -> None:
    result = judged({"kvm1": exporting(on_root(1)), "kvm2": host("kvm2", guest(2), storage=[nfs("/share", identity)])})
    assert "CAT-001" in result.rules or result.unknown("CAT-001") == {"kvm1", "kvm2"}


def test_a1_what_the_operator_states_settles_it() -> None:
    hosts = {"kvm1": host("kvm1", guest(1), storage=[FILER]), "kvm2": host("kvm2", guest(2), storage=[FAR])}
    same = judged(hosts, [{"name": "vms", "sources": ["filer:/vol", "192.0.2.9:/vol"]}])
    assert "CAT-001" in same.rules
    apart = judged(hosts, [{"name": "a", "sources": ["filer:/vol"]}, {"name": "b", "mounts": ["kvm2:/share"]}])
    assert (apart.rules, apart.fleet.outcomes) == ({"CAT-004"}, {})
    assert apart.domains == {"kvm1": "auto-kvm1", "kvm2": "auto-kvm2"}


def test_a1_a_statement_that_a_file_on_both_disproves_is_an_error_that_names_both() -> None:
    base = disk("/share/base.qcow2", 77)
    hosts = {
        "kvm1": host("kvm1", guest(1, resources=[base]), storage=[FILER]),
        "kvm2": host("kvm2", guest(2, resources=[base]), storage=[FAR]),
    }
    stated = [{"name": "a", "sources": ["filer:/vol"]}, {"name": "b", "sources": ["192.0.2.9:/vol"]}]
    with pytest.raises(StorageStatementError) as caught:
        judged(hosts, stated)
    assert caught.value.code == "proved_same"
    assert all(text in str(caught.value) for text in ("kvm1", "kvm2", "base.qcow2", "(a)", "(b)"))


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_a2_one_share_under_two_names_is_one_label_domain(one: str, other: str) -> None:
    result = judged(
        {
            "kvm1": host("kvm1", guest(1), storage=[mounted(one)]),
            "kvm2": host("kvm2", guest(2), storage=[mounted(other)]),
        }
    )
    assert len(set(result.domains.values())) == 1
    assert len(set(result.labels.values())) == 2


@pytest.mark.parametrize("inode", [9, None])
def test_a3_a_file_in_use_under_another_name_of_the_storage_is_left_alone(inode: int | None) -> None:
    orphan = s.Orphan("/share/x.qcow2", label("s0:c7,c8"), "/share", "0:60", inode)
    user = guest(3, "s0:c7,c8", resources=[disk("/share/x.qcow2", inode)])
    result = judged(
        {
            "kvm1": host("kvm1", storage=[FILER], orphans=[orphan]),
            "kvm2": host("kvm2", user, storage=[FAR]),
            "kvm3": host("kvm3", storage=[FILER]),
        }
    )
    share = result.elsewhere["kvm1"]["/share"]
    # One inode number under one base name proves the storage: then the file is in use, else nothing is known of it.
    assert inode is not None or not share["complete"]
    assert inode is None or [entry["inode"] for entry in share["in_use"]] == [9]
    assert "IMG-005" not in result.rules


@pytest.mark.parametrize("node", ["storage-vip", "storage-vip.dc2.example"])
def test_a4_a_third_hosts_node_name_takes_no_finding_away(node: str) -> None:
    hosts = {
        "kvm1": exporting(on_root(1)),
        "kvm2": host("kvm2", guest(2), storage=[nfs("/share", "nfs:storage-vip:/srv/images")]),
    }
    assert "CAT-001" in judged(hosts).rules
    for third in (host(node), exporting(name=node), exporting(folder="/other", name=node)):
        assert "CAT-001" in judged({**hosts, "kvm9": third}).rules


def test_a5_a_paused_guest_with_anothers_uuid_is_another_guest_unless_it_has_the_same_disks() -> None:
    running = guest(1, static=True)
    twin = guest(1, static=True, state="paused", resources=[disk("/share/other.qcow2", 55)])
    hosts = {"kvm1": host("kvm1", running, storage=[FILER]), "kvm2": host("kvm2", twin, storage=[FILER])}
    assert {"CAT-001", "CAT-010"} <= judged(hosts).rules
    hosts["kvm2"].guests = [guest(1, static=True, state="paused")]
    assert judged(hosts).rules == set()


@pytest.mark.parametrize("claim", [{"uuid": uuid(5)}, {"resources": [disk("/local/rest.qcow2", 99, "/")]}])
def test_a6_a_strangers_claim_takes_nothing_from_a_file_at_rest(claim: dict[str, t.Any]) -> None:
    off = guest(
        5,
        active=False,
        context=None,
        live=[],
        state="shutoff",
        resources=[disk("/share/rest.qcow2", 99, label=label())],
    )
    hosts = {"kvm1": host("kvm1", off, storage=[FILER]), "kvm2": host("kvm2", guest(2), storage=[FILER])}
    assert "CAT-001" in judged(hosts).rules
    root = s.Storage("/", "ext4", "/dev/vda1", True, identity="uuid:9")
    stranger = guest(7, "s0:c1,c2", **{"resources": [disk("/local/x.qcow2", 4, "/")], **claim})
    result = judged({**hosts, "kvm9": host("kvm9", stranger, storage=[root])})
    assert "CAT-001" in result.rules
    assert result.unknown("CAT-001") == set()


@pytest.mark.parametrize("liar", [{"kind": "lxc"}, {"persistent": False}])
def test_a7_a_guest_is_judged_by_its_own_host(liar: dict[str, t.Any]) -> None:
    hosts = {"kvm1": host("kvm1", guest(1), storage=[FILER]), "aaa": host("aaa", guest(1, **liar), storage=[FILER])}
    assert uuid(1) in judged(hosts).labels


def test_a_fleet_of_unsettled_mounts_says_so_in_one_line() -> None:
    hosts = {
        f"kvm{number}": host(f"kvm{number}", guest(number), storage=[nfs("/share", f"nfs:filer{number}:/vol")])
        for number in range(1000)
    }
    result = judged(hosts)
    doubts = {(outcome.codes, outcome.why) for outcomes in result.fleet.outcomes.values() for outcome in outcomes}
    assert result.unknown("CAT-001") == set(hosts)
    assert len(doubts) == 1
    assert doubts.pop()[0] == ("storage_unsettled",)
    assert len([line for line in result.operation.result.unknown if "svirt_storage" in line]) == 1


def test_a_migration_needs_proof_that_the_disk_is_there() -> None:
    def on(storage: s.Storage, *guests: s.Guest) -> s.Snapshot:
        return host("kvm", *guests, storage=[storage])

    web = guest(1, "s0:c40,c300,c600,c900", static=True)
    assert move({"kvm1": on(FILER, web), "kvm2": on(FILER)}, uuid(1), "kvm2") == "allowed"
    assert move({"kvm1": on(FILER, web), "kvm2": on(FAR)}, uuid(1), "kvm2") == "unknown"
    assert move({"kvm1": on(FILER, web), "kvm2": on(nfs("/share", "nfs:filer:/b"))}, uuid(1), "kvm2") == "refused"
    liar = exporting(folder="/vol", name="kvm9")
    assert move({"kvm1": on(FILER, web), "kvm2": on(FAR), "kvm9": liar}, uuid(1), "kvm2") == "unknown"
    assert web.context is not None
    assert PAIR not in web.context


def bound(type_: str, source: str, root: str, point: str = "/share") -> s.Storage:
    """A mount of a folder of a file system."""
    return mounted(f"50 1 0:60 {root} {point} rw - {type_} {source} rw,seclabel")


@pytest.mark.parametrize(
    ("type_", "source"),
    [
        ("ceph", "192.0.2.1:6789:/vms"),
        ("ceph", "admin@0f0f0f0f-1111-4222-8333-444444444444.cephfs=/vms"),
        ("fuse.glusterfs", "node1:/vms"),
        ("lustre", "192.0.2.1@tcp:/vms"),
        ("cifs", "//filer/vms"),
        ("cifs", "//filer/vms/sub"),
    ],
)
def test_a_a_folder_bound_from_a_share_is_that_folder_and_no_other(type_: str, source: str) -> None:
    def verdict(here: str, there: str) -> str:
        web = guest(1, "s0:c40,c300,c600,c900", static=True)
        hosts = {
            "kvm1": host("kvm1", web, storage=[bound(type_, source, here)]),
            "kvm2": host("kvm2", storage=[bound(type_, source, there)]),
        }
        return move(hosts, uuid(1), "kvm2")

    assert verdict("/", "/") == verdict("/a", "/a") == "allowed"
    assert "allowed" not in (verdict("/a", "/"), verdict("/", "/a"), verdict("/a", "/b"))
    # The folder and the whole are one storage for labels and verdicts.
    hosts = {
        "kvm1": host("kvm1", guest(1), storage=[bound(type_, source, "/a")]),
        "kvm2": host("kvm2", guest(2), storage=[bound(type_, source, "/")]),
    }
    assert "CAT-001" in judged(hosts).rules
    assert len(set(judged(hosts).domains.values())) == 1


def test_a_a_folder_bound_from_a_cluster_file_system() -> None:
    def cluster(folder: str) -> s.Storage:
        return s.Storage("/share", "gfs2", "/dev/vg/lv", True, identity=f"uuid:5a17{folder}", remote=True)

    web = guest(1, "s0:c40,c300,c600,c900", static=True)
    for here, there, verdict in (("", "", "allowed"), (":/a", ":/a", "allowed"), (":/a", "", "refused")):
        hosts = {
            "kvm1": host("kvm1", web, storage=[cluster(here)]),
            "kvm2": host("kvm2", guest(2), storage=[cluster(there)]),
        }
        assert move(hosts, uuid(1), "kvm2") == verdict
    result = judged(
        {name: host(name, guest(n), storage=[cluster(f)]) for name, n, f in (("a", 1, ""), ("b", 2, ":/x"))}
    )
    assert ("CAT-001" in result.rules, len(set(result.domains.values()))) == (True, 1)


@pytest.mark.parametrize(
    ("here", "there", "verdict"),
    [
        ("wwn:6001", "wwn:6001", "allowed"),
        ("wwn:6001", "wwn:6002", "refused"),
        ("wwid:eui.0025", "mpath:eui.0025", "unknown"),  # one LUN, single path and multipath
        ("lvm:a/b", "wwn:6001", "unknown"),
    ],
)
def test_a_one_lun_by_identities_of_two_kinds(here: str, there: str, verdict: str) -> None:
    web = guest(1, "s0:c40,c300,c600,c900", static=True)
    web.resources = [disk("/dev/mapper/lun", None, "/dev/mapper/lun")]
    web.resources[0].in_namespace, web.resources[0].file.kind = True, "block"
    hosts = {
        name: host(name, *guests, storage=[s.Storage("/dev/mapper/lun", "block", "253:1", True, identity=text)])
        for name, guests, text in (("kvm1", [web], here), ("kvm2", [], there))
    }
    assert move(hosts, uuid(1), "kvm2") == verdict


def test_a_one_server_by_two_protocols_is_no_pass() -> None:
    hosts = {
        "kvm1": host("kvm1", guest(1), storage=[nfs("/share", "nfs:store:/vms")]),
        "kvm2": host("kvm2", guest(2), storage=[bound("ceph", "store:/pool/images", "/")]),
    }
    result = judged(hosts)
    assert result.unknown("CAT-001") == {"kvm1", "kvm2"}
    assert len(set(result.domains.values())) == 1


RELATIVE = [
    "50 1 0:60 / /share rw - nfs4 localhost:/vol rw,seclabel",
    "50 1 0:60 / /share rw - nfs4 LocalHost.localdomain.:/vol rw,seclabel",
    "50 1 0:60 / /share rw - nfs4 127.0.0.1:/vol rw,seclabel",
    "50 1 0:60 / /share rw - nfs4 [::1]:/vol rw,seclabel",
    "50 1 0:60 / /share rw - nfs4 [fe80::1%eth0]:/vol rw,seclabel",
    "50 1 0:60 / /share rw - ceph 127.0.0.1:6789,[::1]:6789:/vol rw,seclabel",
    "50 1 0:60 / /share rw - fuse.glusterfs localhost:vol rw,seclabel",
    "50 1 0:60 / /share rw - fuse.sshfs root@localhost:/vol rw,seclabel",
]


@pytest.mark.parametrize("line", RELATIVE)
def test_a_a_server_that_each_host_names_for_itself_proves_nothing(line: str) -> None:
    web = guest(1, "s0:c40,c300,c600,c900", static=True)
    hosts = {"kvm1": host("kvm1", web, storage=[mounted(line)]), "kvm2": host("kvm2", storage=[mounted(line)])}
    assert move(hosts, uuid(1), "kvm2") == "unknown"
    hosts = {"kvm1": host("kvm1", guest(1), storage=[mounted(line)]), "kvm2": host("kvm2", guest(2), storage=[FILER])}
    for other in (line, line.replace("/vol", "/other")):
        hosts["kvm2"].storage = [mounted(other)]
        result = judged(hosts)
        assert (result.rules, result.unknown("CAT-001")) == (set(), {"kvm1", "kvm2"})
        assert len(set(result.domains.values())) == 1
    stated = judged(hosts, [{"name": "vms", "mounts": ["kvm1:/share", "kvm2:/share"]}])
    assert "CAT-001" in stated.rules


CLUSTER = "50 1 0:60 / /share rw - ceph [2001:db8::1]:6789,192.0.2.1:6789:/vms rw,seclabel"
REORDERED = "50 1 0:60 / /share rw - ceph 192.0.2.1:6789,[2001:db8::1]:6789:/vms rw,seclabel"
SERVER = "50 1 0:60 / /share rw - nfs4 filer:/vol rw,seclabel"


@pytest.mark.parametrize(
    ("here", "there", "shared", "verdict"),
    [
        (CLUSTER, REORDERED, True, "allowed"),
        (f"{CLUSTER},mds_namespace=a", f"{REORDERED},fs=a", True, "allowed"),
        (f"{CLUSTER},mds_namespace=a", f"{REORDERED},mds_namespace=b", False, "refused"),
        (f"{CLUSTER},mds_namespace=a", REORDERED, None, "unknown"),
        (f"{SERVER},port=2049", SERVER, True, "allowed"),
        (f"{SERVER},port=20049", f"{SERVER},port=20049,proto=rdma", True, "allowed"),
        (f"{SERVER},port=20049", SERVER, None, "unknown"),
        (f"{SERVER},port=20049", f"{SERVER},port=3049", None, "unknown"),
    ],
)
def test_a_one_address_may_serve_several_storages(here: str, there: str, shared: bool | None, verdict: str) -> None:
    web = guest(1, "s0:c40,c300,c600,c900", static=True)
    hosts = {"kvm1": host("kvm1", web, storage=[mounted(here)]), "kvm2": host("kvm2", storage=[mounted(there)])}
    assert move(hosts, uuid(1), "kvm2") == verdict
    hosts = {
        "kvm1": host("kvm1", guest(1), storage=[mounted(here)]),
        "kvm2": host("kvm2", guest(2), storage=[mounted(there)]),
    }
    result = judged(hosts)
    assert ("CAT-001" in result.rules) is (shared is True)
    assert bool(result.unknown("CAT-001")) is (shared is None)
    # Labels are kept apart more widely than is needed: domains are built from addresses, near linear in their number.
    assert len(set(result.domains.values())) == 1


def test_a_two_shares_of_one_server_may_be_one_folder() -> None:
    web = guest(1, "s0:c40,c300,c600,c900", static=True)
    here, there = bound("cifs", "//filer/vms", "/"), bound("cifs", "//FILER/images$", "/")
    assert move({"kvm1": host("a", web, storage=[here]), "kvm2": host("b", storage=[there])}, uuid(1), "kvm2") == (
        "unknown"
    )
    result = judged({"kvm1": host("a", guest(1), storage=[here]), "kvm2": host("b", guest(2), storage=[there])})
    assert result.unknown("CAT-001") == {"kvm1", "kvm2"}
    assert len(set(result.domains.values())) == 1


def test_a_a_transport_is_no_part_of_a_volumes_name() -> None:
    one, other = (bound("fuse.glusterfs", f"node1:{volume}", "/") for volume in ("vms", "/vms.rdma"))
    result = judged({"kvm1": host("a", guest(1), storage=[one]), "kvm2": host("b", guest(2), storage=[other])})
    assert "CAT-001" in result.rules
