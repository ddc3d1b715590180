# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StorageStatementError
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_statements import parse_storage

VMS = {"name": "vms", "sources": ["Filer:/vol/"], "mounts": ["kvm7:/srv/vms/"], "hosts": ["kvm1", "kvm7"]}


def test_statements_are_looked_up_by_mount_then_by_source() -> None:
    stated = parse_storage([VMS, {"name": "b", "mounts": ["kvm9:/share"]}])
    assert stated.name_of("kvm1", "/share", "filer:/vol") == "vms"
    assert stated.name_of("kvm9", "/share", "filer:/vol") == "b"
    assert stated.name_of("kvm7", "/srv/vms") == "vms"
    assert stated.name_of("kvm1", "/share", "filer:/other") == ""
    assert (stated.hosts_of("vms"), stated.hosts_of("b")) == (("kvm1", "kvm7"), ())


@pytest.mark.parametrize(
    ("items", "code", "message"),
    [
        ({"name": "vms"}, "storage_list", "storage: expected a list"),
        ([7], "entry", "storage[0]: expected a storage with name and sources, got int 7"),
        ([{"sources": ["a:/b"]}], "name", "storage[0]: name is None"),
        ([{"name": "a b", "sources": ["a:/b"]}], "name", "storage[0]: name is 'a b'"),
        ([{**VMS, "host": "x"}], "unknown_field", "storage[0] vms: unknown field 'host'; known are name, sources"),
        ([{"name": "vms"}], "empty", "give sources, such as filer:/vol/vms, or mounts"),
        ([{"name": "vms", "sources": "a:/b"}], "not_a_list", "sources is 'a:/b'; give a list of texts"),
        ([{"name": "vms", "sources": [" "]}], "text", "sources has the entry ' '"),
        ([{"name": "vms", "mounts": ["/srv"]}], "mount", "mounts has the entry '/srv'; give HOST:/FOLDER"),
        ([VMS, VMS], "name_twice", "two storages have the name vms"),
        ([VMS, {"name": "b", "sources": ["filer:/vol"]}], "mount_twice", "filer:/vol is in the storages vms and b"),
        ([VMS, {"name": "b", "mounts": ["kvm7:/srv/vms"]}], "mount_twice", "kvm7:/srv/vms is in the storages"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(items: t.Any, code: str, message: str) -> None:
    with pytest.raises(StorageStatementError) as caught:
        parse_storage(items)
    assert caught.value.code == code
    assert message in str(caught.value)
