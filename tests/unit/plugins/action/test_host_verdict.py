# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import importlib
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import host_verdict

from tests.unit.support import actions

ITEM = {"subject": "/etc/libvirt/qemu.conf", "why": "it was edited since", "code": "changed_since"}


@pytest.mark.parametrize("name", ["refused", "not_made", "failed_entries"])
def test_each_list_of_what_was_not_done_fails_the_host_and_is_named(name: str) -> None:
    result = actions.run(host_verdict, results=[{"changed": True, "refused": []}, {name: [ITEM]}])
    assert (result["failed"], result["refused"]) == (True, 1)
    assert "/etc/libvirt/qemu.conf: it was edited since" in result["msg"]


@pytest.mark.parametrize("results", [[], [{}], [{"skipped": True}], [{"refused": []}, {"refused": None}]])
def test_a_host_where_nothing_was_refused_is_well(results: list[dict[str, t.Any]]) -> None:
    result = actions.run(host_verdict, results=results)
    assert (result["failed"], result["refused"]) == (False, 0)


def test_all_are_counted_and_the_message_is_bounded_and_has_no_control_characters() -> None:
    items = [{"subject": f"guest \x1b[2J{number}", "why": "no"} for number in range(150)]
    result = actions.run(host_verdict, results=[{"refused": items, "sizes": {"refused": 2000}}])
    assert result["refused"] == 2000
    assert len(result["msg"].splitlines()) == 102
    assert result["msg"].endswith("and 1900 more")
    assert "\x1b" not in result["msg"]


def test_what_two_steps_refuse_alike_counts_once() -> None:
    assert actions.run(host_verdict, results=[{"refused": [ITEM]}, {"refused": [ITEM]}])["refused"] == 1


@pytest.mark.parametrize("results", ["none", None, 3])
def test_what_is_no_result_is_no_success(results: t.Any) -> None:
    with pytest.raises(AnsibleError):
        actions.run(host_verdict, results=results)


def test_the_documentation_has_the_options_of_the_plugin() -> None:
    module: t.Any = importlib.import_module("ansible_collections.svirt.fleet.plugins.modules.host_verdict")
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    given = {name: {key: spec[key] for key in ("type", "elements", "required")} for name, spec in options.items()}
    assert given == host_verdict.ActionModule.ARGUMENTS
