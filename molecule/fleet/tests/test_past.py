# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``svirt.fleet.history`` names two guests that shared a label, after both were stopped and undefined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab import faults
from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.playbooks import run


def look_back(lab: Lab, folder: Path, limit: str = "all") -> dict[str, Any]:
    """The history of all hosts."""
    done = run("svirt.fleet.history", lab.inventory, limit=limit, svirt_report_dir=str(folder), svirt_timeout=120)
    path = folder / "history.json"
    assert path.is_file(), done.output
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert (done.status == 0) == (found["verdict"] == "pass"), done.output
    return found


def met(history: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    """The pairs of these guests."""
    return [pair for pair in history["collisions"] if sorted(guest["name"] for guest in pair["guests"]) == list(names)]


def test_two_guests_of_one_host_that_are_gone(lab: Lab, tmp_path: Path) -> None:
    try:
        faults.inject("kvm1", "guest-same-label", lab=lab.folder)
    finally:
        faults.undo("kvm1", "guest-same-label", lab=lab.folder)
    assert Node(lab, "kvm1").virsh("dominfo", "same-a").returncode != 0
    history = look_back(lab, tmp_path)
    (pair,) = met(history, "same-a", "same-b")
    assert (history["verdict"], pair["status"], pair["class"]) == ("fail", "sure", "E1")


def test_two_guests_of_two_hosts_that_are_gone(lab: Lab, tmp_path: Path) -> None:
    try:
        for host in ("kvm1", "kvm2"):
            faults.inject(host, "static-twin", lab=lab.folder)
    finally:
        for host in ("kvm1", "kvm2"):
            faults.undo(host, "static-twin", lab=lab.folder)
    history = look_back(lab, tmp_path)
    (pair,) = met(history, "twin1", "twin2")
    assert (pair["status"], pair["class"], pair["storage"]) == ("sure", "E2", "shared")


def test_guests_that_run_have_the_label_of_their_process(lab: Lab, tmp_path: Path) -> None:
    history = look_back(lab, tmp_path, limit="kvm1")
    now = {item["name"]: item for item in history["guests"] if item["end"] == "running" and item["host"] == "kvm1"}
    node = Node(lab, "kvm1")
    for guest in ("web1", "app1"):
        context = node.shell(f"cat /proc/{node.pid(guest)}/attr/current").rstrip("\0\n")
        assert now[guest]["label"] == context, now[guest]
