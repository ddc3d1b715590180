# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StorageStatementError
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.sharing import Sharing
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import host_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_identity import DIFFERENT, OPEN, SHARED
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_statements import parse_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.fleets import nfs
from tests.unit.support.sharing_fleets import disk, guest, host

FOLDER = "/srv/images"
FILER = nfs("/share", "nfs:filer:/vol")
VIP = nfs("/share", "nfs:vip:/vol")
TAG = s.Storage("/share", "virtiofs", "vms", True, remote=True)
IMAGE = disk("/share/base.qcow2", 77)


def local(exports: t.Sequence[str] = (FOLDER,)) -> s.Storage:
    return s.Storage("/", "ext4", "/dev/vda1", True, identity="uuid:1", exports=[*exports], labelled_exports=[*exports])


def cluster(uuid: str) -> s.Storage:
    return s.Storage("/share", "gfs2", "/dev/san", True, identity=f"uuid:{uuid}", remote=True)


def using(*storage: s.Storage, files: t.Sequence[s.Resource] = ()) -> s.Snapshot:
    return host("node", guest(1, resources=list(files)), storage=storage)


def sharing(stated: t.Sequence[dict[str, t.Any]] = (), **hosts: s.Snapshot) -> Sharing:
    return Sharing([host_storage(name, snapshot) for name, snapshot in hosts.items()], parse_storage(list(stated)))


def relation(known: Sharing) -> str:
    """The relation of the last mount or export of kvm1 and kvm2, the same in both directions."""
    here, there = known.places_of("kvm1")[-1], known.places_of("kvm2")[-1]
    forth = known.relation("kvm1", here, "kvm2", there)
    assert known.relation("kvm2", there, "kvm1", here) == forth
    return forth


def is_open(known: Sharing) -> bool:
    here, there = known.places_of("kvm1")[-1], known.places_of("kvm2")[-1]
    return known.is_open(here.number, there.number)


def inside(path: str, inode: int) -> s.Resource:
    return disk(path, inode, "/")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (using(FILER), using(FILER), SHARED),
        (using(FILER), using(VIP), OPEN),
        (using(FILER), using(nfs("/share", "nfs:filer:/other")), DIFFERENT),
        (using(TAG), using(TAG), OPEN),
        (using(FILER, files=[IMAGE]), using(VIP, files=[IMAGE]), SHARED),
        (using(TAG, files=[IMAGE]), using(TAG, files=[IMAGE]), SHARED),
        (using(cluster("5a17"), files=[IMAGE]), using(cluster("5a18"), files=[IMAGE]), DIFFERENT),
        (using(local()), using(nfs("/share", f"nfs:kvm1:{FOLDER}")), SHARED),
        (using(local()), using(nfs("/share", f"nfs:vip:{FOLDER}")), OPEN),
        (using(local()), using(nfs("/share", "nfs:vip:/")), OPEN),
        (using(local()), using(nfs("/share", "nfs:vip:/other")), DIFFERENT),
    ],
)
def test_relation_is_decided_by_proof_on_the_two_hosts(one: s.Snapshot, other: s.Snapshot, expected: str) -> None:
    assert relation(sharing(kvm1=one, kvm2=other)) == expected


def test_a_file_proves_an_export_only_where_it_lies_in_the_exported_folder() -> None:
    client = using(nfs("/share", f"nfs:vip:{FOLDER}"), files=[IMAGE])
    assert relation(sharing(kvm1=using(local(), files=[inside(f"{FOLDER}/base.qcow2", 77)]), kvm2=client)) == SHARED
    assert relation(sharing(kvm1=using(local(), files=[inside("/var/base.qcow2", 77)]), kvm2=client)) == OPEN


def test_files_that_a_third_host_sees_prove_nothing_between_two_hosts() -> None:
    other = disk("/share/other.qcow2", 78)
    third = using(nfs("/share", "nfs:192.0.2.9:/vol"), files=[IMAGE, other])
    known = sharing(kvm1=using(FILER, files=[IMAGE]), kvm2=using(VIP, files=[other]), kvm3=third)
    assert relation(known) == OPEN
    # Rules report on it all the same.
    assert known.keys_of("kvm1") & known.keys_of("kvm2")
    assert not is_open(known)


def test_an_export_known_by_its_path_alone_is_open_for_repairs_and_reported_by_rules() -> None:
    known = sharing(kvm1=using(local()), kvm2=using(nfs("/share", f"nfs:vip:{FOLDER}")))
    assert relation(known) == OPEN
    assert known.keys_of("kvm1") & known.keys_of("kvm2")
    assert not is_open(known)
    assert str(known.open_pair("kvm1", known.places_of("kvm1"))) == (
        "the export /srv/images on kvm1 and vip:/srv/images on kvm2"
    )
    assert known.open_pair("kvm1", known.places_of("kvm1"), besides={"kvm2"}) is None


def test_a_host_with_two_mounts_of_unknown_servers_may_have_the_storage_as_the_other_one() -> None:
    second = s.Storage("/other", "virtiofs", "data", True, remote=True)
    known = sharing(kvm1=using(TAG, files=[IMAGE]), kvm2=using(TAG, second, files=[IMAGE]))
    assert known.open_pair("kvm1", known.places_of("kvm1")) is not None
    one = sharing(kvm1=using(TAG, files=[IMAGE]), kvm2=using(TAG, files=[IMAGE]))
    assert one.open_pair("kvm1", one.places_of("kvm1")) is None


