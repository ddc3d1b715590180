#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: hardening_look
short_description: See whether hardening has anything to do on a host
version_added: 1.0.0
description:
  - Asks the modules of this collection that change hosts what they would do, each as in check mode, all in one process.
    That costs little more than one of them.
  - The playbook C(svirt.fleet.harden) asks all hosts at once, and leaves those alone that need nothing.
  - It stops at the first module that has something to do, for those after it would then see another host.
options:
  steps:
    description: The modules, in the order in which they are run.
    type: list
    elements: dict
    required: true
    suboptions:
      module:
        description: Name of the module.
        type: str
        required: true
        choices:
          - category_range
          - guard_hook
          - guest_network_filter
          - guest_power_cycle
          - guest_seclabel
          - image_label
          - libvirt_restart
          - libvirt_security
          - selinux_state
      arguments:
        description: Its options. They are checked as the module's own are.
        type: dict
        default: {}
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.info_module
  - svirt.fleet._attributes.actiongroup_svirt
requirements:
  - Those of the modules.
notes:
  - Run it as root.
seealso:
  - module: svirt.fleet.svirt_info
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: See whether the guard is as it should be, and whether guests wait for a label
  svirt.fleet.hardening_look:
    steps:
      - module: guard_hook
        arguments:
          content: "{{ lookup('ansible.builtin.file', 'svirt_guard.py', rstrip=false) }}"
      - module: guest_seclabel
        arguments:
          repair: [none]
  register: look
"""

RETURN = r"""
---
needed:
  description:
    - Whether any of the modules would change something, or fail, or wait for a reboot.
  returned: success
  type: bool
why:
  description: The first module that would, and what it would do. Empty when none would.
  returned: success
  type: str
  sample: "libvirt_security: set qemu.conf security_driver"
pending:
  description: What waits for something else, as the modules tell it that were asked.
  returned: success
  type: list
  elements: dict
refused:
  description: What they leave alone, and why.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.hardening_look import ARGUMENTS, run
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Ask each module, and tell."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, run)


if __name__ == "__main__":
    main()
