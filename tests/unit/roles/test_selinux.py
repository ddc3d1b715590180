# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role selinux: the policy that it ships, and its defaults."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.selinux import (
    PolicyModuleRequest,
    TypeAccess,
    plan_modules,
)

ROLE = Path(__file__).resolve().parents[3] / "roles" / "selinux"
POLICY = (ROLE / "files" / "svirt_fleet.cil").read_text()
GUARD_POLICY = (ROLE / "files" / "svirt_fleet_guard.cil").read_text()
CODE, GUARD_CODE = (re.sub(r";[^\n]*", "", text) for text in (POLICY, GUARD_POLICY))
OURS = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["selinux_own_modules"]


def request(name: str, text: str) -> PolicyModuleRequest:
    item = next(item for item in OURS if item["name"] == name)
    needed = [
        TypeAccess(access["source"], access["target"], access["class"], tuple(access["permissions"]))
        for access in item.get("if_denied", [])
    ]
    return PolicyModuleRequest(name, text.encode(), tuple(item["only_on"]), tuple(needed))


def test_the_module_takes_the_policy_as_it_is() -> None:
    assert [item["name"] for item in OURS] == ["svirt_fleet", "svirt_fleet_guard"]
    wanted = request("svirt_fleet", POLICY)
    assert plan_modules([wanted], [], "debian").install == [wanted]


def test_the_guards_policy_is_installed_where_the_policy_denies_what_it_allows() -> None:
    wanted = request("svirt_fleet_guard", GUARD_POLICY)
    for os_id in ("fedora", "rhel", "centos", "almalinux", "rocky", "ol"):
        assert plan_modules([wanted], [], os_id, lambda access: access.target == "svirt_tcg_t").install == [wanted]
        assert plan_modules([wanted], [], os_id).install == []
    assert plan_modules([wanted], [], "debian", lambda _access: True).install == []


def test_the_guards_policy_lets_daemons_read_labels_of_guests_and_ask_the_policy() -> None:
    rules = re.findall(r"\(allow (\w+) (\w+) \((\w+) \(([^)]*)\)\)\)", GUARD_CODE)
    assert len(rules) == GUARD_CODE.count("(allow ") == 18
    assert {source for source, *_rest in rules} == {"virtqemud_t", "virtd_t"}
    allowed = {(target, class_): words for _source, target, class_, words in rules}
    for guest in ("svirt_t", "svirt_tcg_t"):
        assert allowed[guest, "process"] == "getattr"
        assert allowed[guest, "dir"] == "getattr search"
        assert allowed[guest, "file"] == "getattr open read"
    assert allowed["security_t", "security"] == "compute_av"
    assert {target for target, _class in allowed} == {"svirt_t", "svirt_tcg_t", "security_t"}
    assert GUARD_CODE.count("(") == GUARD_CODE.count(")")


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
