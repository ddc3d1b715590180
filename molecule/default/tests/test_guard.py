# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard on a real host: what it refuses, that its own faults cost no guest its start, and that it goes again.

The tests go from a guard as it is by default to none, in their order: putting it back each time would take minutes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.lab import faults
from tests.lab.host.domains import LOCAL, SHARE, Disk, Guest, static_level, static_seclabel
from tests.lab.host.images import AT_REST
from tests.lab.lab import Lab
from tests.scenarios import migration
from tests.scenarios.node import Node

SCRIPT = "/usr/local/lib/svirt-fleet/guard.py"
SETTINGS = "/etc/svirt-fleet/guard.json"
PROGRAM = "/usr/sbin/svirt-guard"
HOOKS = "/etc/libvirt/hooks"
LEVEL = static_level(400)
BY_HAND = "qemu-by-hand"

#: What may be wrong with a guard: name -> (how it gets so, how it is mended).
BROKEN = {
    "raises": (f"cp -a {SCRIPT} /run/kept; echo 'raise RuntimeError(1)' >{SCRIPT}", f"cat /run/kept >{SCRIPT}"),
    "hangs": (f"cp -a {SCRIPT} /run/kept; echo 'while True: pass' >{SCRIPT}", f"cat /run/kept >{SCRIPT}"),
    "settings": (f"cp -a {SETTINGS} /run/kept; echo '{{' >{SETTINGS}", f"cat /run/kept >{SETTINGS}"),
    "no script": (f"mv {SCRIPT} {SCRIPT}.away", f"mv {SCRIPT}.away {SCRIPT}"),
    "no python": ("mv /usr/bin/python3 /usr/bin/python3.away", "mv /usr/bin/python3.away /usr/bin/python3"),
}


def disk(name: str) -> Disk:
    return Disk(f"{LOCAL}/guard-{name}.raw")


def guest(name: str, level: str = "", running: bool = False) -> Guest:
    """A guest of this test; without a level libvirt draws one."""
    return Guest(f"guard-{name}", (disk(name),), static_seclabel(level) if level else "", running=running)


GUESTS = (
    guest("first", LEVEL, running=True),
    guest("twin", LEVEL),
    guest("wider", f"{LEVEL},c1000"),
    guest("narrower", LEVEL.rpartition(",")[0]),
    guest("other", static_level(401)),
    guest("drawn"),
)


@pytest.fixture(scope="module")
def node(lab: Lab) -> Iterator[Node]:
    """A host with the guard in force, and a guest that runs."""
    found = Node(lab, "kvm1")
    journal = found.journal()
    with found.guests(*GUESTS):
        try:
            put_in_place(found)
            found.module("libvirt_restart")  # so that the daemon calls it
            yield found
        finally:
            found.put_back(journal)


def coming(name: str, level: str) -> Guest:
    """A guest of another host, with its disk on what both share."""
    return Guest(f"guard-{name}", (Disk(f"{SHARE}/guard-{name}.raw"),), static_seclabel(level))


def label_of(node: Node, guest: Guest) -> str:
    """The label of its disk, as a host sees it."""
    return node.shell(f"getfattr --only-values -n security.selinux {guest.disks[0].path}").rstrip("\0")


def put_in_place(node: Node, **variables: object) -> None:
    """The guard as its role installs it."""
    done = node.role("guard", guard_time_limit=1, **variables)
    assert done.status == 0, done.output
    assert not done.of(node.name, "guard_hook")[0]["refused"], done.output


def start(node: Node, name: str, spoil: str = ":", mend: str = ":") -> tuple[bool, str]:
    """Start a guest while something is spoilt, end it again; whether it started, and what virsh said."""
    line = f"trap {shlex.quote(mend)} EXIT; {spoil}; LC_ALL=C virsh start guard-{name} 2>&1"
    done = node.lab.remote(node.name).call(line, check=False)
    started = done.returncode == 0
    if started:
        node.shell(f"virsh destroy guard-{name}")
    return started, done.stdout.decode() + done.stderr.decode()


