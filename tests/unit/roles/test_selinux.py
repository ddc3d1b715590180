# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role selinux: the policy that it ships, and its defaults."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.selinux import PolicyModuleWish, plan_modules

ROLE = Path(__file__).resolve().parents[3] / "roles" / "selinux"
POLICY = (ROLE / "files" / "svirt_fleet.cil").read_text()
CODE = re.sub(r";[^\n]*", "", POLICY)


def test_the_module_takes_the_policy_as_it_is() -> None:
    ours = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["selinux_own_modules"]
    (name,) = [item["name"] for item in ours]
    wanted = PolicyModuleWish(name, POLICY.encode(), ("debian",))
    assert plan_modules([wanted], [], "debian").install == [wanted]


def test_every_rule_is_optional_and_every_group_says_why() -> None:
    groups = re.findall(r"^(; [^\n]*\n)\(optional (\w+)\n((?:    \(allow [^\n]*\n)+)\)\n", POLICY, re.MULTILINE)
    assert len(groups) == CODE.count("(optional ") > 5
    assert sum(body.count("(allow ") for _why, _name, body in groups) == CODE.count("(allow ")
    assert all(name.startswith("svirt_fleet_") for _why, name, _body in groups)
    assert CODE.count("(") == CODE.count(")")


def test_guests_get_nothing_that_another_guest_or_the_host_holds() -> None:
    rules = re.findall(r"\(allow (\w+) (\w+) \((\w+) \(([^)]*)\)\)\)", CODE)
    assert len(rules) == CODE.count("(allow ")
    of_guests = {(target, class_): set(words.split()) for source, target, class_, words in rules if source == "svirt_t"}
    assert set(of_guests) == {
        ("self", "anon_inode"),
        ("sysfs_t", "file"),
        ("sysctl_vm_t", "dir"),
        ("sysctl_vm_t", "file"),
        ("sysctl_vm_overcommit_t", "file"),
    }
    outside = set().union(*(words for (target, _class), words in of_guests.items() if target != "self"))
    assert outside == {"getattr", "open", "read", "search"}
    assert {source for source, *_rest in rules} == {"svirt_t", "virtd_t", "virtlogd_t"}


def test_defaults_are_as_documented() -> None:
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    options = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert defaults == {name: option["default"] for name, option in options.items()}
    assert all(f"`{name}`" in (ROLE / "README.md").read_text() for name in defaults)
