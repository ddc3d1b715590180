# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The escape drill: each running guest of the lab as the attacker, each other guest's disk as its target."""
