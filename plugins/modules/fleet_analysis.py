#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation only: the action plugin of the same name does the work, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_analysis
short_description: Judge the snapshots of a fleet of KVM hosts
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Applies all rules about hosts, guests and images to snapshots that M(svirt.fleet.svirt_info) wrote on the
    controller, and compares the categories of all running guests across hosts.
  - Writes a report in JSON and prints a summary of it.
  - Fails when the verdict is V(fail) or V(unknown), unless O(questions) are to be asked first or O(enforce) is
    V(false). The report is written in any case.
  - A host without a snapshot, or with an old or invalid one, is unknown. An unknown result is never a pass.
  - With O(run_kind), the run is kept in the store with its report and snapshots. The report and the summary then say
    what is new and gone since the last run of the same inventory.
  - Without O(snapshots), the hosts that other jobs have read into a run in the store are judged. Hosts that none of
    them has read are unknown.
  - Contacts no host, and runs once for all hosts of a play, as with C(run_once). It needs a strategy that runs hosts in
    lockstep, such as P(ansible.builtin.linear#strategy), so that the probe of all hosts has ended.
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
  - svirt.fleet._options.run
  - svirt.fleet._options.storage
  - svirt.fleet._options.tenants
attributes:
  check_mode:
    support: full
    details:
      - The report is written in check mode too. No label is reserved.
  diff_mode:
    support: N/A
    details:
      - No host is modified.
  idempotent:
    support: full
    details:
      - The same snapshots give the same report, except for its time.
options:
  snapshots:
    description:
      - Folder on the controller with one file per host, as M(svirt.fleet.svirt_info) writes them.
      - Without it, the snapshots of a run in O(store) are judged. That is O(run), or else the newest run of this
        inventory and O(run_kind) that jobs collect and that began no longer than O(max_age) ago.
    type: path
  run_kind:
    description:
      - Keep the run in O(store), as one of this playbook. Without it only a run from the store is kept.
      - Without O(store), the default store V(sqlite:///svirt-fleet.db) is used. When it cannot be, a warning says so.
      - In check mode no run is kept, except one that was collected before.
    type: str
    choices: [audit, harden, allocate]
  keep_runs:
    description:
      - Number of runs that the store keeps. The oldest are removed, but never the newest of an inventory and playbook.
    type: int
    default: 50
  orders:
    description:
      - What to return for the steps after this one, and to leave in the run for M(svirt.fleet.fleet_orders_info).
      - V(shared_use) and V(fresh_labels) have the content of the files O(shared_use) and O(fresh_labels).
    type: list
    elements: str
    choices: [shared_use, fresh_labels]
    default: []
  hosts:
    description:
      - Names in the inventory of all hosts to judge.
      - An empty list makes the verdict V(unknown).
    type: list
    elements: str
    required: true
  left_out:
    description:
      - Hosts of the fleet that are not in O(hosts), for example because of C(--limit). They are listed in the report.
      - Their guests may use shared storage, so orphans on it are unknown, and nothing about it is final for
        O(shared_use) and O(fresh_labels).
    type: list
    elements: str
    default: []
  report:
    description:
      - File on the controller for the report, written atomically. Missing folders are created.
      - Only its owner may read it, because it names weaknesses.
    type: path
    required: true
  formats:
    description:
      - Formats in which the report is written too, beside O(report), as O(svirt.fleet.fleet_report#module:formats).
      - They are written when the verdict is final. See O(questions).
    type: list
    elements: str
    default: []
  shared_use:
    description:
      - File on the controller for the files of shared storage that other hosts use, by host, for
        O(svirt.fleet.image_label#module:elsewhere).
    type: path
  fresh_labels:
    description:
      - File on the controller for new static labels, by host, for O(svirt.fleet.guest_seclabel#module:guests).
      - They are for guests with a static label that dominates, or is dominated by, that of another guest (rules CAT-001
        and CAT-002). Only guests in O(power_cycle) get one, and none does while a host could not be read completely.
      - With O(store), its ledger reserves them. Else they follow from the guests' uuids.
    type: path
  questions:
    description:
      - File on the controller for queries to the loaded policy of each host with guests that reach one another (rules
        CAT-001, CAT-002 and CAT-011), as O(svirt.fleet.isolation_info#module:checks). Hosts without a query are left
        out.
      - If there are queries, the task does not fail and prints no summary, because the verdict is not final. Run the
        queries, then this module with O(answers). The report is written in any case.
    type: path
  answers:
    description:
      - Name of the variable in which hosts registered the result of M(svirt.fleet.isolation_info) for O(questions).
      - The evidence of a finding then says whether it is C(confirmed by policy). A host whose variable is missing or
        failed counts as not asked.
    type: str
  domains:
    description:
      - Label domains, as O(svirt.fleet.category_allocation#module:domains). Guests migrate between the hosts of each
        domain without C(migration=false). Hosts that share labelled storage are detected without it.
      - Static labels of guests that could meet by migration are compared (CAT-003).
    type: list
    elements: dict
    default: []
  ledger:
    description:
      - URL of the store with the ledger that assigned the labels, as O(svirt.fleet.category_allocation#module:store).
        A difference between ledger and fleet is a finding (CAT-008). Without it no ledger is read.
    type: str
  power_cycle:
    description: Names or uuids of guests that may be power-cycled, and so may get another label.
    type: list
    elements: str
    default: []
  store:
    description:
      - URL of a store, as O(svirt.fleet.category_allocation#module:store). If it has a ledger, O(fresh_labels) are
        reserved there, as by O(svirt.fleet.category_allocation#module:operation=reserve). If there is no ledger yet,
        none is begun.
      - The store keeps the run, with O(run_kind).
      - Only domains of strategy V(static) get labels.
    type: str
  strategy:
    description: Strategy of domains without one, as O(svirt.fleet.category_allocation#module:strategy). For O(store).
    type: str
    choices: [static, range, none]
    default: static
  fail_on:
    description:
      - Lowest severity of a finding that makes the verdict of a host and of the fleet V(fail).
      - With V(never) no finding does, but an unknown result still fails the task.
    type: str
    choices: [critical, high, medium, low, info, never]
    default: high
  enforce:
    description:
      - Fail when the verdict is V(fail) or V(unknown).
      - With V(false) a later task has to do so, such as M(svirt.fleet.fleet_verdict).
    type: bool
    default: true
  profile:
    description:
      - What storage the guests are meant to be on. It decides which SELinux booleans may be on.
    type: str
    choices: [local, nfs, ovirt]
    default: local
  permissive_allowed:
    description: Process types that may be permissive, beside those that distributions ship so.
    type: list
    elements: str
    default: []
  waivers:
    description:
      - Findings that are accepted, with a reason and until a day.
      - A waiver names a finding by its O(waivers[].fingerprint), or by O(waivers[].rule) and O(waivers[].subject).
      - An expired waiver waives nothing and is a finding itself, C(WVR-001).
    type: list
    elements: dict
    default: []
    suboptions:
      fingerprint:
        description: Fingerprint of one finding, as the report has it.
        type: str
      rule:
        description: ID of the rule, for example V(GST-001).
        type: str
      subject:
        description: Subject of the finding, exactly as the report has it.
        type: str
      host:
        description: Name in the inventory, when the waiver is for one host only. Used with O(waivers[].rule).
        type: str
      reason:
        description: Why the finding is accepted, for those who come after.
        type: str
        required: true
      expires:
        description: The last day on which the waiver holds, as C(YYYY-MM-DD), by UTC.
        type: str
        required: true
  max_age:
    description:
      - Maximum age of a snapshot in seconds. A host with an older one is unknown.
      - The age is that of the file on the controller, which the store records.
    type: int
    default: 3600
seealso:
  - module: svirt.fleet.svirt_info
  - module: svirt.fleet.isolation_info
  - module: svirt.fleet.fleet_verdict
  - module: svirt.fleet.fleet_report
"""

EXAMPLES = r"""
---
- name: Judge the snapshots, and fail on critical findings only
  svirt.fleet.fleet_analysis:
    snapshots: build/report/snapshots
    hosts: "{{ ansible_play_hosts_all }}"
    report: build/report/report.json
    fail_on: critical
    waivers:
      - rule: GST-002
        subject: legacy-firewall
        host: kvm1
        reason: Replaced in the spring, change 1234.
        expires: "2027-03-31"
"""

RETURN = r"""
verdict:
  description: Verdict on the fleet, V(pass), V(fail) or V(unknown).
  returned: always
  type: str
  sample: fail
counts:
  description: Number of findings by severity, without waived ones.
  returned: always
  type: dict
  sample: {critical: 1, high: 3, medium: 0, low: 2, info: 1}
hosts:
  description: Number of hosts, in total and by verdict.
  returned: always
  type: dict
  sample: {total: 4, fail: 2, unknown: 1, pass: 1, not_applicable: 0}
asked:
  description: Number of hosts whose loaded policy is to be asked first (RV(verdict) is then not final).
  returned: always
  type: int
  sample: 0
report:
  description: Path of the report.
  returned: always
  type: str
  sample: /srv/audit/report.json
files:
  description: Paths of the report in other formats, by format.
  returned: when the verdict is final
  type: dict
  sample: {html: /srv/audit/report.html}
run:
  description: Id of the run in the store. Empty when it is not kept.
  returned: always
  type: str
  sample: 3f9a1c0b7d21
orders:
  description: What O(orders) asks for, by name and host.
  returned: always
  type: dict
  sample: {}
reserved:
  description: Labels that the ledger reserved for O(fresh_labels), as RV(svirt.fleet.category_allocation#module:plan).
  returned: when labels were needed and O(store) has a ledger
  type: list
  elements: dict
  sample: []
"""
