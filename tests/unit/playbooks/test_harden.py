# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Hardening of hosts that cannot be read, and of this machine, which is no hypervisor: in check mode always."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.support.playbooks import Run, inventory, play, refused

__all__ = ["inventory", "refused"]

COLLECTION = Path(__file__).resolve().parents[3]
DAEMONS = (Path("/usr/sbin/libvirtd"), Path("/usr/sbin/virtqemud"))


def harden(inventory: Path, *options: str, **environment: str) -> Run:
    return play("harden", inventory, "--check", *options, **environment)


@pytest.fixture
def with_self(inventory: Path) -> Path:
    """This machine too, as a host that has no libvirt to harden."""
    line = f"self1 ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    inventory.write_text(line + inventory.read_text())
    return inventory


def test_with_every_host_down_nothing_is_hardened_and_the_verdict_is_unknown(inventory: Path) -> None:
    run = harden(inventory, "--limit", "down")
    assert run.status == 2, run.output
    assert run.report["verdict"] == "unknown"
    assert list(run.hosts) == ["down1", "down2"]
    assert all("refused" in why.lower() for _verdict, why in run.hosts.values())
    assert "Could not match" not in run.output  # a group that nobody is in
    assert "SELinux" not in run.output


@pytest.mark.skipif(os.geteuid() != 0, reason="the modules want root")
def test_the_reports_folder_may_be_relative_to_where_the_run_is_started(with_self: Path) -> None:
    run = harden(with_self, "--limit", "self1", "-e", "svirt_report_dir=report")
    assert "PLAY [Harden]" in run.output
    assert (run.folder / "before" / "report.json").is_file()


def test_no_host_at_all_is_no_success(inventory: Path) -> None:
    assert harden(inventory, "-e", "svirt_hosts=nobody").status != 0
    assert harden(inventory, "--limit", "nobody").status != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the modules want root")
@pytest.mark.skipif(any(map(Path.exists, DAEMONS)), reason="it would harden this very machine")
def test_what_a_module_cannot_do_is_reported_by_the_module_itself(with_self: Path) -> None:
    run = harden(with_self, "-e", "svirt_hosts=self1,down1")
    assert run.status == 2, run.output
    looked, _play, done = run.output.partition("PLAY [Harden]")
    assert "fatal: [self1]: FAILED!" not in looked
    assert "fatal: [self1]: FAILED!" in done
    assert "PLAY [Audit" not in run.output  # the canary failed, and with it the run


@pytest.mark.skipif(os.geteuid() != 0, reason="the modules want root")
def test_wrong_options_end_the_run_before_any_host_is_touched(with_self: Path) -> None:
    run = harden(with_self, "--limit", "self1", "-e", '{"images_timeout": "long"}')
    assert run.status == 2, run.output
    assert "images_timeout: argument" in run.output
    assert run.output.count("TASK [") == 1


def test_optional_steps_that_failed_fail_the_run_after_its_closing_audit() -> None:
    plays = yaml.safe_load((COLLECTION / "playbooks" / "harden.yml").read_text())
    names = [play["name"] for play in plays]
    hardening, audit, last = (plays[names.index(name)] for name in names[-3:])
    assert names[-3:] == ["Harden", "Audit the result", "Report optional steps that failed"]
    assert hardening["vars"]["kvm_node_fail_at_end"] is False
    grouped = hardening["tasks"][-1]
    assert grouped["ansible.builtin.group_by"]["key"] == "svirt_step_failed"
    assert grouped["when"] == "kvm_node_failed_steps | default([]) | length > 0"
    assert audit["ansible.builtin.import_playbook"] == "audit.yml"
    assert "group='svirt_step_failed'" in last["hosts"]
    (fails,) = last["tasks"]
    assert "kvm_node_failed_steps" in fails["ansible.builtin.fail"]["msg"]


def test_without_such_a_host_the_last_play_has_none(inventory: Path) -> None:
    run = harden(inventory, "--limit", "down")
    assert "PLAY [Report optional steps that failed]" not in run.output or "skipping: no hosts matched" in run.output
    assert run.report["verdict"] == "unknown"
