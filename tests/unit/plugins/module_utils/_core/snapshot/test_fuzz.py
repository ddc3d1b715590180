# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Snapshots of a hostile host: JSON mutated at random, as it would come from the store or from a task's result.

Whatever a host sends, the audit of the fleet ends with a report that is valid; and a host of which something
could not be read never passes. SVIRT_SOAK=1 tries forty times as many.
"""

from __future__ import annotations

import copy
import datetime
import json
import random
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import report, terminal
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import RULES, judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SchemaError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import shared_use
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import decode_snapshot, encode
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import UNKNOWN, Snapshot

from tests.unit.support import factory
from tests.unit.support.faults import fleet as fleet_faults
from tests.unit.support.faults.all import CASES
from tests.unit.support.fuzzing import CASES as DOCUMENTS
from tests.unit.support.fuzzing import Cases

pytestmark = pytest.mark.controller  # which alone reads documents

NOW = datetime.datetime(2026, 11, 30, 12, 0, 0, tzinfo=datetime.timezone.utc)
#: Rounds of each part; there are ten.
ROUNDS = DOCUMENTS // 10

TEXTS = (
    *(
        "",
        "\0",
        "\ud800",
        "\udcff",
        "x" * 70_000,
        "a" * 60_000,
        "{{ 7 * 7 }}",
        "../../etc/shadow",
        "\u202e",
        "\x1b[31m",
    ),
    *("system_u:system_r:svirt_t:s0:c0.c1023", "system_u:object_r:svirt_image_t:s0", "s0-s15:c0.c1023", ":" * 9000),
    *("u:r:t:s0:" + ",".join(f"c{number}" for number in range(1024)), "u:r:t:s0:c1024", "none", "static", "unknown"),
    *("/" * 3000, "/" + "d/" * 2000, "enforcing", "9" * 500, "-1", "nfs:filer:/vms", "uuid:1111"),
)
TOO_LONG = "x" * 70_000
VALUES: tuple[t.Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, -(2**70), 10**400, 1e308, -0.0, float("inf"), float("nan"), 0.5),
    *([], {}, [[]], [None], {"": ""}, [{}], {"a": [1, 2, {"b": None}]}),
)


def bases() -> t.Iterator[Snapshot]:
    """Healthy hosts, hosts with several faults, and hosts of the fleets that rules across hosts judge."""
    yield from (factory.host(), factory.stock_host(), factory.debian_host(), factory.fedora_host())
    for start in range(3):
        snapshot = factory.host()
        for case in CASES[start::3]:
            try:
                case.fault(snapshot)
            except (AssertionError, StopIteration, ValueError, AttributeError, IndexError):
                continue  # another fault took away what this one breaks
        yield snapshot
    yield from fleet_faults.clean()


BASES = [encode(snapshot) for snapshot in bases()]
OTHERS = fleet_faults.clean()
OTHER_VIEWS = [analysis.compared_host(host.host.name, host) for host in OTHERS]


def places(node: t.Any) -> list[tuple[t.Any, t.Any]]:
    """Every (container, key) of a document."""
    result: list[tuple[t.Any, t.Any]] = []
    stack = [node]
    while stack:
        item = stack.pop()
        entries = item.items() if isinstance(item, dict) else enumerate(item)
        for key, value in entries:
            result.append((item, key))
            if isinstance(value, (dict, list)) and value:
                stack.append(value)
    return result


def mutate(document: t.Any, chance: random.Random) -> None:
    """A few changes at random places. Most documents keep their shape, so that rules and not the schema are tried."""
    wild = chance.random() < 0.25
    for _number in range(chance.choice((1, 1, 2, 3, 5, 8, 20))):
        container, key = chance.choice(places(document))
        if wild and chance.random() < 0.5:
            _reshape(document, container, key, chance)
            continue
        value = container[key]
        if isinstance(value, str):
            container[key] = chance.choice(TEXTS)
        elif isinstance(value, bool):
            container[key] = not value
        elif isinstance(value, (int, float)):
            container[key] = chance.choice((0, -1, value + 1, -value, 2**32, 2**62))
        elif isinstance(value, list) and value:
            _list(value, chance)
        elif value is None and chance.random() < 0.2:
            container[key] = chance.choice(TEXTS)


def _reshape(document: t.Any, container: t.Any, key: t.Any, chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        container[key] = chance.choice((*VALUES, TOO_LONG))
    elif kind == 1:
        other, name = chance.choice(places(document))
        container[key] = copy.deepcopy(other[name])
    elif kind == 2 and isinstance(container, dict):
        del container[key]
    elif isinstance(container, dict):
        container[chance.choice(TEXTS)] = chance.choice((*VALUES, *TEXTS))


def _list(value: list[t.Any], chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        value.clear()
    elif kind == 1:
        value += copy.deepcopy(value) * chance.choice((1, 2, 20))
    elif kind == 2:
        chance.shuffle(value)
    else:
        value.pop()


def received(document: t.Any) -> Snapshot | str:
    """What the controller has of it: a snapshot, or why it has none."""
    try:
        return decode_snapshot(json.loads(json.dumps(document)))
    except SchemaError as error:
        return str(error)


def audited(snapshot: Snapshot | str) -> dict[str, t.Any]:
    """The report of a fleet with this host."""
    results = [report.judged(judge(host.host.name, host, f.Settings()), host.coverage) for host in OTHERS]
    compared_hosts, unread = list(OTHER_VIEWS), []
    if isinstance(snapshot, str):
        results.append(report.unread("liar", snapshot))
        unread.append("liar")
    else:
        results.append(report.judged(judge("liar", snapshot, f.Settings()), snapshot.coverage))
        compared_hosts.append(analysis.compared_host("liar", snapshot))
        usages = [shared_use.usage(host.host.name, host) for host in OTHERS] + [shared_use.usage("liar", snapshot)]
        json.dumps(shared_use.documents(usages), ensure_ascii=False).encode()
    return report.build(results, analysis.judge(compared_hosts, unread), (), "low", NOW)


@pytest.mark.parametrize("part", range(10))
def test_fuzz_of_snapshots(cases: Cases, part: int) -> None:
    for number, chance in cases(ROUNDS, part * ROUNDS):
        document = copy.deepcopy(chance.choice(BASES))
        mutate(document, chance)
        area = chance.choice(sorted(BASES[0]["coverage"]))
        entry = document.get("coverage", {}) if isinstance(document, dict) else {}
        hidden = chance.random() < 0.3 and isinstance(entry, dict)
        if hidden:
            entry[area] = {"status": UNKNOWN, "why": "it hung"}
        where = f"round {number}"
        snapshot = received(document)
        result = audited(snapshot)
        text = json.dumps(result, ensure_ascii=False).encode()
        terminal.render(result, "report.json", terminal.Terminal())
        liar = next(host for host in result["hosts"] if host["name"] == "liar")
        if isinstance(snapshot, str):
            assert liar["verdict"] == f.UNKNOWN, where
            continue
        assert len(text) < 1_200_000, where
        if hidden:
            status = {outcome.rule: outcome.status for outcome in judge("liar", snapshot, f.Settings()).outcomes}
            assert [rule.id for rule in RULES if area in rule.needs and status[rule.id] == f.PASS] == [], where
        if any(entry.status == UNKNOWN for entry in snapshot.coverage.values()):
            assert liar["verdict"] != f.PASS, where
        for outcome in liar["outcomes"]:
            assert liar["verdict"] != f.PASS or outcome["status"] == f.NOT_APPLICABLE, where


def test_fuzz_reaches_the_rules() -> None:
    """Most mutated documents still follow the schema, or nothing but the schema would be tried."""
    chance = random.Random(77)  # noqa: S311
    taken = 0
    for _number in range(200):
        document = copy.deepcopy(chance.choice(BASES))
        mutate(document, chance)
        taken += isinstance(received(document), Snapshot)
    assert taken > 120
