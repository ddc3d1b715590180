#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: hardening_info
short_description: Check whether hardening has anything to do on a host
version_added: 1.0.0
description:
  - Runs the modules of this collection that change hosts in check mode, all in one process. That costs little more than
    one of them.
  - The playbook C(svirt.fleet.harden) checks all hosts at once, and leaves those alone that need no change.
  - It stops at the first module that has something to do, because later ones would then see another host.
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
        description: Options of the module, checked by its own argument specification.
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
- name: Check whether the guard is in place, and whether guests lack a label
  svirt.fleet.hardening_info:
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
    - Whether one of the modules would change something, or fail, or wait for a reboot.
  returned: success
  type: bool
why:
  description: The first such module and its change. Empty when there is none.
  returned: success
  type: str
  sample: "libvirt_security: set qemu.conf security_driver"
pending:
  description: Entries of C(pending) of the modules that were run.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The object that waits.
      type: str
    needs:
      description: What it waits for.
      type: str
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs.
      type: str
refused:
  description: Entries of C(refused) of the modules that were run.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The object that is left alone.
      type: str
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.hardening_info import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
