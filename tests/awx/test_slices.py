# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The playbooks in slices: jobs that share nothing but the store judge the fleet as one job does.

The hosts are simulated (tests.awx.simulated); playbooks, plugins, modules, ansible-runner and PostgreSQL are real.
"""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from tests.awx import simulated
from tests.awx.jobs import Controller, slice_of

#: SVIRT_AWX_HOSTS makes the fleet smaller on a busy machine.
HOSTS = range(1, 1 + int(os.environ.get("SVIRT_AWX_HOSTS", "200")))
SLICES = 4
#: Largest size in bytes of what a job passes on.
MOST = 1024
#: Fields that differ between two runs over the same hosts.
_TIMES_AND_IDS = frozenset(("run", "since", "generated_at", "last_passed_at", "taken_at", "read_at"))


def same(value: t.Any) -> t.Any:
    """A report without times and ids."""
    if isinstance(value, dict):
        return {key: same(inner) for key, inner in value.items() if key not in _TIMES_AND_IDS}
    return [same(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, store: str) -> dict[str, t.Any]:
    """The report of one job over all hosts."""
    job = Controller(tmp_path_factory.mktemp("one"), store, HOSTS, inventory=1).launch("audit.yml")
    assert job.ended() == 2, job.log  # its findings
    return job.report


def test_slices_are_a_stride_over_the_names() -> None:
    assert [slice_of(range(1, 8), number, 3) for number in (1, 2, 3)] == [[1, 4, 7], [2, 5], [3, 6]]


def test_report_of_slices_is_that_of_one_job(tmp_path: Path, store: str, one: dict[str, t.Any]) -> None:
    controller = Controller(tmp_path, store, HOSTS, inventory=2)
    slices = controller.slices("audit.yml", SLICES, svirt_run_steps=["collect"])
    assert [job.ended() for job in slices] == [0] * SLICES, "\n".join(job.log for job in slices)
    wanted = [[simulated.name_of(host) for host in slice_of(HOSTS, number + 1, SLICES)] for number in range(SLICES)]
    assert [job.read_hosts() for job in slices] == wanted
    judge = controller.launch("audit.yml", svirt_run_steps=["judge"])
    assert judge.ended() == 2, judge.log
    assert judge.read_hosts() == []
    assert same(judge.report) == same(one)
    permissive = {simulated.name_of(number) for number in HOSTS if simulated.is_permissive(number)}
    assert permissive
    assert {each["host"] for each in judge.report["findings"] if each["rule"] == "SEL-002"} == permissive
    published = judge.stats
    assert set(published) == {"fleet_run"}
    assert len(json.dumps(published)) < MOST
    assert (published["fleet_run"]["run"], published["fleet_run"]["verdict"]) == (judge.report["run"], "fail")
    assert [job.stats for job in slices] == [{}] * SLICES


def test_hosts_of_a_killed_slice_are_unknown(tmp_path: Path, store: str) -> None:
    hosts = HOSTS[:40]
    controller = Controller(tmp_path, store, hosts, inventory=3)
    slices = controller.slices("audit.yml", SLICES, svirt_run_steps=["collect"])
    slices[1].kill_after(hosts=2)
    assert slices[1].process.returncode < 0
    assert [job.ended() for job in (slices[0], *slices[2:])] == [0] * (SLICES - 1)
    judge = controller.launch("audit.yml", svirt_run_steps=["judge"], svirt_fail_on="never")
    assert judge.ended() == 2, judge.log
    lost = {simulated.name_of(number) for number in slice_of(hosts, 2, SLICES)}
    verdicts = {host["name"]: host["verdict"] for host in judge.report["hosts"]}
    assert {name for name, verdict in verdicts.items() if verdict == "unknown"} == lost
    assert judge.report["verdict"] == "unknown"
    assert len(verdicts) == len(hosts)


def test_no_slice_at_all_is_no_pass(tmp_path: Path, store: str) -> None:
    controller = Controller(tmp_path, store, HOSTS[:2], inventory=4)
    judge = controller.launch("audit.yml", svirt_run_steps=["judge"], svirt_fail_on="never")
    assert judge.ended() != 0
