# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The reference of the playbooks' variables: complete, and read from playbooks and options."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.plugin_utils._variables import VARIABLES

from tests.tools import playbook_variables
from tests.tools.playbook_variables import MODULE, ROLE, Use


def uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, playbooks: dict[str, str]) -> list[Use]:
    """Uses in playbooks of the test's own."""
    for name, text in playbooks.items():
        (tmp_path / f"{name}.yml").write_text(text)
    monkeypatch.setattr(playbook_variables, "PLAYBOOKS", tmp_path)
    return list(playbook_variables.all_uses())


def test_every_variable_is_described_and_used() -> None:
    assert playbook_variables.undescribed() == []


def test_every_variable_stands_in_the_section_of_each_playbook_that_reads_it() -> None:
    sections = playbook_variables.document("").split("\n## ")[1:]
    shown = {
        section.partition("\n")[0].removeprefix("svirt.fleet."): {
            line.split("`")[1] for line in section.splitlines() if line.startswith("| `svirt_")
        }
        for section in sections
    }
    read: dict[str, set[str]] = {}
    for use in playbook_variables.all_uses():
        read.setdefault(use.playbook, {"svirt_ignore_variables"}).add(use.variable)
    assert shown == read
    assert set.union(*shown.values()) == set(VARIABLES)


def test_use_has_the_default_and_the_option_that_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
- hosts: "{{ query('x', svirt_hosts | default('all')) }}"
  tasks:
    - svirt.fleet.fleet_report:
        formats: "{{ svirt_report_formats | default(['html']) }}"
        dest: "{{ svirt_report_dir | default(omit) }}"
    - import_role: {name: svirt.fleet.audit}
      vars:
        audit_timeout: "{{ svirt_timeout | default(30) }}"
        audit_ledger: "{{ audit_run_ledger | default(svirt_ledger | default('')) }}"
        audit_store: "{{ svirt_store | default('a' if svirt_run_id is defined else omit, true) }}"
        audit_snapshots: "{{ svirt_snapshots | default('') ~ '/svirt_max_age' }}"
"""
    found = {use.variable: use for use in uses(tmp_path, monkeypatch, {"one": text})}
    assert {name: use.default for name, use in found.items()} == {
        "svirt_hosts": "all",
        "svirt_report_formats": "['html']",
        "svirt_report_dir": "",
        "svirt_timeout": "30",
        "svirt_ledger": "",
        "svirt_store": "a",
        "svirt_run_id": "",
        "svirt_snapshots": "",
    }
    assert {name: use.rank for name, use in found.items() if use.option} == {
        "svirt_report_formats": MODULE,
        "svirt_report_dir": MODULE,
        "svirt_timeout": ROLE,
        "svirt_ledger": ROLE,
        "svirt_store": ROLE,
    }


def test_variables_of_imported_playbooks_count_unless_the_importer_sets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = "- hosts: '{{ svirt_hosts }}'\n  serial: '{{ svirt_serial }}'\n"
    survey += "  tasks: [{x: \"{{ audit_run_ledger | default(svirt_ledger | default('')) }}\"}]\n"
    one = "- ansible.builtin.import_playbook: survey.yml\n  vars: {svirt_serial: 1, audit_run_ledger: ''}\n"
    found = uses(tmp_path, monkeypatch, {"one": one, "survey": survey})
    assert [(use.playbook, use.variable) for use in found] == [("one", "svirt_hosts")]


def test_variable_that_nothing_describes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIABLES, "svirt_new", lambda _value: "")
    uses(tmp_path, monkeypatch, {"one": "- hosts: all\n  x: '{{ svirt_new }}'\n"})
    assert "svirt_new" in playbook_variables.undescribed()
    with pytest.raises(ValueError, match="svirt_new"):
        playbook_variables.document("")


@pytest.mark.parametrize(
    ("option", "kind", "text"),
    [
        ({"description": "A O(audit_timeout) of V(3)."}, "text", "A `svirt_timeout` of `3`."),
        (
            {"description": ["One.", "Two O(svirt.fleet.fleet_report#module:formats)."], "type": "list"},
            "list",
            "One. Two `formats` of `svirt.fleet.fleet_report`.",
        ),
        ({"type": "list", "elements": "dict"}, "list of objects", ""),
        ({"choices": ["a", "b"]}, "text: `a`, `b`", ""),
    ],
)
def test_options_are_shown_as_markdown(option: dict[str, t.Any], kind: str, text: str) -> None:
    assert (playbook_variables.type_of(option), playbook_variables.text_of(option)) == (kind, text)
