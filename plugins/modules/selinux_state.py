#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: selinux_state
short_description: Bring a hypervisor's SELinux to enforcing, step by safe step
version_added: 1.0.0
description:
  - Makes SELinux enforcing now, in C(/etc/selinux/config), and on every boot entry of this host. Installs policy
    modules, removes permissive domains that an administrator added, and switches off booleans that widen the access of
    guests.
  - It never weakens a host. An enforcing host stays enforcing.
  - Where SELinux is off, it prepares a permissive boot that relabels the files, and reports a pending reboot. It never
    goes from off to enforcing in one step, for such a host may not come up.
  - Where SELinux is permissive, it enforces once the host has been permissive for O(soak_seconds) and nothing of guests
    or of libvirt would have been denied. While SELinux is permissive the kernel logs each denial once and then lets it
    pass in silence, until the policy is loaded anew. So every denial since then counts, however old it is. Once its
    cause is repaired, C(load_policy) begins a new soak.
  - Denials are read from auditd's log while auditd runs, else from the journal or the kernel's buffer. Where they
    cannot be read, or the log does not reach back far enough, the host does not become enforcing.
  - GRUB's settings are followed as a shell does, and edited where they count. Then C(grub.cfg) is made anew. Entries
    of the Boot Loader Specification are changed by C(grubby) where it is installed, else in their files. A file that
    cannot be edited safely is left as it is, and RV(refused) names it.
  - Boot entries of other systems and of tools stay as they are, and are no reason to refuse. An entry whose arguments
    depend on a variable of GRUB that is not known is named in RV(refused).
  - The old state goes into the journal on the host before each change, so that M(svirt.fleet.svirt_rollback) can
    restore it.
