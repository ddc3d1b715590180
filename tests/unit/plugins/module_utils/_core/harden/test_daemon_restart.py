# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the daemon needs a restart, when one would hurt a guest, and what became of the guests."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.daemon_restart import (
    GUESTS_UNIT,
    DaemonUnit,
    ForeseenRestart,
    RestartFacts,
    expect,
    losses,
    newer,
    planned,
    reasons,
    refusals,
    running,
    shortfalls,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.hook_script import FAILS, PASSES
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.hooks import Hook
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason, Refusal
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    AREAS,
    Coverage,
    Daemon,
    Guest,
    Host,
    Libvirt,
    Process,
    QemuConf,
    SecLabel,
    SecurityModel,
    SELinux,
    Snapshot,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import LINK

CONTEXT = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
UNIT = DaemonUnit("libvirtd.service", "active", 900, "process")


def refused(facts: RestartFacts) -> list[tuple[str, str]]:
    """Subject and code of each refusal."""
    return [(entry.subject, entry.reason.code) for entry in refusals(facts)]


def codes(why: t.Iterable[Reason]) -> list[str]:
    return [reason.code for reason in why]


def guest(name: str, level: str | None = "s0:c1,c2", kind: str | None = "dynamic", pid: int = 1000) -> Guest:
    """A running guest; ``kind`` None has no seclabel of SELinux's."""
    context = f"system_u:system_r:svirt_t:{level}" if level else None
    live = [SecLabel("selinux", kind, label=context), SecLabel("dac", "dynamic")] if kind else []
    return Guest(f"uuid-{name}", name, "running", True, pid=pid, context=context, live=live)


def look(*guests: Guest, conf: str = 'security_driver = "selinux"\n', **changes: t.Any) -> RestartFacts:
    """A host on which nothing speaks against a restart."""
    libvirt = Libvirt(
        installed=True,
        daemon=Daemon("libvirtd", 900, CONTEXT, 1000.0, True),
        connected=True,
        driver="QEMU",
        version="11.3.0",
        conf=QemuConf("qemu.conf", True, *qemu_conf.parse(conf)),
        models=[SecurityModel("selinux"), SecurityModel("dac")],
    )
    snapshot = Snapshot(
        Host("kvm1"),
        SELinux("enforcing", lsms=["selinux"]),
        libvirt,
        {area: Coverage("ok") for area in AREAS},
        2000.0,
        guests=list(guests),
        processes=[Process(item.pid, "qemu", started_at=1.0) for item in guests if item.pid],
    )
    return dataclasses.replace(RestartFacts(snapshot, [UNIT], 1000.0, {"/etc/libvirt/qemu.conf": 900.0}), **changes)


def test_nothing_speaks_against_it() -> None:
    facts = look(guest("a"), guest("b", "s0:c3,c4"))
    assert refusals(facts) == []
    assert reasons(facts) == []
    assert shortfalls(facts) == []


def test_two_dynamic_guests_of_one_range() -> None:
    facts = look(guest("b"), guest("a"), guest("c", "s0:c1,c3"))
    assert refused(facts) == [("a, b", "same_range")]


@pytest.mark.parametrize(
    "other",
    [
        guest("b", kind="static"),
        guest("b", kind="none"),
        guest("b", kind=None),
        dataclasses.replace(guest("b"), active=False),
        dataclasses.replace(guest("b"), kind="lxc"),
    ],
)
def test_who_takes_no_categories_back_collides_with_nobody(other: Guest) -> None:
    assert refusals(look(guest("a"), other)) == []


def test_a_guest_without_a_readable_range() -> None:
    for odd in (guest("a", None), dataclasses.replace(guest("a"), context="system_u:system_r:svirt_t")):
        assert refused(look(odd)) == [("guest a", "range_unreadable")]
    off = look(guest("a", None))
    off.snapshot.selinux.mode = "disabled"
    off.libvirt.conf = QemuConf("qemu.conf")
    assert refusals(off) == []


def test_guests_that_are_not_known() -> None:
    facts = look()
    facts.snapshot.coverage["guests"] = Coverage("unknown", "libvirt: no answer within 30 s")
    assert refused(facts) == [("guests", "guests_unknown")]


def test_a_migration_is_waited_for() -> None:
    facts = look(guest("a"), jobs={"uuid-a": "migration in", "uuid-gone": "save"})
    assert refused(facts) == [("guest a", "job_running")]


