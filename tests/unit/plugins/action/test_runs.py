# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs as the actions keep, collect, judge, apply and render them, on SQLite."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import typing as t
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.svirt.fleet.plugins.action import (
    category_allocation,
    fleet_analysis,
    fleet_orders_info,
    fleet_report,
    fleet_store,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import StoreError
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import (
    _run_identity,
    _run_keeper,
    _run_readings,
    _runs,
    _snapshots,
    _store,
)
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.support.actions import finished
from tests.unit.support.fleets import guest, host, nfs


class Site:
    """A controller: a store, and a folder for each job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'fleet.db'}"
        self.report = folder / "report.json"
        self.variables: dict[str, t.Any] = {"ansible_inventory_sources": ["/etc/hosts.ini"]}

    def job(self, name: str, *hosts: tuple[str, t.Sequence[s.Guest]]) -> str:
        """A folder with snapshots of these hosts."""
        for each, guests in hosts:
            _snapshots.write_snapshot(
                self.folder / name, each, encode(host(each, guests, storage=[nfs("/share", "nfs:f:/v")]))
            )
        return str(self.folder / name)

    def run(self, plugin: t.Any, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        task = MagicMock(args=arguments, async_val=0, check_mode=check, diff=False)
        parts = {name: MagicMock() for name in ("connection", "play_context", "loader", "templar", "shared_loader_obj")}
        action = plugin.ActionModule(task=task, **parts)
        action._load_name = "svirt.fleet." + plugin.__name__.rpartition(".")[2]
        return finished(lambda: action.run(task_vars=self.variables))

    def collect(self, folder: str, *hosts: str, **arguments: t.Any) -> dict[str, t.Any]:
        given_ = {"store": self.url, "snapshots": folder, "hosts": list(hosts), "run_kind": "audit", **arguments}
        return self.run(fleet_store, **given_)

    def judge(self, *hosts: str, **arguments: t.Any) -> dict[str, t.Any]:
        given_ = {"hosts": list(hosts), "report": str(self.report), "run_kind": "audit", "store": self.url, **arguments}
        return self.run(fleet_analysis, **{name: value for name, value in given_.items() if value is not None})

    def written(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.report.read_text()))

    def runs(self) -> list[_runs.StoredRun]:
        with Store(self.url).look() as transaction:
            return _runs.newest_runs(transaction, 100)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    display = SimpleNamespace(display=lines.append, vvv=lines.append, columns=100)
    monkeypatch.setattr(fleet_analysis, "Display", lambda: display)
    return lines


@pytest.fixture
def site(tmp_path: Path, shown: list[str]) -> Site:
    return Site(tmp_path)


A, B, TWIN = guest("a", "s0:c1,c2"), guest("b", "s0:c3,c4"), guest("t", "s0:c1,c2")


def test_a_run_in_one_go_is_kept(site: Site) -> None:
    result = site.judge("kvm1", "kvm2", snapshots=site.job("one", ("kvm1", [A])))
    (run,) = site.runs()
    assert (run.id, run.kind, run.state, run.verdict) == (result["run"], "audit", "closed", result["verdict"])
    assert (run.counts, run.inventory, run.collection) == (result["counts"], "/etc/hosts.ini", _run_identity.version())
    with Store(site.url).look() as transaction:
        assert _runs.report_of(transaction, run.id) == site.written()
        assert _runs.reading_of(transaction, run.id, "kvm1") is not None
    assert "since" not in site.written()


def without_times(document: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        key: value for key, value in document.items() if key not in ("generated_at", "run", "since", "last_passed_at")
    }


_LEVELS = st.sampled_from(("s0:c1,c2", "s0:c3,c4", "s0:c1,c2,c3", "s0"))
_HOSTS = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), _LEVELS), max_size=3, unique_by=lambda pair: pair[0]),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_HOSTS, st.integers(1, 4), st.sets(st.integers(0, 4)))
def test_what_slices_collect_is_judged_as_in_one_go(
    tmp_path_factory: pytest.TempPathFactory, shown: list[str], guests: list[t.Any], slices: int, unread: set[int]
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    names = [f"kvm{number}" for number in range(len(guests))]
    hosts = [
        (name, [guest(letter, level) for letter, level in each])
        for number, (name, each) in enumerate(zip(names, guests, strict=True))
        if number not in unread
    ]
    whole = site.job("all", *hosts)
    for number in set(range(len(names))) & unread:
        _snapshots.write_unread(whole, names[number], "no route", 1.0)
    site.judge(*names, snapshots=whole)
    one_go = without_times(site.written())
    for number in range(slices):
        site.collect(whole, *names[number::slices])
    site.judge(*names)
    assert without_times(site.written()) == one_go
    assert len(site.runs()) == 2


def test_a_slice_that_never_came_makes_its_hosts_unknown(site: Site) -> None:
    folder = site.job("all", ("kvm1", [A]), ("kvm2", [B]))
    collected = site.collect(folder, "kvm1")
    result = site.judge("kvm1", "kvm2")
    assert (result["run"], result["verdict"], result["failed"]) == (collected["run"], "unknown", True)
    verdicts = {entry["name"]: entry for entry in site.written()["hosts"]}
    assert (bool(verdicts["kvm1"]["coverage"]), bool(verdicts["kvm2"]["coverage"])) == (True, False)
    assert collected["run"] in verdicts["kvm2"]["why"]


def test_a_host_in_two_slices_is_told(site: Site) -> None:
    old, new = site.job("old", ("kvm1", [A])), site.job("new", ("kvm1", [A, TWIN]))
    assert "warnings" not in site.collect(old, "kvm1")
    result = site.collect(new, "kvm1")
    assert result["sizes"] == {"read": 1, "unread": 0, "twice": 1}
    assert "kvm1" in result["warnings"][0]
    assert site.judge("kvm1")["counts"]["critical"] == 1


def test_two_collects_of_two_inventories_are_two_runs(site: Site) -> None:
    folder = site.job("all", ("kvm1", [A]))
    runs = {site.collect(folder, "kvm1", inventory=name)["run"] for name in ("prod", "test", "prod")}
    assert len(runs) == 2
    with pytest.raises(AnsibleActionFail, match="inventory 'other'"):
        site.judge("kvm1", inventory="other")
    assert site.judge("kvm1", inventory="test")["run"] in runs


def test_awx_names_the_inventory(site: Site) -> None:
    site.variables["awx_inventory_id"] = 7
    assert site.collect(site.job("all", ("kvm1", [A])), "kvm1")["inventory"] == "awx:7"


def test_a_run_is_judged_once_unless_it_is_named(site: Site) -> None:
    run = site.collect(site.job("all", ("kvm1", [A])), "kvm1")["run"]
    site.judge("kvm1")
    with pytest.raises(AnsibleActionFail, match=run):
        site.judge("kvm1")
    assert site.judge("kvm1", run=run, fail_on="never")["run"] == run
    with pytest.raises(AnsibleActionFail, match="judged already"):
        site.collect(site.job("all", ("kvm1", [A])), "kvm1", run=run)


def test_a_snapshot_that_is_too_old_or_damaged_makes_its_host_unknown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = site.job("all", ("kvm1", [A]), ("kvm2", [B]))
    run = site.collect(folder, "kvm1", "kvm2")["run"]
    with Store(site.url).write() as transaction:
        transaction.run("UPDATE svirt_run_hosts SET received_at = 1 WHERE host = 'kvm1'", [{}])
        (digest,) = transaction.rows("SELECT digest FROM svirt_run_hosts WHERE host = 'kvm2'")[0]
        transaction.run("UPDATE svirt_blobs SET content = x'00' WHERE digest = :digest", [{"digest": digest}])
    site.judge("kvm1", "kvm2", run=run)
    whys = [entry["why"] for entry in site.written()["hosts"]]
    assert "max_age" in whys[0]
    assert "damaged" in whys[1]


def test_a_run_that_is_removed_while_it_is_judged_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run = site.collect(site.job("all", ("kvm1", [A]), ("kvm2", [B])), "kvm1", "kvm2")["run"]
    monkeypatch.setattr(_run_readings, "_AT_A_TIME", 1)
    original = analysis.compared_host

    def removing(name: str, snapshot: s.Snapshot) -> t.Any:
        with contextlib.closing(sqlite3.connect(site.folder / "fleet.db", isolation_level=None)) as connection:
            connection.execute("DELETE FROM svirt_run_hosts")
            connection.execute("DELETE FROM svirt_runs")
        return original(name, snapshot)

    monkeypatch.setattr(analysis, "compared_host", removing)
    with pytest.raises(AnsibleActionFail, match=run):
        site.judge("kvm1", "kvm2")


# -- stores that fail ------------------------------------------------------------------------------------------------


def failing_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A store that is down from its transaction of this number on."""
    run, calls = Store.run, iter(range(10_000))

    def down(self: Store, work: t.Any, keep: bool = True) -> t.Any:
        if next(calls) >= number:
            raise StoreError("store: the server is gone", "store_unreachable")
        return run(self, work, keep)

    monkeypatch.setattr(Store, "run", down)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_store_that_fails_in_the_middle_hides_no_verdict_and_fails_the_task(
    site: Site, shown: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing_at(monkeypatch, number)
    result = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    assert (result["failed"], "server is gone" in result["msg"], result["run"]) == (True, True, "")
    assert result["verdict"] == site.written()["verdict"]
    assert len(shown) == 1


def test_a_default_store_that_fails_is_a_warning(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.folder)
    failing_at(monkeypatch, 0)
    result = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])), store=None, enforce=False)
    assert (result["failed"], result["run"]) == (False, "")
    assert "server is gone" in result["warnings"][0]


