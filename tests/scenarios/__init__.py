# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""What the tests of all Molecule scenarios share: the lab that runs for them, playbooks run as a user runs them."""
