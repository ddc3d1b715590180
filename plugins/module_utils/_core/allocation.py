# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger of labels holds, as data.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A label that the ledger gave to a guest."""

    domain: str
    uuid: str
    name: str
    host: str
    tenant: str
    rank: int
    #: The level in canonical form, such as ``s0:c32,c280,c528,c776``.
    level: str
    #: reserved, published, observed, quarantined or released.
    state: str
