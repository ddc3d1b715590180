#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_store
short_description: Store the snapshots of a fleet of KVM hosts in a database
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Stores snapshots that M(svirt.fleet.svirt_info) wrote on the controller in a SQLite file or a PostgreSQL database,
    one for each host. The newest replaces the others, by the time at which a controller received it.
  - Each snapshot is validated against its schema first. An invalid one is not stored, and RV(unread) says why.
  - With PostgreSQL, the slices of an AWX job can write to one store at the same time.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once).
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.run
  - svirt.fleet._options.snapshots
  - svirt.fleet._options.store
attributes:
  check_mode:
    support: full
    details:
      - With O(run_kind) the hosts are added to the run in check mode too, for the next step needs them.
  diff_mode:
    support: none
    details:
      - Snapshots are too long to be shown side by side.
  idempotent:
    support: full
options:
  hosts:
    description: Names in the inventory of the hosts whose snapshots are to be stored.
    type: list
    elements: str
    required: true
  run_kind:
    description:
      - Add the hosts to a run of this playbook, as one of the jobs that read its hosts. Each job adds its own hosts.
      - That is O(run), or else the newest run of this inventory and kind that jobs collect, if it began no longer than
        O(max_age) ago, or else a new run.
      - A host that could not be read is added with the reason. If two jobs have read a host, the newer snapshot counts.
    type: str
    choices: [audit, harden, allocate]
  max_age:
    description: Seconds after its beginning in which jobs join a run without O(run).
    type: int
    default: 3600
requirements:
  - SQLAlchemy 2.0 or newer on the controller, and psycopg 3 for PostgreSQL.
seealso:
  - module: svirt.fleet.svirt_info
  - module: svirt.fleet.category_allocation
"""

EXAMPLES = r"""
---
- name: Store the snapshots
  svirt.fleet.fleet_store:
    store: postgresql://svirt@db.example.org/fleet
    snapshots: build/report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
"""

RETURN = r"""
run:
  description: Id of the run to which the hosts were added.
  returned: with O(run_kind)
  type: str
  sample: 3f9a1c0b7d21
sizes:
  description: Numbers of hosts that were added with a snapshot, without one, and that the run had already.
  returned: with O(run_kind)
  type: dict
  sample: {read: 49, unread: 1, twice: 0}
stored:
  description: Hosts whose snapshots were stored, or would be in check mode.
  returned: without O(run_kind)
  type: list
  elements: str
  sample: [kvm1, kvm2]
kept:
  description: Hosts of which the store already has this snapshot or a newer one.
  returned: always
  type: list
  elements: str
  sample: []
unread:
  description: Hosts without a valid snapshot, and why.
  returned: always
  type: dict
  sample: {kvm3: "snapshot build/report/snapshots/kvm3.json is not JSON"}
"""
