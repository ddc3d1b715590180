# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""libvirt 9 to 12: the keys, XML and status files of each version are read, and those of later ones are told apart."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot

from tests.unit.support import hosts
from tests.unit.support.versions import RELEASES, host

INDEXES = range(len(RELEASES))
NAMES = [release.name for release in RELEASES]


def look(upto: int) -> Snapshot:
    return hosts.look(host(upto))


@pytest.mark.parametrize("upto", INDEXES, ids=NAMES)
def test_all_of_it_is_read(upto: int) -> None:
    snapshot = look(upto)
    assert {area for area, entry in snapshot.coverage.items() if entry.status == "unknown"} == set()
    assert snapshot.libvirt.version == RELEASES[upto].name
    (guest,) = snapshot.guests
    assert (guest.active, guest.error, guest.context) == (True, "", hosts.LABEL)
    seen = {(item.kind, item.path, item.role) for item in guest.resources}
    for release in RELEASES[: upto + 1]:
        assert set(release.files) <= seen
    assert {"disk", "backing", "state_dir"} <= {item.kind for item in guest.resources}


@pytest.mark.parametrize("upto", INDEXES, ids=NAMES)
def test_its_files_fit_and_nothing_is_in_doubt(upto: int) -> None:
    judgement = judge("node1", look(upto), f.Settings())
    assert [(item.rule, item.subject) for item in judgement.findings if item.rule.startswith("IMG")] == []
    unknown = [(item.rule, item.why) for item in judgement.outcomes if item.status == f.UNKNOWN]
    assert unknown == []


@pytest.mark.parametrize("upto", INDEXES, ids=NAMES)
def test_its_own_keys_are_known_and_later_ones_are_named(upto: int) -> None:
    assert [item for item in judge("node1", look(upto), f.Settings()).findings if item.rule == "LIB-006"] == []
    for later in INDEXES[upto + 1 :]:
        tree = host(later)
        tree.libvirt[0]["version"] = RELEASES[upto].number
        findings = [item for item in judge("node1", hosts.look(tree), f.Settings()).findings if item.rule == "LIB-006"]
        keys = {line.partition(" =")[0] for line in RELEASES[later].keys.splitlines()}
        named = {item.subject.removeprefix("qemu.conf ") for item in findings}
        # A key that the older version has too, with a value that it does not know, is in doubt, not unknown.
        assert keys - {"save_image_format"} <= named
        assert {item.severity for item in findings} == {"low"}


def test_a_live_definition_without_a_status_file_says_the_same() -> None:
    tree = host(2)
    whole = hosts.look(tree).guests[0]
    text = tree.entries["/run/libvirt/qemu/web.xml"].content.decode()
    live = text[text.index("<domain ") : text.index("</domstatus>")]
    del tree.entries["/run/libvirt/qemu/web.xml"]
    tree.libvirt[1]["live"] = live
    other = hosts.look(tree).guests[0]
    only_status = {"state_dir", "memory_dir", "tpm_socket"}
    assert {(item.kind, item.path, item.role) for item in other.resources if item.kind not in only_status} == {
        (item.kind, item.path, item.role) for item in whole.resources if item.kind not in only_status
    }