@pytest.mark.parametrize(
    ("conf", "outcome"),
    [
        ("user = x\n", [("user", "syntax")]),
        ("\n", [("", "syntax")]),
        ('remember_owner = "1"\nmax_files = -1\n', [("remember_owner", "wrong_type"), ("max_files", "wrong_type")]),
        ('security_driver = "dac"\n', [("security_driver", "bad_value")]),
        ('security_driver = "none"\n', [("security_driver", "without_selinux")]),
        (
            'security_driver = "none"\nsecurity_require_confined = 1\n',
            [("security_driver", "no_driver"), ("security_driver", "without_selinux")],
        ),
        ("nonsense = 1\nnonsense = 2\n", []),
    ],
)
def test_a_file_that_libvirt_would_not_start_with(conf: str, outcome: list[tuple[str, str]]) -> None:
    assert refused(look(conf=conf)) == [(f"qemu.conf {key}".rstrip(), code) for key, code in outcome]


def test_a_file_that_nobody_read() -> None:
    facts = look()
    facts.libvirt.conf = None
    assert refused(facts) == [("qemu.conf", "conf_unread")]


def test_an_explicit_driver_with_selinux_off() -> None:
    facts = look()
    facts.snapshot.selinux.mode = "disabled"
    assert refused(facts) == [("qemu.conf security_driver", "selinux_off")]


@pytest.mark.parametrize(
    ("units", "code"),
    [
        ([], "not_by_systemd"),
        ([dataclasses.replace(UNIT, pid=901)], "not_by_systemd"),
        ([dataclasses.replace(UNIT, kill_mode="control-group")], "kill_mode"),
        ([dataclasses.replace(UNIT, followers=("x.service", GUESTS_UNIT))], "stops_guests"),
        ([UNIT, DaemonUnit("virtqemud.service", "activating")], "two_daemons"),
    ],
)
def test_units(units: list[DaemonUnit], code: str) -> None:
    assert codes(entry.reason for entry in refusals(look(units=units))) == [code]


def test_another_hypervisor_and_no_daemon() -> None:
    facts = look()
    facts.libvirt.driver = "Xen"
    assert refused(facts) == [("daemon libvirtd", "other_driver")]
    facts.libvirt.daemon = None
    assert refused(facts) == [("daemon", "no_daemon")]
    assert reasons(facts) == []


def test_a_modular_daemon_beside_an_idle_libvirtd() -> None:
    facts = look(
        units=[
            dataclasses.replace(UNIT, state="inactive", pid=None),
            DaemonUnit("virtqemud.service", "active", 900, "process"),
        ]
    )
    facts.libvirt.daemon = Daemon("virtqemud", 900, CONTEXT, 1000.0, True)
    assert refusals(facts) == []
    assert facts.unit is not None
    assert facts.unit.name == "virtqemud.service"


def test_reasons() -> None:
    facts = look(files={"/b": 1000.5, "/a": 2000.0, "/c": 1000.0}, context=CONTEXT)
    assert codes(reasons(facts)) == ["file_changed"] * 2
    assert newer({"/c": 1.0}, None) == ["/c"]
    facts = look(units=[dataclasses.replace(UNIT, stale=True)], context=CONTEXT.replace("1023", "31"))
    facts.libvirt.models = [SecurityModel("none")]
    assert codes(reasons(facts)) == ["unit_stale", "other_context", "driver_missing"]
    facts.libvirt.daemon = Daemon("libvirtd", None, None, None, True)
    assert reasons(facts) == []  # asleep


def test_a_context_under_which_no_guest_could_start() -> None:
    facts = look(context="system_u:system_r:virtd_t:s0-s0:c0.c5")
    assert refused(facts) == [("context", "range_unusable")]
    assert codes(shortfalls(facts)) == ["other_context"]


def test_a_daemon_that_came_back_without_selinux() -> None:
    facts = look()
    facts.libvirt.models = []
    assert codes(shortfalls(facts)) == ["driver_missing"]
    facts.libvirt.models = None
    assert codes(shortfalls(facts)) == ["driver_unknown"]


def test_losses() -> None:
    before = running(look(guest("a"), guest("b", pid=1001), guest("c", pid=1002), guest("d", pid=1003)).snapshot)
    after = running(
        look(guest("a"), guest("b", pid=2001), guest("d", "s0:c7,c8", pid=1003), guest("new", pid=5)).snapshot
    )
    assert codes(losses(before, after)) == ["guest_restarted", "guest_gone", "guest_relabelled"]
    again = {uuid: dataclasses.replace(item, started_at=9.0) for uuid, item in before.items() if item.name == "a"}
    assert codes(losses({"uuid-a": before["uuid-a"]}, again)) == ["guest_restarted"]
    assert losses(before, before) == []


