# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback in a real run: slow hosts are named while a task is at work, and quick tasks print nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLAY = """
- name: Read
  hosts: all
  gather_facts: false
  tasks:
    - name: Probe
      svirt.fleet.svirt_info:
    - name: Another task
      ansible.builtin.debug:
        msg: done
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A play over a quick host and one whose Python needs three seconds to start."""
    (tmp_path / "play.yml").write_text(PLAY)
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\nsleep 3\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    (tmp_path / "hosts.ini").write_text(
        f"quick ansible_python_interpreter={sys.executable}\nslow ansible_python_interpreter={slow}\n"
        "[all:vars]\nansible_connection=local\n"
    )
    return tmp_path


def output(folder: Path, after: float, *options: str) -> str:
    command = ["ansible-playbook", "-i", str(folder / "hosts.ini"), str(folder / "play.yml"), *options]
    variables = {"ANSIBLE_CALLBACKS_ENABLED": "svirt.fleet.progress", "SVIRT_PROGRESS_AFTER": str(after)}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_slow_host_is_named_while_it_is_at_work(folder: Path) -> None:
    lines = re.findall(r"^svirt_info: .*$", text := output(folder, 0.5), re.MULTILINE)
    assert lines, text
    assert all(
        re.fullmatch(r"svirt_info: [01] of 2 hosts done after \d+ s; at work: .*slow \(\d+ s\)", line) for line in lines
    )
    assert "quick" not in lines[-1] or "0 of 2" in lines[-1], text
    assert "callback" not in text.lower(), text


def test_task_that_ends_soon_prints_nothing(folder: Path) -> None:
    text = output(folder, 600, "--limit", "quick")
    assert "hosts done" not in text
    assert "Another task" in text
