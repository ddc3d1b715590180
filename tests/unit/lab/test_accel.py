# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How hosts run: by what the machine can do, or an error with the reason."""

from __future__ import annotations

import pytest

from tests.lab.errors import LabError
from tests.lab.machine.accel import MEMORY_MIB, Accel, Facts, choose, uml_unable

ROOM = 2 * MEMORY_MIB
PLAIN = Facts("x86_64", virtualises=False, free=ROOM)


@pytest.mark.parametrize(
    ("facts", "boot_loader", "way"),
    [
        (Facts("x86_64", True, ROOM), False, Accel.KVM),
        (Facts("x86_64", True, None), True, Accel.KVM),
        (PLAIN, False, Accel.UML),
        (PLAIN, True, Accel.TCG),
        (Facts("aarch64", False, ROOM), False, Accel.TCG),
        (Facts("x86_64", False, None), False, Accel.TCG),
        (Facts("x86_64", False, ROOM - 1), False, Accel.TCG),
    ],
)
def test_what_auto_chooses(facts: Facts, boot_loader: bool, way: Accel) -> None:
    assert choose("auto", facts, boot_loader=boot_loader) is way


@pytest.mark.parametrize("way", Accel)
def test_what_was_asked_for_is_taken(way: Accel) -> None:
    assert choose(way.value, PLAIN) is way


def test_one_host_needs_less_room_than_two() -> None:
    narrow = Facts("x86_64", virtualises=False, free=MEMORY_MIB)
    assert choose("auto", narrow, hosts=1) is Accel.UML
    assert choose("auto", narrow, hosts=2) is Accel.TCG


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts("aarch64", False, ROOM), "aarch64"),
        (Facts("x86_64", False, None), "may not be written"),
        (Facts("x86_64", False, 100), f"2 hosts need {ROOM} MiB in /dev/shm, and 100 MiB are free"),
    ],
)
def test_why_there_is_no_user_mode_linux(facts: Facts, words: str) -> None:
    assert words in (uml_unable(facts, 2) or "")
    with pytest.raises(LabError, match="no User-Mode Linux here"):
        choose("uml", facts)


def test_boot_loader_and_a_host_without_one_do_not_go_together() -> None:
    with pytest.raises(LabError, match="no boot loader"):
        choose("uml", PLAIN, boot_loader=True)
