# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This fragment is PRIVATE to the collection: it can change or go at any time.
# Do not use it from other collections.
"""Attributes of modules: check mode, diff mode, idempotency, platform, action group."""

from __future__ import annotations


class ModuleDocFragment:
    # A module lists the fragment, and states its own support of each attribute where no part below does so.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: When run twice in a row with the same arguments, the second invocation indicates that no change was made.
  platform:
    description: Target operating systems and families that can be operated against.
    support: full
    platforms: linux
"""

    # For modules that only read.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module does not modify anything.
  diff_mode:
    support: N/A
    details:
      - This module does not modify anything.
  idempotent:
    support: full
    details:
      - This module does not modify anything.
"""

    # For members of the action group, which takes common defaults of a play.
    ACTIONGROUP_SVIRT = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/svirt.fleet.svirt) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - svirt.fleet.svirt
"""

    # For action plugins that do their work on the controller.
    CONTROLLER = r"""
options: {}
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: none
  become:
    description: Is usable alongside become keywords.
    support: none
    details:
      - The work is done on the controller, as the user that runs the play.
"""
