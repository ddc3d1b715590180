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
  - Reads in one call everything that decides whether SELinux (sVirt) isolates the guests of a KVM host.
  - The result is a snapshot, without any judgement. M(svirt.fleet.fleet_analysis) judges it.
  - The snapshot's C(coverage) names each area that could not be read, with the reason. An unread area never passes.
  - libvirt is read over one read-only connection, in a child process with a deadline. Where libvirt or its Python
    binding is missing or does not answer, its status files, the persistent XML, C(/proc) and C(/sys) are still read.
  - Nothing on the host is changed. The connection starts a libvirt daemon that has exited behind its socket, as any
    client does. A daemon that has not run since the host booted is left alone, because it would start guests.
options:
  timeout:
    description:
      - Seconds that libvirt may take to answer, and each storage that may hang, such as NFS.
      - A daemon or a storage that takes longer is reported in C(coverage); everything else is still read.
    type: int
    default: 30
  orphan_search:
    description:
      - Folders to search for files that carry the label of a guest though no guest owns them.
      - They are searched in addition to the folders of known images, of storage pools, of NFS exports, and libvirt's
        own.
    type: list
    elements: path
    default: []
  dest:
    description:
      - Folder B(on the controller) to write the snapshot to, one file for each host.
      - The task's result then has RV(snapshot_path) in place of RV(snapshot), so that results stay small.
      - When the host cannot be read, the file holds the reason. The snapshot of an earlier run never stays there.
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
      - It lists the boot entries, from the boot loaders' files that the host sends, checks the snapshot, and writes the
        file in O(dest).
  async:
    description: Supports being used with the C(async) keyword.
    support: none
    details:
      - The snapshot is completed on the controller.
requirements:
  - libvirt's Python binding on the host (C(python3-libvirt)), under any of the host's Python interpreters.
    Without it, the facts that only the daemon has are missing.
notes:
  - Run it as root. As another user it reads less, and C(coverage) says so.
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

- name: Write the snapshot to the controller, one file for each host
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
    - All facts of the host, by schema C(svirt.fleet/snapshot/1).
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
        - For each area whether it was read. Areas are C(selinux), C(boot), C(libvirt), C(guests), C(images),
          C(processes), C(containers), C(storage), C(orphans) and C(xen).
        - C(status) is V(ok), V(unknown) or V(not_applicable). C(why) gives the reasons for the last two, and C(codes)
          names their kinds, which stay the same between releases.
      type: dict
      sample:
        libvirt:
          status: unknown
          why: no answer within 30 s
          codes: [timed_out]
    selinux:
      description: Current and configured mode, boot entries, booleans, types, and answers of the loaded policy.
      type: dict
    libvirt:
      description: The daemon with its label, C(qemu.conf) as libvirt reads it, and the security drivers in force.
      type: dict
    guests:
      description: Each guest with its labels, its files with expected and actual label, and its network interfaces.
      type: list
      elements: dict
    processes:
      description: QEMU and helper processes, including those that libvirt does not know.
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
  description: Counts of the snapshot's contents.
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
      description: Number of files with a guest's label that no guest of the host owns.
      type: int
    coverage:
      description: The snapshot's coverage.
      type: dict
snapshot_path:
  description: Path of the snapshot's file on the controller.
  returned: when O(dest) is given
  type: str
  sample: /srv/audit/snapshots/kvm1.json
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.svirt_info import ARGUMENTS, run
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, run)


if __name__ == "__main__":
    main()