DENIED = Reason("denied", "execute (file)")


def test_a_hook_that_libvirt_could_not_run() -> None:
    facts = look(
        guest("a"),
        hooks=[Hook("/etc/libvirt/hooks/qemu", 1.0, (DENIED,)), Hook("x", 1.0, at_reconnect=PASSES)],
    )
    assert refused(facts) == [("hook /etc/libvirt/hooks/qemu", "hook_denied")]
    assert DENIED.text in refusals(facts)[0].reason.text
    assert refused(look(guest("a"), hooks=[Hook("x", 1.0), Hook("y", 1.0, at_reconnect=FAILS)])) == [
        ("hook x", "hook_unknown"),
        ("hook y", "hook_fails"),
    ]
    assert refused(look(hooks=[Hook("x", 1.0), Hook("y", 1.0, at_reconnect=FAILS)])) == []


def test_a_guard_that_came_after_the_daemon() -> None:
    late = Hook(LINK, 1000.5)
    assert codes(reasons(look(hooks=[late]))) == ["hook_unseen"]
    assert reasons(look(hooks=[late, Hook("/etc/libvirt/hooks/qemu", 900.0)])) == []
    assert reasons(look(hooks=[Hook(LINK, 900.0)])) == []


def test_what_earlier_tasks_would_have_changed() -> None:
    """As in a run in check mode: the file is broken and names no driver, and the policy denies a hook."""
    facts = look(conf='security_driver = "none"\nuser = 5\n', hooks=[Hook("x", 1.0, (DENIED,))])
    assert len(refusals(facts)) == 2  # of a file that does not parse, no more is said
    expect(facts, ForeseenRestart())
    assert (len(refusals(facts)), reasons(facts)) == (2, [])
    expect(facts, ForeseenRestart(settings={"user": None}))
    assert refused(facts) == [("hook x", "hook_denied"), ("qemu.conf security_driver", "without_selinux")]
    changed = Reason("foreseen", "it changed")
    expect(facts, ForeseenRestart((changed,), {"security_driver": "selinux", "user": None}, policy=True))
    assert (refusals(facts), reasons(facts)) == ([], [changed])
    conf = facts.libvirt.conf
    assert conf is not None
    assert qemu_conf.effective(conf.assignments).keys() == {"security_driver"}


def test_a_daemon_that_sleeps_needs_nothing_whatever_was_foreseen() -> None:
    facts = look()
    assert facts.libvirt.daemon is not None
    facts.libvirt.daemon.pid = None
    expect(facts, ForeseenRestart((Reason("foreseen", "it changed"),)))
    assert reasons(facts) == []


def test_the_result_of_a_refused_restart() -> None:
    result = planned(look(guest("a"), guest("b"), files={"/x": 2000.0}), only_if_needed=True)
    assert (result.changed, result.extra["needed"]) == (False, ["/x changed after libvirtd started"])
    assert codes(entry.reason for entry in result.refused) == ["same_range"]
    assert [(entry.needs, entry.reason.code) for entry in result.pending] == [("daemon_restart", "file_changed")]
    assert planned(look(guest("a"), guest("b")), only_if_needed=True).refused == []


def test_words() -> None:
    """The one place that holds texts of this module."""
    facts = look(guest("b"), guest("a"), files={"/a": 2000.0}, jobs={"uuid-a": "save"})
    facts.snapshot.coverage["guests"] = Coverage("unknown", "libvirt: no answer within 30 s")
    assert refusals(facts) == [
        Refusal(
            "guests",
            Reason("guests_unknown", "whether a restart would hurt one is not known: libvirt: no answer within 30 s"),
        ),
        Refusal(
            "a, b",
            Reason(
                "same_range",
                "they run with the same range s0:c1,c2; libvirt would kill all but one of them at the restart",
            ),
        ),
        Refusal(
            "guest a",
            Reason("job_running", "its job save is running, which a restart would abort; wait until it is done"),
        ),
    ]
    assert [reason.text for reason in reasons(facts)] == ["/a changed after libvirtd started"]
    before = running(facts.snapshot)
    assert [reason.text for reason in losses({"uuid-a": before["uuid-a"]}, {})] == [
        "guest a (uuid-a) no longer runs; it had pid 1000"
    ]
