# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.sharing import Sharing
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import host_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_identity import DIFFERENT, OPEN, SHARED
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_statements import parse_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

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
