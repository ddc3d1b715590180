# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three modules that change guests: check mode predicts the run, and a second run changes nothing."""

from __future__ import annotations

import json
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import SvirtError
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import guest_definitions as definitions
from ansible_collections.svirt.fleet.plugins.modules import guest_network_filter, guest_power_cycle, guest_seclabel

from tests.unit.support import factory, virt
from tests.unit.support.handed_in import hand_journal
from tests.unit.support.module_args import patch_module_args

MAC = "52:54:00:00:00:01"
LABEL = factory.process_label("s0:c40,c300,c600,c900")
NAMES = ("guest_seclabel", "guest_network_filter", "guest_power_cycle")
MODULES: dict[str, types.ModuleType] = dict(zip(NAMES, (guest_seclabel, guest_network_filter, guest_power_cycle)))


class Bench:
    """A host with a journal, and a way to call the modules on it."""

    def __init__(self, host: virt.FakeHost, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.host = host
        self.folder = folder
        self._capsys = capsys
        self.facts = definitions.LibvirtFacts(True, frozenset(("svirt_t",)), factory.DAEMON)

    def __call__(self, name: str, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(given), pytest.raises(SystemExit):
            MODULES[name].main()
        return t.cast("dict[str, t.Any]", json.loads(self._capsys.readouterr().out))

    def journal(self) -> list[tuple[str, list[str]]]:
        """The runs that changed something, and what kinds of things."""
        return [
            (path.name, [entry.kind for entry in entries_of(str(path))]) for path in sorted(self.folder.glob("*.jsonl"))
        ]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    host = virt.FakeHost()
    process = factory.process_label("s0:c7,c8")
    host.add("web", virt.domain("web", cards=virt.card(MAC)), virt.domain("web", cards=virt.card(MAC)), process=process)
    host.add("db", virt.domain("db", virt.seclabel("none")))
    created = Bench(host, tmp_path / "journal", capsys)

    def within(_timeout: float, work: t.Callable[[definitions.Session], t.Any]) -> t.Any:
        return json.loads(json.dumps(work(definitions.Session(host, host))))  # as from a child

    monkeypatch.setattr(definitions, "within", within)
    monkeypatch.setattr(definitions, "facts", lambda _root: created.facts)
    for module in MODULES.values():
        hand_journal(monkeypatch, module, created.folder)
    return created


CALLS: tuple[tuple[str, dict[str, t.Any]], ...] = (
    ("guest_seclabel", {"guests": [{"guest": "web", "type": "static", "label": LABEL}], "repair": ["none"]}),
    (
        "guest_network_filter",
        {"guests": [{"guest": "web", "interfaces": [{"mac": MAC, "parameters": {"IP": "192.0.2.1"}}]}]},
    ),
)


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_check_mode_predicts_the_run(bench: Bench, name: str, arguments: dict[str, t.Any]) -> None:
    foretold = bench(name, check=True, **arguments)
    assert bench.host.calls == []
    assert not bench.folder.exists()
    result = bench(name, **arguments)
    assert result.keys() == foretold.keys()
    for key in ("changed", "plan", "before", "after", "diff", "pending", "refused"):
        assert result[key] == foretold[key]
    assert result["changed"] is True
    assert len(result["diff"]) == len(result["plan"]) == 2


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_a_second_run_changes_nothing(bench: Bench, name: str, arguments: dict[str, t.Any]) -> None:
    first = bench(name, **arguments)
    bench.host.calls.clear()
    before = bench.journal()
    second = bench(name, **arguments)
    assert (second["changed"], second["plan"], second["diff"]) == (False, [], [])
    assert second["before"] == second["after"]
    assert second["pending"] == first["pending"]
    assert (bench.host.calls, bench.journal()) == ([], before)


def test_labels(bench: Bench) -> None:
    result = bench("guest_seclabel", **CALLS[0][1])
    assert [(line["subject"], line["to"]) for line in result["plan"]] == [
        ("guest db", "dynamic"),
        ("guest web", f"static {LABEL}"),
    ]
    assert [one["subject"] for one in result["pending"]] == ["guest web"]
    assert bench.journal() == [("000001-guest_seclabel.jsonl", ["guest", "guest"])]
    assert bench.host.guests[virt.uuid("web")].process == factory.process_label("s0:c7,c8")


def test_filters(bench: Bench) -> None:
    result = bench("guest_network_filter", **CALLS[1][1])
    assert [(line["action"], line["where"], line["to"]) for line in result["plan"]] == [
        ("define", "persistent", "clean-traffic IP=192.0.2.1"),
        ("update", "live", "clean-traffic IP=192.0.2.1"),
    ]
    assert bench.journal() == [("000001-guest_network_filter.jsonl", ["guest", "interface"])]


def test_a_power_cycle_brings_what_was_pending(bench: Bench) -> None:
    bench("guest_seclabel", **CALLS[0][1])
    bench.host.calls.clear()
    foretold = bench("guest_power_cycle", check=True, guests=["web", "db"])
    assert bench.host.calls == []
    result = bench("guest_power_cycle", guests=["web", "db"])
    assert bench.host.calls == ["shutdown web", "create web"]
    assert (result["plan"], result["after"]) == (foretold["plan"], foretold["after"])
    assert bench("guest_power_cycle", guests=["web", "db"])["changed"] is False
    assert bench("guest_seclabel", **CALLS[0][1])["pending"] == []
    assert len(bench.journal()) == 1  # nothing of it can be put back


def test_a_power_cycle_is_predicted_before_anything_was_changed(bench: Bench) -> None:
    """As a playbook in check mode goes: each module finds what was there before the first one."""
    cards = virt.card(MAC)
    bench.host.add("stray", virt.domain("stray", virt.seclabel("none"), cards), virt.domain("stray", cards=cards))
    bench.host.guests[virt.uuid("stray")].process = factory.DAEMON
    names = ["web", "stray", "nobody"]

    def go(check: bool) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        label = bench("guest_seclabel", check, **CALLS[0][1])
        wire = bench("guest_network_filter", check, ip_learning="dhcp")
        foreseen = {"foreseen_seclabels": label["after"], "foreseen_filters": wire["after"]}
        return wire, bench("guest_power_cycle", check, guests=names, force=True, **foreseen)

    (wire, told), (_wire, done) = go(True), go(False)
    assert [line["where"] for line in wire["plan"]] == ["persistent", "persistent"]
    for key in ("changed", "plan", "before", "refused", "pending", "absent"):
        assert told[key] == done[key]
    assert [line["subject"] for line in done["plan"]] == ["guest web", "guest stray"]
    assert all("network filter" in line["why"] and "definition" in line["why"] for line in done["plan"])
    assert done["absent"] == ["nobody"]


def test_a_policy_that_is_foreseen_lets_libvirt_learn_addresses(bench: Bench) -> None:
    bench.facts = definitions.LibvirtFacts(
        True, bench.facts.guest_types, factory.DAEMON, deaf="the policy is against it"
    )
    places = [line["where"] for line in bench("guest_network_filter", True)["plan"]]
    assert places == []
    result = bench("guest_network_filter", True, foreseen_policy=True)
    assert ([line["where"] for line in result["plan"]], result["pending"]) == (["persistent", "live"], [])
    assert bench("guest_network_filter", foreseen_policy=True)["plan"] == []  # it is against it after all


def test_a_driver_that_is_foreseen_counts(bench: Bench) -> None:
    bench.host.capabilities = "<capabilities><host/></capabilities>"
    bench.facts = definitions.LibvirtFacts(True, bench.facts.guest_types, factory.DAEMON, ("svirt_t",))
    assert bench("guest_seclabel", True, **CALLS[0][1])["plan"] == []
    assert len(bench("guest_seclabel", True, foreseen_driver=True, **CALLS[0][1])["plan"]) == 2
    assert bench("guest_seclabel", foreseen_driver=True, **CALLS[0][1])["plan"] == []  # it is not there after all


def test_a_range_that_is_foreseen_counts(bench: Bench) -> None:
    range_ = "system_u:system_r:virtd_t:s0-s0:c32.c95"
    assert bench("guest_seclabel", True)["pending"] == []
    (waits,) = bench("guest_seclabel", True, foreseen_context=range_)["pending"]
    assert waits["code"] == "runs_outside_range"
    assert bench("guest_seclabel", foreseen_context=range_)["pending"] == []  # it is not so after all
    result = bench("guest_power_cycle", True, guests=["web"], foreseen_context=range_)
    assert [line["subject"] for line in result["plan"]] == ["guest web"]
    assert bench("guest_power_cycle", guests=["web"], foreseen_context=range_)["plan"] == []


def test_a_guard_that_is_foreseen_counts(bench: Bench) -> None:
    bench.host.guests[virt.uuid("web")].process = factory.DAEMON
    bench.host.add("stray", virt.domain("stray"), virt.domain("stray"), process=factory.DAEMON)
    guard = {"installed": True, "settings": {"collision": "refuse"}}
    arguments: dict[str, t.Any] = {"guests": ["web"], "foreseen_guard": guard}
    assert bench("guest_power_cycle", check=True, **arguments)["plan"] == []
    guard["settings"] = {"collision": "allow"}
    assert len(bench("guest_power_cycle", check=True, **arguments)["plan"]) == 1


def test_nobody_may_be_cycled_by_default(bench: Bench) -> None:
    assert bench("guest_power_cycle", guests=[])["changed"] is False


def test_refusals_fail_only_when_strict(bench: Bench) -> None:
    requests = [{"guest": "web", "type": "none"}]
    assert [
        (refusal["subject"], refusal["code"]) for refusal in bench("guest_seclabel", guests=requests)["refused"]
    ] == [("guest web", "type_none")]
    strict = bench("guest_seclabel", guests=requests, strict=True)
    assert strict["failed"] is True
    assert strict["msg"].startswith("guest web: type none is refused")


def test_a_failed_change_fails_the_module(bench: Bench) -> None:
    bench.host.refuse_update = True
    result = bench("guest_network_filter", **CALLS[1][1])
    assert result["failed"] is True
    assert result["msg"].endswith("(1 changes were not made)")
    assert result["changed"] is True  # the definition was


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("guest_seclabel", {"guests": [{"guest": "nobody"}]}, "there is no guest 'nobody'"),
        ("guest_seclabel", {"timeout": 0}, "timeout is 0"),
        ("guest_network_filter", {"filter": "gone"}, "does not define the filter"),
        ("guest_network_filter", {"parameters": {"IP": "x"}}, "not an IPv4 address"),
        ("guest_network_filter", {"timeout": 0}, "timeout is 0"),
        ("guest_power_cycle", {"guests": ["web"], "shutdown_timeout": 0}, "shutdown_timeout is 0"),
    ],
)
def test_wrong_input_fails(bench: Bench, name: str, arguments: dict[str, t.Any], told: str) -> None:
    result = bench(name, **arguments)
    assert result["failed"] is True
    assert told in result["msg"]
    assert bench.host.calls == []


