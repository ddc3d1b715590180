#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: libvirt_restart
short_description: Restart libvirt's daemon when that hurts no guest
version_added: 1.0.0
description:
  - Restarts the daemon that drives the guests, C(libvirtd) or C(virtqemud), by its own unit. Guests keep running.
  - It first checks what would make the restart harmful, and refuses then. libvirt kills a guest when two dynamic guests
    run with the same range. It does not start with a C(qemu.conf) that it cannot parse, with values that it does not
    accept, or with a security driver that the host does not have. systemd ends guests with the daemon when its unit
    does not have C(KillMode=process). A running migration or save would be aborted. libvirt calls its hooks for each
    running guest when it is back, and ends the guest when a hook fails or when the loaded policy does not let the
    daemon run it. Hooks are read, not run; one that cannot be shown to succeed is a reason to refuse.
  - Afterwards it checks again. The daemon must answer, and the same guests must run with the same process ids and
    labels. Otherwise C(qemu.conf) and the drop-ins of the unit that were changed since the daemon's last start are
    restored from the host's journal, the daemon is restarted once more, and the module fails with both outcomes.
  - No guest is ended, paused or started. An idle daemon that waits behind its socket is left idle, for it reads
    everything at its next start.
options:
  only_if_needed:
    description:
      - Restart only when the daemon has not read its present configuration. That is when C(qemu.conf) or the drop-ins
        of its unit changed after it started, when it does not run as O(context), and when it does not have the
        security driver that C(qemu.conf) names.
    type: bool
    default: true
  context:
    description:
      - SELinux label that the daemon must have. Without it, any label is accepted.
    type: str
  foreseen_pending:
    description:
      - RV(pending) of earlier tasks. In check mode these tasks have changed nothing yet, so entries that need
        C(daemon_restart) count as reasons.
      - Outside of check mode this and the other two are ignored.
    type: list
    elements: dict
    default: []
  foreseen_settings:
    description:
      - RV(svirt.fleet.libvirt_security#module:after) of an earlier task. In check mode C(qemu.conf) is judged as if
        it had these values.
    type: dict
    default: {}
  foreseen_policy:
    description:
      - RV(svirt.fleet.selinux_state#module:policy_changes) of an earlier task. In check mode the loaded policy is then
        not asked about hooks, for it will be replaced.
    type: bool
    default: false
  strict:
    description:
      - Fail when the restart is needed and refused. Otherwise RV(refused) and RV(pending) say so.
    type: bool
    default: false
  timeout:
    description:
      - Time limit in seconds until the daemon answers again and lists all of its guests. It counts from the last sign
        of life of a daemon that still starts, and ends after five times as long at the latest.
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
    details:
      - Not with O(only_if_needed=false), which restarts every time.
requirements:
  - libvirt's Python binding on the host (C(python3-libvirt)), under any of the host's Python interpreters.
  - systemd
notes:
  - Run it as root.
seealso:
  - module: svirt.fleet.libvirt_security
  - module: svirt.fleet.svirt_rollback
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Let libvirt read its new configuration
  svirt.fleet.libvirt_restart:

- name: See whether a restart would hurt
  svirt.fleet.libvirt_restart:
    only_if_needed: false
    strict: true
  check_mode: true
"""

RETURN = r"""
---
before:
  description: The daemon before the restart.
  returned: success
  type: dict
  contains:
    daemon:
      description: Its name. V(null) where no daemon runs.
      type: str
      sample: libvirtd
    pid:
      description: Its process id. V(null) while it is idle.
      type: int
    context:
      description: Its label.
      type: str
    guests:
      description: Number of running guests.
      type: int
after:
  description: The daemon as it is now. In check mode and without a restart the same as RV(before).
  returned: success
  type: dict
needed:
  description:
    - Why the daemon needs a restart. Empty when it does not. In check mode the wording may differ for a file that is
      not changed yet.
  returned: success
  type: list
  elements: str
  sample:
    - /etc/libvirt/qemu.conf changed after libvirtd started
gate:
  description:
    - What speaks against a restart now, whether one is needed or not.
    - Each entry has a V(code) beside its V(why), for programs, here and in RV(pending) and RV(refused).
  returned: success
  type: list
  elements: dict
  sample:
    - subject: db1, web3
      why: they run with the same range s0:c1,c2; libvirt would kill all but one of them at the restart
      code: same_range
plan:
  description: Planned steps. The same in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - action: restart
      subject: libvirtd.service
      from: running
      to: restarted
pending:
  description: The restart, when it is needed and refused.
  returned: success
  type: list
  elements: dict
refused:
  description: RV(gate), when a restart is needed.
  returned: success
  type: list
  elements: dict
selinux_driver:
  description:
    - Whether libvirt has the SELinux driver, so that guests get labels when they start.
    - In check mode, whether it would have it after the restart.
  returned: success
  type: bool
restored:
  description: Files that were restored because the daemon did not come back with the changed ones.
  returned: failure of the restart
  type: list
  elements: str
problems:
  description: What was wrong after the restart.
  returned: failure of the restart
  type: list
  elements: str
problems_after_rollback:
  description: What was wrong after the files were restored and the daemon was restarted again. Empty when all is well.
  returned: failure of the restart
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.libvirt_restart import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Check, restart unless the gate refuses or in check mode, check again."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
