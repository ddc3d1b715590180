# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the daemon needs a restart, when one would hurt a guest, and what became of the guests."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.daemon_restart import (
    GUESTS_UNIT,
    Foreseen,
    Look,
    Unit,
    expect,
    losses,
    newer,
    reasons,
    refusals,
    running,
    shortfalls,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guard import LINK
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.hooks import Hook
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

CONTEXT = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
UNIT = Unit("libvirtd.service", "active", 900, "process")


def guest(name: str, level: str | None = "s0:c1,c2", kind: str | None = "dynamic", pid: int = 1000) -> Guest:
    """A running guest; ``kind`` None has no seclabel of SELinux's."""
    context = f"system_u:system_r:svirt_t:{level}" if level else None
    live = [SecLabel("selinux", kind, label=context), SecLabel("dac", "dynamic")] if kind else []
    return Guest(f"uuid-{name}", name, "running", True, pid=pid, context=context, live=live)


def look(*guests: Guest, conf: str = 'security_driver = "selinux"\n', **changes: t.Any) -> Look:
    """A host on which nothing speaks against a restart."""
    libvirt = Libvirt(
        installed=True,
        daemon=Daemon("libvirtd", 900, CONTEXT, 1000.0, True),
        connected=True,
        driver="QEMU",
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
    return dataclasses.replace(Look(snapshot, [UNIT], 1000.0, {"/etc/libvirt/qemu.conf": 900.0}), **changes)


def test_nothing_speaks_against_it() -> None:
    found = look(guest("a"), guest("b", "s0:c3,c4"))
    assert refusals(found) == []
    assert reasons(found) == []
    assert shortfalls(found) == []


def test_two_dynamic_guests_of_one_range() -> None:
    found = look(guest("b"), guest("a"), guest("c", "s0:c1,c3"))
    assert refusals(found) == [
        ("a, b", "they run with the same range s0:c1,c2; libvirt would kill all but one of them at the restart")
    ]


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
        assert [subject for subject, _why in refusals(look(odd))] == ["guest a"]
    off = look(guest("a", None))
    off.snapshot.selinux.mode = "disabled"
    off.libvirt.conf = QemuConf("qemu.conf")
    assert refusals(off) == []


def test_guests_that_are_not_known() -> None:
    found = look()
    found.snapshot.coverage["guests"] = Coverage("unknown", "libvirt: no answer within 30 s")
    assert refusals(found) == [
        ("guests", "whether a restart would hurt one is not known: libvirt: no answer within 30 s")
    ]


def test_a_migration_is_waited_for() -> None:
    found = look(guest("a"), jobs={"uuid-a": "migration in", "uuid-gone": "save"})
    assert [subject for subject, _why in refusals(found)] == ["guest a"]
    assert "migration in is under way" in refusals(found)[0][1]


@pytest.mark.parametrize(
    ("conf", "subjects"),
    [
        ("user = x\n", ["qemu.conf user"]),
        ("\n", ["qemu.conf"]),
        ('remember_owner = "1"\nmax_files = -1\n', ["qemu.conf remember_owner", "qemu.conf max_files"]),
        ('security_driver = "dac"\n', ["qemu.conf security_driver"]),
        ('security_driver = "none"\n', ["qemu.conf security_driver"]),
        ('security_driver = "none"\nsecurity_require_confined = 1\n', ["qemu.conf security_driver"] * 2),
        ("nonsense = 1\nnonsense = 2\n", []),
    ],
)
def test_a_file_that_libvirt_would_not_start_with(conf: str, subjects: list[str]) -> None:
    assert [subject for subject, _why in refusals(look(conf=conf))] == subjects


def test_a_file_that_nobody_read() -> None:
    found = look()
    found.libvirt.conf = None
    assert [subject for subject, _why in refusals(found)] == ["qemu.conf"]


def test_an_explicit_driver_with_selinux_off() -> None:
    found = look()
    found.snapshot.selinux.mode = "disabled"
    assert ["SELinux is off on this host" in why for _subject, why in refusals(found)] == [True]


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([], "no unit of systemd is known"),
        ([dataclasses.replace(UNIT, pid=901)], "libvirtd.service has pid 901"),
        ([dataclasses.replace(UNIT, kill_mode="control-group")], "would end the guests with the daemon"),
        ([dataclasses.replace(UNIT, followers=("x.service", GUESTS_UNIT))], "shuts the guests down"),
        ([UNIT, Unit("virtqemud.service", "activating")], "only one may drive the guests"),
    ],
)
def test_units(units: list[Unit], message: str) -> None:
    ((_subject, why),) = refusals(look(units=units))
    assert message in why


def test_another_hypervisor_and_no_daemon() -> None:
    found = look()
    found.libvirt.driver = "Xen"
    assert ["drives Xen" in why for _subject, why in refusals(found)] == [True]
    found.libvirt.daemon = None
    assert [subject for subject, _why in refusals(found)] == ["daemon"]
    assert reasons(found) == []


