# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The one exception that the lab raises for trouble a person can act on."""

from __future__ import annotations


class LabError(Exception):
    """Something in the lab failed; the message names the object, what was seen and what to do."""