options:
  state:
    description:
      - What SELinux should be.
      - V(permissive) is for the step from disabled only. It is refused where SELinux is enforcing or set to be.
    type: str
    choices: [enforcing, permissive]
    default: enforcing
  soak_seconds:
    description:
      - Seconds that the host has to have been permissive, under the policy that is loaded now, before it enforces.
      - With V(0) there is no waiting, but denials still count.
    type: int
    default: 3600
  soak_types:
    description:
      - More process types whose denials keep the host from enforcing.
      - Those of guests count always, and all that begin with C(virt), C(svirt), C(qemu), C(swtpm) or C(passt).
        Denials of other types are listed in RV(soak.other_denials), and so are those of domains that stay permissive.
    type: list
    elements: str
    default: []
  policy_modules:
    description: Policy modules that should be installed at priority 400, all in one transaction.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the module.
        type: str
        required: true
      cil:
        description: Its source in the Common Intermediate Language.
        type: str
        required: true
      only_on:
        description:
          - C(ID) of C(os-release) of the distributions that need it. Elsewhere it is not installed.
          - Empty means all.
        type: list
        elements: str
        default: []
      if_denied:
        description:
          - Accesses that the module allows. It is installed only where the loaded policy knows both types of one of
            them and denies it. Once installed it stays, and is kept up to date.
          - Empty means that it is always installed.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: Type of the process.
            type: str
            required: true
          target:
            description: Type of the process or file that it reaches.
            type: str
            required: true
          class:
            description: Class of what it reaches.
            type: str
            default: file
          permissions:
            description: Permissions.
            type: list
            elements: str
            required: true
  remove_permissive:
    description:
      - Removes permissive domains that the administrator added, by C(semanage permissive) or with a module that does
        nothing else, and those that are in the loaded policy but in no installed module.
      - Domains that the distribution ships permissive stay.
      - On an enforcing host, a domain that would have been denied something since the policy was loaded stays too, and
        RV(refused) names the denials.
    type: bool
    default: true
  profile:
    description:
      - Storage that the guests use. Booleans that widen the access of guests and that the profile does not need are
        switched off for good. Those that it may need are left as they are.
      - With V(nfs) that is C(virt_use_nfs). With V(ovirt) also C(virt_use_samba), C(virt_use_fusefs),
        C(virt_use_sanlock) and C(virt_use_glusterd).
      - A boolean stays on while a guest, running or defined, needs it. RV(refused) names the guest.
      - When not given, only O(booleans) are set.
    type: str
    choices: [local, nfs, ovirt]
  booleans:
    description:
      - Booleans to set for good, by name.
      - A boolean that widens the access of guests can be switched on only under an O(profile) that needs it.
    type: dict
    default: {}
  strict:
    description: Whether to fail when something was refused. All other changes are made all the same.
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
notes:
  - Run it as root.
  - It never reboots. The role P(svirt.fleet.selinux#role) does, when it is allowed to.
  - The first boot after SELinux was off relabels all files, and then boots once more by itself.
seealso:
  - module: svirt.fleet.svirt_info
  - module: svirt.fleet.svirt_rollback
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Enforce, now and on every boot
  svirt.fleet.selinux_state:
    profile: local
  register: selinux

- name: Say what is still to come
  ansible.builtin.debug:
    var: selinux.pending

- name: Install a policy module where Debian's policy needs it
  svirt.fleet.selinux_state:
    soak_seconds: 86400
    policy_modules:
      - name: my_hypervisor
        cil: "{{ lookup('ansible.builtin.file', 'my_hypervisor.cil') }}"
        only_on: [debian]
"""

RETURN = r"""
---
before:
  description: SELinux before the run.
  returned: success
  type: dict
  contains: &state
    mode:
      description: Mode of the running kernel, V(enforcing), V(permissive) or V(disabled).
      type: str
      sample: permissive
    configured_mode:
      description: Mode in C(/etc/selinux/config).
      type: str
      sample: enforcing
    autorelabel:
      description: Whether the next boot relabels all files.
      type: bool
    boot_faults:
      description: Boot entries that are at fault, each with its file, title and fault.
      type: list
      elements: str
      sample: ["/boot/grub/grub.cfg: Debian GNU/Linux: no security=selinux"]
    policy_modules:
      description: Modules that were asked for or make a domain permissive, and a digest of their content.
      type: dict
      sample:
        400/svirt_fleet: sha256:0c1f6d2f1e9b7a55
    permissive_types:
      description: Types of guests and daemons that are permissive in the loaded policy.
      type: list
      elements: str
    booleans:
      description: Booleans that the module looks after, as they are now and after the next boot.
      type: dict
      sample:
        virt_use_nfs:
          active: false
          persistent: false
after:
  description: SELinux after the run. In check mode, as it would be.
  returned: success
  type: dict
  contains: *state
plan:
  description: The changes, in order. In check mode, those that would be made.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(set), V(install), V(remove), V(load_policy), V(create), V(edit) or V(make).
      type: str
    subject:
      description: The object that changes.
      type: str
    from:
      description: The old value.
      type: raw
    to:
      description: The new value.
      type: raw
pending:
  description: What the host still needs to reach the requested state.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: V(SELinux).
      type: str
    needs:
      description: V(reboot), or V(operator) where the time of the soak has to pass.
      type: str
    why:
      description: The reason, for the operator.
      type: str
    code:
      description:
        - The reason, for programs. It stays the same between releases. V(selinux_off), V(relabel_pending) or
          V(soak_running).
      type: str
refused:
  description: Objects that were left as they are, and why.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The object.
      type: str
    why:
      description: The reason, for the operator.
      type: str
    code:
      description: The reason, for programs, such as V(denials). It stays the same between releases.
      type: str
policy_changes:
  description:
    - Whether the kernel decides by another policy afterwards, because modules or booleans changed.
    - In check mode, whether it would. Later tasks must then not rely on the policy that is loaded now.
  returned: success
  type: bool
reboot_needed:
  description: Whether a reboot is what is pending.
  returned: success
  type: bool
guests_running:
  description: Number of guests that run.
  returned: success
  type: int
soak:
  description: Denials in the logs.
  returned: when they mattered
  type: dict
  contains:
    since:
      description: Time from which on denials count, in seconds since the epoch.
      type: float
    problem:
      description: Why the logs are no proof. Empty when they are.
      type: str
    denials:
      description: Denials that count, each kind once, with how often it was logged. At most 50.
      type: list
      elements: dict
    other_denials:
      description:
        - Denials that do not count. They are of other types, or of domains that are permissive in the policy and stay
          so, and are thus denied nothing when the host enforces. At most 50.
      type: list
      elements: dict
    own_denials:
      description: Denials of the guard, which does without what it is denied. They do not count. At most 50.
      type: list
      elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.selinux_state import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
