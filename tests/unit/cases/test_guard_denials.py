# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The guard looks at no process that its domain may not read, and at none that libvirt does not name."""

from __future__ import annotations

import json
import os
import sys
import typing as t

import pytest

from tests.unit.roles.test_guard import OTHER, UUID, Host, guard, host, label, xml

__all__ = ["host"]

OWN = "system_u:system_r:virtqemud_t:s0"
THIRD = OTHER[:-1] + "3"
#: Of a policy that grants every permission, and of one that grants none.
ALL, NONE = "ffffffff", "0"


class Opened:
    """Paths below a host's /proc that were opened, in order."""

    def __init__(self) -> None:
        self.top = ""
        self.paths: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[t.Any, ...]) -> None:
        if event not in ("open", "os.listdir", "os.scandir") or not self.top:
            return
        # Tests write by open(), which Python 3.9 passes on to os.open(); the guard reads by os.open().
        by_tests = event == "open" and (arguments[1] is not None or arguments[2] & os.O_ACCMODE == os.O_WRONLY)
        if not by_tests and str(arguments[0]).startswith(self.top):
            self.paths.append(str(arguments[0])[len(self.top) :])


OPENED = Opened()  # a hook cannot be removed: one for all tests


@pytest.fixture
def opened(host: Host) -> t.Iterator[list[str]]:
    OPENED.top, OPENED.paths = f"{host.top}/proc", []
    yield OPENED.paths
    OPENED.top = ""


def own_label(host: Host) -> None:
    (host.top / "proc/self/attr").mkdir(parents=True)
    (host.top / "proc/self/attr/current").write_text(OWN + "\0")


def policy(host: Host, allowed: str) -> None:
    """A selinuxfs that gives one answer to all questions: the guard reads on after what it wrote."""
    fs = host.top / "sys/fs/selinux"
    for number, (tclass, names) in enumerate(guard.READING, 1):
        (fs / f"class/{tclass}/perms").mkdir(parents=True)
        (fs / f"class/{tclass}/index").write_text(str(number))
        for bit, name in enumerate(names, 1):
            (fs / f"class/{tclass}/perms/{name}").write_text(str(bit))
    answer = f" {allowed} ffffffff 0 ffffffff 1 0"
    (fs / "access").write_text(" " * 500 + answer)


def strangers(host: Host) -> None:
    """Processes that are no business of the guard."""
    for pid in (1, 77, 80):
        host.process(pid, "s0:c1,c2")


def test_only_processes_that_libvirt_names_are_opened(host: Host, opened: list[str]) -> None:
    strangers(host)
    own_label(host)
    host.guest(4242, "s0:c5,c6")
    host.guest(4243, "s0:c7,c8", "third", THIRD)
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert sorted(opened) == ["/4242/attr/current", "/4243/attr/current", "/self/attr/current"]


def test_a_type_that_may_not_be_read_is_judged_by_the_status_file(
    host: Host, opened: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    host.settings(readable=[], errors="refuse")
    host.guest(4242, "s0:c1,c2")
    (host.top / "proc/4242/attr/current").write_text(label("s0:c5,c6") + "\0")
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.ALLOWED, "known at the installation: no doubt of this call"
    assert host.ask(xml("s0:c1,c2", uuid=THIRD)) == guard.REFUSED
    assert capfd.readouterr().err.endswith(", which runs here, as libvirt's status file has it\n")
    assert set(opened) <= {"/self/attr/current"}


def test_only_types_of_the_settings_are_read(host: Host, opened: list[str]) -> None:
    host.guest(4242, "s0:c5,c6")
    host.guest(4243, "s0:c7,c8", "third", THIRD, type_="svirt_tcg_t")
    (host.top / "run/libvirt/qemu/third.xml").write_text(
        (host.top / "run/libvirt/qemu/third.xml").read_text().replace("svirt_t", "svirt_tcg_t")
    )
    assert host.ask(xml("s0:c1,c2")) == guard.ALLOWED
    assert [path for path in opened if not path.startswith("/self")] == ["/4242/attr/current"]


@pytest.mark.parametrize(("allowed", "read"), [(ALL, True), (NONE, False), ("nonsense", False)])
def test_a_guard_that_may_ask_does_what_the_loaded_policy_says_now(
    host: Host, opened: list[str], allowed: str, read: bool
) -> None:
    own_label(host)
    policy(host, allowed)
    host.settings(ask=True, readable=[] if read else ["svirt_t"])
    host.guest(4242, "s0:c5,c6")
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.REFUSED
    assert ("/4242/attr/current" in opened) is read
    assert (host.top / "sys/fs/selinux/access").read_text().startswith(f"{OWN} {label('s0:c5,c6')} ")


def test_a_policy_that_cannot_be_asked_lets_nothing_be_read(host: Host, opened: list[str]) -> None:
    own_label(host)
    host.settings(ask=True)
    host.guest(4242, "s0:c5,c6")
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.REFUSED
    assert opened == ["/self/attr/current"]


def test_without_settings_no_process_is_opened(host: Host, opened: list[str]) -> None:
    (host.top / "etc/svirt-fleet/guard.json").unlink()
    host.guest(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c1,c2", uuid=UUID)) == guard.REFUSED
    assert set(opened) <= {"/self/attr/current"}


def test_a_guest_without_a_label_is_passed_over_aloud_and_not_opened(host: Host, opened: list[str]) -> None:
    """It runs in the daemon's own domain, which not every policy lets the daemon read."""
    own_label(host)
    host.guest(4242, "s0:c1,c2")
    status = host.top / "run/libvirt/qemu/db.xml"
    status.write_text(status.read_text().replace(f"<label>{label('s0:c1,c2')}</label>", ""))
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.ALLOWED
    assert host.logged == ["start: guest 'db', which runs here unconfined, was passed over"]
    assert set(opened) == {"/self/attr/current"}
    host.settings(errors="refuse")
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.REFUSED


def test_a_guest_without_a_label_is_compared_where_the_daemon_may_read_its_own_domain(host: Host) -> None:
    own_label(host)
    host.settings(readable=["svirt_t", "virtqemud_t"])
    host.guest(4242, "s0:c1,c2")
    status = host.top / "run/libvirt/qemu/db.xml"
    status.write_text(status.read_text().replace(f"<label>{label('s0:c1,c2')}</label>", ""))
    (host.top / "proc/4242/attr/current").write_text(OWN + "\0")
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.REFUSED


@pytest.mark.parametrize(("text", "on"), [(OWN, True), ("libvirtd (enforce)\n", False), ("unconfined\n", False)])
def test_selinux_is_on_where_the_guards_own_label_is_one(host: Host, text: str, on: bool) -> None:
    """Not every domain may look into selinuxfs."""
    own_label(host)
    (host.top / "proc/self/attr/current").write_text(text)
    (host.top / "sys/fs/selinux/enforce").unlink()
    assert host.ask(xml("s0")) == (guard.REFUSED if on else guard.ALLOWED)


@pytest.mark.parametrize("value", ["svirt_t", ["a b"], [3], {"a": 1}])
def test_a_wrong_list_of_types_counts_as_none(host: Host, opened: list[str], value: object) -> None:
    (host.top / "etc/svirt-fleet/guard.json").write_text(json.dumps({"readable": value}))
    host.guest(4242, "s0:c1,c2")
    assert host.ask(xml("s0:c5,c6", uuid=UUID)) == guard.FAULT, "the hook knows what was chosen for its faults"
    assert set(opened) <= {"/self/attr/current"}
