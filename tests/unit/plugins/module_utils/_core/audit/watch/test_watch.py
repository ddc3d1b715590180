# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A host's own verdict, what the watch logs of it, its metrics, and the guard's lines."""

from __future__ import annotations

import datetime
import json
import re
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.report import VERDICTS
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.watch import state, verdict
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.watch.guard_log import GuardCounts, counted
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.watch.settings import (
    WatchSettings,
    check,
    read_settings,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.watch.state import WatchState, read_state
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.watch.verdict import OwnVerdict
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import UNKNOWN, Coverage, Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import factory

NOW = datetime.datetime(2026, 11, 30, tzinfo=datetime.timezone.utc)
SETTINGS = WatchSettings("kvm1", "/var/lib/prometheus/node-exporter")


def judge(snapshot: Snapshot, **settings: t.Any) -> OwnVerdict:
    return verdict.judge(replace(SETTINGS, **settings), snapshot, NOW)


def permissive() -> Snapshot:
    snapshot = factory.host()
    snapshot.selinux.mode = "permissive"
    return snapshot


def test_a_healthy_host_passes() -> None:
    own = judge(factory.host())
    assert (own.verdict, own.findings, own.guests, own.read) == ("pass", (), 2, True)


def test_a_fault_and_its_waiver() -> None:
    own = judge(permissive())
    assert own.verdict == "fail"
    assert "SEL-002" in own.by_rule
    assert judge(permissive(), fail_on="never").verdict == "pass"
    waivers = [
        {"rule": item.rule, "subject": item.subject, "reason": "a test", "expires": "2027-01-01"}
        for item in own.findings
    ]
    waived = judge(permissive(), waivers=tuple(waivers))
    assert (waived.verdict, waived.waived) == ("pass", len(own.findings))


def test_two_guests_of_the_host_that_reach_one_another() -> None:
    snapshot = factory.host()
    one, other = snapshot.guests[:2]
    snapshot.guests[1] = replace(other, context=one.context)
    own = judge(snapshot)
    assert own.verdict == "fail"
    assert any(item.reach == "E1" for item in own.findings)
    assert all(item.reach in (None, "E1") for item in own.findings)


def test_what_was_not_read_is_unknown() -> None:
    snapshot = factory.host()
    snapshot.coverage["guests"] = Coverage(UNKNOWN, "libvirt is down", ["down"])
    own = judge(snapshot)
    assert own.verdict == "unknown"
    assert "libvirt is down" in own.why


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_come_back_from_their_file() -> None:
    given_settings = replace(SETTINGS, permissive_allowed=("x_t",), interval=60)
    assert read_settings(given_settings.text()) == given_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("interval", 59), ("interval", True), ("timeout", 0), ("fail_on", "any"), ("profile", "x"), ("host", "")),
        *(("directory", "relative"), ("directory", "/a b"), ("directory", "/a/../b"), ("directory", "/%n")),
        ("waivers", ({"reason": "no target"},)),
    ],
)
def test_settings_that_cannot_be_meant(name: str, value: t.Any) -> None:
    with pytest.raises(PlanError) as refused:
        check(replace(SETTINGS, **{name: value}))
    assert refused.value.code == f"bad_{name}"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 1}', SETTINGS.text().replace("fail_on", "fail_in")])
def test_a_file_that_holds_no_settings(text: str) -> None:
    with pytest.raises(PlanError):
        read_settings(text)


# -- state, log and metrics --------------------------------------------------------------------------------------------


def said(before: WatchState, own: OwnVerdict) -> list[int]:
    return [priority for priority, _text in state.log_lines(before, own)]


def test_a_line_is_logged_where_the_verdict_or_the_findings_change() -> None:
    good, bad = judge(factory.host()), judge(permissive())
    first = state.after(WatchState(), good, GuardCounts(), 10.0)
    assert said(WatchState(), good) == [state.NOTICE]
    assert said(first, good) == []
    second = state.after(first, bad, GuardCounts(), 20.0)
    ((priority, text),) = state.log_lines(first, bad)
    assert priority == state.WARNING
    assert text.startswith("verdict changed from pass to fail: new SEL-002")
    assert said(second, bad) == []
    worse = replace(bad, findings=(*bad.findings, replace(bad.findings[0], fingerprint="0" * 16)))
    assert said(second, worse) == [state.WARNING]
    assert said(second, verdict.unknown("no time")) == [state.WARNING]
    assert (second.since, second.changes, second.passed_at) == (20.0, 1, 10.0)
    assert state.after(second, bad, GuardCounts(), 30.0).since == 20.0
    # A run that failed forgets no finding: none is new after the next one.
    third = state.after(second, verdict.unknown("no time"), GuardCounts(), 30.0)
    assert "new" not in next(state.log_lines(third, bad))[1]


