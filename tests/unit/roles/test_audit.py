# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Findings are confirmed where there are any: with a host that answers, and a host that is down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots

from tests.unit.support.fleets import guest, host
from tests.unit.support.playbooks import play, refused

__all__ = ["refused"]

ROLE = Path(__file__).resolve().parents[3] / "roles" / "audit"


def role_tasks() -> list[dict[str, object]]:
    """The role's tasks behind its probe."""
    tasks = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())
    return [task for task in tasks if task.get("ansible.builtin.import_tasks") != "read.yml"]


@pytest.mark.parametrize("mode", [(), ("--check",)], ids=["plain", "check mode"])
def test_only_hosts_with_questions_are_asked(tmp_path: Path, refused: int, mode: tuple[str, ...]) -> None:
    report = tmp_path / "report"
    for name, second in (("here", "s0:c1,c2"), ("gone", "s0:c1,c2"), ("clean", "s0:c1,c3")):
        guests = [guest(f"{name}{number}", level, "/var/a") for number, level in enumerate(("s0:c1,c2", second))]
        _snapshots.write_snapshot(report / "snapshots", name, encode(host(name, guests)))
    inventory = tmp_path / "hosts.ini"
    down = f"ansible_host=127.0.0.1 ansible_port={refused}"
    inventory.write_text(
        f"here ansible_connection=local ansible_python_interpreter={sys.executable}\ngone {down}\nclean {down}\n"
    )
    # The role as it is, without its probe: the hosts' snapshots are there.
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for source in (ROLE / "tasks").glob("*.yml"):
        (tasks / source.name).write_text(source.read_text())
    (tasks / "main.yml").write_text(yaml.safe_dump(role_tasks()))
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    plays = [{"hosts": "all", "gather_facts": False, "vars": {**defaults, "audit_report_dir": str(report)}}]
    plays[0]["tasks"] = [{"ansible.builtin.import_tasks": "tasks/main.yml"}]
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump(plays))
    run = play(str(book), inventory, *mode)
    assert run.status == 2, run.output
    why = {item["host"]: item["evidence"].get("unconfirmed_because", "") for item in run.report["findings"]
           if item["rule"] == "CAT-002"}  # fmt: skip
    assert set(why) == {"here", "gone"}
    assert "gone could not be asked" in why["gone"]
    assert "the policy could not answer" in why["here"] or "did not answer" in why["here"]
    assert run.output.count("sVirt audit of 3 hosts") == 1
    asked = run.output.partition("TASK [Ask the loaded policy]")[2].partition("TASK [Judge the fleet with")[0]
    assert "[here]" in asked
    assert "clean" not in asked


def test_the_probe_is_left_out_of_this_test_alone() -> None:
    assert len(role_tasks()) == len(yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())) - 1
