# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults that show only when both hosts have them and are looked at together."""

from __future__ import annotations

from .domains import Guest, static_level, static_seclabel
from .faults_guest import add_guest, local
from .journal import Journal
from .registry import fault


@fault(
    "label-by-chance",
    "a guest with a label that a guest on the other host has too, each with a disk of its own host",
    "guest chance1, guest chance2",
)
def _by_chance(journal: Journal, host: str) -> None:
    name = f"chance{host[-1]}"  # a name of its own: a guest's uuid is derived from it
    add_guest(journal, Guest(name, local(name), static_seclabel(static_level(250))))