def test_a_line_is_one_line_of_plain_text() -> None:
    bad = judge(permissive())
    hostile = replace(bad, why="a\nb\x1b[2J", findings=(replace(bad.findings[0], subject="web\n\u202eevil" * 500),) * 9)
    ((_priority, text),) = state.log_lines(WatchState(), hostile)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 1000


def test_state_comes_back_from_its_file() -> None:
    kept = state.after(WatchState(), judge(permissive()), GuardCounts(1, 2, 3, "b", 4, 5), 10.0)
    assert read_state(kept.text()) == kept


@given(
    st.text() | st.just("{}") | st.builds(json.dumps, st.dictionaries(st.sampled_from(("verdict", "guard")), st.none()))
)
def test_a_file_that_holds_no_state_is_a_first_run(text: str) -> None:
    assert read_state(text) == WatchState()


_SAMPLE = re.compile(r'svirt_fleet_watch_[a-z_]+(\{[a-z]+="[^"\n]*"\})? -?[0-9]+\Z')


def metrics(own: OwnVerdict, log_read: bool = True) -> dict[str, float]:
    kept = state.after(WatchState(), own, GuardCounts(refused=3), 10.0)
    text = state.metrics(SETTINGS, kept, own, 10.0, log_read)
    assert text.endswith("\n")
    samples = [line for line in text.splitlines() if not line.startswith("# ")]
    assert all(_SAMPLE.match(line) for line in samples)
    assert text.count("# HELP ") == text.count("# TYPE ") == len({re.split("[ {]", line)[0] for line in samples})
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in samples)}


def test_metrics_of_a_verdict() -> None:
    seen = metrics(judge(permissive()))
    assert [seen[f'svirt_fleet_watch_verdict{{verdict="{name}"}}'] for name in VERDICTS] == [1, 0, 0, 0]
    assert seen['svirt_fleet_watch_rule_findings{rule="SEL-002"}'] == 1
    assert seen['svirt_fleet_watch_rule_findings{rule="SEL-001"}'] == 0
    assert seen["svirt_fleet_watch_guard_refusals_total"] == 3
    assert seen["svirt_fleet_watch_last_run_timestamp_seconds"] == 10


def test_a_run_that_failed_says_nothing_of_findings() -> None:
    seen = metrics(verdict.unknown("no time"), log_read=False)
    assert seen['svirt_fleet_watch_verdict{verdict="unknown"}'] == 1
    assert seen['svirt_fleet_watch_verdict{verdict="pass"}'] == 0
    assert not any("findings" in name for name in seen)
    assert seen["svirt_fleet_watch_guard_log_readable"] == 0


# -- the guard ---------------------------------------------------------------------------------------------------------


def entry(number: int, priority: int, text: t.Any = "guest 'a' was refused: x", boot: str = "b1") -> str:
    times = {"__MONOTONIC_TIMESTAMP": str(number), "__REALTIME_TIMESTAMP": str(1000 + number)}
    return json.dumps({**times, "PRIORITY": str(priority), "MESSAGE": text, "_BOOT_ID": boot})


ALLOWED = "guest 'a' was refused: x - but collisions are set to be allowed, so it was let through"


def test_each_line_of_the_guard_counts_once() -> None:
    text = "\n".join([entry(1, 4), entry(2, 4, list(ALLOWED.encode())), entry(3, 3), entry(4, 6), "no json", "{}"])
    first = counted(GuardCounts(), text)
    assert (first.refused, first.allowed, first.errors) == (1, 1, 1)
    assert counted(first, text) == first
    more = counted(first, "\n".join([text, entry(9, 4)]))
    assert (more.refused, more.monotonic) == (2, 9)


def test_a_name_does_not_make_a_refusal_a_permission() -> None:
    assert counted(GuardCounts(), entry(1, 4, "guest 'so it was let through' was refused: x")).refused == 1


def test_after_a_boot_counting_goes_on() -> None:
    first = counted(GuardCounts(), entry(50, 4))
    assert counted(first, "\n".join([entry(50, 4), entry(60, 4, boot="b2"), entry(61, 4, boot="b2")])).refused == 3
