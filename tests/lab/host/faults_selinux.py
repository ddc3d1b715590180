# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of SELinux itself: now, at the next boot, in the policy."""

from __future__ import annotations

from . import selinuxfs
from .journal import Journal
from .registry import fault


@fault("selinux-permissive", "SELinux is permissive now", "{host}")
def _permissive(journal: Journal, host: str) -> None:
    journal.add("enforcing", on=selinuxfs.enforcing())
    selinuxfs.set_enforcing(False)
