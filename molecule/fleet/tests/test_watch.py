# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch on a real host: it judges as the audit does, drift shows by its next run, and it leaves no trace."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator

import pytest

from tests.lab import faults
from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.playbooks import Run, audit

METRICS = "/var/lib/prometheus/node-exporter/svirt_fleet_watch.prom"
#: Seconds; the shortest that the role takes, and the longest run that it allows then.
INTERVAL, TIME_LIMIT = 60, 55
#: Seconds to wait for what comes within one interval on an idle host.
PATIENCE = 900
SERVICE, TIMER = "svirt-watch.service", "svirt-watch.timer"
#: Settings of the service for one test; /run keeps them from the files that the role wrote.
DROP_IN = f"/run/systemd/system/{SERVICE}.d"
#: The call with which the guard logs a refusal.
REFUSAL = """
import syslog
syslog.openlog("svirt-guard", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
syslog.syslog(syslog.LOG_WARNING, "guest 'x' was refused: a test of the watch")
"""


class Watch:
    """The watch of a host."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def metrics(self) -> dict[str, float]:
        """All samples; empty before the first run."""
        lines = self.node.shell(f"cat {METRICS} 2>/dev/null || :").splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix("svirt_fleet_watch_"): float(value) for name, value in samples}

    def at_work(self) -> bool:
        """Whether a run is at work."""
        return self.node.shell(f"systemctl is-active {SERVICE} || :").strip() == "activating"

    def wait_for_end(self) -> None:
        """Return when no run is at work, nor what systemd starts after each."""
        self.node.shell(f"while systemctl is-active {SERVICE} | grep -q activating; do sleep 0.2; done")

    def by_timer(self, number: int) -> dict[str, float]:
        """The metrics after so many runs that the timer started and that end from now on."""
        seen = {self.metrics().get("last_run_timestamp_seconds", 0.0)}
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            metrics = self.metrics()
            seen.add(metrics.get("last_run_timestamp_seconds", 0.0))
            if len(seen) > number:
                return metrics
            time.sleep(1)
        raise AssertionError(self.log())

    def run(self) -> dict[str, float]:
        """The metrics of a run that begins and ends now. The timer must not run: start would join its run."""
        done = self.node.shell(f"systemctl start {SERVICE}; echo $?").split()
        assert done[-1] == "0", self.log()
        return self.metrics()

    def log(self) -> str:
        """What systemd and the watch say."""
        return self.node.shell(f"systemctl status {SERVICE}; journalctl -u {SERVICE} -t svirt-watch -n 50", check=False)

    def verdict(self, metrics: dict[str, float]) -> str:
        """The verdict that has a 1."""
        verdicts = [name for name, value in metrics.items() if name.startswith("verdict{") and value == 1]
        assert len(verdicts) == 1, metrics
        return re.findall(r'"(\w+)"', verdicts[0])[0]


def _role(node: Node) -> Run:
    return node.role("watch", watch_interval=INTERVAL, watch_time_limit=TIME_LIMIT, watch_fail_on="critical")


@pytest.fixture(scope="module")
def watch(lab: Lab) -> Iterator[Watch]:
    node = Node(lab, "kvm1")
    before = node.journal()
    done = _role(node)
    assert done.status == 0, done.output
    watch = Watch(node)
    yield watch
    node.put_back(before)
    watch.wait_for_end()
    assert node.shell(f"systemctl is-active {TIMER} || :").strip() == "inactive"
    node.shell(f"rm -f {METRICS}; ! ls /etc/systemd/system/svirt-watch.*")


@pytest.fixture(scope="module")
def by_hand(watch: Watch) -> Iterator[Watch]:
    """The watch without its timer: each run is one that a test starts. What needs the timer comes before."""
    watch.node.shell(f"systemctl stop {TIMER}")
    watch.wait_for_end()
    yield watch
    watch.node.shell(f"systemctl start {TIMER}")


def test_a_second_run_of_the_role_changes_nothing(watch: Watch) -> None:
    done = _role(watch.node)
    assert (done.status, done.changed) == (0, []), done.output
    (result,) = done.of("kvm1", "watch_timer")
    assert result["limits"] == []
    assert result["domain"]


def test_it_judges_as_the_audit_does(watch: Watch, lab: Lab) -> None:
    metrics = watch.metrics() or watch.by_timer(1)
    found = audit(lab.inventory, limit="kvm1", svirt_fail_on="critical").report
    # What hosts reach across shared storage is left to the audit.
    of_host = [item for item in found["findings"] if item["host"] == "kvm1" and item["reach"] in (None, "E1")]
    for rule in {item["rule"] for item in of_host if item["scope"] != "fleet"}:
        number = sum(item["rule"] == rule for item in of_host)
        assert metrics[f'rule_findings{{rule="{rule}"}}'] == number, rule
    assert metrics["rules_unknown"] == 0, watch.log()
    assert watch.verdict(metrics) == "pass"


def test_drift_shows_by_the_next_run_of_the_timer_and_is_logged(watch: Watch, lab: Lab) -> None:
    assert watch.verdict(watch.metrics() or watch.by_timer(1)) == "pass"
    faults.inject("kvm1", "selinux-permissive", lab=lab.folder)
    try:
        # A run that was at work when the fault came may not have seen it; the one after that has.
        metrics = watch.by_timer(1 + watch.at_work())
    finally:
        faults.undo("kvm1", "selinux-permissive", lab=lab.folder)
    assert watch.verdict(metrics) == "fail"
    assert metrics['rule_findings{rule="SEL-002"}'] == 1
    assert "verdict changed from pass to fail" in watch.node.shell("journalctl -t svirt-watch -o cat")


def test_what_was_put_right_passes_again(by_hand: Watch) -> None:
    assert by_hand.verdict(by_hand.run()) == "pass"


def test_refusals_of_the_guard_are_counted(by_hand: Watch) -> None:
    before = by_hand.metrics()["guard_refusals_total"]
    assert by_hand.metrics()["guard_log_readable"] == 1, by_hand.log()
    by_hand.node.shell(f"python3 -c {shlex.quote(REFUSAL)}")
    assert by_hand.run()["guard_refusals_total"] == before + 1
    assert by_hand.run()["guard_refusals_total"] == before + 1


def test_a_run_that_takes_too_long_is_unknown(by_hand: Watch) -> None:
    slow = r"[Service]\nTimeoutStartSec=1\nExecStartPre=/bin/sleep 30\n"
    by_hand.node.shell(f"mkdir -p {DROP_IN}; printf '{slow}' >{DROP_IN}/test.conf; systemctl daemon-reload")
    try:
        status = by_hand.node.shell(f"systemctl start {SERVICE}; echo $?").split()[-1]
        metrics = by_hand.metrics()
    finally:
        by_hand.node.shell(f"rm -r {DROP_IN}; systemctl daemon-reload; systemctl reset-failed {SERVICE}")
    assert status != "0"
    assert by_hand.verdict(metrics) == "unknown"
    assert by_hand.verdict(by_hand.run()) == "pass"
