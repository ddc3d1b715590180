# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""All faults: importing this module registers them."""

from __future__ import annotations

from . import (
    faults_across,
    faults_category,
    faults_daemon,
    faults_guest,
    faults_hostile,
    faults_image,
    faults_network,
    faults_selinux,
)
from .journal import Journal
from .registry import FAULTS, Fault
from .undo import undo as _undo

__all__ = ["FAULTS", "Fault", "inject", "injected", "undo"]
_SUBJECTS = (
    faults_across,
    faults_category,
    faults_daemon,
    faults_guest,
    faults_hostile,
    faults_image,
    faults_network,
    faults_selinux,
)


def inject(host: str, *names: str) -> list[str]:
    """Put faults into this host; returns those that were not there before. What failed half way is taken back."""
    done = []
    for name in names:
        if Journal.load(name) is not None:
            continue
        journal = Journal(name)
        journal.add("nothing")  # on disk from the start: a fault that changes nothing can be undone too
        try:
            FAULTS[name].inject(journal, host)
        except BaseException:
            _undo(journal)
            raise
        done.append(name)
    return done


def undo(*names: str) -> list[str]:
    """Take faults back, the last one first; returns those that were there."""
    done = []
    for name in reversed(names):
        if (journal := Journal.load(name)) is not None:
            _undo(journal)
            done.append(name)
    return done


def injected() -> list[str]:
    """Names of the faults that are in this host."""
    return Journal.injected()