def types(node: Node) -> list[str]:
    """The types of all that is the guard's; the users of their labels mean nothing."""
    paths = (HOOKS, f"{HOOKS}/qemu.d", f"{HOOKS}/qemu.d/svirt-guard", PROGRAM, SCRIPT, SETTINGS)
    return [label.split(":")[2] for label in node.shell(f"stat -c %C {' '.join(paths)}").split()]


@pytest.mark.parametrize(
    ("name", "how"),
    [("twin", "has the categories of"), ("wider", "reaches"), ("narrower", "is reached by")],
)
def test_guest_that_is_not_kept_apart_is_refused_with_the_reason(node: Node, name: str, how: str) -> None:
    started, said = start(node, name)
    assert not started, said
    assert "svirt-guard: guest" in said
    assert f"{how} guest 'guard-first'" in said
    assert LEVEL in said
    label = node.shell(f"getfattr --only-values -n security.selinux {disk(name).path}").rstrip("\0")
    assert label == AT_REST, "a guest that is refused has taken nothing"


@pytest.mark.parametrize("name", ["other", "drawn"])
def test_guest_that_is_kept_apart_starts(node: Node, name: str) -> None:
    started, said = start(node, name)
    assert started, said


def test_guest_that_comes_by_migration_is_refused_as_at_its_start(node: Node, lab: Lab) -> None:
    """What is refused runs on where it was, with its label and its disk; what is kept apart arrives."""
    source = Node(lab, "kvm2")
    comers = {name: coming(name, level) for name, level in (("comes", LEVEL), ("fits", static_level(402)))}
    with source.guests(*comers.values()), migration.between(lab, source.name, node.name) as migrations:
        pids = {name: source.pid(guest.name) for name, guest in comers.items()}
        label = label_of(source, comers["comes"])
        done = migrations.move("guard-comes", source.name, node.name)
        said = done.stdout.decode()
        assert done.returncode != 0, said
        assert "svirt-guard: guest" in said
        assert "has the categories of guest 'guard-first'" in said
        assert source.pid("guard-comes") == pids["comes"]
        assert source.virsh("domstate", "guard-comes").stdout.decode().strip() == "running"
        assert label_of(source, comers["comes"]) == label
        assert f":{LEVEL}" in label

        done = migrations.move("guard-fits", source.name, node.name)
        try:
            assert done.returncode == 0, done.stdout.decode()
            assert node.virsh("domstate", "guard-fits").stdout.decode().strip() == "running"
        finally:
            node.virsh("destroy", "guard-fits")
            node.virsh("undefine", "guard-fits")


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_guard_keeps_no_guest_from_its_start(node: Node, fault: str) -> None:
    started, said = start(node, "other", *BROKEN[fault])
    assert started, said


def test_relabelling_by_the_policy_leaves_the_guard_at_work(node: Node) -> None:
    before = types(node)
    node.shell(f"restorecon -RF /etc/libvirt {PROGRAM} /usr/local/lib /etc/svirt-fleet")
    assert types(node) == before
    started, said = start(node, "twin")
    assert not started, said
    started, said = start(node, "other")
    assert started, said


def test_operator_may_choose_that_a_broken_guard_refuses(node: Node) -> None:
    put_in_place(node, guard_errors="refuse")
    for fault, (spoil, mend) in BROKEN.items():
        started, said = start(node, "other", spoil, mend)
        assert not started, f"{fault}: {said}"
        assert "svirt-guard: " in said, f"{fault}: whoever starts it sees who refuses"

    faults.inject(node.name, BY_HAND, lab=node.lab.folder)  # one of the lab's default faults
    started, said = start(node, "other")
    assert started, f"a process that libvirt does not name is not looked at, and so no doubt: {said}"
    faults.undo(node.name, BY_HAND, lab=node.lab.folder)


def test_guard_that_is_taken_away_is_gone(node: Node) -> None:
    done = node.role("guard", guard_state="absent")
    assert done.status == 0, done.output
    for path in (f"{HOOKS}/qemu.d/svirt-guard", PROGRAM, SCRIPT, SETTINGS):
        assert node.shell(f"ls {path} 2>/dev/null || :") == ""
    started, said = start(node, "twin")
    assert started, f"libvirt itself lets two guests have one label, or the tests above show nothing: {said}"
