#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_label
short_description: Repair the labels of guests' images, and leave files in use alone
version_added: 1.0.0
description:
  - Repairs the labels of many image files in one call, sets requested labels, and manages persistent file-context
    rules.
  - The module reads the host itself, just before. It repairs what the rules of the audit find.
  - A file in use is left alone, and the result says why. A file is in use when a process has it open or mapped, when a
    loop device, a swap or an exported disk is backed by it, when it is in a running guest's chain, when libvirt has
    counted users of it since the host booted, and when another host that shares the storage uses it.
  - There is one exception. The image of a running guest that lost its label gets that guest's own label back, when no
    other guest uses the file anywhere.
  - Files are changed by an open descriptor. No symbolic link is followed, and a file with a second name (hard link) is
    refused. A file that was swapped meanwhile is restored.
  - The former owner, mode, label and attributes are written to the journal on the host before the change.
options:
  repair:
    description:
      - What to repair.
      - V(in_use) gives a running guest its own image back. Rules IMG-002 and IMG-010, and IMG-001 and IMG-006 where the
        guest runs and the file is its own image.
      - V(at_rest) takes a guest's label from files whose guest is off, and with it what libvirt remembers of them.
        Rules IMG-001 and IMG-006 where no guest runs. With V(readable), owner and mode are repaired too.
      - V(readable) gives an image at rest that guests' QEMU may read to root, with mode 0600. Rule IMG-007. libvirt
        gives it back to the guest when it starts. Where libvirt sets no owners, the file is refused.
      - V(orphans) takes the label of a guest from files that no guest owns. Rule IMG-005.
      - V(stale_owners) removes what libvirt remembers of files that nobody uses. Rule IMG-009.
      - Not for this module are IMG-003 (M(svirt.fleet.libvirt_security)), IMG-004 (M(svirt.fleet.guest_seclabel)), and
        IMG-008, which needs other storage.
    type: list
    elements: str
    choices: [in_use, at_rest, readable, orphans, stale_owners]
    default: []
  labels:
    description: Labels to give to files at rest.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Real path of the file or folder, without symbolic links in it.
        type: str
        required: true
      label:
        description: The whole label. Without it, the policy's default for the path, or O(fallback).
        type: str
  folders:
    description:
      - Folders with images. Each gets a persistent file-context rule for itself and all below it, of type
        C(virt_image_t) or what the loaded policy has in its place, and the folder itself the label by it.
      - Files in it keep their labels.
    type: list
    elements: path
    default: []
  fcontexts:
    description:
      - Persistent file-context rules. All of them, with those of O(folders), are changed in one transaction, and the
        policy is not loaded again for them.
      - Files keep their labels.
    type: list
    elements: dict
    default: []
    suboptions:
      target:
        description: Regular expression for the whole path, as in C(semanage fcontext).
        type: str
        required: true
      setype:
        description: Type, or C(<<none>>). Needed for O(fcontexts[].state=present).
        type: str
      ftype:
        description: Kind of file, by C(semanage)'s letters. V(a) is all, V(f) plain files, V(d) folders.
        type: str
        choices: [a, f, d, c, b, s, l, p]
        default: a
      seuser:
        description: User of the label.
        type: str
        default: system_u
      selevel:
        description: Level of the label.
        type: str
        default: s0
      state:
        description: Whether the rule is to exist.
        type: str
        choices: [present, absent]
        default: present
  within:
    description:
      - Only files below these folders are changed. None means no bound.
      - The path of such a folder may hold symbolic links, what lies below it may not.
    type: list
    elements: path
    default: []
  fallback:
    description:
      - Label for a path without a label in the policy, or with a label there that every guest may write.
      - Where the loaded policy does not know the default, the label that it gives to files in
        C(/var/lib/libvirt/images) takes its place.
    type: str
    default: system_u:object_r:virt_image_t:s0
  elsewhere:
    description:
      - What other hosts use of storage that this host shares with them, a document for each shared folder.
      - Files on shared storage that no document is about, or one that is not complete, are refused.
    type: list
    elements: dict
    default: []
    suboptions:
      folder:
        description: A mount point, or a folder that this host exports.
        type: str
        required: true
      complete:
        description: All other hosts that use the storage were read. A file that is not named is not in use there.
        type: bool
        required: true
      why:
        description: Why it is not complete.
        type: str
      in_use:
        description: Files that running guests of other hosts use.
        type: list
        elements: dict
        default: []
        suboptions:
          inode:
            description: Inode number.
            type: int
          path:
            description: Path as this host sees it, where that is known.
            type: str
          by:
            description: Who uses it.
            type: str
      levels:
        description: Levels that guests run with there.
        type: list
        elements: str
        default: []
  strict:
    description: Fail when a requested change is refused. All other changes are made nevertheless.
    type: bool
    default: false
  timeout:
    description: Seconds that libvirt may take to answer, each storage that may hang, and the search for open files.
    type: int
    default: 30
  orphan_search:
    description: More folders to search for orphans, as in M(svirt.fleet.svirt_info).
    type: list
    elements: path
    default: []
  foreseen_repaired:
    description:
      - Subjects in RV(plan) of an earlier task with V(in_use) in O(repair). In check mode these images are taken to
        have their labels back.
    type: list
    elements: str
    default: []
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
notes:
  - Run it as root.
  - Where not all guests of the host can be read, nothing is changed, because any of them may use a file.
  - A label that was repaired under a running guest is not rolled back while that guest runs.
