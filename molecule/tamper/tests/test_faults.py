# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault, injected into a real host: exactly its findings, on exactly its subjects, and gone when it is undone.

A host goes through its faults in a chain: undo the last, inject the next, audit. The audit that shows a fault
shows at the same time that the one before is gone, for its findings must be those of the new fault and no others.
Both hosts work through their chains side by side.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.fleet import RULES as FLEET_RULES
from ansible_collections.svirt.fleet.plugins.module_utils._core.rules.catalogue import RULES
from auditing import Audit, audit
from test_across import ACROSS

from tests.lab import faults
from tests.lab.faults import FAULTS, Fault
from tests.lab.lab import Lab

HOSTS = ("kvm1", "kvm2")


def chain_of(host: str) -> list[Fault]:
    """The faults that a host goes through; what works on both is dealt out, what reboots comes last."""
    mine = [fault for number, fault in enumerate(FAULTS.values()) if _dealt(fault, number) == host]
    return sorted(mine, key=lambda fault: fault.reboot)


def _dealt(fault: Fault, number: int) -> str:
    return fault.hosts[number % len(fault.hosts)]


HOST_OF = {fault.name: host for host in HOSTS for fault in chain_of(host)}


@dataclass
class Chain:
    """What was seen on one host with each fault."""

    audits: dict[str, Audit] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def walk(lab: Lab, host: str) -> Chain:
    """Inject, audit and undo every fault of a host. A fault that does not work is noted, and the chain goes on."""
    chain = Chain()
    for fault in chain_of(host):
        started = time.monotonic()
        try:
            faults.inject(host, fault.name, lab=lab.folder)
            chain.audits[fault.name] = audit(lab.inventory, limit=host)
        except Exception as error:  # each is the failure of that fault's own test
            chain.errors[fault.name] = f"{type(error).__name__}: {error}"
        finally:
            faults.undo(host, fault.name, lab=lab.folder)
        print(f"{host}: {fault.name} {time.monotonic() - started:.0f} s", file=sys.__stderr__, flush=True)
    return chain


@pytest.fixture(scope="module")
def chains(lab: Lab) -> Iterator[dict[str, Chain]]:
    """Both hosts' chains, walked side by side."""
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        walks = {host: pool.submit(walk, lab, host) for host in HOSTS}
        yield {host: future.result() for host, future in walks.items()}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_fault_gives_exactly_its_findings(chains: dict[str, Chain], name: str) -> None:
    host = HOST_OF[name]
    chain = chains[host]
    assert name not in chain.errors, chain.errors[name]
    seen = chain.audits[name]
    expected = {(rule, host, subject.format(host=host)) for rule, subject in FAULTS[name].expects}
    found = {(rule, where, re.sub(r"^process \d+ ", "process PID ", subject)) for rule, where, subject in seen.found}
    assert found == expected, seen.output
    doubted = {item["rule"] for item in seen.host(host)["outcomes"] if item["status"] == "unknown"}
    assert set(FAULTS[name].doubts) <= doubted, seen.output
    severe = any(item["severity"] in ("critical", "high") for item in seen.report["findings"])
    assert seen.status != 0 or not (severe or FAULTS[name].doubts)  # svirt_fail_on is high


def test_lab_is_clean_when_all_is_undone(lab: Lab, chains: dict[str, Chain]) -> None:
    assert all(chain.audits for chain in chains.values())
    after = audit(lab.inventory)
    assert after.found == set(), after.output
    assert after.status == 0, after.output


@pytest.mark.parametrize("rule", [*RULES, *FLEET_RULES], ids=lambda rule: rule.id)
def test_rule_has_a_fault_in_the_lab_or_says_why_not(rule: object) -> None:
    proved = {expected for fault in FAULTS.values() for expected, _subject in fault.expects}
    proved |= {expected for expected, _host, _subject in ACROSS}
    assert (rule.id in proved) != bool(rule.unproved), (  # type: ignore[attr-defined]  # both kinds of rule have these
        f"{rule.id}: a rule is proved by a fault in the lab, or says in `unproved` why it cannot be"  # type: ignore[attr-defined]
    )
