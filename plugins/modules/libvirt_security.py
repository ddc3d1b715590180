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
  - Sets keys of C(/etc/libvirt/qemu.conf) by libvirt's own rules. libvirt uses the first assignment of a key, so the
    first is edited. Later ones of the same key become comments.
  - Comments, order and all other keys stay as they are. A key that the file does not set is added
    below libvirt's own commented example.
  - The new text is parsed by libvirt's grammar before it replaces the old one, atomically. The old content is recorded
    in the host's journal first, for M(svirt.fleet.svirt_rollback).
  - A file that libvirt cannot parse is left alone, and the module fails with the line. A change after which libvirt
    would not start, such as a driver that the host does not have, is refused too.
  - The daemon reads the file only when it starts. RV(restart_needed) says whether the running daemon has to be
    restarted. M(svirt.fleet.libvirt_restart) does it where it is safe.
options:
  security_driver:
    description:
      - Security drivers that libvirt must use, for example V(selinux).
      - With a named driver that the host does not have, the daemon does not start, so it is refused.
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
      - Private namespaces of guests. libvirt knows V(mount), which hides the host's devices.
    type: list
    elements: str
  seccomp_sandbox:
    description:
      - Whether QEMU's system call filter is on. V(1) is on, V(0) is off, V(-1) leaves it to libvirt.
    type: int
    choices: [-1, 0, 1]
  relaxed_acs_check:
    description:
      - Whether PCI devices that the hardware does not isolate may be given to guests.
    type: bool
  shared_filesystems:
    description:
      - Folders on file systems of this host that other hosts mount. Without them, a guest that migrates to a host
        which mounts its disk from here loses access to the disk.
      - They are added to those that the file names. A folder below a named one is covered by it.
      - libvirt before 10.8 ignores the key. There it is not written, and RV(refused) says what to do instead.
    type: list
    elements: str
  shared_filesystems_exact:
    description:
      - Name only the folders of O(shared_filesystems), and drop others that the file named before.
    type: bool
    default: false
  name_exports:
    description:
      - Name each folder that the host exports by NFS and that holds files of its guests, running or defined.
      - Where libvirt does not list its guests, an export of which that is not known is named in RV(refused).
      - File systems that the host itself mounts from a server are left out; libvirt knows that they are shared.
    type: bool
    default: false
  settings:
    description:
      - Further keys of C(qemu.conf), by name. A value of V(null) makes each assignment of the key a comment, whether
        libvirt knows the key or not.
      - Keys that libvirt does not know and values that it does not accept are refused.
    type: dict
    default: {}
  comment_duplicates:
    description:
      - Make a comment of the second and later assignments of every key, not only of the keys that are set here.
        libvirt ignores them, so this has no effect on it.
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
  description: The value of each requested or changed key, as libvirt reads it. V(null) means no assignment.
  returned: success
  type: dict
  sample:
    security_driver:
    security_require_confined: 0
after:
  description: The same after the change.
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
  description: The running daemon has not read the present or planned content. Never true for an idle daemon.
  returned: success
  type: bool
pending:
  description: What is needed until the file is in force. Each entry has a V(code) beside its V(why), for programs.
  returned: success
  type: list
  elements: dict
  sample:
    - subject: qemu.conf
      needs: daemon_restart
      why: libvirtd reads the file when it starts
      code: read_at_start
refused:
  description:
    - Faults that are left as they are, such as values of other keys that libvirt does not accept.
    - Each entry has a V(code) beside its V(why), for programs.
  returned: success
  type: list
  elements: dict
  sample:
    - subject: qemu.conf max_files
      why: "line 12: expected a whole number without quotes or minus sign, found 'many'"
      code: wrong_type
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.libvirt_security import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle, settle_with_libvirt


def main() -> None:
    """Plan, write unless in check mode, report."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    # Exports are held against the guests' files, for which libvirt is asked.
    end = settle_with_libvirt if module.params["name_exports"] else settle
    end(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
