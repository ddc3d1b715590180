# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.svirt.fleet.plugins.action import fleet_analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules import catalogue
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots

from tests.unit.support.actions import finished
from tests.unit.support.fleets import guest, host, nfs, rule


def risky(snapshot: s.Snapshot, _settings: f.Settings) -> t.Iterator[f.Hit | f.Unsure]:
    """Guests with a risk are a finding, one named broken breaks the rule."""
    for one in snapshot.guests:
        if one.name == "broken":
            raise KeyError("broken")
        if one.risks:
            yield f.Hit(one.name, one.uuid, {"risks": one.risks})


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One rule in the catalogue's place; what the action displays."""
    lines: list[str] = []
    display = SimpleNamespace(display=lines.append, vvv=lines.append, columns=100)
    monkeypatch.setattr(fleet_analysis, "Display", lambda: display)
    rules = (rule("TST-001", check=risky),)
    monkeypatch.setattr(
        fleet_analysis, "judge", lambda name, read, settings: catalogue.judge(name, read, settings, rules)
    )
    return lines


class Fleet:
    """A folder of snapshots and the task over it."""

    def __init__(self, folder: Path) -> None:
        self.snapshots = folder / "snapshots"
        self.report = folder / "new" / "report.json"

    def add(self, name: str, *guests: s.Guest, **parts: t.Any) -> None:
        _snapshots.write_snapshot(self.snapshots, name, encode(host(name, guests, **parts)))

    def judge(self, hosts: list[str], hostvars: t.Any = None, **arguments: t.Any) -> dict[str, t.Any]:
        args = {"snapshots": str(self.snapshots), "hosts": hosts, "report": str(self.report), **arguments}
        task = MagicMock(args=args, async_val=0, check_mode=False, diff=False)
        action = fleet_analysis.ActionModule(
            task=task,
            connection=MagicMock(),
            play_context=MagicMock(),
            loader=MagicMock(),
            templar=MagicMock(),
            shared_loader_obj=MagicMock(),
        )
        action._load_name = "svirt.fleet.fleet_analysis"  # as the plugin loader does
        return finished(lambda: action.run(task_vars={"hostvars": hostvars or {}}))

    def written(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], json.loads(self.report.read_text()))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_clean_fleet_passes(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"))
    result = fleet.judge(["kvm1"])
    assert (result["failed"], result["changed"], result["verdict"]) == (False, False, "pass")
    assert result["report"] == str(fleet.report)
    assert fleet.written()["verdict"] == "pass"
    assert shown[0].rstrip().splitlines()[-1].startswith("PASS: ")


def test_a_finding_fails_after_the_report_is_written(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2", risks=["custom_argv"]))
    result = fleet.judge(["kvm1"])
    assert (result["failed"], result["verdict"]) == (True, "fail")
    assert result["counts"]["high"] == 1
    assert fleet.written()["findings"][0]["rule"] == "TST-001"
    assert "Title of TST-001" in shown[0]


@pytest.mark.parametrize(("fail_on", "failed"), [("critical", False), ("high", True), ("low", True), ("never", False)])
def test_fail_on_decides(fleet: Fleet, shown: list[str], fail_on: str, failed: bool) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2", risks=["custom_argv"]))
    assert fleet.judge(["kvm1"], fail_on=fail_on)["failed"] is failed
    assert shown


def test_a_host_without_a_snapshot_is_unknown_and_others_go_on(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1")
    _snapshots.write_unread(fleet.snapshots, "kvm2", "unreachable: no route", 1.0)
    result = fleet.judge(["kvm2", "kvm1", "kvm3", "kvm1"], fail_on="never")
    assert (result["failed"], result["verdict"]) == (True, "unknown")
    verdicts = {entry["name"]: (entry["verdict"], entry["why"]) for entry in fleet.written()["hosts"]}
    assert verdicts["kvm1"][0] == "pass"
    assert verdicts["kvm2"] == ("unknown", "unreachable: no route")
    assert "was not probed" in verdicts["kvm3"][1]
    assert "2 unknown" in result["msg"]
    assert shown


def test_an_old_snapshot_is_unknown(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1")
    path = _snapshots.path_of(fleet.snapshots, "kvm1")
    old = path.stat().st_mtime - 120
    os.utime(path, (old, old))
    assert fleet.judge(["kvm1"])["verdict"] == "pass"
    assert fleet.judge(["kvm1"], max_age=60)["verdict"] == "unknown"
    assert shown


def test_no_hosts_at_all_is_unknown(fleet: Fleet, shown: list[str]) -> None:
    result = fleet.judge([])
    assert (result["failed"], result["verdict"]) == (True, "unknown")
    assert shown


def test_a_rule_that_breaks_hides_no_other_host(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2", name="broken"))
    fleet.add("kvm2", guest("b", "s0:c1,c2", risks=["custom_argv"]))
    assert fleet.judge(["kvm1", "kvm2"])["verdict"] == "fail"
    first, second = fleet.written()["hosts"]
    assert (first["verdict"], second["verdict"]) == ("unknown", "fail")
    assert "KeyError('broken')" in first["why"]
    assert shown


def test_a_waiver_is_heeded(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2", risks=["custom_argv"]))
    waiver = {"rule": "TST-001", "subject": "guest-a", "reason": "known", "expires": "2999-12-31"}
    assert fleet.judge(["kvm1"], waivers=[waiver])["verdict"] == "pass"
    assert len(fleet.written()["waived"]) == 1
    assert shown


def test_a_report_that_cannot_be_written_fails_and_is_shown_all_the_same(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1")
    fleet.report.parent.write_text("a file in the folder's place")
    result = fleet.judge(["kvm1"])
    assert (result["failed"], result["verdict"]) == (True, "pass")
    assert "could not be written" in result["msg"]
    assert shown


def test_what_hosts_use_of_shared_storage_is_written_when_asked_for(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"), storage=[nfs("/share", "nfs:filer:/vol")])
    path = fleet.snapshots.parent / "use.json"
    assert fleet.judge(["kvm1", "kvm9"], shared_use=str(path))["verdict"] == "unknown"
    told = json.loads(path.read_text())
    assert set(told) == {"kvm1"}
    assert [(folder["complete"], "kvm9" in folder["why"]) for folder in told["kvm1"]] == [(False, True)]
    assert shown


def test_new_labels_are_written_for_guests_that_may_be_interrupted(fleet: Fleet, shown: list[str]) -> None:
    labels = [s.SecLabel("selinux", "static", label="system_u:system_r:svirt_t:s0:c1,c2")]
    fleet.add("kvm1", *(guest(name, "s0:c1,c2", persistent_labels=labels) for name in "ab"))
    path = fleet.snapshots.parent / "labels.json"
    fleet.judge(["kvm1"], fresh_labels=str(path), power_cycle=["guest-b"])
    assert [item["guest"] for item in json.loads(path.read_text())["kvm1"]] == ["b"]
    assert shown


def test_questions_are_asked_before_anything_is_said_of_them(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"), guest("b", "s0:c1,c2"))
    fleet.add("kvm2")
    path = fleet.snapshots.parent / "questions.json"
    result = fleet.judge(["kvm1", "kvm2"], questions=str(path))
    assert (result["failed"], result["verdict"], shown) == (False, "fail", [])
    asked = json.loads(path.read_text())
    assert list(asked) == ["kvm1"]

    answer = {"results": [{**check, "status": "allowed"} for check in asked["kvm1"]]}
    result = fleet.judge(["kvm1", "kvm2"], {"kvm1": {"said": answer}, "kvm2": {}}, answers="said")
    assert (result["failed"], result["verdict"]) == (True, "fail")
    assert fleet.written()["findings"][0]["evidence"]["decided_by"] == "confirmed by policy"
    assert "confirmed by policy" in shown[0]


def test_without_questions_the_first_answer_is_the_last(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2", risks=["custom_argv"]))
    path = fleet.snapshots.parent / "questions.json"
    assert fleet.judge(["kvm1"], questions=str(path))["failed"] is True
    assert json.loads(path.read_text()) == {}
    assert len(shown) == 1


def test_hosts_of_a_pool_are_compared(fleet: Fleet, shown: list[str]) -> None:
    labels = [s.SecLabel("selinux", "static", label="system_u:system_r:svirt_t:s0:c1,c2")]
    for name in ("kvm1", "kvm2"):
        fleet.add(name, guest(name, "s0:c1,c2", "/var/disk", live=labels, persistent_labels=labels))
    lab = {"name": "lab", "hosts": ["kvm1", "kvm2"]}
    assert fleet.judge(["kvm1", "kvm2"])["counts"]["high"] == 0
    assert fleet.judge(["kvm1", "kvm2"], domains=[{**lab, "migration": False}])["counts"]["high"] == 0
    assert fleet.judge(["kvm1", "kvm2"], domains=[lab])["counts"]["high"] == 1
    assert shown


def test_a_domain_that_is_wrong_is_named(fleet: Fleet) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"))
    with pytest.raises(AnsibleActionFail, match=r"domains\[0\]"):
        fleet.judge(["kvm1"], domains=[{"name": "lab", "host": ["kvm1"]}])


LIES: list[tuple[str, t.Callable[[dict[str, t.Any]], object], str]] = [
    ("a million categories", lambda d: d["guests"][0].update(context="u:r:svirt_t:s0:" + ",c1" * 10**6), "longer than"),
    ("another schema", lambda d: d.update(schema="svirt.fleet/snapshot/9"), "schema is"),
    ("a guest that is none", lambda d: d.update(guests=[7]), "expected an object"),
    ("more than a host holds", lambda d: d["selinux"].update(lsms=["x"] * 200_001), "at most 200000"),
    ("a category that there is not", lambda d: d["guests"][0].update(context="u:r:svirt_t:s0:c9,c4096"), "c4096"),
]


@pytest.mark.parametrize(("lie", "told"), [case[1:] for case in LIES], ids=[case[0] for case in LIES])
def test_a_host_that_lies_is_unknown_and_the_others_are_judged(
    fleet: Fleet, shown: list[str], lie: t.Callable[[dict[str, t.Any]], object], told: str
) -> None:
    fleet.add("kvm2", guest("a", "s0:c1,c2"), guest("b", "s0:c1,c2"))
    document = encode(host("kvm1", [guest("c", "s0:c1,c2")]))
    lie(document)
    _snapshots.write_snapshot(fleet.snapshots, "kvm1", document)
    fleet.judge(["kvm1", "kvm2"])
    liar, other = fleet.written()["hosts"]
    assert (liar["verdict"], other["verdict"]) == ("unknown", "fail")
    assert told in liar["why"]
    assert len(liar["why"]) < 2000
    assert shown


def test_a_host_that_claims_another_hosts_guest_hides_nothing(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"), guest("b", "s0:c1,c2"))
    fleet.add("kvm2", guest("a", "s0:c1,c2"))
    fleet.judge(["kvm1", "kvm2"])
    assert [item["rule"] for item in fleet.written()["findings"]] == ["CAT-002", "CAT-010", "CAT-004"]
    assert shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"fail_on": "hihg"}, "fail_on"),
        ({"profile": "cloud"}, "profile"),
        ({"max_age": "an hour"}, "max_age"),
        ({"surprise": 1}, "surprise"),
        ({"waivers": [{"rule": "TST-001"}]}, r"waivers\[0\]"),
    ],
)
@pytest.mark.usefixtures("shown")
def test_bad_arguments_are_refused_by_name(fleet: Fleet, arguments: dict[str, t.Any], told: str) -> None:
    with pytest.raises(AnsibleError, match=told):
        fleet.judge(["kvm1"], **arguments)


def test_hosts_left_out_are_named_and_count_as_unread(fleet: Fleet, shown: list[str], tmp_path: Path) -> None:
    fleet.add("kvm1", guest("web", "s0:c1,c2"), storage=[nfs("/share", "nfs:filer:/vol")])
    shared = tmp_path / "shared.json"
    result = fleet.judge(["kvm1"], left_out=["kvm2", "kvm1"], shared_use=str(shared))
    assert fleet.written()["fleet"]["left_out"] == ["kvm2"]
    assert result["hosts"]["total"] == 1
    assert any("kvm2" in line for line in shown)
    claims = json.loads(shared.read_text())["kvm1"]
    assert [(claim["complete"], "kvm2" in claim["why"]) for claim in claims] == [(False, True)]


def test_the_last_pass_is_carried_from_report_to_report(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"))
    fleet.judge(["kvm1"])
    passed = fleet.written()
    assert passed["last_passed_at"] == passed["generated_at"]
    fleet.report.write_text(json.dumps({**passed, "last_passed_at": "2026-01-02T03:04:05Z"}))
    fleet.add("kvm1", guest("a", "s0:c1,c2", risks=["custom_argv"]))
    fleet.judge(["kvm1"])
    assert fleet.written()["last_passed_at"] == "2026-01-02T03:04:05Z"
    assert shown


@pytest.mark.parametrize("before", ["", "{", "[]", '{"last_passed_at": "soon"}', '{"last_passed_at": 7}'])
def test_a_report_that_cannot_be_read_tells_of_no_pass(fleet: Fleet, shown: list[str], before: str) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2", risks=["custom_argv"]))
    fleet.report.parent.mkdir()
    fleet.report.write_text(before)
    fleet.judge(["kvm1"])
    assert "last_passed_at" not in fleet.written()
    assert shown


def test_the_report_is_written_in_the_formats_asked_for(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"))
    result = fleet.judge(["kvm1"], formats=["html", "json", "junit"])
    assert result["files"] == {
        "html": str(fleet.report.with_suffix(".html")),
        "junit": str(fleet.report.with_suffix(".junit.xml")),
    }
    assert fleet.written()["categories"]["pairs"] == [[0, 0, 1]]
    assert "report.html" in "".join(shown)


def test_a_format_that_does_not_exist_is_told_before_anything_is_judged(fleet: Fleet, shown: list[str]) -> None:
    fleet.add("kvm1", guest("a", "s0:c1,c2"))
    with pytest.raises(AnsibleActionFail, match="did you mean html"):
        fleet.judge(["kvm1"], formats=["htlm"])
    assert not fleet.report.exists()
    assert shown == []
