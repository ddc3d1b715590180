#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is only the documentation: the work is done by the action plugin of the same name, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: category_allocation
short_description: Give each guest of a fleet categories of its own, and keep a ledger of them
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Keeps the ledger of labels and category ranges in the store, a SQLite file or a PostgreSQL database. No two guests
    of a label domain get labels of which one holds the other.
  - A label domain is the hosts that share labelled storage, as their snapshots tell, or what O(domains) names.
  - In a domain of strategy V(static), each guest gets a label for life, four categories of which two name its tenant.
    In one of strategy V(range), each host gets a range of categories that its daemon draws from.
  - A guest that has a label in the ledger keeps it. One whose definition has a label of the domain's code already,
    which nobody else uses, keeps that. New labels keep clear of everything that is in use in the domain, and of labels
    in quarantine.
  - A host that cannot be read keeps what it holds. Nothing new is given out in a domain with a host that was never
    read, see O(allow_unread).
  - Each call is one transaction. It is done wholly or not at all, whatever else runs or is killed at the same time.
  - Changes nothing on hosts. RV(hosts) is what M(svirt.fleet.guest_seclabel) and M(svirt.fleet.category_range) are to
    apply there.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once).
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.store
attributes:
  check_mode:
    support: full
    details:
      - The store stays as it is. O(dest) is written in check mode too, since it is the answer.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  operation:
    description:
      - V(reserve) gives labels and ranges to all that have none, and says what is to be applied on each host.
      - V(publish) puts down that the reserved labels of O(guests) on O(hosts), or of all, were handed out to be
        written.
      - V(observe) takes from the snapshots which guests have their labels, and puts labels of guests that are gone into
        quarantine. A guest is gone when all hosts of its domain were read and none has it.
      - V(release) puts the labels of O(guests), and of all guests last seen on O(hosts), into quarantine. Name only
        what is gone for good. The ranges of O(hosts) are free at once.
      - V(list) gives all labels of the ledger.
      - V(repair) compares ledger and fleet and says where they differ. It settles no conflict, see O(repair).
    type: str
    choices: [reserve, publish, observe, release, list, repair]
    default: reserve
  snapshots:
    description:
      - Folder on the controller that holds one file per host, as M(svirt.fleet.svirt_info) leaves them.
      - V(reserve), V(observe) and V(repair) read them. Without a folder they read what M(svirt.fleet.fleet_store) put
        into O(store), as a job must that is apart from those which probed.
    type: path
  hosts:
    description:
      - Names in the inventory of all hosts of the fleet, for V(reserve), V(observe) and V(repair).
      - For V(publish) the hosts that it is about, and for V(release) those that are gone for good.
    type: list
    elements: str
    default: []
  domains:
    description:
      - Label domains by name. Hosts in none of them are divided by the labelled storage that they share.
      - Each has C(name) and C(hosts), and may have C(strategy), C(range_width), C(migration), C(bands) and C(dynamic).
      - C(bands) are four lists of a first category and a number of categories, C(dynamic) is one, which is left to
        libvirt's dynamic guests. They are refused when they share a category.
    type: list
    elements: dict
    default: []
  strategy:
    description: Strategy of domains that name none.
    type: str
    choices: [static, range, none]
    default: static
  tenants:
    description: Which guest is of which tenant.
    type: list
    elements: dict
    default: []
    suboptions:
      match:
        description: Name or uuid of a guest, exactly. A uuid says more than a name, which people choose.
        type: str
        required: true
      tenant:
        description: Name of the tenant.
        type: str
        required: true
  default_tenant:
    description: Tenant of the guests that O(tenants) does not name.
    type: str
    default: default
  guests:
    description: Names or uuids of the guests that it is about. With an empty list, all are.
    type: list
    elements: str
    default: []
  quarantine_days:
    description: How long a label rests before it can be given to another guest. Backups carry labels.
    type: int
    default: 30
  allow_unread:
    description:
      - Give out labels in a domain though one of its hosts was never read wholly. Labels in use there may then be given
        out a second time.
    type: bool
    default: false
  repair:
    description:
      - With O(operation=repair), take labels and ranges of the fleet that the ledger does not know over into it, where
        they conflict with nothing. So a ledger that was lost is made anew. RV(unknown) says what could not be known.
    type: bool
    default: false
  max_age:
    description:
      - How old a snapshot may be, in seconds. A host with an older one counts as one that cannot be read.
      - Age goes by the time of the file on the controller, in the store too.
    type: int
    default: 3600
  dest:
    description:
      - File on the controller that takes RV(hosts) as JSON, written whole or not at all, for a job that applies it.
    type: path
requirements:
  - SQLAlchemy 2.0 or newer on the controller, and psycopg 3 for PostgreSQL.
