# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The lab: real enforcing hypervisors on any machine, and the faults to put into them."""
