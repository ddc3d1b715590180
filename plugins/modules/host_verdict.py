#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is only the documentation: the work is done by the action plugin of the same name, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: host_verdict
short_description: Fail a host where a step refused something
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Fails a host where one of the steps before left an object as it was, and names all of them.
  - As the last task of a play it lets all steps be finished that are safe, without a host that ends with success
    although something was refused.
  - Does not contact the host.
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - No host is modified.
  idempotent:
    support: full
options:
  results:
    description:
      - Registered results of modules of this collection. Everything in their C(refused), C(not_made) and
        C(failed_entries) fails the host.
    type: list
    elements: dict
    required: true
seealso:
  - module: svirt.fleet.fleet_verdict
"""

EXAMPLES = r"""
---
- name: Revert the changes in the journal
  svirt.fleet.svirt_rollback:
    strict: false
  register: reverted

- name: Restart libvirt if needed and if no guest would be harmed
  svirt.fleet.libvirt_restart:
  register: restarted

- name: Verdict
  svirt.fleet.host_verdict:
    results: ["{{ reverted }}", "{{ restarted }}"]
"""

RETURN = r"""
refused:
  description: Number of objects that were left as they were.
  returned: always
  type: int
  sample: 0
msg:
  description: These objects with the reasons, one to a line. At most 100 are named.
  returned: always
  type: str
  sample: no step refused anything
"""
