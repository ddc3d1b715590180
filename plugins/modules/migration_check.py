#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is only the documentation: the work is done by the action plugin of the same name, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_check
short_description: Say whether guests may migrate to a host
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Says of each guest whether it may migrate to a host without losing its isolation or its disks, from snapshots that
    M(svirt.fleet.svirt_info) put on the controller. libvirt checks none of this.
  - A guest with a static label is refused when its categories meet those of anything on the target, or of a guest that
    has files on labelled storage which the target mounts. Equal categories meet, and so do those of which one set holds
    the other.
  - A guest with a drawn label and files on labelled shared storage is refused. The target labels them with another
    draw, and when the migration fails they keep it.
  - Refused is a target on which SELinux does not enforce, libvirt lacks the SELinux driver, or the guest's type is
    another one or holds nothing. Refused is a guest whose disks are not reached on the target at the same path.
  - Refused is a source that exports the folder of a disk without naming it in C(shared_filesystems) of C(qemu.conf).
    libvirt there would set the disk's label back under the guest that left.
  - Between label domains that the operator named no guest may move, nor within one that says so.
  - Whether a mount of the target is the storage of a disk follows from what the two hosts show of it, or from
    O(storage), never from a third host.
  - What could not be read is unknown, and unknown is never a yes. The task fails when any guest may not move, or when
    that is not known.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once). It needs a strategy that keeps hosts
    in step, such as P(ansible.builtin.linear#strategy), so that the probe of all hosts has ended.
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.snapshots
  - svirt.fleet._options.storage
attributes:
  check_mode:
    support: full
    details:
      - Nothing is changed anyway.
  diff_mode:
    support: N/A
    details:
      - No host is modified.
  idempotent:
    support: full
    details:
      - From the same snapshots comes the same answer.
options:
  hosts:
    description:
      - Names in the inventory of all hosts of the fleet. Guests of hosts that are left out are not seen.
    type: list
    elements: str
    required: true
  guests:
    description:
      - Names or uuids of the guests that are to migrate. A name that several guests have is refused.
    type: list
    elements: str
    required: true
  target:
    description: Name in the inventory of the host that they are to go to.
    type: str
    required: true
  domains:
    description:
      - Label domains that the operator named, as O(svirt.fleet.category_allocation#module:domains).
    type: list
    elements: dict
    default: []
  max_age:
    description:
      - How old a snapshot may be, in seconds. A host with an older one is not read.
      - Age goes by the time of the file on the controller.
    type: int
    default: 3600
notes:
  - It looks ahead. What changes between the look and the migration it does not see. The guard of
    M(svirt.fleet.guard_hook) looks again at the target, at the moment when the guest comes in.
seealso:
  - module: svirt.fleet.svirt_info
  - module: svirt.fleet.guard_hook
  - module: svirt.fleet.category_allocation
"""

EXAMPLES = r"""
---
- name: Read every host
  svirt.fleet.svirt_info:
    dest: build/report/snapshots

- name: See whether two guests may go to kvm2
  svirt.fleet.migration_check:
    snapshots: build/report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
    guests: [web1, 6d2b0b53-5c1e-4c3b-9e0c-9a3f2f6c0a01]
    target: kvm2
"""

RETURN = r"""
answers:
  description: One answer for each guest, in the order of O(guests).
  returned: always
  type: list
  elements: dict
  contains:
    asked:
      description: The guest as it was asked for.
      type: str
    guest:
      description: Its name. V(null) when it was not found.
      type: str
    uuid:
      description: Its uuid. V(null) when it was not found.
      type: str
    from:
      description: The host that it is on.
      type: str
    to:
      description: The host that it is to go to.
      type: str
    verdict:
      description: V(allowed), V(refused) or V(unknown).
      type: str
      sample: refused
    reasons:
      description: >-
        Objections to the move, each with C(status) (V(refused) or V(unknown)), C(why) in words, and C(code), which
        stays the same when the words change. Empty for a guest that may move.
      type: list
      elements: dict
counts:
  description: Number of guests by verdict.
  returned: always
  type: dict
  sample: {allowed: 1, refused: 1, unknown: 0}
"""
