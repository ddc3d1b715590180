# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A disk counts as held only when SELinux, and nothing else, refused to open it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.drill.outcome import (
    BREACHED,
    HELD,
    OWN,
    UNKNOWN,
    Attempt,
    Disk,
    attempts_of,
    guests_of,
    numbers_of,
    targets_on,
)

WEB = Disk("web1", "kvm1", "/images/web1.raw", shared=False)
OFF = Disk("off1", "kvm1", "/images/off1.raw", shared=False, running=False)
FAR = Disk("web2", "kvm2", "/images/web2.raw", shared=False)
APP = Disk("app2", "kvm2", "/srv/vms/app2.raw", shared=True)
REFUSED = "Could not open '/srv/vms/app2.raw': Permission denied"


def tried(path: str, said: str = "", as_user: str = "", policy: bool | None = False) -> dict[str, Any]:
    return {"attacker": "web1", "path": path, "said": said, "as_user": as_user, "policy": policy}


def outcome(**about: Any) -> Attempt:
    """What becomes of web1's attempt on app2's disk, when its own disk opens."""
    own = tried(WEB.path, about.pop("own", ""), policy=True)
    return attempts_of("kvm1", {"attempts": [own, tried(APP.path, **about)]}, [WEB, APP])[1]


def test_opened_is_breached_whatever_else_was_seen() -> None:
    assert outcome(said="").result == BREACHED
    assert outcome(said="", policy=None, as_user="Permission denied", own="no").result == BREACHED


def test_refused_by_selinux_alone_is_held() -> None:
    assert outcome(said=REFUSED) == Attempt("web1", "kvm1", APP, HELD, policy=False)


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"said": "Could not open '/srv/vms/app2.raw': No such file or directory"}, "No such file"),
        ({"said": "libvirt: Requested operation is not valid: domain is not running"}, "not running"),
        ({"said": REFUSED, "own": "Could not open: Permission denied"}, "its own disk does not open either"),
        ({"said": REFUSED, "as_user": "Permission denied"}, "owner and mode"),
        ({"said": REFUSED, "policy": True}, "would allow it"),
        ({"said": REFUSED, "policy": None}, "could not be asked"),
    ],
)
def test_anything_else_is_unknown_with_the_reason(about: dict[str, Any], why: str) -> None:
    found = outcome(**about)
    assert found.result == UNKNOWN
    assert why in found.why


def test_attacker_without_a_disk_of_its_own_proves_nothing() -> None:
    (found,) = attempts_of("kvm1", {"attempts": [tried(APP.path, REFUSED)]}, [APP])
    assert found.result == UNKNOWN
    assert "none to try" in found.why


def test_guest_of_that_name_on_another_host_is_another_guest() -> None:
    twin = Disk("web1", "kvm2", "/srv/vms/web1.raw", shared=True)
    found = attempts_of("kvm1", {"attempts": [tried(WEB.path), tried(twin.path)]}, [WEB, twin])
    assert [attempt.result for attempt in found] == [OWN, BREACHED]


def test_own_disk_is_no_attempt_but_unknown_when_it_does_not_open() -> None:
    numbers = numbers_of([*(outcome(said=REFUSED) for _place in range(2)), Attempt("web1", "kvm1", WEB, OWN)])
    assert str(numbers) == "2 attempts: 0 breached, 2 held by SELinux, 0 unknown"
    own = attempts_of("kvm1", {"attempts": [tried(WEB.path, "Could not open: Permission denied")]}, [WEB])
    assert numbers_of(own).unknown == 1


@pytest.mark.parametrize(
    ("results", "refused"),
    [([HELD, HELD], True), ([HELD, UNKNOWN], False), ([HELD, BREACHED], False), ([OWN], False), ([], False)],
)
def test_refused_means_each_and_at_least_one(results: list[str], refused: bool) -> None:
    assert numbers_of([Attempt("web1", "kvm1", APP, result) for result in results]).refused is refused


def test_targets_are_the_disks_that_a_host_has() -> None:
    assert targets_on("kvm1", [WEB, OFF, FAR, APP]) == [WEB, OFF, APP]


def test_disks_for_everyone_are_no_targets() -> None:
    said = {
        "kvm2": [
            {
                "name": "node2",
                "running": True,
                "disks": [
                    {"path": "/srv/vms/node2.raw", "open_to": ""},
                    {"path": "/srv/vms/quorum.raw", "open_to": "shareable"},
                    {"path": "/srv/vms-not/other.raw", "open_to": ""},
                ],
            }
        ]
    }
    found = guests_of(said, ["/srv/vms"])
    assert [(disk.path, disk.shared) for disk in found.disks] == [
        ("/srv/vms/node2.raw", True),
        ("/srv/vms-not/other.raw", False),
    ]
    assert [disk.path for disk in found.open_to_all] == ["/srv/vms/quorum.raw"]
