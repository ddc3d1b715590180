#!/usr/bin/python
# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: guest_network_filter
short_description: Give guests' network interfaces a filter against forged addresses
version_added: 1.0.0
description:
  - Gives the bridged interfaces of all guests of a host one of libvirt's network filters, in the guests' definitions
    and live, in one call. sVirt keeps guests from each other's disks, it does not guard the wire.
  - Live means that libvirt puts the rules in place under the running guest. Neither the link nor anything else of the
    interface changes.
  - A filter that is there already stays when it holds the guest to its own addresses. One of libvirt's building blocks,
    such as V(no-mac-spoofing) alone, gives way to O(filter). A weak filter that is not libvirt's stays too, and
    RV(refused) names it. Name the interface in O(guests) to replace it.
  - Interfaces that are on no bridge of the host (C(user), C(direct), C(hostdev), C(vhostuser), C(vdpa), C(ethernet),
    Open vSwitch) are left alone, for libvirt has no filters there. They are refused when O(guests) names them.
  - What each definition and each live filter was goes into the journal on the host before the change.
options:
  filter:
    description:
      - The filter for interfaces that have none. The host must define it.
      - V(clean-traffic) lets only IPv4 and ARP pass, from the guest's own addresses. A guest that uses IPv6 needs a
        filter of your own, or must be left out by O(exclude).
    type: str
    default: clean-traffic
  parameters:
    description:
      - Parameters for O(filter), name to value. A list of values gives the parameter several times.
    type: dict
    default: {}
  ip_learning:
    description:
      - How libvirt learns the address of a guest for which nobody declared parameter C(IP).
      - V(any) takes the first address that the guest uses. Until then the guest may only send under its own MAC
        address.
      - V(dhcp) takes addresses from DHCP leases only. A running guest would be cut off until it renews its lease, so
        for these the filter is written to the definition only, and RV(pending) names them.
      - Where the loaded policy does not let libvirt watch packets, as Debian's alone does not, libvirt would drop all
        that the guest sends, now or after its next start. The interface is then left alone, and RV(refused) names it.
    type: str
    choices: [any, dhcp]
    default: any
  guests:
    description:
      - Guests that need something else, and declared addresses.
    type: list
    elements: dict
    default: []
    suboptions:
      guest:
        description: Name or uuid.
        type: str
        required: true
      filter:
        description: The filter for all of its interfaces, in place of O(filter) and of what they have.
        type: str
      parameters:
        description: Parameters of that filter, in place of O(parameters).
        type: dict
      interfaces:
        description: The same for single interfaces of the guest.
        type: list
        elements: dict
        default: []
        suboptions:
          mac:
            description: MAC address of the interface, as the guest's definition has it.
            type: str
            required: true
          filter:
            description: Its filter.
            type: str
          parameters:
            description: Parameters of its filter, above all C(IP), the addresses that the guest may use there.
            type: dict
  exclude:
    description:
      - Guests (name or uuid) and interfaces (MAC address) that are left alone. Those that route or bridge for others
        cannot be held to one address.
    type: list
    elements: str
    default: []
  live:
    description:
      - Change running guests' interfaces too. Otherwise RV(pending) names those that get their filter at the next
        start.
    type: bool
    default: true
  foreseen_policy:
    description:
      - RV(svirt.fleet.selinux_state#module:policy_changes) of an earlier task. In check mode the loaded policy is then
        not asked whether libvirt may watch packets, for it will be another one. Outside of check mode it is ignored.
    type: bool
    default: false
extends_documentation_fragment:
  - svirt.fleet._attributes
  - svirt.fleet._attributes.actiongroup_svirt
  - svirt.fleet._options.strict
  - svirt.fleet._options.timeout
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - libvirt's Python binding on the host (C(python3-libvirt)), under any of the host's Python interpreters.
notes:
  - Run it as root.
  - While libvirt changes the filter of a running guest, there is a moment without one.
seealso:
  - module: svirt.fleet.guest_power_cycle
  - module: svirt.fleet.svirt_info
author:
  - svirt.fleet contributors (@svirt-fleet)
"""

EXAMPLES = r"""
---
- name: No guest sends under another one's name
  svirt.fleet.guest_network_filter:

- name: With declared addresses, and a router that is left out
  svirt.fleet.guest_network_filter:
    guests:
      - guest: web1
        interfaces:
          - mac: 52:54:00:12:34:56
            parameters:
              IP: [192.0.2.10, 192.0.2.11]
    exclude: [router1]

- name: Addresses by DHCP from one server only
  svirt.fleet.guest_network_filter:
    ip_learning: dhcp
    parameters:
      DHCPSERVER: 192.0.2.1
"""

RETURN = r"""
---
before:
  description: The filters of all bridged interfaces that are not excluded, as they were.
  returned: success
  type: list
  elements: dict
  contains:
    guest:
      description: Name of the guest.
      type: str
    uuid:
      description: Uuid of the guest.
      type: str
    mac:
      description: MAC address of the interface.
      type: str
    persistent:
      description: Filter and parameters in the guest's definition, or V(null).
      type: str
      sample: clean-traffic IP=192.0.2.10
    live:
      description: Filter and parameters now, or V(null).
      type: str
after:
  description: The same as it is after the run, or would be.
  returned: success
  type: list
  elements: dict
plan:
  description:
    - The changes, one by one. In check mode the changes that would be made.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(define) for the guest's definition, V(update) for what runs.
      type: str
    subject:
      description: The guest or interface, named as in the audit.
      type: str
      sample: interface 52:54:00:12:34:56 of guest web1
    from:
      description: State before.
      type: str
    to:
      description: State after.
      type: str
    where:
      description: V(persistent) or V(live).
      type: str
pending:
  description: Objects whose persistent XML is right and that need something else before it takes effect.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The guest, interface or filter.
      type: str
    needs:
      description: V(guest_power_cycle), or V(operator) for what people must do.
      type: str
    why:
      description: The present state and the reason.
      type: str
    code:
      description: The reason for programs. It is stable between releases.
      type: str
      sample: runs_unconfined
refused:
  description: Objects that were left as they are, each with C(subject), C(why) and C(code).
  returned: success
  type: list
  elements: dict
not_made:
  description:
    - Changes that failed, each with C(subject), C(why) and C(code). The module fails when there are any.
  returned: when there are any
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._backends.guest_network_filter import ARGUMENTS, run
from ..module_utils._host.base.journal import Journals
from ..module_utils._module import settle_with_libvirt


def main() -> None:
    """Read the definitions, plan, change them, tell."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    settle_with_libvirt(module, lambda call: run(call, Journals()))


if __name__ == "__main__":
    main()
