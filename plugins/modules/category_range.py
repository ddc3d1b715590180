#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: category_range
short_description: Set the range of categories that libvirt draws from
version_added: 1.0.0
description:
  - libvirt draws the two categories of a dynamic guest from the range of its own daemon's SELinux label. This module
    sets that range, as a drop-in with C(SELinuxContext=) of the unit of the daemon that drives the guests, C(libvirtd)
    or C(virtqemud).
  - The label keeps the user, role and type that the daemon runs with, or that the policy gives it where it sleeps. A
    daemon with a wrong label, for which the audit has the rule LIB-007, is left alone, unless the label came from the
    drop-in itself.
  - Guests that run keep their labels and go on. The daemon draws from the new range after its next start, which
    M(svirt.fleet.libvirt_restart) does where it is safe. systemd reads the drop-in at once.
  - Refused is a range that is too narrow for the guests that run with drawn labels. libvirt tries pairs by chance until
    one is free and does not give up, so there must be more than twice as many pairs as such guests.
  - Refused is a host on which another file has the last word on C(SELinuxContext=), by systemd's own order. A unit or
    drop-in that comes before is left as it is, and named in a warning.
  - What the drop-in was goes into the host's journal first, for M(svirt.fleet.svirt_rollback).
options:
  state:
    description:
      - V(present) sets the range, V(absent) removes the drop-in.
      - V(repaired) writes the drop-in of an earlier run anew where somebody changed it. Where there is none, or where
        it is as it was written, nothing is done.
    type: str
    choices: [present, absent, repaired]
    default: present
  low:
    description:
      - First category of the range, for O(state=present).
    type: int
  high:
    description:
      - Last category of the range, for O(state=present). libvirt draws from no fewer than eight categories.
    type: int
  strict:
    description:
      - Fail when the range is refused. Otherwise RV(refused) says so.
    type: bool
    default: false
  timeout:
    description:
      - Seconds that libvirt and systemd have to answer.
    type: int
    default: 120
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.actiongroup_svirt
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - libvirt's Python binding on the host (C(python3-libvirt)), under any of the host's Python interpreters.
  - systemd
notes:
  - Run it as root.
  - The daemon is never restarted by this module.
seealso:
  - module: svirt.fleet.category_allocation
  - module: svirt.fleet.libvirt_restart
  - module: svirt.fleet.svirt_rollback
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Draw from c0 to c31 only
  svirt.fleet.category_range:
    low: 0
    high: 31
  register: range

- name: Have libvirt draw from it, where that hurts no guest
  svirt.fleet.libvirt_restart:
    context: "{{ range.context | default(omit, true) }}"

- name: Let the policy decide again
  svirt.fleet.category_range:
    state: absent
"""

RETURN = r"""
---
before:
  description: The range as it was.
  returned: success
  type: dict
  contains:
    daemon:
      description: The daemon that drives the guests. V(null) where there is none.
      type: str
      sample: libvirtd
    drop_in:
      description: Path of the drop-in. V(null) where there is none.
      type: str
      sample: /etc/systemd/system/libvirtd.service.d/60-svirt-fleet.conf
    range:
      description: What the daemon draws from after its next start. V(null) where that is not known.
      type: str
      sample: c0.c31
    running:
      description: What the daemon that runs draws from. V(null) where none runs.
      type: str
      sample: c0.c1023
after:
  description: The same as it is now. The same in check mode.
  returned: success
  type: dict
context:
  description:
    - The label that the daemon is to run with, for O(svirt.fleet.libvirt_restart#module:context).
    - V(null) where the drop-in says nothing of it, or the range was refused.
  returned: success
  type: str
  sample: system_u:system_r:virtd_t:s0-s0:c0.c31
plan:
  description: What is done. The same in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(add), V(set) or V(remove).
      type: str
    subject:
      description: The drop-in.
      type: str
    from:
      description: The range before.
      type: str
    to:
      description: The range after.
      type: str
restart_needed:
  description: The daemon that runs has another label than it is to have. Never for one that sleeps.
  returned: success
  type: bool
pending:
  description: What it takes until the range counts.
  returned: success
  type: list
  elements: dict
  sample:
    - subject: libvirtd.service
      needs: daemon_restart
      why: libvirtd draws from c0.c1023 until it is restarted, then from c0.c31
      code: daemon_restart
refused:
  description: Why the range was not set, where it was not.
  returned: success
  type: list
  elements: dict
  sample:
    - subject: range of libvirtd
      why: SELinux is off, so the daemon has no label to draw from; turn it on first (selinux_state)
      code: selinux_off
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.category_range import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Look, plan, write unless in check mode, tell."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
