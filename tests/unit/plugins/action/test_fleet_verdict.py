# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import importlib
import typing as t
from unittest.mock import MagicMock

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import fleet_verdict

from tests.unit.support.actions import finished

PASS = {"verdict": "pass", "msg": "verdict pass: 0 of 2 hosts fail", "asked": 0}
FAIL = {"verdict": "fail", "msg": "verdict fail: 1 of 2 hosts fail", "asked": 0}
REFUSED = {"refused": [{"subject": "d1", "why": "it shares storage with d2", "code": "storage_shared"}]}
ALONE = {"refused": [{"subject": "guest web", "why": "it is transient", "code": "transient"}], "pending": []}


def run(hostvars: dict[str, t.Any] | None = None, **arguments: t.Any) -> dict[str, t.Any]:
    """The result of the task in a play over the hosts of hostvars."""
    parts = dict.fromkeys(("connection", "play_context", "loader", "templar", "shared_loader_obj"), MagicMock())
    task = MagicMock(args=arguments, async_val=0, check_mode=False, diff=False)
    action = fleet_verdict.ActionModule(task=task, **parts)
    action._load_name = "svirt.fleet.fleet_verdict"
    variables = {"hostvars": hostvars or {}, "ansible_play_hosts_all": list(hostvars or {})}
    return finished(lambda: action.run(task_vars=variables))


def test_a_pass_with_nothing_refused_succeeds() -> None:
    result = run({"kvm1": {}}, judged=PASS, results=[{}, {"refused": []}], host_results=["categories_result"])
    assert (result["failed"], result["verdict"], result["refused"]) == (False, "pass", 0)


def test_a_pass_with_something_refused_fails_and_names_both() -> None:
    result = run(judged=PASS, results=[REFUSED])
    assert (result["failed"], result["verdict"], result["refused"]) == (True, "pass", 1)
    assert result["msg"].splitlines() == [PASS["msg"], "1 object was refused or not changed:", f"d1: {_why(REFUSED)}"]


def test_a_fail_names_what_was_refused_too() -> None:
    result = run(judged=FAIL, results=[REFUSED])
    assert (result["failed"], result["verdict"]) == (True, "fail")
    assert "d1: it shares storage with d2" in result["msg"]


def test_what_hosts_refused_is_named_with_the_host() -> None:
    hosts = {"kvm1": {"categories_result": ALONE}, "kvm2": {}, "kvm3": {"categories_result": ALONE}}
    result = run(hosts, results=[{}], host_results=["categories_result"])
    assert (result["failed"], result["verdict"], result["refused"]) == (True, None, 2)
    assert result["msg"].splitlines()[1:] == [f"{host}: guest web: it is transient" for host in ("kvm1", "kvm3")]


def test_without_a_judgement_steps_that_refused_nothing_succeed() -> None:
    assert run({"kvm1": {}}, results=[{"refused": []}])["failed"] is False


@pytest.mark.parametrize("arguments", [{}, {"results": []}, {"host_results": ["categories_result"]}])
def test_nothing_to_look_at_is_no_success(arguments: dict[str, t.Any]) -> None:
    with pytest.raises(AnsibleError):
        run({"kvm1": {}}, **arguments)


def test_the_documentation_has_the_options_of_the_plugin() -> None:
    module: t.Any = importlib.import_module("ansible_collections.svirt.fleet.plugins.modules.fleet_verdict")
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    keys = ("type", "elements", "default")
    given = {name: {key: spec[key] for key in keys if key in spec} for name, spec in options.items()}
    assert given == fleet_verdict.ActionModule.ARGUMENTS


def _why(result: dict[str, t.Any]) -> str:
    return str(result["refused"][0]["why"])
