# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest faults of all rules."""

from __future__ import annotations

from . import guest, host, image, libvirt, network

CASES = (*host.CASES, *libvirt.CASES, *guest.CASES, *image.CASES, *network.CASES)
