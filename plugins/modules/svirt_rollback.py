#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: svirt_rollback
short_description: Put back what this collection changed on a host
version_added: 1.0.0
description:
  - Each module of this collection that changes a host writes down first, in a journal on the host, what it found. This
    module puts that back, run by run, the newest first, with content, owner, mode, label and other attributes.
  - A run that was put back wholly leaves the journal. Its file is kept in the journal's folder C(undone).
  - What must not be put back now, such as the label of an image that a guest has open, is refused and named. What
    cannot be put back is named too. Everything else is put back all the same, the runs concerned stay in the journal,
    and the module fails at its end.
  - systemd reads its files again when some of them were put back.
  - No guest is ended or restarted, no daemon either. RV(pending) says what it takes until what was put back counts.
options:
  runs:
    description:
      - How many runs to put back, from the newest on. Without it, all of them.
      - Check mode shows which runs there are.
    type: int
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.actiongroup_svirt
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Of things that are no files, the diff shows what they were before.
  idempotent:
    support: full
    details:
      - Not with O(runs), which puts back further runs each time.
requirements:
  - libvirt's Python binding on the host (C(python3-libvirt)) where guests were changed, under any of the host's Python
    interpreters.
notes:
  - Run it as root.
seealso:
  - module: svirt.fleet.libvirt_restart
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: See what would be put back
  svirt.fleet.svirt_rollback:
  check_mode: true
  diff: true

- name: Put back everything
  svirt.fleet.svirt_rollback:

- name: Put back the last run only
  svirt.fleet.svirt_rollback:
    runs: 1
"""

RETURN = r"""
---
before:
  description: The runs in the journal, the newest first.
  returned: always
  type: list
  elements: dict
  contains:
    run:
      description: Number of the run, and the module that made it.
      type: str
      sample: 000003-libvirt_security
    entries:
      description: Number of things that it changed.
      type: int
    problem:
      description: Why the journal of the run cannot be read, where that is so.
      type: str
after:
  description: The runs that are left.
  returned: always
  type: list
  elements: dict
plan:
  description: What is put back, in order. The same in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description: V(put_back).
      type: str
    subject:
      description: The thing, such as a path or a guest's uuid.
      type: str
    from:
      description: Its kind, such as C(file), C(label) or C(guest).
      type: str
    to:
      description: The run before which it is put back.
      type: str
pending:
  description: What it takes until what was put back counts.
  returned: always
  type: list
  elements: dict
  sample:
    - subject: /etc/libvirt/qemu.conf
      needs: daemon_restart
      why: the daemon reads it when it starts
refused:
  description: What must not be put back now, and why.
  returned: always
  type: list
  elements: dict
failed_entries:
  description: What could not be put back, and why.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.svirt_rollback import ARGUMENTS, run
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Put the runs back unless in check mode, and tell of each thing."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, run)


if __name__ == "__main__":
    main()
