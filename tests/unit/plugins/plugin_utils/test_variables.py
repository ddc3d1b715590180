# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.plugin_utils import _role_variables, _variables
from hypothesis import example, given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[4]
#: Names in the playbooks that are no variables: modules, groups, types, and what is before a colon in text.
NO_VARIABLES = re.compile(r"svirt_(info|rollback|fleet|fleet_guard|to_\w+|step_failed|t|tcg_t|image_t|guard)\Z")

GOOD: list[tuple[str, t.Any]] = [
    ("svirt_allocate_guests", ["web1", "00000000-0000-4000-8000-000000000001"]),
    ("svirt_run_steps", ["reserve"]),
    ("svirt_run_steps", "collect,judge"),
    ("svirt_run_id", "workflow-7"),
    ("svirt_run_id", 12),
    ("svirt_allow_reboot", "yes"),
    ("svirt_confirm_clock", True),
    ("svirt_default_tenant", "acme"),
    ("svirt_fail_on", "never"),
    ("svirt_guest_power_cycle", "web1,web2"),
    ("svirt_guest_power_cycle", ["web, 1"]),
    ("svirt_guest_power_cycle", []),
    ("svirt_ignore_variables", "svirt_a, svirt_b"),
    ("svirt_report_formats", "html, sarif"),
    ("svirt_run_steps", "collect, judge"),
    ("svirt_run_id", "x" * 100 + "-result"),
    ("svirt_guests", [{"guest": "a"}, {"guest": "b", "type": "static", "label": "u:r:svirt_t:s0:c1,c2"}]),
    ("svirt_hosts", ["kvm*", "!kvm9"]),
    ("svirt_hosts", "all"),
    ("svirt_label_domains", [{"name": "prod", "hosts": ["kvm1"], "strategy": "range"}]),
    ("svirt_ledger", ""),
    ("svirt_max_age", "3600"),
    ("svirt_orphan_search", ["/backup"]),
    ("svirt_quarantine_days", 0),
    ("svirt_serial", [1, "25%", "100%"]),
    ("svirt_serial", 5),
    ("svirt_serial", "12.5%"),
    ("svirt_snapshots", ""),
    ("svirt_storage", [{"name": "vol", "sources": ["filer:/vol", "10.0.0.1:/vol"]}]),
    ("svirt_tenants", [{"match": "web", "tenant": "acme"}]),
    ("svirt_timeout", 30),
    ("svirt_waivers", [{"rule": "GST-001", "subject": "a", "reason": "old", "expires": "2027-03-31"}]),
]
BAD: list[tuple[str, t.Any, str]] = [
    ("svirt_allocate_guests", {"web1": 1}, "list of names"),
    ("svirt_run_steps", {"reserve": 1}, "give a list of collect"),
    ("svirt_run_id", "a b", "letters"),
    ("svirt_run_id", "x" * 101, "letters"),
    ("svirt_allocate_guests", "", "spaces beside a comma"),
    ("svirt_guest_power_cycle", "web1, web2", "spaces beside a comma"),
    ("svirt_migration_guests", "web1,", "spaces beside a comma"),
    ("svirt_permissive_allowed", " virt_t", "spaces beside a comma"),
    ("svirt_orphan_search", "/a, /b", "spaces beside"),
    ("svirt_orphan_search", [" /a"], "absolute"),
    ("svirt_keep_runs", 0, "from 1 to"),
    ("svirt_run_steps", ["reserv"], "did you mean reserve?"),
    ("svirt_allow_reboot", "ture", "did you mean true?"),
    ("svirt_allow_reboot", 7, "true or false"),
    ("svirt_default_tenant", "a\nb", "can be printed"),
    ("svirt_fail_on", "hihg", "did you mean high?"),
    ("svirt_fail_on", "High", "did you mean high?"),
    ("svirt_fail_on", ["high"], "one of critical"),
    ("svirt_fail_on", None, "has no value"),
    ("svirt_guests", [{"guset": "a"}], "did you mean guest?"),
    ("svirt_guests", [{"guest": "a", "type": "statik"}], "did you mean static?"),
    ("svirt_guests", [{"guest": "a", "type": "static", "label": "s0:c1"}], ""),
    ("svirt_guests", {"guest": "a"}, "list of mappings"),
    ("svirt_hosts", [], "host pattern"),
    ("svirt_label_domains", [{"name": "prod"}], "hosts"),
    ("svirt_max_age", 0, "from 1"),
    ("svirt_max_age", "1h", "whole number"),
    ("svirt_max_age", True, "whole number"),
    ("svirt_orphan_search", ["backup"], "absolute"),
    ("svirt_profile", "loacl", "did you mean local?"),
    ("svirt_quarantine_days", -1, "from 0"),
    ("svirt_quarantine_days", 10**9, "to 36500"),
    ("svirt_report_dir", "", "path"),
    ("svirt_rollback_runs", 0, "from 1"),
    ("svirt_serial", "120%", "percentage"),
    ("svirt_serial", 0, "percentage"),
    ("svirt_serial", [], "percentage"),
    ("svirt_storage", [{"anything": 1}], "storage[0]"),
    ("svirt_strategy", "statc", "did you mean static?"),
    ("svirt_tenants", [{"match": "web"}], "match and tenant"),
    ("svirt_timeout", "-5", "from 1"),
    ("svirt_timeout", 2.5, "whole number"),
    ("svirt_waivers", [{"rule": "GST-001"}], "waivers"),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_values_that_the_playbooks_take_are_taken(name: str, value: t.Any) -> None:
    assert _variables.check_value(name, value) is None


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_other_values_are_refused_with_what_to_give(name: str, value: t.Any, words: str) -> None:
    problem = _variables.check_value(name, value)
    assert problem is not None
    assert words in problem.text
    assert problem.text.startswith(name)


@pytest.mark.parametrize("name", ["svirt_ledger", "svirt_store"])
def test_a_value_that_may_hold_a_password_is_not_shown(name: str) -> None:
    problem = _variables.check_value(name, ["postgresql://svirt:secret@h/d"])
    assert problem is not None
    assert "secret" not in problem.text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("svirt_failon", "svirt_fail_on"),
        ("svirt_fail-on", "svirt_fail_on"),
        ("svirt_Fail_On", "svirt_fail_on"),
        ("SVIRT_FAIL_ON", "svirt_fail_on"),
        ("svirtfail_on", "svirt_fail_on"),
        ("svrit_fail_on", "svirt_fail_on"),
        ("svrt_fail_on", "svirt_fail_on"),
        ("svirt_report_directory", "svirt_report_dir"),
        ("svirt_guest_power_cylce", "svirt_guest_power_cycle"),
        ("svirt_waiver", "svirt_waivers"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, meant: str) -> None:
    assert _variables.concerns(name)
    problem = _variables.check_name(name)
    assert problem is not None
    assert f"did you mean {meant}?" in problem.text


@pytest.mark.parametrize("name", ["virt_hosts", "virt_fail_on", "audit_fail_on", "hosts", "fail_on", "swift_store", 7])
def test_names_of_others_and_of_the_playbooks_are_left_alone(name: t.Any) -> None:
    assert not _variables.concerns(name)


def test_a_name_that_is_near_to_none_is_refused_unless_it_is_ignored() -> None:
    problem = _variables.check_name("svirt_zzzzzzzz")
    assert problem is not None
    assert "svirt_ignore_variables" in problem.text
    assert _variables.check_name("svirt_zzzzzzzz", {"svirt_zzzzzzzz"}) is None


def test_all_variables_of_playbooks_and_roles_are_in_the_table() -> None:
    files = [path for top in ("playbooks", "roles") for path in (ROOT / top).rglob("*.yml")]
    names = {name for path in files for name in re.findall(r"\bsvirt_[a-z_]+\b", _code(path))}
    known = set(_variables.VARIABLES)
    assert {name for name in names - known if not NO_VARIABLES.match(name)} == set()
    unused = {"svirt_ignore_variables"}
    assert set(_variables.VARIABLES) - names <= unused


def _code(path: Path) -> str:
    return "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))


@example("svirt_report_formats", [[]])
@given(
    st.sampled_from(sorted(_variables.VARIABLES)),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
        max_leaves=8,
    ),
)
def test_any_value_is_taken_or_refused_and_never_a_crash(name: str, value: t.Any) -> None:
    problem = _variables.check_value(name, value)
    assert problem is None or problem.text.startswith(name)


def test_defaults_of_the_roles_fit_their_own_specs() -> None:
    for path in sorted((ROOT / "roles").glob("*/defaults/main.yml")):
        for name, value in (yaml.safe_load(path.read_text()) or {}).items():
            assert _role_variables.check(name, value, readable=True) is None, name
            assert _role_variables.near(name) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("selinux_state", "enforcng", "did you mean enforcing?"),
        ("guard_time_limit", "soon", "guard_time_limit"),
        ("images_labels", [{"path": 1, "what": 2}], "images_labels"),
        ("network_live", None, "has no value"),
    ],
)
def test_a_wrong_value_of_a_roles_variable_is_refused(name: str, value: t.Any, words: str) -> None:
    problem = _role_variables.check(name, value, readable=True)
    assert problem is not None
    assert words in problem.text


def test_a_name_that_is_nearly_a_roles_is_a_warning() -> None:
    assert _role_variables.near("guard_colision") == [
        "guard_colision is no variable of a role of svirt.fleet: did you mean guard_collision?"
    ]
    assert _role_variables.near("network_interfaces") == []