def test_a_modular_daemon_beside_an_idle_libvirtd() -> None:
    found = look(
        units=[
            dataclasses.replace(UNIT, state="inactive", pid=None),
            Unit("virtqemud.service", "active", 900, "process"),
        ]
    )
    found.libvirt.daemon = Daemon("virtqemud", 900, CONTEXT, 1000.0, True)
    assert refusals(found) == []
    assert found.unit is not None
    assert found.unit.name == "virtqemud.service"


def test_reasons() -> None:
    found = look(files={"/b": 1000.5, "/a": 2000.0, "/c": 1000.0}, context=CONTEXT)
    assert reasons(found) == ["/a changed after libvirtd started", "/b changed after libvirtd started"]
    assert newer({"/c": 1.0}, None) == ["/c"]
    found = look(units=[dataclasses.replace(UNIT, stale=True)], context=CONTEXT.replace("1023", "31"))
    found.libvirt.models = [SecurityModel("none")]
    told = reasons(found)
    assert [
        part in text for part, text in zip(("systemd has not read", "not as", "names selinux"), told, strict=True)
    ] == [True] * 3
    found.libvirt.daemon = Daemon("libvirtd", None, None, None, True)
    assert reasons(found) == []  # asleep


def test_a_context_under_which_no_guest_could_start() -> None:
    found = look(context="system_u:system_r:virtd_t:s0-s0:c0.c5")
    assert refusals(found) == [
        ("context", "no guest could start under system_u:system_r:virtd_t:s0-s0:c0.c5: Category range c0-c5 too small")
    ]
    assert len(shortfalls(found)) == 1


def test_a_daemon_that_came_back_without_selinux() -> None:
    found = look()
    found.libvirt.models = []
    assert shortfalls(found) == ["the daemon came back without SELinux though qemu.conf names it"]
    found.libvirt.models = None
    assert shortfalls(found) == ["whether the daemon came back with SELinux, which qemu.conf names, is not known"]


def test_losses() -> None:
    before = running(look(guest("a"), guest("b", pid=1001), guest("c", pid=1002), guest("d", pid=1003)).snapshot)
    after = running(
        look(guest("a"), guest("b", pid=2001), guest("d", "s0:c7,c8", pid=1003), guest("new", pid=5)).snapshot
    )
    assert losses(before, after) == [
        "guest b (uuid-b) runs as pid 2001; it had pid 1001",
        "guest c (uuid-c) no longer runs; it had pid 1002",
        "guest d (uuid-d) has label system_u:system_r:svirt_t:s0:c7,c8; it had system_u:system_r:svirt_t:s0:c1,c2",
    ]
    again = {uuid: dataclasses.replace(item, started_at=9.0) for uuid, item in before.items() if item.name == "a"}
    assert losses({"uuid-a": before["uuid-a"]}, again) == ["guest a (uuid-a) runs as pid 1000; it had pid 1000"]
    assert losses(before, before) == []


def test_a_hook_that_libvirt_could_not_run() -> None:
    found = look(
        guest("a"), hooks=[Hook("/etc/libvirt/hooks/qemu", 1.0, "the loaded policy does not let it"), Hook("x", 1.0)]
    )
    assert [subject for subject, _why in refusals(found)] == ["hook /etc/libvirt/hooks/qemu"]
    assert "would be ended at the restart; give it a label" in refusals(found)[0][1]
    assert "the loaded policy does not let it" in refusals(found)[0][1]


def test_a_guard_that_came_after_the_daemon() -> None:
    late = Hook(LINK, 1000.5)
    assert reasons(look(hooks=[late])) == [f"{LINK} was made after libvirtd started, which looks for hooks only then"]
    assert reasons(look(hooks=[late, Hook("/etc/libvirt/hooks/qemu", 900.0)])) == []
    assert reasons(look(hooks=[Hook(LINK, 900.0)])) == []


def test_what_earlier_tasks_would_have_changed() -> None:
    """As in a run in check mode: the file is broken and names no driver, and the policy denies a hook."""
    found = look(conf='security_driver = "none"\nuser = 5\n', hooks=[Hook("x", 1.0, "denied")])
    assert len(refusals(found)) == 2  # of a file that does not parse, no more is said
    expect(found, Foreseen())
    assert (len(refusals(found)), reasons(found)) == (2, [])
    expect(found, Foreseen(settings={"user": None}))
    assert [subject for subject, _why in refusals(found)] == ["hook x", "qemu.conf security_driver"]
    expect(found, Foreseen(("it changed",), {"security_driver": "selinux", "user": None}, policy=True))
    assert (refusals(found), reasons(found)) == ([], ["it changed"])
    conf = found.libvirt.conf
    assert conf is not None
    assert qemu_conf.effective(conf.assignments).keys() == {"security_driver"}


def test_a_daemon_that_sleeps_needs_nothing_whatever_was_foreseen() -> None:
    found = look()
    assert found.libvirt.daemon is not None
    found.libvirt.daemon.pid = None
    expect(found, Foreseen(("it changed",)))
    assert reasons(found) == []
