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
    "guest chance",
)
def _by_chance(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("chance", local("chance"), static_seclabel(static_level(250))))
