# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import importlib
import json
import os
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.svirt.fleet.plugins.action import category_allocation, category_allocation_info, fleet_store
from ansible_collections.svirt.fleet.plugins.doc_fragments import _options
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import STATES
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.plugin_utils import _snapshots
from ansible_collections.svirt.fleet.plugins.plugin_utils._store import Store, Stored, packed

from tests.unit.support import actions
from tests.unit.support.fleets import PROCESS, guest, host, nfs
from tests.unit.support.labels import uuid

FIRST, SECOND = "s0:c32,c280,c528,c776", "s0:c32,c280,c528,c777"
LIBVIRT = s.Libvirt(installed=True, models=[s.SecurityModel("selinux", baselabels={"kvm": PROCESS + "s0"})])


class Fleet:
    """A folder of snapshots and the ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.snapshots = folder / "snapshots"
        self.file = folder / "fleet.db"

    def add(self, name: str, *guests: s.Guest, **parts: t.Any) -> None:
        snapshot = host(name, guests, **{"libvirt": LIBVIRT, **parts})
        _snapshots.write_snapshot(self.snapshots, name, encode(snapshot))

    def do(self, operation: str, hosts: t.Sequence[str] = (), **arguments: t.Any) -> dict[str, t.Any]:
        values = {"operation": operation, "hosts": list(hosts), "store": f"sqlite:///{self.file}"}
        if operation in ("reserve", "observe", "repair"):
            values["snapshots"] = str(self.snapshots)
        return actions.run(category_allocation, **{**values, **arguments})

    def ledger(self, **arguments: t.Any) -> dict[str, t.Any]:
        return actions.run(category_allocation_info, **{"store": f"sqlite:///{self.file}", **arguments})


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_every_guest_gets_a_label_and_the_file_says_what_to_apply(fleet: Fleet) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2", name="web"), guest(uuid(2), None, active=False))
    dest = fleet.folder / "new" / "labels.json"
    result = fleet.do("reserve", ["kvm1"], dest=str(dest))
    assert result["changed"] is True
    assert result["plan"] == [
        {"action": "reserve", "subject": f"web ({uuid(1)})", "from": "", "to": FIRST},
        {"action": "reserve", "subject": f"guest-{uuid(2)} ({uuid(2)})", "from": "", "to": SECOND},
    ]
    orders = [
        {"guest": uuid(1), "type": "static", "label": f"system_u:system_r:svirt_t:{FIRST}"},
        {"guest": uuid(2), "type": "static", "label": f"system_u:system_r:svirt_t:{SECOND}"},
    ]
    assert result["hosts"] == {"kvm1": {"range": {"low": 0, "high": 31}, "guests": orders}}
    assert json.loads(dest.read_text()) == result["hosts"]
    assert [note["subject"] for note in result["pending"]] == [f"web ({uuid(1)})"]
    assert result["domains"][0]["name"] == "auto-kvm1"
    again = fleet.do("reserve", ["kvm1"])
    assert (again["changed"], again["hosts"]) == (False, result["hosts"])


def test_check_mode_predicts_the_plan_and_leaves_the_store(fleet: Fleet) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    foretold = fleet.do("reserve", ["kvm1"], check=True)
    assert not fleet.file.exists()
    done = fleet.do("reserve", ["kvm1"])
    for key in ("changed", "plan", "hosts", "before", "after", "pending", "refused", "domains"):
        assert foretold[key] == done[key]


def test_the_diff_shows_labels(fleet: Fleet) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    diff = fleet.do("reserve", ["kvm1"], diff=True)["diff"]
    assert (diff["before"], diff["after"]) == ("", f"guest-{uuid(1)} ({uuid(1)}): {FIRST}\n")


def test_a_whole_life(fleet: Fleet) -> None:
    static = [s.SecLabel("selinux", "static", label=f"{PROCESS}{FIRST}", relabel=True)]
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    fleet.do("reserve", ["kvm1"])
    assert fleet.do("publish", ["kvm1"])["after"]["published"] == 1
    fleet.add("kvm1", guest(uuid(1), FIRST, persistent_labels=static))
    assert fleet.do("observe", ["kvm1"])["after"]["observed"] == 1
    assert [one["state"] for one in fleet.ledger()["labels"]] == ["observed"]
    fleet.add("kvm1")
    assert fleet.do("observe", ["kvm1"])["after"]["quarantined"] == 1
    assert fleet.do("release", guests=[uuid(1)], quarantine_days=0)["changed"] is False  # its rest is not over
    assert fleet.ledger()["counts"] == {**dict.fromkeys(STATES, 0), "quarantined": 1}


def test_domains_and_tenants_are_the_operators(fleet: Fleet) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2", name="web"))
    fleet.add("kvm2", guest(uuid(2), "s0:c1,c2", name="db"))
    result = fleet.do(
        "reserve",
        ["kvm1", "kvm2"],
        domains=[{"name": "prod", "hosts": ["kvm1"]}, {"name": "lab", "hosts": ["kvm2"], "strategy": "range"}],
        tenants=[{"match": "web", "tenant": "acme"}],
    )
    assert [(one["name"], one["strategy"], one["used"]) for one in result["domains"]] == [
        ("lab", "range", 1),
        ("prod", "static", 1),
    ]
    assert result["hosts"]["kvm2"] == {"range": {"low": 0, "high": 63}, "guests": []}
    assert [one["tenant"] for one in fleet.ledger()["labels"]] == ["acme"]


def test_hosts_that_share_labelled_storage_are_one_domain(fleet: Fleet) -> None:
    for number in (1, 2, 3):
        storage = [nfs("/vms", f"nfs:filer{number // 3}:/vms")]
        fleet.add(f"kvm{number}", guest(uuid(number), "s0:c1,c2"), storage=storage)
    hosts = ["kvm1", "kvm2", "kvm3"]
    assert [one["hosts"] for one in fleet.do("reserve", hosts, check=True)["domains"]] == [hosts]
    different = [{"name": f"filer{number}", "sources": [f"filer{number}:/vms"]} for number in (0, 1)]
    result = fleet.do("reserve", hosts, storage=different)
    assert [one["hosts"] for one in result["domains"]] == [["kvm1", "kvm2"], ["kvm3"]]
    assert [step["to"] for step in result["plan"]] == [FIRST, SECOND, FIRST]


@pytest.mark.parametrize("how", ["missing", "unread", "old", "lying"])
def test_a_host_without_a_good_snapshot_stops_new_labels(fleet: Fleet, how: str) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    fleet.add("kvm2")
    path = _snapshots.path_of(fleet.snapshots, "kvm2")
    if how == "missing":
        path.unlink()
    elif how == "unread":
        _snapshots.write_unread(fleet.snapshots, "kvm2", "unreachable", 1.0)
    elif how == "old":
        os.utime(path, (1.0, 1.0))
    else:
        _snapshots.write_json(path, {**json.loads(path.read_text()), "schema": "svirt.fleet/snapshot/9"})
    domains = [{"name": "prod", "hosts": ["kvm1", "kvm2"]}]
    result = fleet.do("reserve", ["kvm1"], domains=domains)
    assert (result["changed"], [note["subject"] for note in result["refused"]]) == (False, ["prod"])
    assert list(result["unread"]) == ["kvm2"]
    assert fleet.do("reserve", ["kvm1"], domains=domains, allow_unread=True)["changed"] is True


def test_a_million_categories_and_other_nonsense_do_no_harm(fleet: Fleet) -> None:
    wide = "s0:" + ",".join(f"c{number}" for number in range(9000))
    fleet.add("kvm1", guest(uuid(1), wide), guest("not-a-uuid", "s0:c1,c2"), guest(uuid(3), "s0:c0.c1023"))
    result = fleet.do("reserve", ["kvm1"], allow_unread=True)
    assert [step["subject"].rpartition(" ")[2] for step in result["plan"]] == [f"({uuid(1)})", f"({uuid(3)})"]
    assert [entry["code"] for entry in result["refused"]] == ["guest_unread"]


def test_without_a_folder_the_snapshots_are_those_of_the_store(fleet: Fleet) -> None:
    for number in (1, 2):
        fleet.add(f"kvm{number}", guest(uuid(number), "s0:c1,c2"))
    hosts, domains = ["kvm1", "kvm2"], [{"name": "prod", "hosts": ["kvm1", "kvm2"]}]
    values: dict[str, t.Any] = {"store": f"sqlite:///{fleet.file}", "snapshots": str(fleet.snapshots)}
    actions.run(fleet_store, hosts=["kvm1"], **values)
    stopped = fleet.do("reserve", hosts, snapshots=None, domains=domains)
    assert (stopped["changed"], stopped["refused"][0]["code"]) == (False, "hosts_never_read")
    actions.run(fleet_store, hosts=["kvm2"], **values)
    assert fleet.do("reserve", hosts, snapshots=None, domains=domains, max_age=-1)["changed"] is False  # all too old
    assert fleet.do("reserve", hosts, snapshots=None, domains=domains)["after"]["reserved"] == 2


def test_a_damaged_snapshot_of_the_store_makes_its_host_unread(fleet: Fleet) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    store = Store(f"sqlite:///{fleet.file}")
    for content in (b"never compressed", packed(b"no JSON"), packed(b"{}")):
        with store.write() as transaction:
            transaction.keep([Stored("kvm1", 1.0, time.time(), content)])
        result = fleet.do("reserve", ["kvm1"], snapshots=None, domains=[{"name": "prod", "hosts": ["kvm1"]}])
        assert (result["changed"], result["hosts"]) == (False, {})
    store.close()


def test_the_answer_is_bounded(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(category_allocation, "MAX_SHOWN", 2)
    fleet.add("kvm1", *(guest(uuid(number), "s0:c1,c2") for number in range(5)))
    result = fleet.do("reserve", ["kvm1"])
    assert (len(result["plan"]), len(result["pending"])) == (2, 2)
    assert result["sizes"] == {"plan": 5, "refused": 0, "pending": 5}
    assert len(result["hosts"]["kvm1"]["guests"]) == 5


def test_a_lost_ledger(fleet: Fleet) -> None:
    static = [s.SecLabel("selinux", "static", label=f"{PROCESS}{SECOND}", relabel=True)]
    fleet.add("kvm1", guest(uuid(1), SECOND, persistent_labels=static))
    with pytest.raises(AnsibleError, match="no store at"):
        fleet.do("observe", ["kvm1"])
    with pytest.raises(AnsibleError, match="no store at"):
        fleet.do("repair", ["kvm1"])
    result = fleet.do("repair", ["kvm1"], repair=True)
    assert [(step["action"], step["to"]) for step in result["plan"]] == [("rebuild", SECOND)]
    assert len(result["unknown"]) == 2
    assert fleet.do("observe", ["kvm1"])["after"]["observed"] == 1


def test_a_file_that_cannot_be_written_fails_but_the_ledger_has_the_labels(fleet: Fleet) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    (fleet.folder / "file").write_text("in the folder's place")
    result = fleet.do("reserve", ["kvm1"], dest=str(fleet.folder / "file" / "labels.json"))
    assert (result["failed"], "could not be written" in result["msg"]) == (True, True)
    assert fleet.ledger()["counts"]["reserved"] == 1


@pytest.mark.parametrize(
    ("operation", "arguments", "told"),
    [
        ("steal", {}, "operation"),
        ("reserve", {"hosts": []}, "needs hosts"),
        ("publish", {"dest": "x"}, "leave dest out"),
        ("release", {"hosts": []}, "needs guests or hosts"),
        ("reserve", {"repair": True}, "repair is for operation repair"),
        ("observe", {"quarantine_days": -1}, "quarantine_days"),
        ("reserve", {"tenants": [{"match": "web"}]}, "tenant"),
        ("reserve", {"tenants": [{"match": "a", "tenant": "x"}, {"match": "a", "tenant": "y"}]}, "of one tenant"),
        ("reserve", {"default_tenant": "a\nb"}, "can be printed"),
        ("reserve", {"domains": [{"name": "prod"}]}, "hosts"),
        ("reserve", {"domains": [{"name": "p", "hosts": ["kvm1"], "bands": [[0, 9]] * 4}]}, "share no category"),
        ("publish", {"store": "mysql://u:secret@h/d"}, "only sqlite and postgresql"),
        ("list", {}, "operation"),
    ],
)
def test_what_cannot_be_meant_is_refused(fleet: Fleet, operation: str, arguments: dict[str, t.Any], told: str) -> None:
    fleet.add("kvm1")
    with pytest.raises(AnsibleError, match=told) as caught:
        fleet.do(operation, **{"hosts": ["kvm1"], **arguments})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("check", [False, True])
def test_the_ledger_is_listed_and_not_changed(fleet: Fleet, check: bool) -> None:
    fleet.add("kvm1", guest(uuid(2), "s0:c1,c2", name="web"), guest(uuid(1), "s0:c3,c4", name="db"))
    fleet.do("reserve", ["kvm1"], tenants=[{"match": "web", "tenant": "acme"}])
    before = fleet.file.read_bytes()
    listed = fleet.ledger(check=check)
    assert (listed["changed"], listed["failed"]) == (False, False)
    assert [(one["name"], one["uuid"], one["tenant"], one["state"], one["until"]) for one in listed["labels"]] == [
        ("db", uuid(1), "default", "reserved", None),
        ("web", uuid(2), "acme", "reserved", None),
    ]
    assert [(one["domain"], one["tenant"]) for one in listed["tenants"]] == [
        ("auto-kvm1", "acme"),
        ("auto-kvm1", "default"),
    ]
    for label in listed["labels"]:
        (shared,) = [one["shared"] for one in listed["tenants"] if one["tenant"] == label["tenant"]]
        assert set(shared.removeprefix("s0:").split(",")) < set(label["level"].removeprefix("s0:").split(","))
    assert (listed["counts"]["reserved"], listed["msg"]) == (2, "2 labels of 2 tenants")
    assert fleet.file.read_bytes() == before


def test_no_ledger_is_made_in_order_to_list_it(fleet: Fleet) -> None:
    with pytest.raises(AnsibleError, match="no store at"):
        fleet.ledger()
    assert not fleet.file.exists()


def test_a_ledger_that_others_can_read_is_listed_with_a_warning(fleet: Fleet) -> None:
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    fleet.do("reserve", ["kvm1"])
    fleet.file.chmod(0o644)
    assert "has mode 0644" in fleet.ledger()["warnings"][0]


def test_the_documentation_of_the_list_names_what_there_is(fleet: Fleet) -> None:
    name = "ansible_collections.svirt.fleet.plugins.modules.category_allocation_info"
    module = importlib.import_module(name)
    options = yaml.safe_load(_options.ModuleDocFragment.STORE)["options"]
    assert yaml.safe_load(module.DOCUMENTATION)["options"] == {}
    assert set(options) == set(category_allocation_info.ARGUMENTS)
    assert options["store"]["default"] == category_allocation_info.ARGUMENTS["store"]["default"]
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    fleet.do("reserve", ["kvm1"])
    listed, documented = fleet.ledger(), yaml.safe_load(module.RETURN)
    assert set(listed) - {"changed", "failed", "msg"} == set(documented)
    for key in ("labels", "tenants"):
        assert set(listed[key][0]) == set(documented[key]["contains"]) == set(documented[key]["sample"][0])


def test_the_documentation_names_what_there_is(fleet: Fleet) -> None:
    name = "ansible_collections.svirt.fleet.plugins.modules.category_allocation"
    module = importlib.import_module(name)
    given = _options.ModuleDocFragment
    fragments = (given.RUN, given.STORE, given.STORAGE, given.TENANTS)
    shared = {name: option for text in fragments for name, option in yaml.safe_load(text)["options"].items()}
    options = {**yaml.safe_load(module.DOCUMENTATION)["options"], **shared}
    assert set(options) == set(category_allocation.ARGUMENTS)
    for option, spec in category_allocation.ARGUMENTS.items():
        assert options[option].get("default") == spec.get("default"), option
        assert options[option].get("choices") == spec.get("choices"), option
        assert options[option]["type"] == spec["type"], option
    fleet.add("kvm1", guest(uuid(1), "s0:c1,c2"))
    result = fleet.do("reserve", ["kvm1"], dest=str(fleet.folder / "labels.json"))
    assert set(result) - {"changed", "failed", "msg"} == set(yaml.safe_load(module.RETURN))
