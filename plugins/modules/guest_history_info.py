#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guest_history_info
short_description: Read from the audit log which guests had which label
version_added: 1.0.0
description:
  - Reads libvirt's records in the audit log of a host. C(VIRT_MACHINE_ID) has the label of a guest that starts, and
    C(VIRT_CONTROL) when it started and stopped. Records that show gaps of the log and boots of the host are read too.
  - The files of auditd are read, the rotated ones too, as far back as there are any. Compressed files are not read.
    Without auditd, the journal is read.
  - At most 100,000 records are kept, the newest. A longer history begins later.
  - Changes nothing.
options:
  dest:
    description:
      - Folder on the controller. The records are written there, into one file per host, and not returned.
    type: path
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.info_module
  - svirt.fleet._attributes.actiongroup_svirt
attributes:
  action:
    description: Has an action plugin that does a part of the work on the controller.
    support: full
    details:
      - It writes the file in O(dest).
notes:
  - Run it as root.
  - libvirt audits with C(audit_level = 1) of its daemon's configuration, the default, where the host audits.
seealso:
  - module: svirt.fleet.fleet_history
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: Read what the host's audit log has of its guests
  svirt.fleet.guest_history_info:
    dest: svirt-report/records
"""

RETURN = r"""
records:
  description: The records, for M(svirt.fleet.fleet_history). With O(dest) their number.
  returned: success
  type: raw
summary:
  description: What was read.
  returned: when O(dest) is not given
  type: dict
  contains:
    since:
      description: Time of the first record, in seconds since the epoch. What was before is not known.
      type: float
    source:
      description: V(auditd) or V(journal).
      type: str
    counts:
      description: Number of records by kind.
      type: dict
      sample: {label: 12, start: 12, stop: 9}
records_path:
  description: Path of the host's file on the controller.
  returned: when O(dest) is given
  type: str
since:
  description: Time of the first record, in seconds since the epoch.
  returned: when O(dest) is given
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.guest_history_info import ARGUMENTS, run
from ..module_utils._module import settle


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle(module, run)


if __name__ == "__main__":
    main()