@pytest.mark.parametrize(
    ("name", "harmless", "wrong"),
    [
        ("guest_seclabel", {"repair": ["none"]}, {"guests": [{"guest": "x"}]}),
        ("guest_network_filter", {}, {"guests": [{"guest": "x", "filter": "f"}]}),
    ],
)
def test_a_host_without_libvirt(bench: Bench, name: str, harmless: dict[str, t.Any], wrong: dict[str, t.Any]) -> None:
    bench.facts = definitions.LibvirtFacts(False)
    assert bench(name, **harmless)["changed"] is False
    assert "no libvirt daemon" in bench(name, **wrong)["msg"]


def test_a_host_that_cannot_be_read_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_root: object) -> t.NoReturn:
        raise SvirtError("no libvirt daemon runs and no socket would start one")

    monkeypatch.setattr(definitions, "facts", refuse)
    for name in NAMES:
        assert "no socket would start one" in bench(name, guests=["web"] if "cycle" in name else [])["msg"]


def test_a_host_without_libvirt_has_none_of_the_guests_that_may_be_cycled(bench: Bench) -> None:
    bench.facts = definitions.LibvirtFacts(False)
    result = bench("guest_power_cycle", guests=["x"])
    assert (result["changed"], result["absent"]) == (False, ["x"])
