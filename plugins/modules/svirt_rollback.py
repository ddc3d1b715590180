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
  - Each module of this collection that changes a host records the state before the change, and the state that it sets,
    in a journal on the host. This module restores the former state, run by run, newest first, with content, owner,
    mode, label and other attributes.
  - Only what is still as this collection left it is restored. A file that somebody edited since, a file that another
    team put in its place, a path that became a link, and a guest whose definition was changed since, by a new disk for
    example, are refused and named. Journals of older versions do not have what was set. There the module looks as far
    as it can, and refuses what was changed after the run.
  - A run that was restored completely leaves the journal. Its file is kept in the journal's folder C(undone).
  - An object that must not be restored now, such as the label of an image that a guest has open, is refused and named.
    A failure is named too. Everything else is restored all the same, the runs concerned stay in the journal, and the
    module fails at its end, in check mode too, see O(strict).
  - Passwords and other secrets stay in the journal. Diffs show files without them, and of guests only labels and
    network filters.
  - systemd reads its files again when some of them were put back.
  - No guest is ended or restarted, no daemon either. RV(pending) says what it takes until what was put back counts.
options:
  runs:
    description:
      - How many runs to put back, from the newest on. Without it, all of them.
      - Check mode shows which runs there are.
    type: int
  strict:
    description:
      - Fail when something was refused or could not be restored.
      - With V(false), RV(refused) and RV(failed_entries) say so. Then what was restored can be put into effect before a
        later task fails, such as M(svirt.fleet.host_verdict).
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
    details:
      - Of objects that are neither files nor guests, the diff shows only the state before.
      - Secrets are blanked.
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
  - module: svirt.fleet.host_verdict
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
  description: The entries of the journal in the order in which they are restored. The same in check mode.
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
  description: What has to happen until the restored objects take effect.
  returned: always
  type: list
  elements: dict
  sample:
    - subject: /etc/libvirt/qemu.conf
      needs: daemon_restart
      why: the daemon reads it when it starts
      code: daemon_restart
refused:
  description: Objects that must not be restored now, each with C(subject), C(why) and C(code).
  returned: always
  type: list
  elements: dict
  sample:
    - subject: /etc/libvirt/qemu.conf
      why: "/etc/libvirt/qemu.conf: its content was changed after this collection wrote it, so it is not ours any more;
        it was left alone"
      code: changed_since
failed_entries:
  description: Objects whose restoration failed, each with C(subject), C(why) and C(code).
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.svirt_rollback import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Put the runs back unless in check mode, and tell of each thing."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
