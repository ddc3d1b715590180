#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: watch_timer
short_description: Have a host audit itself between audits
version_added: 1.0.0
description:
  - Installs a timer of systemd that runs the probe and the rules about one host on the host itself, without Ansible. It
    writes metrics for the textfile collector of C(node_exporter), and logs a line when the verdict changes.
  - Judged is what one host can see of itself, guests of the host that reach one another among it. What takes two hosts
    to see is left to M(svirt.fleet.fleet_analysis).
  - Refusals of the guard (M(svirt.fleet.guard_hook)) are counted.
  - Nothing listens, and nothing runs between two runs.
  - The files are C(/usr/local/lib/svirt-fleet/watch.pyz), C(/etc/svirt-fleet/watch.json), and
    C(svirt-watch.service) and C(svirt-watch.timer) in C(/etc/systemd/system). M(svirt.fleet.svirt_rollback) takes them
    back.
options:
  state:
    description:
      - Whether the watch is there. V(absent) removes its metrics too.
    type: str
    choices: [present, absent]
    default: present
  content:
    description:
      - The program. The action plugin of this module builds it from the collection; leave it out.
    type: str
  host:
    description:
      - Name of the host in findings and waivers. Without it, the name in the inventory.
    type: str
  directory:
    description:
      - Folder for the metrics, that of the option C(--collector.textfile.directory) of C(node_exporter). The default is
        that of Debian's package. It is created when it is missing. The file is C(svirt_fleet_watch.prom).
    type: path
    default: /var/lib/prometheus/node-exporter
  interval:
    description:
      - Seconds from one run to the next, from 60 to 86400.
    type: int
    default: 900
  time_limit:
    description:
      - Seconds after which a run is ended, from 10 to 3600, and less than O(interval). The verdict is then V(unknown).
    type: int
    default: 300
  memory_limit:
    description:
      - Memory that a run may take, in MiB, from 64 to 65536.
    type: int
    default: 512
  timeout:
    description:
      - Seconds that libvirt may take to answer, and each storage that may hang, from 1 to 600.
    type: int
    default: 30
  fail_on:
    description:
      - Lowest severity that makes the verdict V(fail).
    type: str
    choices: [critical, high, medium, low, info, never]
    default: high
  profile:
    description:
      - What the fleet is used with, as O(svirt.fleet.fleet_analysis#module:profile).
    type: str
    choices: [local, nfs, ovirt]
    default: local
  permissive_allowed:
    description:
      - Process types that may stay permissive, beside those that the distributions ship so.
    type: list
    elements: str
    default: []
  waivers:
    description:
      - Findings that are accepted, as O(svirt.fleet.fleet_analysis#module:waivers).
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.actiongroup_svirt
attributes:
  action:
    description: Has an action plugin that does a part of the work on the controller.
    support: full
    details:
      - It builds the program.
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - systemd, and Python 3.9 or newer with libvirt's binding (C(python3-libvirt)) on the host.
notes:
  - Run it as root.
seealso:
  - module: svirt.fleet.guard_hook
  - module: svirt.fleet.fleet_analysis
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Have the host audit itself every five minutes
  svirt.fleet.watch_timer:
    interval: 300
    time_limit: 120

- name: Take the watch away
  svirt.fleet.watch_timer:
    state: absent
"""

RETURN = r"""
before:
  description: The watch before.
  returned: success
  type: dict
  contains:
    active:
      description: Whether the timer runs.
      type: bool
    enabled:
      description: Whether it starts when the host boots.
      type: bool
    settings:
      description: The settings in C(/etc/svirt-fleet/watch.json), or V(null).
      type: dict
    files:
      description: By path, the SHA-256 of each file, or V(null) where there is none.
      type: dict
after:
  description: The watch after, as RV(before). In check mode what it would be.
  returned: success
  type: dict
plan:
  description: Each change, in order. The same in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(folder), V(file), V(link), V(unlink), V(remove), V(start), V(restart) or V(stop).
      type: str
    subject:
      description: The path, or the unit.
      type: str
    from:
      description: What was there.
      type: str
    to:
      description: What is there now.
      type: str
domain:
  description:
    - Label that the service runs with, as the loaded policy says. V(null) where SELinux is off, or it is not known.
  returned: success
  type: str
  sample: system_u:system_r:unconfined_service_t:s0
limits:
  description: What the watch does without on this host. A warning tells the same when the watch is changed.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The timer.
      type: str
    why:
      description: The reason.
      type: str
    code:
      description: The reason for programs, V(denied) by the policy or V(no_libvirt_binding).
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.watch_timer import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle


def main() -> None:
    """Install the watch, or take it away."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
