#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: category_allocation_info
short_description: List the labels and tenants of the ledger
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Lists what M(svirt.fleet.category_allocation) recorded in the ledger. These are all labels with their guests,
    including those in quarantine and released ones, and all tenants.
  - Fails when there is no store. It never creates one.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once).
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.info_module
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.store
options: {}
requirements:
  - SQLAlchemy 2.0 or newer on the controller, and psycopg 3 for PostgreSQL.
seealso:
  - module: svirt.fleet.category_allocation
"""

EXAMPLES = r"""
---
- name: Read the ledger
  svirt.fleet.category_allocation_info:
    store: postgresql://svirt@db.example.org/fleet
  register: ledger

- name: Show the level of files that all guests of a tenant share
  ansible.builtin.debug:
    msg: "{{ ledger.tenants | selectattr('tenant', 'equalto', 'acme') | map(attribute='shared') }}"
"""

RETURN = r"""
counts:
  description: Number of labels by state.
  returned: always
  type: dict
  sample: {reserved: 0, published: 1, observed: 3, quarantined: 0, released: 0}
labels:
  description: All labels of the ledger, by domain and name of the guest.
  returned: always
  type: list
  elements: dict
  contains:
    domain:
      description: The label domain.
      type: str
    uuid:
      description: Uuid of the guest.
      type: str
    name:
      description: Name of the guest.
      type: str
    host:
      description: The host on which it was last seen.
      type: str
    tenant:
      description: Its tenant.
      type: str
    level:
      description: The level of its label, of a released one the last that it had.
      type: str
    state:
      description: V(reserved), V(published), V(observed), V(quarantined) or V(released).
      type: str
    until:
      description: End of its quarantine, in seconds since the epoch. V(null) outside of quarantine.
      type: float
  sample:
    - domain: prod
      uuid: 00000000-0000-4000-8000-000000000001
      name: web
      host: kvm1
      tenant: acme
      level: s0:c32,c280,c528,c776
      state: observed
      until:
tenants:
  description: All tenants.
  returned: always
  type: list
  elements: dict
  contains:
    domain:
      description: The label domain.
      type: str
    tenant:
      description: Name of the tenant.
      type: str
    shared:
      description: Level of files that all guests of the tenant share.
      type: str
  sample:
    - {domain: prod, tenant: acme, shared: "s0:c32,c280"}
"""
