#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_orders_info
short_description: Take the orders for hosts from a run in the store
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Reads what an earlier step left in the store for these hosts, so that a job can apply it that shares no folder with
    the job that decided it.
  - Contacts no host, and runs once for all hosts of a play. Register its result with C(run_once), so that each host has
    it.
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.info_module
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.run
  - svirt.fleet._options.store
options:
  orders:
    description:
      - V(allocation) is what O(svirt.fleet.category_allocation#module:operation=reserve) decided.
      - V(shared_use) and V(fresh_labels) are what M(svirt.fleet.fleet_analysis) computed for hardening.
      - Without O(run), the newest run with the first of them is used.
    type: list
    elements: str
    choices: [allocation, shared_use, fresh_labels]
    required: true
  hosts:
    description: Names in the inventory of the hosts whose orders are wanted.
    type: list
    elements: str
    required: true
requirements:
  - SQLAlchemy 2.0 or newer on the controller, and psycopg 3 for PostgreSQL.
seealso:
  - module: svirt.fleet.fleet_analysis
  - module: svirt.fleet.category_allocation
"""

EXAMPLES = r"""
---
- name: Take the labels that another job reserved
  svirt.fleet.fleet_orders_info:
    store: postgresql://svirt@db.example.org/fleet
    orders: [allocation]
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
  register: taken
"""

RETURN = r"""
run:
  description: Id of the run.
  returned: success
  type: str
  sample: 3f9a1c0b7d21
orders:
  description: Orders by name and host. Hosts without an order are left out.
  returned: success
  type: dict
  sample: {allocation: {kvm1: {guests: [], range: {low: 0, high: 31}}}}
"""
