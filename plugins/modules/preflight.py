#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check the variables of a playbook before a host is contacted
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Checks every variable whose name begins with C(svirt_), of the play and of its hosts. A name that is not known is
    refused with the nearest one that is. A value must have the type, be within the bounds or be one of the choices of
    its variable.
  - A variable that one task takes for the whole fleet must be the same for all hosts. C(svirt_hosts) and
    C(svirt_serial) are refused as variables of hosts, because Ansible reads them before it has any.
  - Checks the types and choices of the variables of this collection's roles, and warns of names that are nearly theirs.
  - Then tries whether the report folder can be written, and whether the store can be used, SQLAlchemy and the driver of
    its database included.
  - With O(earlier_batches) it checks nothing of that, but refuses to begin a batch after a host of an earlier one was
    lost.
  - All problems are reported together. Variables that the playbooks set themselves are not checked.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once). Run it first.
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
attributes:
  check_mode:
    support: full
    details:
      - The report folder is created in check mode too.
  diff_mode:
    support: N/A
    details:
      - No host is modified.
  idempotent:
    support: full
options:
  hosts:
    description:
      - Names in the inventory of the hosts whose variables are checked, beside those of the play.
      - An empty list means the hosts of the play.
    type: list
    elements: str
    default: []
  report_dir:
    description: Folder on the controller that must be writable. It is created when it is missing.
    type: path
  renewed:
    description:
      - Folders on the controller with a file for each host, which this play writes anew. Those of the hosts are
        removed, so that none of an earlier run counts for a host that is lost before it is read.
    type: list
    elements: path
    default: []
  store:
    description: URL of a store that must be usable. It is not created.
    type: str
  ledger:
    description: URL of a store that must exist.
    type: str
  steps:
    description: Steps that the playbook has. The variable C(svirt_run_steps) may name no other.
    type: list
    elements: str
  earlier_batches:
    description:
      - Checks that every host of earlier batches of the play can still be reached, and nothing else. Ansible's
        C(max_fail_percentage) does not count hosts that cannot be reached.
    type: bool
    default: false
seealso:
  - module: svirt.fleet.fleet_analysis
  - module: svirt.fleet.category_allocation
"""

EXAMPLES = r"""
---
- name: Check variables, report folder and store
  svirt.fleet.preflight:
    report_dir: "{{ svirt_report_dir | default('svirt-report') }}"
    store: "{{ svirt_store | default('sqlite:///svirt-fleet.db') }}"

- name: Begin a batch only if no host of an earlier one was lost
  svirt.fleet.preflight:
    earlier_batches: true
"""

RETURN = r"""
problems:
  description: What cannot be used. The task fails if there is anything.
  returned: always
  type: list
  elements: dict
  contains:
    variable:
      description: Name of the variable.
      type: str
    code:
      description: >-
        V(unknown) for a name, V(value) or V(empty) for a value, V(place) or V(differs) for a variable of hosts that the
        fleet cannot have so, V(step) for a step that the playbook does not have, V(lost) for a host of an earlier
        batch, V(not_writable) for the report folder, or the code of an error of the store.
      type: str
    why:
      description: What is wrong, and the nearest name or choice.
      type: str
    host:
      description: Host whose variable it is. Empty for a variable of the play or of all hosts.
      type: str
  sample:
    - variable: svirt_failon
      code: unknown
      why: "svirt_failon is no variable of svirt.fleet: did you mean svirt_fail_on?"
      host: ""
"""
