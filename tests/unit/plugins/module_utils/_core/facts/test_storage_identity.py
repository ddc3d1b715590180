# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import itertools

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts import storage_identity as ids
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.connected import DisjointSets
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from hypothesis import example, given
from hypothesis import strategies as st

FSID = "0f0f0f0f-1111-4222-8333-444444444444"
OTHER = "0f0f0f0f-1111-4222-8333-555555555555"


def identity(text: str | None, type_: str = "nfs4", source: str = "", declared: str = "") -> ids.StorageIdentity:
    storage = s.Storage("/share", type_, source or (text or "").partition(":")[2], True, identity=text, remote=True)
    made = ids.identity_of(storage, declared)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("one", "other", "relation"),
    [
        ("nfs:filer:/vol", "nfs:filer:/vol", ids.SHARED),
        ("nfs:Filer.:/vol/", "nfs:filer:/vol", ids.SHARED),
        ("nfs:filer:/vol", "nfs:filer:/vol/images", ids.SHARED),
        ("nfs:filer:/", "nfs:filer:/vol", ids.SHARED),
        ("nfs:filer:/srv/vol", "nfs:filer:/vol", ids.OPEN),
        ("nfs:filer:/a", "nfs:filer:/b", ids.DIFFERENT),
        ("nfs:filer:/vol", "nfs:filer:/vol2", ids.DIFFERENT),
        ("nfs:filer:/vol", "nfs:192.0.2.9:/vol", ids.OPEN),
        ("nfs:filer:/vol", "ceph:filer:/vol", ids.OPEN),
        ("ceph:a:6789,b:6789:/vms", "ceph:b:6789,a:6789:/vms", ids.SHARED),
        ("ceph:a:6789,b:6789:/vms", "ceph:b:6789,c:6789:/vms", ids.SHARED),
        (f"ceph:x@{FSID}.fs=/vms", f"ceph:y@{FSID}.fs=/vms/sub", ids.SHARED),
        (f"ceph:x@{FSID}.fs=/vms", f"ceph:y@{OTHER}.fs=/vms", ids.DIFFERENT),
        (f"ceph:x@{FSID}.fs=/vms", f"ceph:y@{FSID}.other=/vms", ids.DIFFERENT),
        (f"ceph:x@{FSID}.fs=/vms", "ceph:a:6789:/vms", ids.OPEN),
        ("uuid:5a17", "uuid:5a17", ids.SHARED),
        ("uuid:5a17", "uuid:5a18", ids.DIFFERENT),
        ("uuid:5a17", "nfs:filer:/vol", ids.OPEN),
        ("glusterfs:node1:/vms", "glusterfs:node2:/vms", ids.OPEN),
    ],
)
def test_two_mounts_are_one_storage_or_two_or_that_is_open(one: str, other: str, relation: str) -> None:
    assert ids.relation(identity(one), identity(other)) == relation
    assert ids.relation(identity(other), identity(one)) == relation


def test_a_source_without_a_server_names_no_storage() -> None:
    tag = identity(None, "virtiofs", "vms")
    assert not tag.names_storage
    assert ids.relation(tag, identity("nfs:filer:/vol")) == ids.OPEN


def test_what_the_operator_declares_is_proof() -> None:
    one, other = identity("nfs:a:/x", declared="vms"), identity("nfs:b:/y", declared="vms")
    assert ids.relation(one, other) == ids.SHARED
    assert ids.relation(one, identity("nfs:a:/x/y", declared="other")) == ids.DIFFERENT
    assert ids.relation(one, identity("nfs:c:/x")) == ids.OPEN


TEXTS = st.sampled_from(
    [
        *(f"nfs:{server}:{path}" for server in ("a", "b") for path in ("/", "/v", "/v/w", "/w", "/x")),
        *("uuid:1", "uuid:2", "ceph:a:/v", "ceph:a,b:/v", f"ceph:u@{FSID}.fs=/v", f"ceph:u@{OTHER}.fs=/v/w"),
    ]
)
IDENTITIES = st.lists(st.tuples(TEXTS, st.sampled_from(["", "", "one", "two"])), max_size=8, unique=True)


@example([("nfs:a:/w", ""), ("ceph:a:/v", "")])
@given(IDENTITIES)
def test_groups_connect_all_that_is_not_different(drawn: list[tuple[str, str]]) -> None:
    made = list(dict.fromkeys(identity(text, declared=declared) for text, declared in drawn))
    parts = DisjointSets(ids.connected(made))
    for one, other in itertools.combinations(range(len(made)), 2):
        if ids.relation(made[one], made[other]) != ids.DIFFERENT:
            assert parts.find(one) == parts.find(other)
