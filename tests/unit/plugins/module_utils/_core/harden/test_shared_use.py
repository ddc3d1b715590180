# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_statements import (
    StorageStatements,
    parse_storage,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import shared_use
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.shared_use import FileUse, FolderUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    UNKNOWN,
    Coverage,
    Process,
    Snapshot,
    Storage,
)

from tests.unit.support import factory
from tests.unit.support.factory import IMAGES, SHARE, process_label
from tests.unit.support.faults.case import guest


def host(name: str, **share: t.Any) -> Snapshot:
    """A host that mounts the share and has the disk of guest db there."""
    snapshot = factory.host()
    snapshot.host.name = name
    snapshot.storage.append(factory.share(**share))
    factory.on_share(guest(snapshot, "db"), f"{SHARE}/{name}.raw")
    return snapshot


def stated(*hosts: str, source: str = "filer:/vms") -> StorageStatements:
    """The operator's word on who uses the share."""
    return parse_storage([{"name": "vms", "sources": [source], "hosts": list(hosts)}])


def told(
    snapshots: dict[str, Snapshot], unread: t.Sequence[str] = (), statements: StorageStatements | None = None
) -> dict[str, dict[str, FolderUse]]:
    """What each host gets, by folder; through JSON's own types and back."""
    usages = [shared_use.usage(name, snapshot) for name, snapshot in snapshots.items()]
    documents = shared_use.documents(usages, unread, stated(*snapshots) if statements is None else statements)
    return {name: {one.folder: one for one in map(FolderUse.of, found)} for name, found in documents.items()}


def test_each_host_gets_what_the_other_uses() -> None:
    result = told({"kvm1": host("kvm1"), "kvm2": host("kvm2")})
    assert set(result["kvm1"]) == {SHARE}
    one = result["kvm1"][SHARE]
    assert (one.complete, one.why) == (True, "")
    assert [(item.path, item.by) for item in one.in_use] == [(f"{SHARE}/kvm2.raw", "guest db on kvm2")]
    assert one.in_use[0].inode is not None
    assert one.levels == ("s0:c17,c42", "s0:c40,c300,c600,c900")
    assert [item.path for item in result["kvm2"][SHARE].in_use] == [f"{SHARE}/kvm1.raw"]


def test_it_is_complete_where_the_snapshots_of_each_two_hosts_decide() -> None:
    one = told({"kvm1": host("kvm1"), "kvm2": host("kvm2")}, statements=parse_storage([]))["kvm1"][SHARE]
    assert (one.complete, one.why, len(one.in_use)) == (True, "", 1)


def test_it_is_not_complete_where_they_leave_it_open() -> None:
    other = host("kvm2")
    other.guests = []
    other.storage[-1].source, other.storage[-1].identity = "192.0.2.9:/other", "nfs:192.0.2.9:/other"
    one = told({"kvm1": host("kvm1"), "kvm2": other}, statements=parse_storage([]))["kvm1"][SHARE]
    assert not one.complete
    assert "it is not known whether other hosts have it" in one.why


def test_a_host_that_the_statement_leaves_out_or_that_was_not_read_ends_it() -> None:
    hosts = {"kvm1": host("kvm1"), "kvm2": host("kvm2")}
    assert "kvm2 has it too" in told(hosts, statements=stated("kvm1"))["kvm1"][SHARE].why
    assert "kvm7 could not be read" in told(hosts, statements=stated("kvm1", "kvm2", "kvm7"))["kvm1"][SHARE].why


def test_paths_are_given_as_the_host_sees_them() -> None:
    other = host("kvm2")
    other.storage[-1].mount = "/data/far"
    factory.on_share(guest(other, "db"), "/data/far/below/x.raw").file.mount = "/data/far"
    result = told({"kvm1": host("kvm1"), "kvm2": other})
    assert [item.path for item in result["kvm1"][SHARE].in_use] == [f"{SHARE}/below/x.raw"]


def test_storage_without_labels_counts_too() -> None:
    result = told({"kvm1": host("kvm1", labelled=False), "kvm2": host("kvm2", labelled=False)})
    assert len(result["kvm1"][SHARE].in_use) == 1


