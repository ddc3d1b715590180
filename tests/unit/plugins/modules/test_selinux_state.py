# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: its options, its result, and that check mode predicts the run."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._backends import selinux_state as work
from ansible_collections.svirt.fleet.plugins.modules import selinux_state

from tests.unit.support.handed_in import hand_journal, hand_root
from tests.unit.support.module_args import patch_module_args
from tests.unit.support.selinux_host import BOOT, FS, LOG, MAIN, START, SelinuxHost, denial

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def host(tmp_path: Path) -> SelinuxHost:
    return SelinuxHost(tmp_path / "host")


@pytest.fixture
def run(host: SelinuxHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    hand_root(monkeypatch, lambda: host.root)
    hand_journal(monkeypatch, selinux_state, tmp_path / "journal", wait=1.0)
    monkeypatch.setattr(work, "HostTools", lambda **_tools: host.tools)

    def call(**arguments: t.Any) -> dict[str, t.Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            selinux_state.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return call


def test_check_mode_predicts_the_run(host: SelinuxHost, run: Run, tmp_path: Path) -> None:
    host.mode("permissive")
    host.configured("permissive")
    host.boolean("virt_use_nfs", True)
    host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="enforcing=0"\n')
    host.write(MAIN, host.made())
    options: dict[str, t.Any] = {
        "profile": "local",
        "policy_modules": [{"name": "ours", "cil": "(allow a b (file (read)))", "only_on": ["debian"]}],
        "_ansible_diff": True,
    }
    before = host.files()
    predicted = run(**options, _ansible_check_mode=True)
    assert host.files() == before
    assert not (tmp_path / "journal").exists()
    result = run(**options)
    for key in ("changed", "plan", "before", "after", "pending", "refused", "policy_changes", "diff"):
        assert predicted[key] == result[key], key
    assert [step["action"] for step in result["plan"]] == ["set", "install", "set", "edit", "edit", "make"]
    assert result["policy_changes"] is True
    again = run(**options)
    assert (again["changed"], again["policy_changes"]) == (False, False)


def test_what_is_documented_is_returned(host: SelinuxHost, run: Run) -> None:
    host.mode("permissive")
    result = run()
    documented = yaml.safe_load(selinux_state.RETURN)
    assert set(result) - {"invocation"} == {*documented, "changed"}
    assert set(result["before"]) == set(result["after"]) == set(documented["before"]["contains"])
    assert set(result["soak"]) == set(documented["soak"]["contains"])


def test_refusals_fail_when_asked_to(host: SelinuxHost, run: Run) -> None:
    host.mode("permissive")
    host.write(LOG, START + denial(BOOT + 60))
    assert "failed" not in run()
    result = run(strict=True)
    assert result["failed"]
    assert "svirt_t {read}" in result["msg"]
    assert host.read(f"{FS}/enforce") == "0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": "permissive"}, "would weaken"),
        ({"state": "disabled"}, "value of state must be one of"),
        ({"soak_seconds": -1}, "soak_seconds is -1"),
        ({"booleans": {"virt_use_usb": "maybe"}}, "virt_use_usb is 'maybe'"),
        ({"booleans": {"virt_use_nfs": True}}, "choose a profile that has"),
        ({"policy_modules": [{"name": "a/b", "cil": ""}]}, "'a/b'"),
    ],
)
def test_wrong_input_fails(run: Run, options: dict[str, t.Any], message: str) -> None:
    result = run(**options)
    assert result["failed"]
    assert message in result["msg"]


@pytest.mark.parametrize("value", [False, "no", "off", 0])
def test_booleans_in_every_spelling(host: SelinuxHost, run: Run, value: t.Any) -> None:
    assert run(booleans={"virt_use_usb": value})["plan"][0]["to"] == "off"