def test_without_sqlalchemy_an_audit_only_warns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "MISSING", ImportError("no module"))
    result = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])), store=None, enforce=False)
    assert (result["failed"], result["run"], "SQLAlchemy" in result["warnings"][0]) == (False, "", True)


def test_a_store_of_a_newer_version_is_named_and_left_alone(site: Site) -> None:
    site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    with contextlib.closing(sqlite3.connect(site.folder / "fleet.db", isolation_level=None)) as connection:
        connection.execute("UPDATE svirt_schema SET version = 99")
    before = (site.folder / "fleet.db").read_bytes()
    result = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    assert (result["failed"], "version 99" in result["msg"]) == (True, True)
    with pytest.raises(AnsibleActionFail, match="version 99"):
        site.judge("kvm1")
    assert (site.folder / "fleet.db").read_bytes() == before


def test_check_mode_keeps_no_run_but_collects(site: Site) -> None:
    folder = site.job("one", ("kvm1", [A]))
    assert site.run(fleet_analysis, True, snapshots=folder, hosts=["kvm1"], report=str(site.report), run_kind="audit",
                    store=site.url, enforce=False)["run"] == ""  # fmt: skip
    assert not (site.folder / "fleet.db").exists()
    run = site.run(fleet_store, True, snapshots=folder, hosts=["kvm1"], store=site.url, run_kind="harden")["run"]
    assert [each.id for each in site.runs()] == [run]


