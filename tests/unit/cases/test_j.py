# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section J: one item's text costs no other item anything.

A hostile definition in front of the guard is with the guard's own tests, a false claim of storage with section A.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report, report_bounds
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import (
    DomainXmlError,
    HostReadError,
    PlanError,
    SchemaError,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import (
    domain_edit,
    hook_script,
    image_header,
    network_filter,
    qemu_conf,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.domain_xml import parse_domain
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux import dominance
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot, encode
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.mounts import parse_mountinfo
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.shell_settings import ShellSettings
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.paths import MountTable, Paths
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import Root
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import guest_files, orphans
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.document import document
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots

from tests.unit.support import factory, hosts
from tests.unit.support.captured import CapturedRoot, Entry, Tree
from tests.unit.support.faults.case import guest
from tests.unit.support.faults.fleet import clean, on_share, sharing, static
from tests.unit.support.hang import Watch
from tests.unit.support.judging import findings, status

pytestmark = pytest.mark.usefixtures("no_hang")

ROOT_MOUNT = "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw,seclabel\n"
DEEP = "/" + "/".join("d" for _number in range(1000)) + "/disk.raw"


# -- depth -------------------------------------------------------------------------------------------------------------


def test_j1_a_path_of_a_thousand_folders_costs_no_other_file_anything() -> None:
    tree = Tree()
    tree.file("/images/a.raw", label=factory.AT_REST)
    reader = guest_files.FileReader(CapturedRoot(tree), MountTable(parse_mountinfo(ROOT_MOUNT)), 5)
    seen = reader.look_all([DEEP, "/images/a.raw", f"/{'x' * 5000}/a"])
    assert seen["/images/a.raw"].facts.label == factory.AT_REST
    assert seen[DEEP].facts.exists is False
    assert reader.bugs == []


def test_j1_deep_paths_and_links_are_followed_as_the_kernel_does(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    inner = folder
    for _number in range(200):
        inner = inner / "d"
        inner.mkdir()
    (inner / "disk").write_bytes(b"")
    (folder / "in").symlink_to(inner)
    (folder / "again").symlink_to("in/../d/./disk")
    (folder / "loop").symlink_to("loop")
    paths = Paths(Root(), MountTable(parse_mountinfo(ROOT_MOUNT)))
    for path in (inner / "disk", folder / "in" / "disk", folder / "in" / ".." / "d" / "disk", folder / "again"):
        assert paths.resolve(str(path)) == os.path.realpath(path), path
    with pytest.raises(OSError, match="Too many levels"):
        paths.resolve(str(folder / "loop"))


def test_j1_each_folder_of_a_deep_path_under_many_mounts_is_read_once() -> None:
    class Host(CapturedRoot):
        reads: t.ClassVar[list[str]] = []

        def readlink(self, path: str) -> str:
            self.reads.append(path)
            return super().readlink(path)

    mounts = ROOT_MOUNT + "".join(f"{n} 22 0:{n} / /mnt/{n} rw - tmpfs t rw\n" for n in range(30, 230))
    table = MountTable(parse_mountinfo(mounts))
    paths = Paths(Host(Tree()), table)
    for number in range(10):
        assert paths.resolve(f"/mnt/31/{number}{DEEP}").endswith(DEEP)
        mount = table.of(f"/mnt/31/{number}{DEEP}")
        assert mount is not None
        assert mount.mount == "/mnt/31"
    assert len(Host.reads) < 10 * (DEEP.count("/") + 5)


@pytest.mark.parametrize("path", ["//images/a.raw", "///images//a.raw", "//images/../images/a.raw", "/images/a.raw//"])
def test_j1_a_path_with_slashes_too_many_is_the_file_that_the_kernel_takes(path: str, no_hang: Watch) -> None:
    """posixpath keeps two slashes at the beginning, and the folder above them is they themselves."""
    tree = Tree()
    tree.file("/images/a.raw", label=factory.AT_REST)
    table = MountTable(parse_mountinfo(ROOT_MOUNT))
    seen = guest_files.FileReader(CapturedRoot(tree), table, 5).look_all([path, "//", "//none"])
    assert seen[path].facts.label == factory.AT_REST
    assert seen["//none"].facts.exists is False
    mount = table.of(path)
    assert mount is not None
    assert mount.mount == "/"
    assert Paths(CapturedRoot(tree), table).resolve(path) == "/images/a.raw"


NEST = "<a>" * 5000 + "</a>" * 5000
DOMAIN = "<domain type='kvm'><name>n</name><uuid>00000000-0000-4000-8000-000000000001</uuid>{}</domain>"
STORES = "<dataStore type='file'><source file='/d'>" * 2000 + "</source></dataStore>" * 2000


@pytest.mark.parametrize(
    "read",
    [
        lambda: parse_domain(DOMAIN.format(f"<metadata>{NEST}</metadata>")),
        lambda: parse_domain(
            DOMAIN.format(f"<devices><disk type='file'><source file='/a'>{STORES}</source></disk></devices>")
        ),
        lambda: domain_edit.first_difference(DOMAIN.format(NEST), DOMAIN.format(NEST)),
        lambda: network_filter.parse_filter(f"<filter name='x'>{NEST}</filter>"),
        lambda: qemu_conf.parse("user = " + "[" * 5000),
        lambda: ShellSettings([("/etc/default/grub", 'A="$(' * 3000)]),
        lambda: ShellSettings([("/etc/default/grub", "A=${B" + '"${' * 3000)]),
    ],
    ids=["metadata", "data stores", "edit", "filter", "qemu.conf", "substitutions", "variables"],
)
def test_j1_no_reader_goes_as_deep_as_its_input(read: t.Callable[[], object]) -> None:
    with contextlib.suppress(DomainXmlError, PlanError):  # a RecursionError would cost all other items
        read()


# -- text --------------------------------------------------------------------------------------------------------------

SURROGATES = ("a\ud800b", "a\udcffb", "\udfff")


@pytest.mark.controller
@pytest.mark.parametrize("name", SURROGATES)
def test_j3_a_lone_surrogate_in_one_name_leaves_every_document_valid(name: str, tmp_path: Path) -> None:
    snapshot = factory.host()
    snapshot.guests[0].resources[0].path = f"{factory.IMAGES}/{name}"
    snapshot.guests[0].name = name
    snapshot.coverage["xen"].why = name
    assert snapshot.libvirt.conf is not None
    snapshot.libvirt.conf.assignments[0].value = [name]
    for sent in (document(snapshot), encode(snapshot)):
        json.dumps(sent, ensure_ascii=False).encode()
    # A hostile host sends what no honest one does.
    hostile = json.loads(json.dumps(encode(factory.host())).replace('"web"', json.dumps(name)))
    received = decode_snapshot(hostile)
    json.dumps(encode(received), ensure_ascii=False).encode()
    assert [entry.uuid for entry in received.guests] == [entry.uuid for entry in factory.host().guests]
    received.guests[0].context = factory.DAEMON
    (found,) = judge("kvm1", received, f.Settings()).findings
    json.dumps(report.finding_json(found), ensure_ascii=False).encode()
    path = _snapshots.path_of(tmp_path, "kvm1")
    path.write_text(json.dumps(hostile))
    again = _snapshots.read(tmp_path, "kvm1")
    assert isinstance(again, Snapshot)


@pytest.mark.controller
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_j3_a_number_that_json_does_not_have_is_refused(number: str) -> None:
    text = json.dumps({**encode(factory.host()), "taken_at": 4711}).replace("4711", number)
    with pytest.raises(SchemaError, match="out of range"):
        decode_snapshot(json.loads(text))


# -- evidence ----------------------------------------------------------------------------------------------------------

NOW = datetime.datetime(2026, 11, 30, 12, 0, 0, tzinfo=datetime.timezone.utc)


def audited(hosts: t.Sequence[Snapshot]) -> dict[str, t.Any]:
    """The report of these hosts."""
    compared_hosts = [analysis.compared_host(host.host.name, host) for host in hosts]
    fleet = analysis.judge(compared_hosts)
    results = [
        report.judged(judge(host.host.name, host, f.Settings()), host.coverage)
        for host in hosts
        if host.host.name != "liar" or len(host.guests) < 2000
    ]
    return report.build(results, fleet, (), "low", NOW)


def size(document: t.Any) -> int:
    return len(json.dumps(document, sort_keys=True))


def nested(number: int) -> list[t.Any]:
    """Guests whose levels contain one another, the largest all others."""
    return [on_share(f"n{i}", f"s0:c0.c{i % 1022 + 1}", **static(f"s0:c0.c{i % 1022 + 1}")) for i in range(number)]


@pytest.mark.parametrize("number", [1023, 3000])
def test_j5_nested_levels_of_one_host_add_a_bounded_part(number: int) -> None:
    base = audited(clean())
    document = audited([*clean(), sharing("liar", *nested(number))])
    assert size(document) - size(base) < 1_000_000
    assert document["verdict"] == "fail"
    liar = next(host for host in document["hosts"] if host["name"] == "liar") if number < 2000 else None
    if liar is not None:
        assert liar["verdict"] == "fail"
        assert any(
            {"too_many_labels", "too_many_wide_labels"} & {*outcome.get("codes", ())} for outcome in liar["outcomes"]
        )


@pytest.mark.parametrize("weight", [4, 8])
def test_j5_one_heavier_label_does_not_compare_a_family_of_labels_with_itself(
    weight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All labels of a tenant share their two lowest categories; a stranger has one of more categories."""
    chance = random.Random(weight)  # noqa: S311
    levels = [
        "s0:" + ",".join(f"c{n}" for n in (0, 1, *sorted(chance.sample(range(2, 1024), weight - 2))))
        for _number in range(2000)
    ]
    family = sharing("kvm3", *(on_share(f"t{number}", level) for number, level in enumerate(levels)))
    heavy = f"{levels[0]},c1020.c1023" if weight == 4 else "s0:c0.c8"
    compared_hosts = [
        analysis.compared_host(host.host.name, host)
        for host in (*clean(), family, sharing("liar", on_share("x", heavy)))
    ]
    compared: list[int] = []
    candidates = dominance._Index.candidates

    def counted(index: t.Any, bits: tuple[int, ...]) -> list[t.Any]:
        result: list[t.Any] = candidates(index, bits)
        compared.append(len(result))
        return result

    monkeypatch.setattr(dominance._Index, "candidates", counted)
    fleet = analysis.judge(compared_hosts)
    assert 0 < sum(compared) < 10 * len(levels), "each level with each of its family: a million times two"
    assert fleet.outcomes == {}
    found = {finding.subject for finding in fleet.findings}
    assert weight == 8 or any(subject.startswith("s0:c0,c1,") for subject in found)


def test_j5_what_is_left_out_is_counted_and_every_rule_is_shown() -> None:
    liar = factory.host()
    liar.host.name = "liar"
    template = guest(liar, "spare")
    for number in range(1500):
        copy = type(template)(f"{number:08d}-0000-4000-8000-000000000000", f"{'n' * 3000}{number}", "shutoff", False)
        copy.persistent_labels = [type(guest(liar, "db").live[0])("selinux", "none")]
        copy.risks = ["custom_argv", "x" * 60_000]
        liar.guests.append(copy)
    judgement = judge("liar", liar, f.Settings())
    result = report.judged(judgement, liar.coverage)
    document = report.build([result], analysis.Fleet(), (), "low", NOW)
    assert size(document) < 1_000_000
    (host,) = document["hosts"]
    total = len(judgement.findings)
    assert sum(host["counts"].values()) == total
    assert len(document["findings"]) + host["omitted"]["findings"] == total == 3000
    assert document["fleet"]["omitted"] == host["omitted"]["findings"] == sum(host["omitted"]["by_rule"].values())
    assert {item["rule"] for item in document["findings"]} == {"GST-003", "GST-009"}
    order = [(f.SEVERITIES.index(item["severity"]), item["rule"]) for item in document["findings"]]
    assert order == sorted(order)


def test_j5_a_liar_takes_no_finding_about_two_others_out_of_the_report() -> None:
    pairs = [(f"s0:c{n},c{n + 1}", f"a{n}", f"b{n}") for n in range(0, 300, 2)]
    one = sharing("kvm1", *(on_share(a, level) for level, a, _b in pairs))
    two = sharing("kvm2", *(on_share(b, level) for level, _a, b in pairs))
    copies = [on_share(f"l{n}", f"s0:c{n},c{n + 1}") for n in range(1000)]
    without = audited([one, two])
    document = audited([one, two, sharing("liar", *copies)])
    before = {item["subject"] for item in without["findings"] if item["rule"] == "CAT-001"}
    after = {item["subject"] for item in document["findings"] if item["rule"] == "CAT-001"}
    assert len(before) == 150
    assert before <= after


@pytest.mark.parametrize(
    "evidence",
    [
        {"a": "x" * 100_000},
        {"a": ["x" * 5000] * 5000},
        {"a": {f"k{number}": "y" * 3000 for number in range(5000)}},
        {f"k{number}": "z" * 3000 for number in range(5000)},
        {"guests": [{"guest": "g" * 60_000, "host": "h"}] * 500, "guests_in_all": 9000},
    ],
)
def test_j5_evidence_is_bounded_and_says_how_much_there_is(evidence: dict[str, t.Any]) -> None:
    bounded = report_bounds.bounded({"subject": "s" * 70_000, "fix": "F", "evidence": evidence})
    assert size(bounded) < report_bounds.MAX_EVIDENCE + 10_000
    assert bounded["subject"].endswith("(70000 characters)")
    assert any(
        "characters)" in str(value) or str(name).endswith("_in_all") for name, value in bounded["evidence"].items()
    )


def test_j5_small_evidence_stays_as_it_is() -> None:
    document = {"subject": "guest web", "evidence": {"a": [1, None, True], "b": {"c": "d"}, "e": "", "f": 2.5}}
    assert report_bounds.bounded(document) == document


# -- storage that hangs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["fuse.sshfs", "fuse", "nfs4", "autofs", "ceph"])
@pytest.mark.parametrize("point", ["/data/hung", "/data/sub/hung"])
def test_j6_a_mount_that_may_hang_below_a_searched_folder_is_never_touched(type_: str, point: str) -> None:
    tree = Tree()
    tree.file(f"{point}/x.raw")
    label = "system_u:object_r:svirt_image_t:s0:c1,c2"
    tree.file("/data/sub/y.raw", label=label, ino=7)
    mounts = MountTable(parse_mountinfo(ROOT_MOUNT + f"32 22 0:51 / {point} rw - {type_} me@host:/x rw\n"))

    class Host(CapturedRoot):
        def _find(self, path: str, follow: bool, links: int = 0) -> tuple[str, Entry]:
            assert not path.startswith(point), f"{path} was touched"
            return super()._find(path, follow, links)

    search = orphans.OrphanSearch(Host(tree), mounts, orphans.OwnedFiles(), frozenset(("svirt_image_t",)), 5)
    search.run(["/data"])
    assert list(search.found) == ["/data/sub/y.raw"]
    assert (search.problems, search.bugs) == ([], [])


# -- text that no reader foresaw --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", ["\\", "echo a\\", "echo \u00a0b", "\x0b", "\x0cexit 0", "a\u2028b\n", "<<\x85E\n"])
def test_j_a_character_that_begins_no_word_of_a_hook_ends_the_reading(rest: str) -> None:
    assert hook_script.outcome(f"#!/bin/sh\n{rest}") == hook_script.UNKNOWN


@pytest.mark.parametrize("driver", [["file"], {"file": 1}, 7, None, True])
def test_j_a_header_whose_driver_is_no_text_costs_its_own_chain_only(driver: t.Any) -> None:
    name = "json:" + json.dumps({"driver": driver, "filename": "/base.raw"})
    with pytest.raises(HostReadError) as caught:
        image_header.local_path(name, "/i/top.qcow2")
    assert caught.value.code == "chain_not_followed"


@pytest.mark.parametrize(
    "content", [b"<pool type='dir'>\xff</pool>", b"<pool", b"\xed\xa0\x80", b"<!DOCTYPE x><pool/>"]
)
def test_j_a_pool_that_cannot_be_read_costs_its_own_volumes_only(content: bytes) -> None:
    tree = hosts.el9()
    tree.file("/etc/libvirt/storage/bad.xml", content)
    assert hosts.look(tree).coverage["orphans"].status == "ok"


def test_j_capabilities_that_are_no_text_leave_the_guests_known() -> None:
    tree = hosts.el9()
    tree.libvirt[-1] = {"capabilities": hosts.CAPABILITIES.replace("dac", "\ud800")}
    snapshot = hosts.look(tree)
    assert (snapshot.coverage["libvirt"].status, len(snapshot.guests)) == ("unknown", 1)


LONG = f"<serial type='dev'><source path='/{'a' * 5000}'/></serial>"


@pytest.mark.parametrize("xml", [hosts.status(more=LONG), "<domstatus", None])
def test_j_a_running_guest_whose_xml_is_bad_keeps_its_process(xml: str | None) -> None:
    tree = hosts.el9()
    tree.libvirt[:] = hosts.answer(live="<domain")
    tree.entries.pop("/run/libvirt/qemu/web.xml")
    if xml is not None:
        tree.file("/run/libvirt/qemu/web.xml", xml, mode=0o600)
    label = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
    tree.entries[f"/proc/{hosts.PID}/attr/current"].content = f"{label}\0".encode()
    snapshot = hosts.look(tree)
    (guest,) = snapshot.guests
    assert (guest.pid, guest.context) == (hosts.PID, label)
    assert guest.error
    assert ("GST-002", "guest web") in [(item.rule, item.subject) for item in findings(snapshot)]
    assert status(snapshot, "GST-001") == "pass"
