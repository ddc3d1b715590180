# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real enforcing host, captured: Debian 13, libvirt 11.3, with the lab's guests and its default faults."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.boot import complete
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot, TypeFacts
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Options, Probe, Tools

from tests.unit.support.captured import CapturedRoot, Tree

KVM1 = Path(__file__).parent / "fixtures" / "kvm1"


def snapshot_of(tree: Tree, ask: t.Callable[..., t.Any] | None = None) -> Snapshot:
    tools = Tools(ask=ask or (lambda _uri, _known: tree.libvirt), strict=True, now=lambda: 0.0)
    probe = Probe(CapturedRoot(tree), Options(timeout=10, boot=True), tools)
    return complete(probe.take(), probe.boot_files)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return snapshot_of(Tree().load(KVM1))


def test_all_of_it_was_read(snapshot: Snapshot) -> None:
    assert {area for area, entry in snapshot.coverage.items() if entry.status != "ok"} == {"xen"}


def test_the_host(snapshot: Snapshot) -> None:
    assert (snapshot.host.name, snapshot.host.os_id, snapshot.host.root) == ("kvm1", "debian", True)
    selinux = snapshot.selinux
    assert (selinux.mode, selinux.configured_mode, selinux.policy, selinux.mls) == ("enforcing",) * 2 + (
        "default",
        True,
    )
    assert selinux.guest_types == ["svirt_t"]
    assert TypeFacts("svirt_t", True, False, True, False) in selinux.types
    assert [entry.title.rpartition(">")[2].partition(",")[0] for entry in selinux.boot_entries] == [
        "Debian GNU/Linux"
    ] * 3
    assert all("security=selinux" in entry.arguments for entry in selinux.boot_entries)
    daemon = snapshot.libvirt.daemon
    assert daemon is not None
    assert (daemon.name, daemon.context) == ("libvirtd", "system_u:system_r:virtd_t:s0")
    assert (snapshot.libvirt.version, snapshot.libvirt.qemu_uid) == ("11.3.0", 64055)


def test_the_guests(snapshot: Snapshot) -> None:
    guests = {guest.name: guest for guest in snapshot.guests}
    assert {name for name, guest in guests.items() if guest.active} == {
        "web1",
        "db1",
        "app1",
        "mail1",
        "node1",
        "twin1",
    }
    assert {name for name, guest in guests.items() if not guest.active} == {"spare1", "archive1"}
    for guest in guests.values():
        for item in guest.resources:
            assert item.file.exists is True
            if guest.active and item.role in ("image", "shared", "content"):
                assert item.file.label == item.expected, (guest.name, item.path)
    kinds = {name: sorted(item.kind for item in guest.resources) for name, guest in guests.items()}
    assert kinds["db1"] == ["backing", "disk", "state_dir"]
    assert kinds["mail1"] == ["cdrom", "disk", "state_dir"]
    assert [item.role for item in guests["node1"].resources if item.kind == "disk"] == ["image", "shared"]


def test_processes_are_their_guests(snapshot: Snapshot) -> None:
    by_uuid = {guest.uuid: guest for guest in snapshot.guests}
    for process in snapshot.processes:
        if process.guest is None:
            assert process.name == "handmade"  # started by hand
        else:
            assert (process.name, process.context) == (by_uuid[process.guest].name, by_uuid[process.guest].context)
    assert len(snapshot.processes) == 7


def test_the_export_is_on_the_storage_that_holds_it(snapshot: Snapshot) -> None:
    (storage,) = snapshot.storage
    assert (storage.mount, storage.type, storage.labelled, storage.exports) == ("/", "ext4", True, ["/srv/vms"])
    assert storage.labelled_exports == ["/srv/vms"]


def test_the_policys_answers_bear_the_rules(snapshot: Snapshot) -> None:
    answers = {item.target.split(":", 2)[2]: (item.read, item.write) for item in snapshot.selinux.access}
    assert answers["svirt_image_t:s0"] == (True, True)
    assert answers["virt_content_t:s0"] == (True, False)
    assert answers["virt_image_t:s0"] == (False, False)
    assert {answer for label, answer in answers.items() if ":s0:c" in label} == {(False, False)}


def test_without_libvirt_its_files_say_nearly_the_same(snapshot: Snapshot) -> None:
    def down(_uri: str, _known: t.Collection[str]) -> t.NoReturn:
        raise OSError(111, "Connection refused")

    tree = Tree().load(KVM1)
    for item in tree.libvirt:
        if "inactive" in item:  # what libvirt keeps there; the capture had no need of it
            tree.file(f"/etc/libvirt/qemu/{item['name']}.xml", f"<!-- a warning -->\n{item['inactive']}")
    other = snapshot_of(tree, down)
    assert {area for area, entry in other.coverage.items() if entry.status == "unknown"} == {"libvirt", "guests"}
    assert len(snapshot.guests) == len(other.guests)
    for one, two in zip(snapshot.guests, other.guests):
        two.source = one.source
        assert one == two


def test_the_rules_find_what_is_wrong_with_it(snapshot: Snapshot) -> None:
    judgement = judge("kvm1", snapshot, f.Settings())
    # It was captured before libvirt was asked for its network filters.
    unknown = [outcome.rule for outcome in judgement.outcomes if outcome.status == f.UNKNOWN]
    assert unknown == ["NET-002", "NET-003"]
    assert {finding.rule for finding in judgement.findings if finding.severity in ("critical", "high")} != set()
