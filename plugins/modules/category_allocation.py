#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: category_allocation
short_description: Assign unique categories to the guests of a fleet, and record them in a ledger
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Records labels and category ranges in the ledger, tables of a SQLite file or a PostgreSQL database. No guest of a
    label domain gets a label that dominates, or is dominated by, the label of another guest.
  - A label domain is a set of hosts that share labelled storage by their snapshots, or of which it is not known whether
    they do (see O(storage)), or a set that O(domains) names.
  - Nothing is given out in two named domains that share storage, or may, nor on hosts outside of a named domain that
    share storage with it, or may. RV(refused) names them.
  - In a domain of strategy V(static), each guest gets a permanent label of four categories, two of which name its
    tenant. In a domain of strategy V(range), each host gets a range of categories that its daemon draws from.
  - A guest with a label in the ledger keeps it. A guest whose definition already has a label of the domain's code that
    no other guest uses keeps that. New labels neither dominate nor are dominated by any label that is in use in the
    domain or in quarantine.
  - A host that cannot be read keeps its labels. No new label is assigned in a domain with a host that was never read,
    see O(allow_unread).
  - Each call is one transaction. It has full effect or none, whatever else runs or is killed at the same time.
  - Changes nothing on hosts. M(svirt.fleet.guest_seclabel) and M(svirt.fleet.category_range) apply RV(hosts) there.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once).
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.run
  - svirt.fleet._options.store
  - svirt.fleet._options.storage
  - svirt.fleet._options.tenants
attributes:
  check_mode:
    support: full
    details:
      - The store is not changed. O(dest) is written in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  operation:
    description:
      - V(reserve) assigns labels to guests and ranges to hosts that have none, and lists what to apply on each host.
      - V(publish) records that the reserved labels of O(guests) on O(hosts), or of all, were handed out to be written.
      - V(observe) records which guests have their label, by the snapshots, and puts labels of guests that are gone into
        quarantine. A guest is gone when all hosts of its domain were read and none has it.
      - V(release) puts the labels of O(guests), and of all guests last seen on O(hosts), into quarantine. Name only
        guests and hosts that are gone for good. The ranges of O(hosts) are free at once.
      - V(repair) compares ledger and fleet and reports differences. It settles no conflict, see O(repair).
    type: str
    choices: [reserve, publish, observe, release, repair]
    default: reserve
  snapshots:
    description:
      - Folder on the controller with one file per host, as M(svirt.fleet.svirt_info) writes them.
      - V(reserve), V(observe) and V(repair) read them. Without a folder they read the snapshots of O(run), or else
        those that M(svirt.fleet.fleet_store) stored in O(store) last, for jobs that share no folder with the probe.
    type: path
  run:
    description:
      - Id of a run in the store, whose snapshots are read where O(snapshots) is not given. V(newest) is the newest run
        of O(inventory) that began no longer than O(max_age) ago.
      - V(reserve) leaves RV(hosts) in the run, for M(svirt.fleet.fleet_orders_info). In check mode it does not.
    type: str
    default: ""
  hosts:
    description:
      - Names in the inventory of all hosts of the fleet, for V(reserve), V(observe) and V(repair).
      - For V(publish) the hosts whose labels were handed out, for V(release) the hosts that are gone for good.
    type: list
    elements: str
    default: []
  domains:
    description:
      - Label domains by name. Other hosts are grouped by the labelled storage that they share.
      - Each has C(name) and C(hosts), and may have C(strategy), C(range_width), C(migration), C(bands) and C(dynamic).
      - C(bands) are four lists of a first category and a number of categories, C(dynamic) is one such list, for
        libvirt's dynamic guests. Bands that overlap are refused.
    type: list
    elements: dict
    default: []
  strategy:
    description: Strategy of domains without one.
    type: str
    choices: [static, range, none]
    default: static
  guests:
    description: Names or uuids of guests. Empty means all.
    type: list
    elements: str
    default: []
  quarantine_days:
    description: Days before the label of a guest that is gone can be assigned to another one. Backups carry labels.
    type: int
    default: 30
  allow_unread:
    description:
      - Assign labels in a domain although one of its hosts was never read completely. Labels in use there may then be
        assigned a second time.
    type: bool
    default: false
  confirm_clock:
    description:
      - With O(operation=observe) and O(operation=release), confirm that this controller's clock is right although it is
        ahead of the latest time in the ledger by more than 30 days, or behind it. Without it, no quarantine ends or
        begins by a clock that is so far ahead, and RV(refused) and a warning say so.
    type: bool
    default: false
  repair:
    description:
      - With O(operation=repair), add labels and ranges of the fleet to the ledger if they conflict with nothing. This
        rebuilds a lost ledger. RV(unknown) lists what could not be recovered.
    type: bool
    default: false
  max_age:
    description:
      - Maximum age of a snapshot in seconds. A host with an older one counts as unread.
      - The age is that of the file on the controller, in the store too.
    type: int
    default: 3600
  dest:
    description:
      - File on the controller for RV(hosts) as JSON, written atomically, for a job that applies it.
    type: path