seealso:
  - module: svirt.fleet.svirt_info
  - module: community.general.sefcontext
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Repair what can be repaired without a power cycle
  svirt.fleet.image_label:
    repair: [in_use, at_rest, readable, orphans, stale_owners]
    folders:
      - /srv/vms

- name: On storage that no running guest of another host uses, by the operator's own word
  svirt.fleet.image_label:
    repair: [orphans]
    elsewhere:
      - folder: /mnt/share
        complete: true

- name: Give two files the labels that their paths have by policy, and a third one of its own
  svirt.fleet.image_label:
    labels:
      - path: /srv/vms/a.raw
      - path: /srv/vms/b.raw
      - path: /srv/vms/installer.iso
        label: system_u:object_r:virt_content_t:s0
    within:
      - /srv/vms
"""

RETURN = r"""
---
plan:
  description: The changes, the same in check mode. Actions are V(relabel), V(close), V(forget_owner), V(fcontext).
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: Kind of change.
      type: str
    subject:
      description: The file or rule.
      type: str
    from:
      description: Value before the change.
      type: raw
    to:
      description: Value after the change. V(null) for attributes and rules that are removed.
      type: raw
  sample:
    - action: relabel
      subject: image /srv/vms/a.raw
      from: system_u:object_r:svirt_image_t:s0:c101,c202
      to: system_u:object_r:virt_image_t:s0
before:
  description: State before the change of the files and rules that change.
  returned: success
  type: dict
  contains:
    files:
      description: By path, the label, owner with mode, and names of the attributes in which libvirt remembers them.
      type: dict
    fcontexts:
      description: By rule, its label, or V(null) where there is none.
      type: dict
after:
  description: State of the same files and rules after the change. In check mode, the expected state.
  returned: success
  type: dict
refused:
  description: Files that were left alone, with the reason.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The file, or V(host) for all files.
      type: str
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs, for example V(open), V(hard_links) or V(use_elsewhere_unknown).
      type: str
  sample:
    - subject: image /srv/vms/c.raw
      why: "in use: open by process 4711 qemu-img"
      code: open
pending:
  description: Files that this module cannot repair, and what repairs them.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The file.
      type: str
    needs:
      description: The repair, V(guest_power_cycle) or V(operator).
      type: str
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs, for example V(not_its_own_image) or V(categories_in_use).
      type: str
  sample:
    - subject: image /srv/vms/base.qcow2
      needs: guest_power_cycle
      why: it is no image of its own to guest web; libvirt sets its label when the guest starts
      code: not_its_own_image
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.image_label import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
