# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The role does on a host what it asked for before, and reports it."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from .test_kvm_node import ROLES, module_of, tasks, without_foreseen

try:
    from ansible.template import trust_as_template as trusted
except ImportError:  # before ansible-core 2.19

    def trusted(value: str) -> str:  # type: ignore[misc]
        return value


def done() -> list[tuple[str, dict[str, t.Any]]]:
    """The modules that main.yml calls, with their arguments, in its order."""
    result = [(module_of(task), task) for task in tasks("categories", "main.yml") if module_of(task)]
    return [(module, without_foreseen(task[f"svirt.fleet.{module}"])) for module, task in result]


def test_a_look_asks_all_that_is_then_done_in_the_same_order() -> None:
    (look,) = tasks("categories", "look.yml")
    asked = [(step["module"], step["arguments"]) for step in look["svirt.fleet.hardening_info"]["steps"]]
    assert [module for module, _arguments in asked] == [module for module, _arguments in done()]
    for (_module, ask), (_same, do) in zip(asked, done(), strict=True):
        # The daemon's label is known only from the result of the first module.
        assert ask == {key: value for key, value in do.items() if key != "context"}


def test_the_order_is_that_in_which_no_guest_is_hurt() -> None:
    modules = [module for module, _arguments in done()]
    assert modules == ["category_range", "libvirt_restart", "guest_seclabel", "guest_power_cycle"]


def test_defaults_and_specification_agree() -> None:
    defaults = yaml.safe_load((ROLES / "categories/defaults/main.yml").read_text())
    options = yaml.safe_load((ROLES / "categories/meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    assert {name: option["default"] for name, option in options["options"].items()} == defaults


def told(**registered: t.Any) -> dict[str, t.Any]:
    """What the last task makes of the results before it."""
    task = tasks("categories", "main.yml")[-1]
    templar = Templar(loader=DataLoader(), variables=registered)  # type: ignore[no-untyped-call]  # untyped in ansible-core
    result = {key: templar.template(trusted(value)) for key, value in task["vars"].items()}
    templar = Templar(loader=DataLoader(), variables={**registered, **result})  # type: ignore[no-untyped-call]  # as above
    facts = task["ansible.builtin.set_fact"]["categories_result"]
    return {key: templar.template(trusted(value)) for key, value in facts.items()}


def waits(name: str) -> dict[str, str]:
    return {"subject": f"guest {name}", "needs": "guest_power_cycle", "why": "it runs as it does"}


NOTHING: dict[str, t.Any] = {"pending": [], "refused": [], "plan": []}


@pytest.mark.parametrize(
    ("cycle", "left"),
    [
        ({"skipped": True}, ["guest a", "guest b"]),
        ({**NOTHING, "plan": [{"subject": "guest a"}]}, ["guest b"]),
        ({**NOTHING, "pending": [waits("a")]}, ["guest b", "guest a"]),
        ({**NOTHING, "plan": [{"subject": "guest a"}], "pending": [waits("a")]}, ["guest b", "guest a"]),
    ],
)
def test_a_guest_that_was_cycled_no_longer_waits(cycle: dict[str, t.Any], left: list[str]) -> None:
    result = told(
        categories_daemon={**NOTHING, "refused": [{"subject": "range of libvirtd", "why": "it is too narrow"}]},
        categories_restart={**NOTHING, "pending": [{"subject": "libvirtd.service"}]},
        categories_seclabel={**NOTHING, "pending": [waits("a"), waits("b")]},
        categories_power_cycle=cycle,
    )
    assert [item["subject"] for item in result["pending"]] == ["libvirtd.service", *left]
    assert [item["subject"] for item in result["refused"]] == ["range of libvirtd"]
