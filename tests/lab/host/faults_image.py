# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of image files and the storage below them."""

from __future__ import annotations

from . import images
from .domains import LOCAL
from .journal import Journal
from .registry import fault

ORPHAN = f"{LOCAL}/orphan.raw"


@fault("image-orphan", "an image with the categories of a guest that is gone", ORPHAN, default_on=("kvm2",))
def _orphan(journal: Journal, host: str) -> None:
    journal.file(ORPHAN)
    images.make_raw(ORPHAN, label=f"{images.RUNNING_TYPE}:s0:c101,c202")
