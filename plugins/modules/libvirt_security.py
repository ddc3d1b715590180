#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: libvirt_security
short_description: Set the security keys of libvirt's qemu.conf
version_added: 1.0.0
description:
  - Sets keys of C(/etc/libvirt/qemu.conf) by libvirt's own rules. The first assignment of a key is the one that counts,
    so the first is edited. Later ones of the same key become comments.
  - Comments, order and everything that was not asked for stay as they are. A key that the file does not set is added
    below libvirt's own commented example.
  - The new text is parsed by libvirt's grammar before it takes the old one's place, whole or not at all. What the file
    was goes into the host's journal first, for M(svirt.fleet.svirt_rollback).
  - A file that libvirt cannot parse is left alone, and the module fails with the line. So is one with which libvirt
    would not start any more, such as one that names a driver which the host does not have.
  - The daemon reads the file only when it starts. RV(restart_needed) says whether the one that runs has yet to do
    so. M(svirt.fleet.libvirt_restart) does it where it is safe.
options:
  security_driver:
    description:
      - Security drivers that libvirt must use, for example V(selinux).
      - A driver that is named and that the host does not have keeps the daemon from starting, so such a one is refused
        here.
    type: list
    elements: str
  default_confined:
    description:
      - Whether guests whose XML has no C(<seclabel>) are confined. Sets C(security_default_confined).
    type: bool
  require_confined:
    description:
      - Whether guests whose XML asks to be unconfined are refused. Sets C(security_require_confined).
    type: bool
  user:
    description:
      - User that guests run as.
    type: str
  group:
    description:
      - Group that guests run as.
    type: str
  dynamic_ownership:
    description:
      - Whether libvirt gives guests' files to the user that guests run as.
    type: bool
  remember_owner:
    description:
      - Whether libvirt remembers who owned a guest's file, and with which label, and refuses a second use of it with
        another label.
    type: bool
  namespaces:
    description:
      - Namespaces of their own that guests get. libvirt knows V(mount), which hides the host's devices.
    type: list
    elements: str
  seccomp_sandbox:
    description:
      - Whether QEMU's system call filter is on. V(1) is on, V(0) is off, V(-1) leaves it to libvirt.
    type: int
    choices: [-1, 0, 1]
  relaxed_acs_check:
    description:
      - Whether PCI devices may be given to guests that the hardware does not keep apart.
    type: bool
  shared_filesystems:
    description:
      - Folders on file systems of this host that other hosts mount. Without them, libvirt takes the disk of a guest
        away when the guest migrates to a host that mounts it from here.
      - They are added to those that the file names. One that lies in a folder that is named is covered by it.
    type: list
    elements: str
  shared_filesystems_exact:
    description:
      - Name just the folders of O(shared_filesystems), and no others that the file named before.
    type: bool
    default: false
  name_exports:
    description:
      - Name each folder that the host exports by NFS too. For a folder that holds no images this changes nothing.
      - A file system that the host itself mounts from elsewhere is left out, for libvirt knows it for a shared one.
    type: bool
    default: false
  settings:
    description:
      - Further keys of C(qemu.conf), by name. A value of V(null) makes each assignment of the key a comment, whether
        libvirt knows the key or not.
      - Keys that libvirt does not know and values that it does not take are refused.
    type: dict
    default: {}
  comment_duplicates:
    description:
      - Make a comment of the second and later assignments of every key, and not only of those that are set here.
        libvirt passes over them, so this changes nothing for it.
    type: bool
    default: true
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
notes:
  - Run it as root.
  - The daemon is never restarted by this module.
seealso:
  - module: svirt.fleet.libvirt_restart
  - module: svirt.fleet.svirt_rollback
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Confine every guest by SELinux, or do not start it
  svirt.fleet.libvirt_security:
    security_driver: selinux
    default_confined: true
    require_confined: true
    remember_owner: true
    name_exports: true

- name: Set and unset further keys
  svirt.fleet.libvirt_security:
    settings:
      max_core: 0
      security_drivers:
"""

RETURN = r"""
---
before:
  description: The value of each key that was asked for or that changes, as libvirt read it. V(null) is no assignment.
  returned: success
  type: dict
  sample:
    security_driver:
    security_require_confined: 0
after:
  description: The same as libvirt will read it.
  returned: success
  type: dict
  sample:
    security_driver: selinux
    security_require_confined: 1
plan:
  description: Each edit, in the file's order. The same in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(set), V(add), V(unset) or V(comment_out_duplicate).
      type: str
    subject:
      description: The key.
      type: str
      sample: qemu.conf security_driver
    from:
      description: The value before.
      type: raw
    to:
      description: The value after.
      type: raw
restart_needed:
  description: The running daemon has not read the file as it is now, or as it would be. Never for one that sleeps.
  returned: success
  type: bool
pending:
  description: What it takes until the file counts.
  returned: success
  type: list
  elements: dict
  sample:
    - subject: qemu.conf
      needs: daemon_restart
      why: libvirtd reads the file when it starts
refused:
  description: What was left alone though it is wrong, such as values of other keys that libvirt does not take.
  returned: success
  type: list
  elements: dict
  sample:
    - subject: qemu.conf max_files
      why: "line 12: expected a whole number without quotes or minus sign, found 'many'"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.libvirt_security import ARGUMENTS, run
from ..module_utils._module import settle


def main() -> None:
    """Plan, write unless in check mode, tell."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle(module, run)


if __name__ == "__main__":
    main()
