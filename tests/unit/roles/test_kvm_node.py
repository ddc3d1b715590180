# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""What the role asks of a host before it works there is what it then does."""

from __future__ import annotations

import typing as t
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
PREFIX = "svirt.fleet."


def tasks(role: str, name: str) -> list[dict[str, t.Any]]:
    """The tasks of one file of a role."""
    return t.cast("list[dict[str, t.Any]]", yaml.safe_load((ROLES / role / "tasks" / name).read_text()))


def module_of(task: dict[str, t.Any]) -> str:
    """The module of this collection that a task calls, or nothing."""
    return next((key[len(PREFIX) :] for key in task if key.startswith(PREFIX)), "")


def roles_of(name: str) -> dict[str, dict[str, t.Any]]:
    """The roles that kvm_node imports in one of its files, each with the variables that it gets."""
    imports = [task for task in tasks("kvm_node", name) if "ansible.builtin.import_role" in task]
    return {task["ansible.builtin.import_role"]["name"][len(PREFIX) :]: task.get("vars", {}) for task in imports}


def without_foreseen(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    """Each module of a look finds the host as it is: nothing before it had anything to do."""
    return {key: value for key, value in arguments.items() if "foreseen_" not in key}


def done() -> list[tuple[str, dict[str, t.Any]]]:
    """The modules that main.yml calls, with their arguments, in its order."""
    found = []
    for task in tasks("kvm_node", "main.yml"):
        role = task.get("ansible.builtin.import_role", {}).get("name", "")[len(PREFIX) :]
        for inner in tasks(role, "main.yml") if role else [task]:
            if module_of(inner):
                found.append((module_of(inner), without_foreseen(inner[PREFIX + module_of(inner)])))
    return found


def asked() -> list[tuple[str, dict[str, t.Any]]]:
    """The modules that look.yml asks, with their arguments, in its order."""
    steps = tasks("kvm_node", "look.yml")[-1]["svirt.fleet.hardening_look"]["steps"]
    facts: dict[str, dict[str, t.Any]] = {}
    for role in roles_of("look.yml"):
        (task,) = tasks(role, "look.yml")
        facts.update(task["ansible.builtin.set_fact"])
    found = [facts[step.strip("{} ")] if isinstance(step, str) else step for step in steps]
    return [(step["module"], step["arguments"]) for step in found]


def test_a_look_asks_all_that_is_then_done_in_the_same_order() -> None:
    assert [module for module, _arguments in asked()] == [module for module, _arguments in done()]
    for (_module, ask), (_same, do) in zip(asked(), done(), strict=True):
        assert ask == do
    assert roles_of("look.yml") == {role: without_foreseen(given) for role, given in roles_of("main.yml").items()}