requirements:
  - SQLAlchemy 2.0 or newer on the controller, and psycopg 3 for PostgreSQL.
seealso:
  - module: svirt.fleet.category_allocation_info
  - module: svirt.fleet.fleet_store
  - module: svirt.fleet.guest_seclabel
"""

EXAMPLES = r"""
---
- name: Assign labels to the guests of two hosts, one of them of another tenant
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

- name: Release the labels of a host that is gone for good
  svirt.fleet.category_allocation:
    operation: release
    hosts: [kvm9]

- name: Rebuild a lost ledger from the fleet
  svirt.fleet.category_allocation:
    operation: repair
    repair: true
    snapshots: build/report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
"""

RETURN = r"""
run:
  description: Id of the run whose snapshots were read. Empty when they are not those of a run.
  returned: always
  type: str
  sample: 3f9a1c0b7d21
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
  description: Changes to the ledger, or predicted ones in check mode. At most 1000; RV(sizes) counts all.
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
  description: What was not done, or differs from the ledger, and why. At most 1000.
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
    code:
      description: The reason as one word, for programs.
      type: str
  sample: []
pending:
  description: What waits for a power cycle, for a host that could not be read or for another operation. At most 1000.
  returned: always
  type: list
  elements: dict
  contains:
    subject:
      description: The guest or host.
      type: str
    needs:
      description: >-
        What it waits for, as one word, V(power_cycle), V(daemon_restart), V(host_read), V(reserve) or V(repair).
      type: str
    why:
      description: What it waits for.
      type: str
    code:
      description: The reason as one word, for programs.
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
      description: Name in O(domains), or V(auto-) and the name of the first host.
      type: str
    strategy:
      description: V(static), V(range) or V(none).
      type: str
    hosts:
      description: Its hosts.
      type: list
      elements: str
    guests:
      description: Number of guests on them.
      type: int
    capacity:
      description: Number of its labels or ranges.
      type: int
    used:
      description: Number of them in use or in quarantine.
      type: int
  sample:
    - {name: prod, strategy: static, hosts: [kvm1, kvm2], guests: 4, capacity: 3782742016, used: 4}
hosts:
  description: Range and labels to apply, by host. Only O(operation=reserve) returns it, for hosts that were read.
  returned: always
  type: dict
  contains:
    range:
      description: C(low) and C(high) of the range for M(svirt.fleet.category_range), or null for none.
      type: dict
    guests:
      description: For O(svirt.fleet.guest_seclabel#module:guests), without guests whose definition is right.
      type: list
      elements: dict
  sample:
    kvm1:
      range: {low: 0, high: 31}
      guests:
        - guest: 00000000-0000-4000-8000-000000000001
          type: static
          label: system_u:system_r:svirt_t:s0:c32,c280,c528,c776
unknown:
  description: What could not be recovered about labels that were added from the fleet.
  returned: always
  type: list
  elements: str
  sample: []
unread:
  description: Hosts that could not be read completely, and why.
  returned: always
  type: dict
  sample: {kvm3: "no snapshot at build/report/snapshots/kvm3.json: the host was not probed; run the probe for it"}
dest:
  description: Path of the file with RV(hosts).
  returned: when O(dest) is given
  type: str
  sample: /srv/fleet/labels.json
"""
