# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Misspelt variables and values, which must end a run before a host is contacted."""

from __future__ import annotations

import random
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.action import preflight
from ansible_collections.svirt.fleet.plugins.plugin_utils import _variables

from tests.unit.support.actions import finished

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
#: A value of each variable that is taken.
GOOD: dict[str, object] = {
    **dict.fromkeys(_variables.VARIABLES, "name"),
    **{name: [] for name in ("svirt_label_domains", "svirt_guests", "svirt_storage", "svirt_tenants", "svirt_waivers")},
    **dict.fromkeys(("svirt_keep_runs", "svirt_max_age", "svirt_rollback_runs", "svirt_timeout"), 3),
    **dict.fromkeys((name for name, check in _variables.VARIABLES.items() if check is _variables._flag), "no"),
    "svirt_fail_on": "never",
    "svirt_history_since": "2026-11-01",
    "svirt_orphan_search": ["/backup"],
    "svirt_profile": "nfs",
    "svirt_quarantine_days": 3,
    "svirt_report_formats": ["csv"],
    "svirt_run_steps": ["collect"],
    "svirt_strategy": "range",
}


def problems(task_args: dict[str, object] | None = None, **variables: object) -> list[tuple[str, str]]:
    """Variables with a problem, and what the task says of them."""
    task = MagicMock(args=task_args or {}, async_val=0, check_mode=False, diff=False)
    templar = MagicMock(template=lambda value: variables["mine"] if value == "{{ mine }}" else value)
    parts = dict.fromkeys(("connection", "play_context", "loader", "shared_loader_obj"), MagicMock())
    action = preflight.ActionModule(task=task, templar=templar, **parts)
    action._load_name = "svirt.fleet.preflight"
    result = finished(lambda: action.run(task_vars=dict(variables)))
    assert bool(result["problems"]) is ("before any host was contacted" in result["msg"])
    return [(problem["variable"], problem["why"]) for problem in result["problems"]]


def of_hosts(**variables: dict[str, object]) -> list[tuple[str, str]]:
    """Problems with variables of hosts: those of the first host are what a task for the fleet sees."""
    first = next(iter(variables))
    play = {"hostvars": variables, "ansible_play_hosts_all": list(variables), "inventory_hostname": first}
    return problems(None, **play, **variables[first])


def test_l_a_misspelt_variable_is_refused_with_the_nearest() -> None:
    ((name, why),) = problems(svirt_failon="critical")
    assert (name, "did you mean svirt_fail_on?" in why) == ("svirt_failon", True)


def test_l_a_misspelt_choice_is_refused_with_the_nearest() -> None:
    ((name, why),) = problems(svirt_fail_on="hihg")
    assert (name, "did you mean high?" in why) == ("svirt_fail_on", True)


@pytest.mark.parametrize("name", sorted(set(_variables.VARIABLES) - _variables.OF_ONE_HOST - _variables.BEFORE_HOSTS))
@pytest.mark.parametrize("place", [0, 1, 2])
def test_l_what_counts_for_the_fleet_is_not_taken_from_one_of_its_hosts(name: str, place: int) -> None:
    hosts: list[dict[str, object]] = [{}, {}, {}]
    value = GOOD[name]
    hosts[place][name] = value
    (first, why) = of_hosts(kvm1=hosts[0], kvm2=hosts[1], kvm3=hosts[2])[0]
    assert (first, "is not the same for kvm1 and kvm" in why) == (name, True)
    assert of_hosts(kvm1={name: value}, kvm2={name: value}) == []


def test_l_no_message_about_two_values_shows_them() -> None:
    ((_name, why),) = of_hosts(kvm1={"svirt_store": "postgresql://u:secret@a/b"}, kvm2={"svirt_store": "sqlite:///b"})
    assert "secret" not in why


@pytest.mark.parametrize("name", sorted(_variables.OF_ONE_HOST))
def test_l_what_counts_for_one_host_may_differ(name: str) -> None:
    assert of_hosts(kvm1={name: GOOD[name]}, kvm2={}) == []


@pytest.mark.parametrize("name", sorted(_variables.BEFORE_HOSTS))
def test_l_what_ansible_reads_before_it_has_hosts_is_no_variable_of_hosts(name: str) -> None:
    ((found, why),) = of_hosts(kvm1={name: "1"}, kvm2={name: "1"})
    assert (found, "give it with -e" in why) == (name, True)


def test_l_the_plays_own_variable_comes_before_those_of_hosts() -> None:
    hosts: dict[str, dict[str, object]] = {"kvm1": {"svirt_fail_on": "never", "svirt_hosts": "web"}, "kvm2": {}}
    play = {"hostvars": hosts, "ansible_play_hosts_all": list(hosts), "inventory_hostname": "kvm1"}
    assert problems(None, **play, svirt_fail_on="high", svirt_hosts="kvm") == []


def test_l_templates_are_compared_by_their_values() -> None:
    class Read(dict[str, dict[str, object]]):
        def raw_get(self, host: str) -> dict[str, object]:
            raw: dict[str, dict[str, object]] = {
                "kvm1": {"svirt_profile": "{{ where }}"},
                "kvm2": {"svirt_profile": "nfs"},
            }
            return raw[host]

    for value, wrong in (("nfs", 0), ("local", 1)):
        hosts = Read(kvm1={"svirt_profile": value}, kvm2={"svirt_profile": "nfs"})
        play = {"hostvars": hosts, "ansible_play_hosts_all": ["kvm1", "kvm2"], "inventory_hostname": "kvm2"}
        assert len(problems(None, **play, svirt_profile="nfs")) == wrong


def test_l_steps_may_come_from_a_template() -> None:
    assert problems({"steps": ["collect", "judge"]}, svirt_run_steps="{{ mine }}", mine="collect") == []
    ((name, _why),) = problems({"steps": ["collect", "judge"]}, svirt_run_steps="{{ mine }}", mine="reserve")
    assert name == "svirt_run_steps"


@pytest.mark.parametrize("path", sorted(PLAYBOOKS.glob("*.yml")), ids=lambda path: path.stem)
def test_l_no_playbook_sets_for_another_what_the_command_line_would_win_over(path: Path) -> None:
    for play in yaml.safe_load(path.read_text()):
        if "ansible.builtin.import_playbook" in play:
            assert not set(play.get("vars", {})) & set(_variables.VARIABLES), play["name"]


@pytest.mark.parametrize("name", sorted(_variables.VARIABLES))
def test_l_every_slip_of_one_letter_is_noticed(name: str) -> None:
    chance = random.Random(name)  # noqa: S311 - the same slips every time
    for place in range(len("svirt_"), len(name)):
        letter = chance.choice("abcdefghijklmnopqrstuvwxyz_")
        swapped = name[: place - 1] + name[place] + name[place - 1] + name[place + 1 :]
        for slip in (name[:place] + name[place + 1 :], name[:place] + letter + name[place:], swapped):
            if slip in _variables.VARIABLES or slip == name:
                continue
            ((wrong, why),) = problems(None, **{slip: "any"})
            assert wrong == slip
            assert "did you mean svirt_" in why
