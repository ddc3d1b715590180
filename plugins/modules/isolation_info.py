#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: isolation_info
short_description: Ask the loaded SELinux policy who may reach what
version_added: 1.0.0
description:
  - Asks the policy that the host's kernel has loaded whether a process with one label may do something to an object
    with another, for many such checks in one call.
  - The kernel decides, with all that counts for it, category constraints and booleans included. Nothing is tried out,
    nothing is logged as a denial, and nothing on the host is changed.
  - A label, class or permission that the loaded policy does not know gives the status V(unknown) with the reason. It is
    never taken for denied.
options:
  checks:
    description:
      - What to ask. At most 10000 checks.
    type: list
    elements: dict
    required: true
    suboptions:
      source:
        description:
          - Label of the process, C(user:role:type:level), raw. Names that C(mcstransd) gives to levels are refused.
        type: str
        required: true
      target:
        description:
          - Label of the object.
        type: str
        required: true
      class:
        description:
          - Class of the object, as the policy names it.
        type: str
        default: file
      permissions:
        description:
          - Permissions of the class to ask for.
          - Judge reach to files by V(read) and V(write). Policies differ in whether they constrain V(open) by category.
        type: list
        elements: str
        default: [read, write]
      expect:
        description:
          - What the answer should be. V(allowed) is met when all O(checks[].permissions) are allowed, V(denied) when
            all are denied and the denial is enforced.
        type: str
        choices: [allowed, denied]
  fail_on_violation:
    description:
      - Fail when an expectation is not met, or when it could not be checked.
    type: bool
    default: false
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.info_module
  - svirt.fleet._attributes.actiongroup_svirt
notes:
  - Run it as root. The loaded policy answers nobody else.
seealso:
  - module: svirt.fleet.svirt_info
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Guests with other categories must not reach a disk, its own guest must
  svirt.fleet.isolation_info:
    checks:
      - source: system_u:system_r:svirt_t:s0:c1,c2
        target: system_u:object_r:svirt_image_t:s0:c3,c4
        expect: denied
      - source: system_u:system_r:svirt_t:s0:c3,c4
        target: system_u:object_r:svirt_image_t:s0:c3,c4
        expect: allowed
    fail_on_violation: true

- name: May libvirt's daemon run a program with this label
  svirt.fleet.isolation_info:
    checks:
      - source: system_u:system_r:virtd_t:s0-s0:c0.c1023
        target: system_u:object_r:bin_t:s0
        permissions: [read, open, execute, execute_no_trans]
  register: verdict
"""

RETURN = r"""
---
results:
  description: The answer to each check, in their order.
  returned: always
  type: list
  elements: dict
  contains:
    index:
      description: Place of the check in O(checks), from 0.
      type: int
    source:
      description: Label of the process, in canonical form.
      type: str
      sample: system_u:system_r:svirt_t:s0:c1,c2
    target:
      description: Label of the object, in canonical form.
      type: str
    class:
      description: Class of the object.
      type: str
    permissions:
      description: Permissions that were asked for.
      type: list
      elements: str
    expect:
      description: What the answer should be, or V(null).
      type: str
    status:
      description: V(allowed) or V(denied) when the answer is the same for all permissions, else V(partly). V(unknown)
        when the policy could not answer.
      type: str
    allowed:
      description: Permissions that are allowed.
      type: list
      elements: str
    denied:
      description: Permissions that are denied.
      type: list
      elements: str
    permissive:
      description: Whether the process's domain is permissive, so that denials are only logged. V(null) when unknown.
      type: bool
    why:
      description: Why the status is V(unknown), else empty.
      type: str
    code:
      description: The same for programs, such as V(label_unknown). It does not change between releases.
      type: str
violations:
  description: Checks whose expectation is not met, each with C(why) and C(code).
  returned: always
  type: list
  elements: dict
unknown:
  description: Checks that could not be answered, each with C(why) and C(code).
  returned: always
  type: list
  elements: dict
msg:
  description: That SELinux is off, or which expectation is not met.
  returned: when SELinux is off, and on failure
  type: str
summary:
  description: Numbers of checks by status, of violations, and of expectations that could not be checked
    (C(unanswered)).
  returned: always
  type: dict
  sample:
    checks: 2
    allowed: 1
    denied: 1
    partly: 0
    unknown: 0
    violations: 0
    unanswered: 0
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.isolation_info import ARGUMENTS, run
from ..module_utils._module import settle


def main() -> None:
    """Run the module and exit with its result."""
    settle(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), run)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
