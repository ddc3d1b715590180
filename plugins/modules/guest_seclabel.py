#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guest_seclabel
short_description: Set the SELinux label of guests in their definitions
version_added: 1.0.0
description:
  - Writes the C(<seclabel>) for SELinux of many guests' persistent XML in one call. Everything else in the XML stays as
    it is, byte for byte.
  - No guest is stopped, started or paused. A running guest keeps its label until its next power cycle, and RV(pending)
    names each guest on the host for which that makes a difference. M(svirt.fleet.guest_power_cycle) cycles guests that
    you name.
  - libvirt does not check static labels. So this module refuses one whose type is not that of libvirt's own base label
    for the guest's kind, one with fewer than two categories or with so many that it holds everybody's, and one whose
    categories hold those of another guest of the host or lie within them. Guests on other hosts are the audit's
    business.
  - What each definition was goes into the journal on the host before the change. A definition is read again afterwards,
    and one that libvirt took for something else gets the old one back.
options:
  guests:
    description:
      - Guests, and the label that each shall have.
    type: list
    elements: dict
    default: []
    suboptions:
      guest:
        description: Name or uuid.
        type: str
        required: true
      type:
        description:
          - V(dynamic) lets libvirt choose a label at each start. It counts as there when the definition has no
            C(<seclabel>) for SELinux at all.
          - V(static) gives the guest O(guests[].label), and its files too, C(relabel='yes').
          - V(none) is refused. The guest would run unconfined.
        type: str
        choices: [dynamic, static, none]
        default: dynamic
      label:
        description:
          - The whole label of the guest's process, raw, for O(guests[].type=static).
        type: str
  repair:
    description:
      - What to repair in guests that O(guests) does not name. They become dynamic, unless said otherwise.
      - V(none) are definitions that ask for no confinement. Rule GST-003.
      - V(foreign_type) are labels and base labels of a type that is not for guests. Rules GST-002 and GST-004.
      - V(few_categories) are static labels with fewer than two categories. Rule GST-005.
      - V(wide) are static labels that hold everybody's categories. Rule GST-006.
      - V(static_without_relabel) are static labels without relabelling. They stay, and get C(relabel='yes'). Rule
        GST-008.
    type: list
    elements: str
    choices: [none, foreign_type, few_categories, wide, static_without_relabel]
    default: []
  foreseen_driver:
    description:
      - RV(svirt.fleet.libvirt_restart#module:selinux_driver) of an earlier task. In check mode libvirt is then taken to
        run with the SELinux driver. Outside of check mode it is ignored.
    type: bool
    default: false
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.actiongroup_svirt
  - svirt.fleet._options.strict
  - svirt.fleet._options.timeout
  - svirt.fleet._options.foreseen_context
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - libvirt's Python binding on the host (C(python3-libvirt)), under any of the host's Python interpreters.
notes:
  - Run it as root.
  - A static label is for life. It does not go with images that other guests' labels are on, and each guest of a fleet
    that shares labelled storage needs its own.
  - A dynamic label and a disk on labelled shared storage do not go together. Rule IMG-004 tells of such guests.
seealso:
  - module: svirt.fleet.guest_power_cycle
  - module: svirt.fleet.svirt_info
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: A label for life for one guest, and libvirt's choice for another
  svirt.fleet.guest_seclabel:
    guests:
      - guest: db1
        type: static
        label: system_u:system_r:svirt_t:s0:c40,c300,c600,c900
      - guest: 00000000-0000-4000-8000-000000000001
        type: dynamic

- name: No definition asks for no confinement
  svirt.fleet.guest_seclabel:
    repair: [none, foreign_type]
  register: labels

- name: Show which guests still need a power cycle
  ansible.builtin.debug:
    var: labels.pending
"""

RETURN = r"""
---
before:
  description: The labels in the definitions of the guests that were named or repaired, as they were.
  returned: success
  type: list
  elements: dict
  contains:
    guest:
      description: Name.
      type: str
    uuid:
      description: Uuid.
      type: str
    type:
      description: V(dynamic), V(static) or V(none).
      type: str
    label:
      description: The static label, or V(null).
      type: str
    relabel:
      description: Whether libvirt labels the guest's files.
      type: bool
after:
  description: The same as it is after the run, or would be.
  returned: success
  type: list
  elements: dict
plan:
  description:
    - The changes, one by one. In check mode the changes that would be made.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: Always V(define).
      type: str
    subject:
      description: The guest or interface, named as in the audit.
      type: str
      sample: guest db1
    from:
      description: State before.
      type: str
    to:
      description: State after.
      type: str
pending:
  description: Objects whose persistent XML is right and that need something else before it takes effect.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The guest, interface or filter.
      type: str
    needs:
      description: V(guest_power_cycle), or V(operator) for what people must do.
      type: str
    why:
      description: The present state and the reason.
      type: str
    code:
      description: The reason for programs. It is stable between releases.
      type: str
      sample: runs_unconfined
refused:
  description: Objects that were left as they are, each with C(subject), C(why) and C(code).
  returned: success
  type: list
  elements: dict
not_made:
  description:
    - Changes that failed, each with C(subject), C(why) and C(code). The module fails when there are any.
  returned: when there are any
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.guest_seclabel import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Read the definitions, plan, change them, tell."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
