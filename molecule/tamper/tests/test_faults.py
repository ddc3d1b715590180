# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault, injected into a real host: exactly its findings, on exactly its subjects, and gone when it is undone.

A host goes through its faults step by step: undo the last step's, inject the next, audit. The audit that shows a step
shows at the same time that the one before is gone, for the findings must be those of the step's faults and no others.
Both hosts work through their steps side by side.

A step is one fault with SVIRT_SOAK=1, as ``make soak`` does it. Otherwise faults that touch different things
share a step, and its findings must be the union of theirs; and the fault that reboots the host is left to the scenario
``transitions``, which boots a host without SELinux several times.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet.analysis import RULES as FLEET_RULES
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import RULES
from test_across import ACROSS

from tests.lab import faults
from tests.lab.faults import FAULTS, Fault
from tests.lab.host.domains import SHARE
from tests.lab.lab import Lab
from tests.scenarios.playbooks import Audit, audit
from tests.scenarios.soak import SOAK
from tests.scenarios.steps import HOST_OF, HOSTS, Findings, expected_of, findings_of, noted, steps_of

#: Rules that the scenario ``fleet`` proves: they need a ledger.
ELSEWHERE = {"CAT-008"}
#: Files of the other host's guests that a fault opens. Audited alone, the host does not know their owner.
OPENED = {
    "guest-dominates": ("app2.raw", "mail2.qcow2"),
    "guest-wide-label": ("app1.raw", "mail1.qcow2", "node1.raw"),
}
TESTED = sorted(name for name, fault in FAULTS.items() if SOAK or not fault.reboot)


@dataclass
class Step:
    """What was seen with some faults in a host."""

    faults: list[Fault]
    seen: Audit | None = None
    error: str = ""


def take(lab: Lab, host: str, wanted: list[Fault]) -> Step:
    """Inject, audit and undo. What does not work is noted, and the next step goes on."""
    step, names, started = Step(wanted), [fault.name for fault in wanted], time.monotonic()
    with noted(step):
        faults.inject(host, *names, lab=lab.folder)
        step.seen = audit(lab.inventory, limit=host)
    with noted(step):
        faults.undo(host, *names, lab=lab.folder)
    verdict = step.error or (
        "as expected" if findings(step, host) == expected(lab, wanted, host) else "NOT as expected"
    )
    print(f"{host}: {', '.join(names)}: {verdict}, {time.monotonic() - started:.0f} s", file=sys.__stderr__, flush=True)
    return step


def findings(step: Step, host: str) -> Findings:
    """Rule and subject of the findings of a step, without the file that the other host's step leaves on the share: the
    two are taken side by side."""
    others = {("IMG-005", f"image {SHARE}/lost{other[-1]}.raw") for other in HOSTS if other != host}
    return findings_of(step.seen.report) - others if step.seen else set()


def expected(lab: Lab, wanted: list[Fault], host: str) -> Findings:
    """Rule and subject of what an audit of the host alone finds."""
    opened = {("IMG-005", f"image {SHARE}/{name}") for fault in wanted for name in OPENED.get(fault.name, ())}
    return expected_of(wanted, host, lab.shape()) | opened


def walk(lab: Lab, host: str) -> dict[str, Step]:
    """All steps of a host, by the faults in them."""
    taken = [take(lab, host, wanted) for wanted in steps_of(host, single=SOAK, reboots=SOAK)]
    return {fault.name: step for step in taken for fault in step.faults}


@pytest.fixture(scope="module")
def steps(lab: Lab) -> dict[str, Step]:
    """Both hosts' steps, taken side by side."""
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        walks = [pool.submit(walk, lab, host) for host in HOSTS]
        return {name: step for one in walks for name, step in one.result().items()}


@pytest.mark.parametrize("name", TESTED)
def test_fault_gives_exactly_its_findings(lab: Lab, steps: dict[str, Step], name: str) -> None:
    host, step, fault = HOST_OF[name], steps[name], FAULTS[name]
    assert not step.error, step.error
    assert step.seen is not None
    seen, found = step.seen, findings(step, host)
    assert expected(lab, [fault], host) <= found, seen.output
    assert found == expected(lab, step.faults, host), seen.output
    assert {where for _rule, where, _subject in seen.found} <= {host, ""}, "the fleet is this host alone"
    doubted = {item["rule"] for item in seen.host(host)["outcomes"] if item["status"] == "unknown"}
    assert set(fault.doubts) <= doubted, seen.output


def test_lab_is_clean_when_all_is_undone(lab: Lab, steps: dict[str, Step]) -> None:
    assert len(steps) == len(TESTED)
    after = audit(lab.inventory)
    assert after.found == set(), after.output
    assert after.status == 0, after.output


@pytest.mark.parametrize("rule", [*RULES, *FLEET_RULES], ids=lambda rule: rule.id)
def test_rule_has_a_fault_in_the_lab_or_says_why_not(rule: object) -> None:
    proved = {expected for fault in FAULTS.values() for expected, _subject in fault.expects}
    proved |= {expected for expected, _host, _subject in ACROSS} | ELSEWHERE
    assert (rule.id in proved) != bool(rule.unproved), (  # type: ignore[attr-defined]  # both kinds of rule have these
        f"{rule.id}: a rule is proved by a fault in the lab, or says in `unproved` why it cannot be"  # type: ignore[attr-defined]
    )
