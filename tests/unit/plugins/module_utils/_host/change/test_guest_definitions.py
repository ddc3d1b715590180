# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions and live filters, changed through a stand-in for libvirt, and put back from the journal."""

from __future__ import annotations

import sys
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import (
    HostReadError,
    HostWriteError,
    JournalError,
    PlanError,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guest_definition import (
    Define,
    GuestChange,
    LiveFilter,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.domain_edit import (
    Filter,
    with_filter,
    with_seclabel,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Refusal
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import SecLabel
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import guest_definitions as definitions

from tests.unit.support import factory, hosts, virt
from tests.unit.support.captured import CapturedRoot
from tests.unit.support.errors import raised

MAC = "52:54:00:00:00:01"
CLEAN = Filter("clean-traffic", (("IP", "192.0.2.1"),))
STATIC_XML = virt.seclabel("static", factory.process_label("s0:c1,c2"))
STATIC = SecLabel("selinux", "static", True, factory.process_label("s0:c1,c2"))


def session(host: virt.FakeHost) -> definitions.Session:
    return definitions.Session(host, host)


def journal(folder: Path) -> Journal:
    return Journal("guest_seclabel", str(folder))


def define(host: virt.FakeHost, name: str) -> Define:
    before = host.guests[virt.uuid(name)].inactive
    assert before is not None
    return Define(virt.uuid(name), name, before, with_seclabel(before, STATIC))


def live(name: str, before: Filter | None = None, after: Filter | None = CLEAN) -> LiveFilter:
    return LiveFilter(virt.uuid(name), name, MAC, before, after)


def apply(host: virt.FakeHost, folder: Path, *changes: GuestChange) -> list[Refusal]:
    with journal(folder) as kept:
        return definitions.apply(session(host), changes, kept)


def restore_all(host: virt.FakeHost, folder: Path) -> None:
    with journal(folder) as kept:
        (path,) = kept.runs()
    for entry in reversed(entries_of(path)):
        definitions.restore(entry, lambda _timeout, work: work(session(host)))


@pytest.fixture
def host() -> virt.FakeHost:
    fake_host = virt.FakeHost()
    text = virt.domain("a", cards=virt.card(MAC))
    running = virt.domain("a", cards=virt.card(MAC, more="<target dev='vnet0'/>"))
    fake_host.add("a", text, running, process=factory.process_label("s0:c7,c8"))
    fake_host.add("b", virt.domain("b"))
    return fake_host


def test_a_survey_of_the_host(host: virt.FakeHost) -> None:
    host.add("t", None, virt.domain("t"), process=None)
    host.guests[virt.uuid("b")].saved = True
    host.networks.append("<network><name>lan</name></network>")
    known = definitions.LibvirtFacts(True, frozenset(("svirt_t",)), factory.DAEMON)
    survey = definitions.survey(session(host), known)
    assert [(guest.name, guest.active, guest.process, guest.managed_save) for guest in survey.guests] == [
        ("a", True, factory.process_label("s0:c7,c8"), False),
        ("b", False, None, True),
        ("t", True, None, False),
    ]
    assert [guest.inactive is None for guest in survey.guests] == [False, False, True]
    assert [model.model for model in survey.models] == ["selinux", "dac"]
    assert survey.guest_types == {"svirt_t", "svirt_tcg_t"}
    assert survey.daemon == factory.DAEMON
    assert survey.filters is not None
    assert "clean-traffic" in [item.name for item in survey.filters]
    assert survey.networks is not None


def test_a_survey_without_filters(host: virt.FakeHost) -> None:
    host.filters = None
    assert definitions.survey(session(host), definitions.LibvirtFacts(True)).filters is None


def test_a_guest_that_goes_meanwhile(host: virt.FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(self: virt.FakeGuest, _flags: int) -> str:
        host.guests.pop(self.uuid, None)
        raise virt.Error("Domain not found", 42)

    monkeypatch.setattr(virt.FakeGuest, "XMLDesc", vanish)
    assert definitions.survey(session(host), definitions.LibvirtFacts(True)).guests == []


def test_an_error_that_nobody_foresaw_ends_the_survey(host: virt.FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: virt.FakeGuest, _flags: int) -> str:
        raise virt.Error("cannot acquire state change lock")

    monkeypatch.setattr(virt.FakeGuest, "XMLDesc", fail)
    with raised("libvirt_error", "state change lock"):
        definitions.survey(session(host), definitions.LibvirtFacts(True))


def test_definitions_and_live_filters_change_and_come_back(host: virt.FakeHost, tmp_path: Path) -> None:
    a, b = host.guests[virt.uuid("a")], host.guests[virt.uuid("b")]
    was = (a.inactive, a.live, b.inactive)
    assert apply(host, tmp_path, define(host, "b"), live("a")) == []
    assert b.inactive == with_seclabel(was[2] or "", STATIC)
    assert a.live == with_filter(was[1] or "", MAC, CLEAN)
    assert host.calls == ["define b", "update a"]
    restore_all(host, tmp_path)
    assert (a.inactive, a.live, b.inactive) == was


def test_everything_is_in_the_journal_before_anything_changes(
    host: virt.FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Journal, _entries: object) -> None:
        raise JournalError("the journal cannot be written: No space left on device")

    monkeypatch.setattr(Journal, "record", full)
    with pytest.raises(JournalError):
        apply(host, tmp_path, define(host, "b"), live("a"))
    assert host.calls == []


def test_the_live_interface_of_a_network_goes_back_as_one(host: virt.FakeHost, tmp_path: Path) -> None:
    a = host.guests[virt.uuid("a")]
    a.live = virt.domain("a", cards=virt.card(MAC, source="network='lan' bridge='br0'"))
    sent: list[str] = []
    update = a.updateDeviceFlags

    def keep(xml: str, flags: int) -> None:
        sent.append(xml)
        update(xml, flags)

    a.updateDeviceFlags = keep  # type: ignore[method-assign]  # to see what is sent
    assert apply(host, tmp_path, live("a")) == []
    assert sent[0].startswith("<interface type='network'>")


def test_what_somebody_else_changed_is_left_alone(host: virt.FakeHost, tmp_path: Path) -> None:
    steps = (define(host, "b"), live("a"))
    a, b = host.guests[virt.uuid("a")], host.guests[virt.uuid("b")]
    b.inactive = virt.domain("b", more="  <title>new</title>\n")
    a.live = with_filter(a.live or "", MAC, Filter("theirs"))
    failed = apply(host, tmp_path, *steps)
    assert [(item.subject, item.reason.code) for item in failed] == [
        ("guest b", "changed_meanwhile"),
        (f"interface {MAC} of guest a", "changed_meanwhile"),
    ]
    assert host.calls == []


def test_what_went_meanwhile(host: virt.FakeHost, tmp_path: Path) -> None:
    steps = (define(host, "b"), live("a"), live("a"))
    del host.guests[virt.uuid("b")]
    host.guests[virt.uuid("a")].live = None
    (failed,) = apply(host, tmp_path, *steps)
    assert (failed.subject, failed.reason.code) == ("guest b", "changed_meanwhile")


def test_an_interface_that_was_unplugged(host: virt.FakeHost, tmp_path: Path) -> None:
    host.guests[virt.uuid("a")].live = virt.domain("a")
    (failed,) = apply(host, tmp_path, live("a"))
    assert failed.reason.code == "libvirt_error"


def test_a_definition_that_libvirt_takes_for_another_is_put_back(host: virt.FakeHost, tmp_path: Path) -> None:
    b = host.guests[virt.uuid("b")]
    was = b.inactive
    host.twist = lambda xml: xml.replace("qemu-system", "other-qemu") if "static" in xml else xml
    (failed,) = apply(host, tmp_path, define(host, "b"))
    assert failed.reason.code == "stored_otherwise"
    assert "/domain/devices/emulator" in failed.reason.text
    assert (b.inactive, host.calls) == (was, ["define b", "define b"])


def test_what_libvirt_writes_in_another_order_is_no_other(host: virt.FakeHost, tmp_path: Path) -> None:
    dac = "  <seclabel type='dynamic' model='dac' relabel='yes'/>\n"
    host.twist = lambda xml: xml.replace("  <devices>", dac + "  <devices>").replace(
        f"  </devices>\n{dac}", "</devices>"
    )
    assert apply(host, tmp_path, define(host, "b")) == []


def test_change_that_fails_does_not_stop_the_others(host: virt.FakeHost, tmp_path: Path) -> None:
    host.refuse_update = True
    failed = apply(host, tmp_path, live("a"), define(host, "b"))
    assert [item.reason.code for item in failed] == ["libvirt_error"]
    assert "define b" in host.calls


def test_rollback_does_not_bring_a_guest_back_that_somebody_removed(host: virt.FakeHost, tmp_path: Path) -> None:
    apply(host, tmp_path, define(host, "b"))
    del host.guests[virt.uuid("b")]
    with pytest.raises(PlanError) as error:
        restore_all(host, tmp_path)
    assert error.value.code == "guest_gone"


@pytest.mark.parametrize("now", [None, virt.domain("a")])
def test_rollback_of_a_filter_that_is_gone_already(host: virt.FakeHost, tmp_path: Path, now: str | None) -> None:
    apply(host, tmp_path, live("a"))
    host.guests[virt.uuid("a")].live = now
    restore_all(host, tmp_path)
    assert host.calls == ["update a"]


def test_rollback_that_libvirt_refuses(host: virt.FakeHost, tmp_path: Path) -> None:
    apply(host, tmp_path, live("a"))
    host.refuse_update = True
    with raised("libvirt_error"):
        restore_all(host, tmp_path)


# -- the child -------------------------------------------------------------------------------------------------------


@pytest.fixture
def binding(host: virt.FakeHost, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("libvirt")
    parts: dict[str, t.Any] = {
        "libvirtError": virt.Error,
        "registerErrorHandler": lambda _handler, _context: None,
        "open": lambda _uri: host,
    }
    for name, value in parts.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "libvirt", module)
    return module


@pytest.mark.usefixtures("binding")
def test_work_is_done_in_a_child(host: virt.FakeHost) -> None:
    def work(found: definitions.Session) -> dict[str, t.Any]:
        found.handle.calls.append("seen by the child only")
        return {"guests": len(found.handle.listAllDomains())}

    assert definitions.within(5, work) == {"guests": 2}
    assert host.calls == []


@pytest.mark.usefixtures("binding")
def test_an_error_in_the_child_is_reported_unchanged() -> None:
    def refuse(_session: definitions.Session) -> t.NoReturn:
        raise PlanError("x", "no_guest")

    with raised("no_guest"):
        definitions.within(5, refuse)


@pytest.mark.usefixtures("binding")
def test_a_child_that_breaks() -> None:
    def fail(_session: definitions.Session) -> t.NoReturn:
        raise ZeroDivisionError

    with pytest.raises(HostWriteError, match="ZeroDivisionError"):
        definitions.within(5, fail)


def test_a_daemon_that_refuses(binding: types.ModuleType) -> None:
    def refuse(_uri: str) -> t.NoReturn:
        raise virt.Error("Failed to connect socket: Connection refused")

    binding.open = refuse  # type: ignore[attr-defined]  # a module made here
    with raised("libvirt_error", "Failed to connect socket"):
        definitions.within(5, lambda _session: None)


def test_a_python_without_the_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with pytest.raises(HostReadError) as error:
        definitions.connect()
    assert error.value.code == "no_binding"


def test_what_the_hosts_files_say() -> None:
    facts = definitions.facts(CapturedRoot(hosts.el9(), hosts.policy()))
    assert facts.installed
    assert facts.guest_types >= {"svirt_t", "svirt_tcg_t"}
    assert facts.daemon is not None
    assert facts.daemon.startswith("system_u:system_r:virtd_t:")
    assert definitions.facts(CapturedRoot(hosts.bare(), hosts.policy())) == definitions.LibvirtFacts(False)


@pytest.mark.parametrize(
    ("allowed", "flags", "deaf"),
    [(0b11111, 0, ""), (0b10111, 0, "packet_socket map to itself"), (0b10111, 1, "")],
    ids=["allowed", "denied", "permissive"],
)
def test_whether_the_policy_lets_libvirt_watch_packets(allowed: int, flags: int, deaf: str) -> None:
    tree = hosts.el9()
    tree.file("/sys/fs/selinux/class/packet_socket/index", "9")
    for bit, name in enumerate(("create", "bind", "setopt", "map", "read"), 1):
        tree.file(f"/sys/fs/selinux/class/packet_socket/perms/{name}", str(bit))

    def answer(question: str) -> str | None:
        return f"{allowed:x} ffffffff 0 ffffffff 1 {flags:x}" if question.endswith(" 9") else hosts.policy()(question)

    known = definitions.facts(CapturedRoot(tree, answer))
    assert deaf in known.deaf
    assert bool(known.deaf) == bool(deaf)
    assert definitions.survey(session(virt.FakeHost()), known).deaf == known.deaf


def test_a_daemon_that_must_not_be_started() -> None:
    tree = hosts.el9()
    for path in [path for path in tree.entries if path.startswith("/proc/900")]:
        del tree.entries[path]
    del tree.entries["/run/libvirt/qemu/autostarted"]
    with pytest.raises(HostReadError) as error:
        definitions.facts(CapturedRoot(tree, hosts.policy()))
    assert error.value.code == "may_not_connect"


def test_what_libvirt_will_do_once_it_has_the_driver() -> None:
    host = virt.FakeHost(
        capabilities="<capabilities><host><secmodel><model>dac</model></secmodel></host></capabilities>"
    )
    known = definitions.facts(CapturedRoot(hosts.el9(), hosts.policy()))
    surveyed = definitions.with_driver(definitions.survey(session(host), known), known)
    assert surveyed.models[0].baselabels == {
        "kvm": "system_u:system_r:svirt_t:s0",
        "qemu": "system_u:system_r:svirt_tcg_t:s0",
    }
    there = definitions.survey(session(virt.FakeHost()), known)
    assert definitions.with_driver(there, known) is there


def test_a_label_that_libvirt_may_not_read_is_read_from_the_kernel() -> None:
    """As of a guest that runs in the daemon's own domain, which Debian's policy does not let the daemon look at."""
    host = virt.FakeHost()
    for name in ("open", "lost", "off"):
        host.add(name, virt.domain(name, STATIC_XML), virt.domain(name) if name != "off" else None)
    tree = hosts.el9()
    hosts.process(tree, 77, "/usr/libexec/qemu-kvm", factory.DAEMON)
    tree.file("/run/libvirt/qemu/open.pid", "77\n")
    opened = definitions.Session(host, host, CapturedRoot(tree, hosts.policy()))
    survey = definitions.survey(opened, definitions.LibvirtFacts(True))
    assert [(guest.name, guest.process) for guest in survey.guests] == [
        *(("lost", None), ("off", None), ("open", factory.DAEMON)),
    ]
