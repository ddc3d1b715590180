#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guard_hook
short_description: Have libvirt refuse guests that sVirt would not keep apart
version_added: 1.0.0
description:
  - Puts a hook in place that libvirt asks before a guest starts on the host, is restored, or comes by migration. It
    refuses a guest whose categories reach those of a guest that runs there, or are reached by them. libvirt itself has
    no such check.
  - The hook is C(/etc/libvirt/hooks/qemu.d/svirt-guard), a link to a program outside the folder for hooks, because
    policies label what is in that folder with a type that libvirt's daemon may not execute. Hooks of others stay, and
    are called as before.
  - Nothing is visible to libvirt before all of it is there, was tested, and may be executed by the daemon as the loaded
    policy says. What the daemon may not execute is not put in place. Such a hook would keep every guest from its start,
    and end running guests when the daemon restarts.
  - No guest is touched, and the daemon is not restarted.
options:
  state:
    description:
      - Whether the guard is there.
    type: str
    choices: [present, absent]
    default: present
  content:
    description:
      - Text of the guard's script, as the role P(svirt.fleet.guard#role) has it. Needed with O(state=present).
    type: str
  collision:
    description:
      - What happens to a guest that would not be kept apart. V(allow) lets it start and only logs it.
    type: str
    choices: [refuse, allow]
    default: refuse
  errors:
    description:
      - What happens to a guest that the guard cannot judge, for a fault of its own, an unreadable file or its time
        limit.
    type: str
    choices: [allow, refuse]
    default: allow
  time_limit:
    description:
      - Seconds that the guard may take, from 1 to 60. libvirt waits for it.
    type: int
    default: 5
  log:
    description:
      - What is logged, to the facility C(authpriv). V(refusals) are refusals and faults. V(all) is each verdict.
    type: str
    choices: [refusals, all]
    default: refusals
  foreseen_policy:
    description:
      - RV(svirt.fleet.selinux_state#module:policy_changes) of an earlier task. In check mode the policy that is loaded
        now then does not count, for it will be another one when the guard is put in place.
    type: bool
    default: false
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
  - libvirt 6.5.0 or newer on the host, and C(/usr/bin/python3), 3.9 or newer.
notes:
  - Run it as root.
  - A daemon that started before there was any hook for QEMU does not call the guard until it is restarted, or told to
    reload. RV(pending) says so.
seealso:
  - module: svirt.fleet.isolation_info
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Guard the host
  svirt.fleet.guard_hook:
    content: "{{ lookup('ansible.builtin.file', 'svirt_guard.py', rstrip=false) }}"

- name: Only log for now
  svirt.fleet.guard_hook:
    content: "{{ lookup('ansible.builtin.file', 'svirt_guard.py', rstrip=false) }}"
    collision: allow
    log: all

- name: Take the guard away
  svirt.fleet.guard_hook:
    state: absent
"""

RETURN = r"""
---
before:
  description: The guard before.
  returned: success
  type: dict
  contains:
    installed:
      description: Whether libvirt sees the hook.
      type: bool
    settings:
      description: The settings in C(/etc/svirt-fleet/guard.json), or V(null).
      type: dict
    files:
      description: By path, checksum, mode and label of each file, or V(null) where there is none.
      type: dict
after:
  description: The guard after, as RV(before). In check mode what it would be.
  returned: success
  type: dict
plan:
  description: Each change, in order. The same in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(folder), V(file), V(link), V(unlink) or V(remove).
      type: str
    subject:
      description: The path.
      type: str
    from:
      description: What was there.
      type: str
    to:
      description: What is there now.
      type: str
pending:
  description: What must happen before the guard is called.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: What it is about.
      type: str
    needs:
      description: What it takes.
      type: str
      sample: daemon_restart
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs. It is stable between releases.
      type: str
limits:
  description:
    - What the guard does without, as the loaded policy does not let libvirt's daemon do it. A warning tells the same
      when the guard is put in place or changed.
    - With code V(judged_by_status) it may not read processes of guests, and takes their labels from libvirt's status
      files. The role P(svirt.fleet.selinux#role) has a policy module for that, for Fedora and its kin.
    - With code V(not_logged) it may not write to the host's log.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The guard's hook.
      type: str
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs. It is stable between releases.
      type: str
refused:
  description: That the guard was left out, and why. A host without SELinux gets none, and the module does not fail.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: What was left out.
      type: str
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs. It is stable between releases.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.guard_hook import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle


def main() -> None:
    """Put the guard in place, or take it away."""
    module = AnsibleModule(  # type: ignore[no-untyped-call]
        argument_spec=ARGUMENTS, required_if=[("state", "present", ["content"])], supports_check_mode=True
    )
    settle(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
