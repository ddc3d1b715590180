# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""What the role asks of a host before it works there is what it then does."""

from __future__ import annotations

import json
import subprocess
import sys
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


def steps_of(name: str) -> list[dict[str, t.Any]]:
    """The tasks of one file of kvm_node, those in blocks too, without what only notes a failure."""
    return [inner for task in tasks("kvm_node", name) for inner in task.get("block", [task])]


def roles_of(name: str) -> dict[str, dict[str, t.Any]]:
    """The roles that kvm_node imports in one of its files, each with the variables that it gets."""
    imports = [task for task in steps_of(name) if "ansible.builtin.import_role" in task]
    return {task["ansible.builtin.import_role"]["name"][len(PREFIX) :]: task.get("vars", {}) for task in imports}


def without_foreseen(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    """Each module of a look finds the host as it is: nothing before it had anything to do."""
    return {key: value for key, value in arguments.items() if "foreseen_" not in key}


def done() -> list[tuple[str, dict[str, t.Any]]]:
    """The modules that main.yml calls, with their arguments, in its order."""
    result = []
    for task in steps_of("main.yml"):
        role = task.get("ansible.builtin.import_role", {}).get("name", "")[len(PREFIX) :]
        for inner in tasks(role, "main.yml") if role else [task]:
            if module_of(inner):
                result.append((module_of(inner), without_foreseen(inner[PREFIX + module_of(inner)])))
    return result


def asked() -> list[tuple[str, dict[str, t.Any]]]:
    """The modules that look.yml asks, with their arguments, in its order."""
    steps = tasks("kvm_node", "look.yml")[-1]["svirt.fleet.hardening_info"]["steps"]
    facts: dict[str, dict[str, t.Any]] = {}
    for role in roles_of("look.yml"):
        (task,) = tasks(role, "look.yml")
        facts.update(task["ansible.builtin.set_fact"])
    result = [facts[step.strip("{} ")] if isinstance(step, str) else step for step in steps]
    return [(step["module"], step["arguments"]) for step in result]


def test_a_look_asks_all_that_is_then_done_in_the_same_order() -> None:
    first, *rest = done()
    assert [module for module, _arguments in asked()] == [module for module, _arguments in rest]
    for (_module, ask), (_same, do) in zip(asked(), rest, strict=True):
        assert ask == do
    assert roles_of("look.yml") == {role: without_foreseen(given) for role, given in roles_of("main.yml").items()}
    # The first step is a part of the labels of images, which are asked about.
    assert first == (
        "image_label",
        {
            "elsewhere": "{{ kvm_node_elsewhere }}",
            "repair": ["in_use"],
            "timeout": "{{ images_timeout }}",
            "within": "{{ images_within }}",
        },
    )


def test_the_labels_of_images_foresee_the_disks_that_were_given_back_before() -> None:
    """So that check mode tells for each task what it then does."""
    given = roles_of("main.yml")["images"]["images_foreseen_repaired"]
    assert "kvm_node_disks.plan" in given


#: A failure of the others ends the host's run: nothing after them would be safe.
REQUIRED = {"selinux", "libvirt", "images", "libvirt_restart", "guest_power_cycle"}


def step_name(task: dict[str, t.Any]) -> str:
    """The role or module of a step."""
    return task.get("ansible.builtin.import_role", {}).get("name", "")[len(PREFIX) :] or module_of(task)


def test_an_optional_step_keeps_no_other_from_the_host_and_fails_the_role_at_its_end() -> None:
    main = tasks("kvm_node", "main.yml")
    blocks = [task for task in main if "block" in task]
    assert [step_name(task["block"][0]) for task in blocks] == [
        *("image_label", "guard", "category_range", "guest_seclabel", "network"),
    ]
    for task in blocks:
        (note,) = task["rescue"]
        assert note["ansible.builtin.include_tasks"] == "failed.yml"
        assert note["vars"]["kvm_node_step"]
    assert {step_name(task) for task in main[:-1] if "block" not in task} == REQUIRED
    assert main[-1]["ansible.builtin.fail"]["msg"] == "{{ kvm_node_failed_steps | join('; ') }}"


def test_no_guest_is_stopped_where_an_optional_step_failed() -> None:
    (cycle,) = [task for task in tasks("kvm_node", "main.yml") if step_name(task) == "guest_power_cycle"]
    assert "kvm_node_failed_steps | default([]) | length == 0" in cycle["when"]


PLAYBOOK = """\
- hosts: all
  gather_facts: false
  vars:
    kvm_node_fail_at_end: {fail}
  tasks:
    - name: Guard
      block:
        - ansible.builtin.fail: {{msg: the daemon may not run it}}
      rescue:
        - ansible.builtin.include_tasks: {failed}
          vars: {{kvm_node_step: guard}}
    - name: Filters
      block:
        - ansible.builtin.fail: {{msg: no driver}}
      rescue:
        - ansible.builtin.include_tasks: {failed}
          vars: {{kvm_node_step: network filters}}
    - ansible.builtin.debug: {{msg: the restart runs}}
    - {end}
"""


def test_steps_that_failed_are_named_with_their_reasons(tmp_path: Path) -> None:
    end = json.dumps(tasks("kvm_node", "main.yml")[-1])
    for fail, status in ((True, 2), (False, 0)):
        playbook = tmp_path / f"{fail}.yml"
        failed = ROLES / "kvm_node" / "tasks" / "failed.yml"
        playbook.write_text(PLAYBOOK.format(fail=fail, failed=failed, end=end))
        command = [sys.executable, "-m", "ansible", "playbook", str(playbook), "-i", "one,", "-c", "local"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        assert "the restart runs" in done.stdout
        result = "guard: the daemon may not run it; network filters: no driver"
        assert (result in done.stdout) is fail