def test_the_answers_of_policies_belong_to_the_same_run(site: Site) -> None:
    folder = site.job("one", ("kvm1", [A, TWIN]))
    first = site.judge("kvm1", snapshots=folder, questions=str(site.folder / "questions.json"))
    assert (first["asked"], [run.state for run in site.runs()]) == (1, ["judging"])
    site.variables["hostvars"] = {"kvm1": {}}
    second = site.judge("kvm1", snapshots=folder, answers="said", run=first["run"])
    assert (second["run"], [run.state for run in site.runs()]) == (first["run"], ["closed"])


def test_old_runs_are_removed(site: Site) -> None:
    for _number in range(4):
        site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])), keep_runs=2)
    assert len(site.runs()) == 2


# -- differences and reports -----------------------------------------------------------------------------------------


def test_a_report_says_what_is_new_since_the_last_run_of_its_inventory(site: Site, shown: list[str]) -> None:
    first = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    assert "Since run" not in shown[0]
    site.judge("kvm1", snapshots=site.job("other", ("kvm1", [])), inventory="test")
    site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A, TWIN])))
    since = site.written()["since"]
    assert since["run"] == first["run"]
    new = [finding["rule"] for finding in site.written()["findings"] if finding["fingerprint"] in since["new"]]
    assert "CAT-002" in new
    assert f"Since run {first['run']}" in shown[-1]
    site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    assert [gone["rule"] for gone in site.written()["since"]["gone"]] == new


def test_any_run_is_rendered_in_any_format(site: Site) -> None:
    first = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A, TWIN])))["run"]
    first_report = site.written()
    second = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))["run"]
    dest = site.folder / "out"
    newest = site.run(fleet_report, store=site.url, formats=["json", "html", "markdown"], dest=str(dest))
    assert newest["run"] == second
    assert json.loads((dest / "report.json").read_text()) == site.written()
    assert "New and gone since the last run" in (dest / "report.html").read_text()
    assert first in (dest / "report.md").read_text()
    named = site.run(fleet_report, store=site.url, run=first, formats=["json"], dest=str(dest))
    assert (named["run"], json.loads((dest / "report.json").read_text())) == (first, first_report)
    site.run(fleet_report, store=site.url, run=first, since_run=second, formats=["json"], dest=str(dest))
    assert json.loads((dest / "report.json").read_text())["since"]["run"] == second


