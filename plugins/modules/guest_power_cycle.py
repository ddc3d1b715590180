#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guest_power_cycle
short_description: Stop and start guests that you name, where their definition waits for it
version_added: 1.0.0
description:
  - Stops and starts guests, one after the other, so that what their definition says comes true. That is their SELinux
    label, or a network filter that a running guest could not be given. A guest whose label libvirt drew needs it too
    where the daemon draws from another range by now.
  - B(This interrupts guests). Only those that O(guests) names are touched, and of these only those that run with
    something else than their definition says. A second run finds nothing to do.
  - A guest that was stopped must be let back in. Where the guard of M(svirt.fleet.guard_hook) is, guests that stand in
    the way of every start, such as those that run unconfined, come first, and all of them are off before the first of
    them starts. A guest that the guard would not let back in is refused. So is one with a static label that would reach
    another guest, or be reached by one.
  - A guest that was started again must have the label that its definition gives it. After one that has not, or that
    does not start, no other guest is stopped, and the module fails.
  - A guest that would lose something by a power cycle is refused, and what it would lose is named. That is a
    transient guest, a guest with a managed save, a guest that is paused, crashed or asleep, a guest with a backup,
    snapshot, migration or block job under way, and a guest with devices that its persistent XML does not have, such
    as a disk or an interface attached C(--live) only.
options:
  guests:
    description:
      - Names or uuids of the guests that may be interrupted. One list does for a fleet, for those that are not on the
        host are passed over, and told in RV(absent).
    type: list
    elements: str
    required: true
  method:
    description:
      - V(shutdown) asks the guest to shut down. One that does not within O(shutdown_timeout) is refused and runs on,
        but see O(force). So is one whose C(on_poweroff) is C(restart), before it is asked, for it would reboot instead.
      - V(destroy) ends it at once, like pulling the plug.
    type: str
    choices: [shutdown, destroy]
    default: shutdown
  force:
    description:
      - End a guest that does not shut down in time. A guest without an operating system never does.
    type: bool
    default: false
  shutdown_timeout:
    description:
      - Seconds that each guest has to shut down.
    type: int
    default: 120
  foreseen_seclabels:
    description:
      - RV(svirt.fleet.guest_seclabel#module:after) of an earlier task. In check mode the guests are looked at as if
        they were defined so.
      - Outside of check mode this and the other three are ignored. The module sees for itself.
    type: list
    elements: dict
    default: []
  foreseen_filters:
    description:
      - RV(svirt.fleet.guest_network_filter#module:after) of an earlier task, in check mode.
    type: list
    elements: dict
    default: []
  foreseen_driver:
    description:
      - RV(svirt.fleet.libvirt_restart#module:selinux_driver) of an earlier task, in check mode.
    type: bool
    default: false
  foreseen_guard:
    description:
      - RV(svirt.fleet.guard_hook#module:after) of an earlier task, in check mode.
    type: dict
    default: {}
  timeout:
    description:
      - Seconds that libvirt may take for each step, such as the start of one guest, beside O(shutdown_timeout).
      - Another run of this collection's modules on the host is waited for besides, for up to a minute.
    type: int
    default: 120
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.actiongroup_svirt
  - svirt.fleet._options.strict
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
  - Nothing goes into the journal. There is nothing to put back.
seealso:
  - module: svirt.fleet.guest_seclabel
  - module: svirt.fleet.guest_network_filter
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Two guests may be interrupted in this maintenance window
  svirt.fleet.guest_power_cycle:
    guests: [web1, db1]
"""

RETURN = r"""
---
before:
  description: The guests that need it, each with C(guest), C(uuid) and the label of its process (C(label)).
  returned: success
  type: list
  elements: dict
after:
  description: The same afterwards. In check mode C(label) is V(null) where libvirt would choose one.
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
      description: Always V(power_cycle).
      type: str
    subject:
      description: The guest or interface, named as in the audit.
      type: str
      sample: guest web1
    from:
      description: State before.
      type: str
    to:
      description: State after.
      type: str
    why:
      description: Why the guest needs it.
      type: str
    code:
      description: The first reason for programs. It is stable between releases.
      type: str
absent:
  description: Names that belong to no guest of this host.
  returned: success
  type: list
  elements: str
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

from ..module_utils._backends.guest_power_cycle import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Read the definitions, see who needs it, stop and start those, tell."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