seealso:
  - module: svirt.fleet.fleet_store
  - module: svirt.fleet.guest_seclabel
"""

EXAMPLES = r"""
---
- name: A label of its own for each guest of two hosts, with those of one customer apart
  svirt.fleet.category_allocation:
    snapshots: build/report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
    domains:
      - name: prod
        hosts: [kvm1, kvm2]
    tenants:
      - match: 00000000-0000-4000-8000-000000000001
        tenant: acme
  register: allocation

- name: A host is gone for good
  svirt.fleet.category_allocation:
    operation: release
    hosts: [kvm9]

- name: Make a ledger that was lost anew from the fleet
  svirt.fleet.category_allocation:
    operation: repair
    repair: true
    snapshots: build/report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
"""

RETURN = r"""
before:
  description: Number of labels by state, before.
  returned: always
  type: dict
  sample: {reserved: 0, published: 0, observed: 0, quarantined: 0, released: 0}
after:
  description: Number of labels by state, after, or as it would be in check mode.
  returned: always
  type: dict
  sample: {reserved: 3, published: 1, observed: 0, quarantined: 0, released: 0}
plan:
  description: What was done in the ledger, or would be in check mode. At most 1000 steps, RV(sizes) counts all.
  returned: always
  type: list
  elements: dict
  contains:
    action:
      description: >-
        V(reserve), V(adopt), V(move), V(revive), V(range), V(publish), V(observe), V(locate), V(quarantine),
        V(release), V(free), V(forget) or V(rebuild).
      type: str
    subject:
      description: The guest, by name and uuid, or the host.
      type: str
    from:
      description: Label, range, state or place before. Empty where there was none.
      type: str
    to:
      description: Label, range, state or place after.
      type: str
  sample:
    - {action: reserve, subject: "web (00000000-0000-4000-8000-000000000001)", from: "", to: "s0:c32,c280,c528,c776"}
refused:
  description: What was not done or differs from the ledger, and why. At most 1000.
  returned: always
  type: list
  elements: dict
  contains:
    subject:
      description: The guest, host, tenant or domain.
      type: str
    why:
      description: What was seen, and what to do.
      type: str
  sample: []
pending:
  description: What waits for a power cycle, for a host that cannot be read or for another call. At most 1000.
  returned: always
  type: list
  elements: dict
  contains:
    subject:
      description: The guest or host.
      type: str
    why:
      description: What it waits for.
      type: str
  sample: []
sizes:
  description: Number of all steps, refusals and waits.
  returned: always
  type: dict
  sample: {plan: 1, refused: 0, pending: 0}
domains:
  description: The label domains.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name that was given, or V(auto-) and the first host's.
      type: str
    strategy:
      description: V(static), V(range) or V(none).
      type: str
    hosts:
      description: Its hosts.
      type: list
      elements: str
    guests:
      description: Number of guests that were seen on them.
      type: int
    capacity:
      description: How many labels, or ranges, it has.
      type: int
    used:
      description: How many of them are in use or in quarantine.
      type: int
  sample:
    - {name: prod, strategy: static, hosts: [kvm1, kvm2], guests: 4, capacity: 3782742016, used: 4}
hosts:
  description: By host, what is to be applied there. Only O(operation=reserve) gives it, for hosts that were read.
  returned: always
  type: dict
  contains:
    range:
      description: C(low) and C(high) of the range for M(svirt.fleet.category_range), or null for none.
      type: dict
    guests:
      description: For O(svirt.fleet.guest_seclabel#module:guests). Guests whose definition is right are left out.
      type: list
      elements: dict
  sample:
    kvm1:
      range: {low: 0, high: 31}
      guests:
        - guest: 00000000-0000-4000-8000-000000000001
          type: static
          label: system_u:system_r:svirt_t:s0:c32,c280,c528,c776
labels:
  description: With O(operation=list) all labels, each with C(domain), C(uuid), C(name), C(host), C(tenant), C(level),
    C(state) and C(until), the end of its quarantine in seconds since the epoch.
  returned: always
  type: list
  elements: dict
  sample: []
tenants:
  description: With O(operation=list) all tenants, each with C(domain), C(tenant) and C(shared), the level of files that
    all its guests share.
  returned: always
  type: list
  elements: dict
  sample: []
unknown:
  description: What could not be known of labels that were taken over from the fleet.
  returned: always
  type: list
  elements: str
  sample: []
unread:
  description: Hosts that could not be read, or not wholly, and why.
  returned: always
  type: dict
  sample: {kvm3: "no snapshot at build/report/snapshots/kvm3.json: the host was not probed; run the probe for it"}
dest:
  description: Path of the file with RV(hosts).
  returned: when O(dest) is given
  type: str
  sample: /srv/fleet/labels.json
"""
