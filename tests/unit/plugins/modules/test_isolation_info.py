# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.modules import isolation_info

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.handed_in import hand_root
from tests.unit.support.module_args import patch_module_args

GUEST = "system_u:system_r:svirt_t:s0:c1,c2"
OWN = "system_u:object_r:svirt_image_t:s0:c1,c2"
OTHER = "system_u:object_r:svirt_image_t:s0:c3,c4"


def run(capsys: pytest.CaptureFixture[str], **arguments: t.Any) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        isolation_info.main()
    return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    files = Tree()
    files.file("/sys/fs/selinux/enforce", "1")
    files.file("/sys/fs/selinux/class/file/index", "6")
    for bit, name in enumerate(("ioctl", "read", "write"), 1):
        files.file(f"/sys/fs/selinux/class/file/perms/{name}", str(bit))
    hand_root(monkeypatch, lambda: CapturedRoot(files, hosts.policy()))


def check(target: str, expect: str | None, **more: t.Any) -> dict[str, t.Any]:
    request = {} if expect is None else {"expect": expect}
    return {"source": GUEST, "target": target, **request, **more}


def test_many_checks_in_one_call(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, checks=[check(OWN, "allowed"), check(OTHER, "denied"), check(OTHER, None)])
    assert result["changed"] is False
    assert [item["status"] for item in result["results"]] == ["allowed", "denied", "denied"]
    assert result["violations"] == result["unknown"] == []
    assert "failed" not in result


def test_a_broken_expectation_fails_only_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [check(OWN, "denied")]
    assert run(capsys, checks=checks)["violations"][0]["code"] == "allowed"
    failed = run(capsys, checks=checks, fail_on_violation=True)
    assert failed["failed"] is True
    assert failed["msg"] == (
        "1 expectations are not met and 0 could not be checked; "
        f"first: {GUEST} on {OWN} (file), expected denied: allowed: read, write"
    )
    assert failed["results"][0]["status"] == "allowed"


def test_an_expectation_that_cannot_be_checked_is_not_met(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [check(OWN, None, source="system_u:system_r:no_t:s0"), check(OTHER, "denied", **{"class": "nothing"})]
    assert "failed" not in run(capsys, checks=checks)
    failed = run(capsys, checks=checks, fail_on_violation=True)
    assert failed["failed"] is True
    assert [item["code"] for item in failed["unknown"]] == ["label_unknown", "class_unknown"]


def test_a_host_without_selinux_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hand_root(monkeypatch, lambda: CapturedRoot(Tree()))
    result = run(capsys, checks=[check(OWN, "denied")])
    assert (result["violations"], [item["code"] for item in result["unknown"]]) == ([], ["selinux_off"])
    assert "msg" in result


def test_a_translated_label_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, checks=[check("system_u:object_r:svirt_image_t:SystemLow", None)])
    assert result["failed"] is True
    assert result["msg"].startswith("check 0: target: level")
