#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: svirt_info
short_description: Read the isolation of a hypervisor's guests
version_added: 1.0.0
description:
  - Reads in one call everything that decides whether the guests of a KVM host are kept apart by SELinux (sVirt).
  - The result is a snapshot. It says what is there and judges nothing. M(svirt.fleet.fleet_analysis) judges it.
  - What could not be read is said in the snapshot's C(coverage), area by area, with the reason. It never passes for
    something that was read.
  - libvirt is asked over one read-only connection, in a child process with a deadline. Where libvirt or its Python
    binding is missing or does not answer, its status files, the persistent XML, C(/proc) and C(/sys) are read all the
    same.
  - Nothing on the host is changed. A libvirt daemon that has gone to sleep behind its socket is woken up by the
    connection, as by any client. One that has not run since the host booted is left alone, for it would start guests.
options:
  timeout:
    description:
      - Seconds that libvirt may take to answer, and each storage that may hang, such as NFS.
      - A daemon or a storage that takes longer is reported in C(coverage), and everything else is read.
    type: int
    default: 30
  orphan_search:
    description:
      - Folders to search for files that carry the label of a guest though no guest owns them.
      - These are searched beside the folders of known images, of storage pools, of NFS exports, and libvirt's own.
    type: list
    elements: path
    default: []
  dest:
    description:
      - Folder B(on the controller) that takes the snapshot, as one file for each host.
      - The task's result then has RV(snapshot_path) in place of RV(snapshot), so that results stay small.
      - When the host cannot be read, the file says so and why. The snapshot of an earlier run never stays there.
      - The file is also written in check mode.
    type: path
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.info_module
  - svirt.fleet._attributes.actiongroup_svirt
attributes:
  action:
    description: Has an action plugin that does a part of the work on the controller.
    support: full
    details:
      - It writes the file in O(dest).
requirements:
  - libvirt's Python binding on the host (C(python3-libvirt)), under any of the host's Python interpreters.
    Without it, what only the daemon knows is missing.
notes:
  - Run it as root. As another user it reads less, and says so.
seealso:
  - module: svirt.fleet.fleet_analysis
  - module: community.libvirt.virt
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Read the host
  svirt.fleet.svirt_info:
  register: host

- name: Keep the snapshot on the controller, one file for each host
  svirt.fleet.svirt_info:
    dest: "{{ playbook_dir }}/snapshots"
    timeout: 10
    orphan_search:
      - /backup/images
"""

RETURN = r"""
---
snapshot:
  description:
    - Everything that was read, after schema C(svirt.fleet/snapshot/1).
    - A value of V(null) was not readable or does not exist. RV(snapshot.coverage) says which.
  returned: when O(dest) is not given
  type: dict
  contains:
    schema:
      description: Name and version of the schema.
      type: str
      sample: svirt.fleet/snapshot/1
    taken_at:
      description: Time of the probe by the host's clock, in seconds since the epoch.
      type: float
    host:
      description: Name, machine id, distribution, kernel, boot time, and whether the probe ran as root.
      type: dict
    coverage:
      description:
        - For each area whether it was looked at. Areas are C(selinux), C(boot), C(libvirt), C(guests), C(images),
          C(processes), C(containers), C(storage), C(orphans) and C(xen).
        - C(status) is V(ok), V(unknown) or V(not_applicable), and C(why) gives the reason for the last two.
      type: dict
      sample:
        libvirt:
          status: unknown
          why: no answer within 30 s
    selinux:
      description: Mode now and as configured, boot entries, booleans, types, and answers of the loaded policy.
      type: dict
    libvirt:
      description: The daemon with its label, C(qemu.conf) as libvirt reads it, and the security drivers in force.
      type: dict
    guests:
      description: Each guest with its labels, its files with expected and actual label, and its network interfaces.
      type: list
      elements: dict
    processes:
      description: QEMU and helper processes, those that libvirt does not know included.
      type: list
      elements: dict
    containers:
      description: Labels in use by containers.
      type: list
      elements: dict
    storage:
      description: File systems and devices under the guests' files.
      type: list
      elements: dict
    orphans:
      description: Files that carry a guest's label though no guest of the host owns them.
      type: list
      elements: dict
    xen:
      description: State of Xen's own access control, where libvirt drives Xen.
      type: dict
summary:
  description: What the snapshot holds, in short.
  returned: success
  type: dict
  contains:
    selinux:
      description: Mode of SELinux now.
      type: str
      sample: enforcing
    daemon:
      description: The libvirt daemon in charge.
      type: str
      sample: virtqemud
    guests:
      description: Number of guests.
      type: int
    running:
      description: Number of guests that run.
      type: int
    resources:
      description: Number of files of guests.
      type: int
    processes:
      description: Number of processes by role.
      type: dict
      sample:
        qemu: 4
        swtpm: 1
    containers:
      description: Number of labels in use by containers.
      type: int
    storage:
      description: Number of file systems and devices under the guests' files.
      type: int
    orphans:
      description: Number of files with a label of a guest that owns them no more.
      type: int
    coverage:
      description: The snapshot's coverage.
      type: dict
snapshot_path:
  description: The file on the controller that has the snapshot.
  returned: when O(dest) is given
  type: str
  sample: /srv/audit/snapshots/kvm1.json
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.svirt_info import ARGUMENTS, run
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Read the host once and hand the snapshot over."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, run)


if __name__ == "__main__":
    main()