def test_an_exporting_and_a_mounting_host() -> None:
    exporter = factory.host()
    exporter.host.name = "filer"
    exporter.storage[0].exports = [IMAGES]
    client = host("kvm2")
    client.storage[-1].identity = f"nfs:filer:{IMAGES}"
    statement = {"name": "images", "mounts": [f"filer:{IMAGES}", f"kvm2:{SHARE}"], "hosts": ["filer", "kvm2"]}
    result = told({"filer": exporter, "kvm2": client}, statements=parse_storage([statement]))
    assert [(item.path, item.by) for item in result["filer"][IMAGES].in_use] == [("", "guest db on kvm2")]
    assert result["filer"][IMAGES].complete
    by = {item.by for item in result["kvm2"][SHARE].in_use}
    assert by == {"guest web on filer", "guest db on filer"}


def test_other_storage_is_left_out() -> None:
    other = host("kvm2")
    other.storage[-1].identity, other.storage[-1].source = "nfs:filer:/other", "filer:/other"
    result = told({"kvm1": host("kvm1"), "kvm2": other})
    assert result["kvm1"][SHARE].in_use == ()
    assert told({"kvm1": factory.host()}) == {"kvm1": {}}


def test_guests_that_are_off_use_nothing() -> None:
    other = host("kvm2")
    guest(other, "db").active = False
    assert told({"kvm1": host("kvm1"), "kvm2": other})["kvm1"][SHARE].in_use == ()


def test_a_host_that_could_not_be_read_may_use_anything() -> None:
    result = told({"kvm1": host("kvm1"), "kvm2": host("kvm2")}, ["kvm9"], parse_storage([]))
    for name in ("kvm1", "kvm2"):
        assert not result[name][SHARE].complete
        assert result[name][SHARE].why == "kvm9 could not be read, and may use it"


def test_doubts_about_a_host_are_doubts_about_what_it_shares() -> None:
    other = host("kvm2")
    other.coverage["guests"] = Coverage(UNKNOWN, "no answer")
    third = host("kvm3")
    third.storage[-1].identity, third.storage[-1].source = "nfs:filer:/other", "filer:/other"
    result = told({"kvm1": host("kvm1"), "kvm2": other, "kvm3": third}, statements=stated("kvm1", "kvm2"))
    assert result["kvm1"][SHARE].why == "not all guests of kvm2 could be read"
    assert result["kvm2"][SHARE].complete
    assert not result["kvm3"][SHARE].complete


def test_files_that_could_not_be_looked_at() -> None:
    other = host("kvm2")
    factory.on_share(guest(other, "db"), f"{SHARE}/kvm2.raw").file.inode = None
    one = told({"kvm1": host("kvm1"), "kvm2": other})["kvm1"][SHARE]
    assert one.why == "files of guest db on kvm2 could not be looked at"
    assert [item.path for item in one.in_use] == [f"{SHARE}/kvm2.raw"]
    factory.on_share(guest(other, "db"), f"{SHARE}/kvm2.raw").file.mount = None
    assert not told({"kvm1": host("kvm1"), "kvm2": other})["kvm1"][SHARE].complete
    other = host("kvm2")
    guest(other, "web").error = "half of its XML"
    assert "could not be read wholly" in told({"kvm1": host("kvm1"), "kvm2": other})["kvm1"][SHARE].why


def test_levels_of_hand_started_guests_are_listed() -> None:
    other = host("kvm2")
    other.processes.append(Process(9, "qemu", "/x", "x", process_label("s0:c5")))
    other.processes.append(Process(10, "qemu", "/x", "x", "nonsense"))
    assert "s0:c5" in told({"kvm1": host("kvm1"), "kvm2": other})["kvm1"][SHARE].levels


def test_devices_are_not_files_on_storage() -> None:
    other = host("kvm2")
    other.storage.append(Storage("/dev/x", "block", "8:0", True, identity="wwn:1"))
    factory.on_share(guest(other, "db"), "/dev/x").file.kind = "block"
    assert told({"kvm1": host("kvm1"), "kvm2": other})["kvm1"][SHARE].in_use == ()


def test_a_document_in_few_words() -> None:
    assert FolderUse.of({"folder": "/a//b/", "complete": True, "why": None, "in_use": [{"inode": 5}]}) == FolderUse(
        "/a/b", True, in_use=(FileUse(5, "", "a guest of another host"),)
    )
