# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The summary against golden files. After a wanted change: SVIRT_UPDATE_GOLDEN=1 pytest, and read the difference."""

from __future__ import annotations

import datetime
import os
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report, terminal, waivers
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules import fleet as fleet_rules
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.text import columns
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    AREAS,
    NOT_APPLICABLE,
    OK,
    UNKNOWN,
    Coverage,
)

from tests.unit.support.fleets import guest, host, nfs, rule

GOLDEN = Path(__file__).parent / "fixtures" / "terminal"
NOW = datetime.datetime(2026, 11, 23, 3, 0, 0, tzinfo=datetime.timezone.utc)
READ = {area: Coverage(OK) for area in AREAS}
HOSTILE = "evil\x1b[31m\r\n{{ 7*7 }}<script>\u202egnp.exe\u200b" + "A" * 1024

CONF = rule(
    "LIB-002",
    title="The security driver is not named, so that libvirt fails open",
    fix='Write security_driver = "selinux" into qemu.conf and restart the daemon.',
    cost="daemon_restart",
)
OUTSIDE = rule(
    "GST-001",
    title="QEMU runs outside libvirt",
    severity="critical",
    fix="Start it by libvirt.",
    cost="guest_power_cycle",
)
LOST = rule(
    "IMG-002",
    title="A running guest's own image no longer carries its label",
    severity="critical",
    scope="image",
    fix="Set the image back to the label of its only running guest.",
)


def judged(name: str, *hits: tuple[f.Rule, f.Hit], **coverage: Coverage) -> report.HostResult:
    result = tuple(f.finding_of(rule_, name, hit) for rule_, hit in hits)
    return report.HostResult(name, "", {**READ, **coverage}, (f.Outcome("TST-001", f.PASS),), result)


def conf(value: str | None = None) -> tuple[f.Rule, f.Hit]:
    return CONF, f.Hit("/etc/libvirt/qemu.conf", "security_driver", {"key": "security_driver", "value": value})


def lab() -> dict[str, t.Any]:
    """Two hosts of one pair, a host that is down, a host with AppArmor; an expired waiver and an unused waiver."""
    image = {
        "expected": "system_u:object_r:svirt_image_t:s0:c1,c2",
        "label": "system_u:object_r:svirt_image_t:s0:c8,c9",
    }
    results = [
        judged("kvm1", conf(), (LOST, f.Hit("/srv/images/web.qcow2", "p", {"guest": "web", **image}))),
        judged("kvm2", conf(), images=Coverage(UNKNOWN, "stat of /mnt/images did not come back within 5 s")),
        report.unread("kvm3", "unreachable: ssh: connect to host 192.0.2.3 port 22: No route to host"),
        judged("kvm4"),
        judged("deb1", selinux=Coverage(NOT_APPLICABLE, "AppArmor is the security module in force")),
    ]
    pair = [
        host(name, [guest(name, "s0:c1,c2", name="web-" + name)], storage=[nfs("/s", "nfs:filer:/v")])
        for name in ("kvm1", "kvm2")
    ]
    written = [
        {"rule": "SEL-001", "subject": "kvm9", "reason": "until the old cluster is gone", "expires": "2026-01-01"},
        {"rule": "GST-009", "subject": "gone", "reason": "r", "expires": "2027-01-01"},
    ]
    across = analysis.judge([analysis.compared_host(snapshot.host.name, snapshot) for snapshot in pair])
    return report.build(results, across, waivers.parse(written), "high", NOW)


def hostile() -> dict[str, t.Any]:
    hit = f.Hit(HOSTILE, "u", {HOSTILE: HOSTILE, "path": "/images/" + HOSTILE, "paths": [HOSTILE, HOSTILE + "B"]})
    results = [judged(HOSTILE, (OUTSIDE, hit)), report.unread("down" + HOSTILE, HOSTILE), judged("kvm1", conf(HOSTILE))]
    return report.build(results, analysis.Fleet(), (), "high", NOW)


def clean() -> dict[str, t.Any]:
    return report.build([judged("kvm1"), judged("kvm2")], analysis.Fleet(guests=9), (), "high", NOW)


def empty() -> dict[str, t.Any]:
    return report.build([], analysis.Fleet(), (), "high", NOW)


def large() -> dict[str, t.Any]:
    """2,000 hosts: a third with three findings each, forty down for two reasons."""
    results = []
    for number in range(2000):
        name = f"kvm{number:04}.example.org"
        if number % 50 == 7:
            why = "unreachable: No route to host" if number % 3 else "module failed: No space left on device"
            results.append(report.unread(name, why))
        elif number % 3:
            results.append(judged(name))
        else:
            lost = f.Hit(
                f"/srv/images/g{number}.qcow2",
                "p",
                {"label": f"system_u:object_r:svirt_image_t:s0:c1,c{number % 1000 + 2}"},
            )
            results.append(
                judged(name, conf(), (OUTSIDE, f.Hit(f"pid {number}", "p", {"context": "unconfined_t"})), (LOST, lost))
            )
    chance = f.finding_of(
        fleet_rules.CHANCE, "", f.Hit("fleet", "fleet", {"equal_pairs": 95, "expected_pairs": 95.45}), "E4"
    )
    return report.build(results, analysis.Fleet((chance,), {}, 10_000, 95, 95.45), (), "high", NOW)


REPORTS = {"lab": lab, "hostile": hostile, "clean": clean, "empty": empty, "large": large}


def rendered(name: str, width: int, **parts: t.Any) -> str:
    return terminal.render(REPORTS[name](), "build/report/report.json", terminal.Terminal(width, **parts))


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", REPORTS)
def test_the_summary_is_as_it_was_approved(name: str, width: int) -> None:
    golden = GOLDEN / f"{name}-{width}.txt"
    text = rendered(name, width)
    if os.environ.get("SVIRT_UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("name", REPORTS)
def test_lines_fit_and_hold_nothing_that_a_terminal_obeys(name: str, width: int) -> None:
    *lines, last = rendered(name, width).splitlines()
    assert [line for line in lines if columns(line) > width] == []
    assert all(line.isprintable() for line in (*lines, last))


def test_plain_ascii_when_asked_for() -> None:
    assert rendered("hostile", 80, unicode=False).isascii()


def test_colour_adds_nothing_but_colour() -> None:
    coloured = rendered("lab", 80, colour=True)
    plain = re.sub("\x1b\\[[0-9;]*m", "", coloured)
    assert plain != coloured
    assert [line.rstrip() for line in plain.splitlines()] == rendered("lab", 80).splitlines()


@pytest.mark.parametrize("name", ["hostile", "large"])
def test_the_summary_of_any_fleet_is_short(name: str) -> None:
    assert len(rendered(name, 80).splitlines()) < 100


@pytest.mark.parametrize(
    ("name", "verdict"), [("lab", "FAIL"), ("clean", "PASS"), ("empty", "UNKNOWN"), ("large", "FAIL")]
)
def test_the_last_line_is_the_verdict_and_the_place_of_the_report(name: str, verdict: str) -> None:
    last = rendered(name, 80).splitlines()[-1]
    assert last.startswith(verdict + ": ")
    assert last.endswith("Report: build/report/report.json")
