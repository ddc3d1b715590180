# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated statements of the operator: waivers and svirt_storage.

Each is refused by name or says what it says: no waiver accepts a finding that it does not name, and no statement about
other storage settles what is open.
"""

from __future__ import annotations

import copy
import datetime
import random
import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import waivers
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StorageStatementError, WaiverError
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_statements import parse_storage

from tests.unit.support.fleets import finding, nfs
from tests.unit.support.fuzzing import CASES, Cases
from tests.unit.support.sharing_fleets import guest, host, judged

TODAY = datetime.date(2026, 11, 30)
FINDING = finding()
WAIVERS: list[t.Any] = [
    {"fingerprint": "0" * 16, "reason": "accepted", "expires": "2027-01-31"},
    {"rule": "TST-002", "subject": "web", "host": "kvm1", "reason": "accepted", "expires": "2027-01-31"},
    {"rule": "TST-001", "subject": "db", "reason": "accepted", "expires": "2026-01-31"},
]
STORAGE: list[t.Any] = [
    {"name": "a", "sources": ["other:/vol", "third:/vol"], "hosts": ["kvm7", "kvm8"]},
    {"name": "b", "mounts": ["kvm7:/srv/vms", "kvm8:/srv/vms"]},
]
#: Two hosts of which it is open whether they share storage.
HOSTS = {
    "kvm1": host("kvm1", guest(1), storage=[nfs("/share", "nfs:filer:/vol")]),
    "kvm2": host("kvm2", guest(2), storage=[nfs("/share", "nfs:192.0.2.9:/vol")]),
}
VALUES: tuple[t.Any, ...] = (
    *(None, True, 0, -1, 2**70, 1.5, float("nan"), "", " ", "\0", "\ud800", "x" * 70_000, "*", ".*", "/", ":/", "::/"),
    *(
        [],
        {},
        [None],
        {"": ""},
        ["x"],
        [["x"]],
        "2026-02-30",
        "9999-12-31",
        "0000-00-00",
        TODAY,
        b"x",
        "TST-001",
        "web",
    ),
    *("kvm1", "other:/", "//s/x", "\u202e", "{{ x }}", FINDING.fingerprint.upper(), FINDING.fingerprint[:-1]),
)


def places(node: t.Any) -> list[tuple[t.Any, t.Any]]:
    """Every (container, key) of a document."""
    found: list[tuple[t.Any, t.Any]] = []
    stack = [node]
    while stack:
        item = stack.pop()
        for key, value in list(item.items() if isinstance(item, dict) else enumerate(item)):
            found.append((item, key))
            if isinstance(value, (dict, list)):
                stack.append(value)
    return found


def mutated(document: t.Any, chance: random.Random) -> t.Any:
    """The document after a few changes of values, names and fields."""
    document = copy.deepcopy(document)
    for _number in range(chance.randint(1, 4)):
        around = places(document)
        if not around:
            return document
        container, key = chance.choice(around)
        edit = chance.randrange(4)
        if edit == 0 and isinstance(container, dict):
            del container[key]
        elif edit == 1 and isinstance(container, dict):
            container[chance.choice(("rule", "subject", "host", "sources", "mounts", "hosts", 7, None, "é"))] = (
                copy.deepcopy(chance.choice(VALUES))
            )
        elif edit == 2 and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[key] = copy.deepcopy(chance.choice(VALUES))
    return chance.choice(VALUES) if chance.random() < 0.02 else document


def named(waiver: waivers.Waiver) -> bool:
    """Whether a waiver in force names the finding."""
    by_rule = (waiver.rule, waiver.subject) == (FINDING.rule, FINDING.subject)
    by_host = waiver.host in (None, FINDING.host)
    return waiver.expires >= TODAY and (waiver.fingerprint == FINDING.fingerprint or (by_rule and by_host))


def test_fuzz_of_waivers(cases: Cases) -> None:
    parsed = 0
    for number, chance in cases():
        document = mutated(WAIVERS, chance)
        try:
            read = waivers.parse(document)
        except WaiverError:
            continue
        parsed += 1
        result = waivers.apply([FINDING], read, TODAY)
        assert bool(result.waived) == any(map(named, read)), (number, document)
    assert parsed > CASES // 20


def test_fuzz_of_storage_statements(cases: Cases) -> None:
    parsed = 0
    for number, chance in cases():
        document = mutated(STORAGE, chance)
        try:
            parse_storage(document)
        except StorageStatementError:
            continue
        parsed += 1
        if parsed % 10 == 0:
            result = judged(HOSTS, document)
            assert result.unknown("CAT-001") == set(HOSTS), (number, document)
            assert len(set(result.domains.values())) == 1, (number, document)
    assert parsed > CASES // 20