def test_a_run_that_is_not_there_is_named_with_those_that_are(site: Site) -> None:
    run = site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))["run"]
    named: tuple[dict[str, t.Any], ...] = ({"run": "gone"}, {"since_run": "gone"})
    for arguments in named:
        with pytest.raises(AnsibleActionFail, match=f"'gone'.*{run}"):
            site.run(fleet_report, store=site.url, formats=["csv"], dest=str(site.folder / "out"), **arguments)
    with pytest.raises(AnsibleActionFail, match="name the folder"):
        site.run(fleet_report, store=site.url, formats=["csv"])


def test_a_report_folder_that_cannot_be_written_is_named(site: Site) -> None:
    site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    taken = site.folder / "taken"
    taken.write_text("a file")
    with pytest.raises(AnsibleActionFail, match=str(taken)):
        site.run(fleet_report, store=site.url, formats=["csv"], dest=str(taken))


# -- orders ----------------------------------------------------------------------------------------------------------


def test_what_is_reserved_in_one_job_is_taken_in_another(site: Site) -> None:
    folder = site.job("all", ("kvm1", [A]), ("kvm2", [B]))
    run = site.collect(folder, "kvm1", "kvm2", run_kind="allocate")["run"]
    arguments: dict[str, t.Any] = {
        "operation": "reserve",
        "store": site.url,
        "hosts": ["kvm1", "kvm2"],
        "run": "newest",
    }
    reserved = site.run(category_allocation, **arguments)
    assert (reserved["run"], [each["range"] for each in reserved["hosts"].values()]) == (
        run,
        [{"low": 0, "high": 31}] * 2,
    )
    for name in ("kvm1", "kvm2"):
        taken = site.run(fleet_orders_info, store=site.url, orders=["allocation"], hosts=[name])
        assert (taken["run"], taken["orders"]) == (run, {"allocation": {name: reserved["hosts"][name]}})
    assert site.collect(folder, "kvm1", run_kind="allocate")["run"] != run  # no host is added any more


def test_labels_are_reserved_from_what_an_audit_has_read(site: Site) -> None:
    run = site.collect(site.job("all", ("kvm1", [A])), "kvm1")["run"]
    site.judge("kvm1")
    site.run(category_allocation, operation="reserve", store=site.url, hosts=["kvm1"], run="newest")
    assert site.run(fleet_orders_info, store=site.url, orders=["allocation"], hosts=["kvm1"])["run"] == run
    (kept,) = site.runs()
    assert kept.verdict  # its report stays


def test_shared_use_and_fresh_labels_go_through_the_store(site: Site) -> None:
    folder = site.job("all", ("kvm1", [A]), ("kvm2", [B]))
    site.collect(folder, "kvm1", "kvm2", run_kind="harden")
    names = ["shared_use", "fresh_labels"]
    judged = site.judge("kvm1", "kvm2", run_kind="harden", orders=names)
    taken = site.run(fleet_orders_info, store=site.url, orders=names, hosts=["kvm1", "kvm2"])
    assert taken["orders"] == judged["orders"]
    assert set(judged["orders"]["shared_use"]) == {"kvm1", "kvm2"}


def test_orders_that_no_step_left_are_missing(site: Site) -> None:
    site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    with pytest.raises(AnsibleActionFail, match="orders"):
        site.run(fleet_orders_info, store=site.url, orders=["allocation"], hosts=["kvm1"])


def test_a_store_with_runs_alone_has_no_ledger(site: Site) -> None:
    site.judge("kvm1", snapshots=site.job("one", ("kvm1", [A])))
    assert not Store(site.url).has_ledger
    site.run(
        category_allocation, operation="reserve", store=site.url, hosts=["kvm1"], snapshots=str(site.folder / "one")
    )
    assert Store(site.url).has_ledger


def test_readings_are_stored_in_several_transactions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run_keeper, "_MAX_HOSTS", 2)
    names = [f"kvm{number}" for number in range(5)]
    run = site.judge(*names, snapshots=site.job("one", *((name, [A]) for name in names)))["run"]
    with Store(site.url).look() as transaction:
        assert all(_runs.reading_of(transaction, run, name) for name in names)


def test_a_store_that_fails_before_policies_are_asked_is_tried_again_with_the_answers(
    site: Site, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = site.job("one", ("kvm1", [A, TWIN]))
    with monkeypatch.context() as patched:
        failing_at(patched, 0)
        first = site.judge("kvm1", snapshots=folder, questions=str(site.folder / "questions.json"), enforce=False)
    assert (first["failed"], first["asked"], first["run"]) == (False, 1, "")
    second = site.judge("kvm1", snapshots=folder, answers="said", run=first["run"])
    assert [run.id for run in site.runs()] == [second["run"]]
    assert len(shown) == 1