@pytest.mark.parametrize(
    ("one", "other", "reached"),
    [
        (using(FILER), using(FILER), True),
        (using(FILER), using(nfs("/share", "nfs:filer:/vol/sub")), False),
        (using(FILER), using(VIP), None),
        (using(FILER, files=[IMAGE]), using(VIP, files=[IMAGE]), True),
        # Below another folder of the server, the file of this path is another one, whatever else both see.
        (using(FILER, files=[IMAGE]), using(nfs("/share", "nfs:filer:/vol/sub"), files=[IMAGE]), False),
        (using(cluster("5a17"), files=[IMAGE]), using(cluster("5a18"), files=[IMAGE]), False),
    ],
)
def test_a_target_has_a_file_by_proof_and_at_its_path(one: s.Snapshot, other: s.Snapshot, reached: bool | None) -> None:
    known = sharing(kvm1=one, kvm2=other)
    assert known.has_file("kvm1", ("/share", "/share/base.qcow2"), "kvm2", "/share") is reached


def test_two_exporters_with_a_file_of_one_name_and_inode_have_two_files() -> None:
    image = inside(f"{FOLDER}/base.qcow2", 77)
    known = sharing(kvm1=using(local(), files=[image]), kvm2=using(local(), files=[image]))
    assert relation(known) == DIFFERENT
    assert known.has_file("kvm1", ("/", f"{FOLDER}/base.qcow2"), "kvm2", "/") is False


def test_a_folder_of_a_mount_that_the_operator_names_is_on_the_same_storage() -> None:
    sub = nfs("/share", "nfs:filer:/vol/sub")
    known = sharing([{"name": "vms", "sources": ["filer:/vol"]}], kvm1=using(FILER), kvm2=using(sub))
    assert relation(known) == SHARED
    assert known.shared_groups() != []
    assert known.keys_of_files("kvm2", [("/share", "/share/a.qcow2")]) & known.keys_of("kvm1")
    assert known.keys_of_files("kvm1", [("/share", "/share/sub/a.qcow2")]) & known.keys_of("kvm2")
    assert not known.keys_of_files("kvm1", [("/share", "/share/a.qcow2")]) & known.keys_of("kvm2")


def test_mounts_of_one_source_that_the_operator_names_apart_stay_apart() -> None:
    stated = [{"name": "one", "mounts": ["kvm1:/share"]}, {"name": "two", "mounts": ["kvm2:/share"]}]
    known = sharing(stated, kvm1=using(FILER), kvm2=using(FILER))
    assert relation(known) == DIFFERENT
    assert known.shared_groups() == []


FSID = "0f0f0f0f-1111-4222-8333-444444444444"
CEPH = (f"u@{FSID}.fs=/v", f"u@{FSID}.fs=/v/w", "a:/v")
STORAGES = st.sampled_from(
    [
        *(nfs("/share", f"nfs:{server}:{path}") for server in ("a", "b") for path in ("/", "/v", "/v/w", "/w")),
        nfs("/share", f"nfs:kvm1:{FOLDER}"),
        nfs("/share", f"nfs:vip:{FOLDER}"),
        *(cluster(uuid) for uuid in ("1", "2")),
        *(s.Storage("/share", "ceph", source, True, identity=f"ceph:{source}", remote=True) for source in CEPH),
        TAG,
        local(),
        local(["/v"]),
    ]
)
FILES = st.sampled_from([IMAGE, disk("/share/v/w/other.qcow2", 78), inside(f"{FOLDER}/base.qcow2", 77)])
STATEMENTS: st.SearchStrategy[list[dict[str, t.Any]]] = st.sampled_from(
    [
        [],
        [{"name": "one", "sources": ["a:/v"]}],
        [{"name": "one", "sources": ["a:/v"]}, {"name": "two", "sources": ["b:/v"]}],
        [{"name": "one", "mounts": ["kvm1:/share"]}, {"name": "two", "mounts": ["kvm2:/share"]}],
        [{"name": "one", "mounts": ["kvm1:/share", "kvm2:/share"]}],
        [{"name": "one", "sources": [CEPH[0]]}],
    ]
)


@st.composite
def users(draw: st.DrawFn) -> s.Snapshot:
    mounts = draw(st.lists(STORAGES, max_size=2, unique_by=lambda item: item.mount))
    return using(*mounts, files=draw(st.lists(FILES, max_size=2)))


@settings(max_examples=400)
@given(users(), users(), users(), STATEMENTS)
def test_storage_that_is_not_different_is_reported_or_unknown(
    one: s.Snapshot, other: s.Snapshot, third: s.Snapshot, stated: list[dict[str, t.Any]]
) -> None:
    try:
        known = sharing(stated, kvm1=one, kvm2=other, kvm3=third)
    except StorageStatementError:
        return
    for here, there in itertools.product(known.places_of("kvm1"), known.places_of("kvm2")):
        different = known.relation("kvm1", here, "kvm2", there) == DIFFERENT
        if not different and not known.is_open(here.number, there.number):
            assert known.keys_of_files("kvm1", None) & known.keys_of("kvm2")
            assert known.keys_of_files("kvm2", None) & known.keys_of("kvm1")
