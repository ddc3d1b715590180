# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""svirt.fleet.awx_setup: its variables are documented with their defaults. tests/awx runs its tasks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = (ROOT / "playbooks" / "awx_setup.yml").read_text()
GUIDE = (ROOT / "docs" / "awx.md").read_text()
_READ = re.compile(r"\b(awx_setup_\w+) \| default\(([^)]*?)\)")
_ROW = re.compile(r"^\| (`awx_setup_[^|]*)\| ([^|]*) \|", re.MULTILINE)


def test_variables_are_documented_with_their_defaults() -> None:
    documented: dict[str, str] = {}
    for names, defaults in _ROW.findall(GUIDE):
        for name, default in zip(re.findall(r"awx_setup_\w+", names), defaults.split(", "), strict=True):
            documented[name] = default.strip("`")
    read: dict[str, str] = {}
    for name, default in _READ.findall(PLAYBOOK):
        read.setdefault(name, default.strip("'"))
    assert set(documented) == set(read)
    plain = {name: default for name, default in read.items() if re.fullmatch(r"[\w./:\[\]-]+", default)}
    assert len(plain) > 5
    del plain["awx_setup_project_credential"]  # omit
    assert {name: documented[name] for name in plain} == plain
