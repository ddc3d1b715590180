# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The snapshot that is made of a host's answer, honest or not."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SchemaError
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts import boot as facts
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders import files as boot_files
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.document import boot_document, document, pack
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Options, Probe, Tools
from ansible_collections.svirt.fleet.plugins.plugin_utils._probe_answer import read_answer, summary, unpack

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree

KVM1 = Path(__file__).parents[1] / "module_utils" / "_host" / "probe" / "fixtures" / "kvm1"
CFG, SNIPPET = "/boot/grub2/grub.cfg", "/boot/loader/entries/a.conf"


def sent(tree: Tree) -> dict[str, t.Any]:
    """What a host sends."""
    tools = Tools(ask=lambda _uri, _known: tree.libvirt, strict=True, now=lambda: 1700001000.0)
    probe = Probe(CapturedRoot(tree, hosts.policy() if not tree.answers else None), Options(5.0, boot=True), tools)
    answer = {"snapshot": document(probe.take())}
    assert probe.boot_files is not None
    return {**answer, "boot": boot_document(probe.boot_files)}


def captured() -> Tree:
    return Tree().load(KVM1)


def answered(answer: dict[str, t.Any]) -> dict[str, t.Any]:
    return read_answer(pack(answer))[0]


@pytest.mark.parametrize("make", [hosts.el9, hosts.fedora, hosts.apparmor, hosts.bare])
def test_an_answer_gives_the_snapshot_that_the_texts_give_on_the_host(make: t.Callable[[], Tree]) -> None:
    assert answered(sent(make())) == document(hosts.look(make()))


def test_entries_of_a_captured_host_are_listed() -> None:
    whole, snapshot = read_answer(pack(sent(captured())))
    entries = snapshot.selinux.boot_entries
    assert [(entry.source, entry.own) for entry in entries] == [("/boot/grub/grub.cfg", True)] * 3
    assert whole["coverage"]["boot"] == {"status": "ok", "why": "", "codes": []}


def test_bytes_that_are_no_utf8_reach_the_parser_and_leave_it_clean() -> None:
    tree = hosts.bare()
    del tree.entries["/boot/grub/grub.cfg"]
    tree.file(CFG, "menuentry 'caf\udce9' {\n\tlinux /vmlinuz root=LABEL=\udce9 ro\n}\n")
    whole = answered(sent(tree))
    [entry] = whole["selinux"]["boot_entries"]
    assert (entry["title"], entry["arguments"]) == ("caf\\xe9", "root=LABEL=\\xe9 ro")
    assert whole == document(hosts.look(tree))


def test_reasons_of_the_host_and_of_the_texts_are_in_one_coverage() -> None:
    tree = hosts.el9()
    tree.file(SNIPPET, "linux /vmlinuz\n")
    tree.entries[SNIPPET].errno = 13
    tree.file("/boot/grub/grub.cfg", "if true; then\n")
    entry = answered(sent(tree))["coverage"]["boot"]
    assert (entry["status"], entry["codes"]) == ("unknown", ["boot_files_unread", "boot_text_unclear"])


def test_a_host_whose_boot_files_failed_keeps_its_reason() -> None:
    answer = sent(hosts.el9())
    del answer["boot"]
    answer["snapshot"]["coverage"]["boot"] = {"status": "unknown", "why": "RuntimeError", "codes": ["unexpected_error"]}
    assert answered(answer)["coverage"]["boot"]["codes"] == ["unexpected_error"]


def test_a_parser_that_fails_costs_its_area_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_files: t.Any) -> t.NoReturn:
        raise RecursionError("too deep")

    monkeypatch.setattr(facts, "listed", fail)
    whole = answered(sent(hosts.el9()))
    assert whole["coverage"]["boot"]["codes"] == ["unexpected_error"]
    assert (whole["selinux"]["boot_entries"], whole["coverage"]["guests"]["status"]) == ([], "ok")


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.update(boot=[]),
        lambda answer: answer.update(boot=None),
        lambda answer: answer["boot"].pop("texts"),
        lambda answer: answer["boot"].pop("host"),
        lambda answer: answer["boot"].update(texts=["x"]),
        lambda answer: answer["boot"]["texts"].update({CFG: 1}),
        lambda answer: answer["boot"]["texts"].update({CFG: "x" * (boot_files.MAX_TEXT + 1)}),
        lambda answer: answer["boot"].update(texts={str(number): "" for number in range(boot_files.MAX_FILES + 1)}),
        lambda answer: answer["boot"].update(memo={}),
        lambda answer: answer["boot"]["host"].update(roots={"UUID=1": "yes"}),
        lambda answer: answer["boot"]["host"].update(os_ids="debian"),
        lambda answer: answer["boot"].update(problems=["x" * 70_000]),
        lambda answer: answer["snapshot"].update(selinux=[]),
        lambda answer: answer["snapshot"].pop("coverage"),
    ],
)
def test_an_answer_with_other_boot_files_is_refused(change: t.Callable[[dict[str, t.Any]], t.Any]) -> None:
    answer = copy.deepcopy(sent(hosts.el9()))
    answered(copy.deepcopy(answer))
    change(answer)
    with pytest.raises(SchemaError):
        answered(answer)


def test_what_is_packed_comes_out_again() -> None:
    whole = document(hosts.look(hosts.el9()))
    packed = pack(whole)
    assert unpack(packed) == whole
    assert len(packed) < len(json.dumps(whole)) / 2
    with pytest.raises(SchemaError, match="holds none"):
        unpack(None)


def test_the_summary_counts() -> None:
    counts = summary(hosts.look(hosts.el9()))
    assert {key: counts[key] for key in ("selinux", "daemon", "guests", "running", "resources", "processes")} == {
        "selinux": "enforcing",
        "daemon": "libvirtd",
        "guests": 1,
        "running": 1,
        "resources": 3,
        "processes": {"qemu": 1},
    }
    assert counts["coverage"]["xen"]["codes"] == ["no_xen"]
