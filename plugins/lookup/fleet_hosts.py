# Copyright: svirt.fleet contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host pattern of a play, refused when the run would skip parts of the playbook or reach no host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_hosts
short_description: Host pattern of a play that must not be skipped
version_added: 1.0.0
author: svirt.fleet contributors (@svirt-fleet)
description:
  - Returns the pattern for C(hosts) of a play. Ansible evaluates it for each play, also when every task is skipped.
  - Fails when the run was started with C(--tags), C(--skip-tags), C(--start-at-task) or C(--step), by option or by
    configuration. Ansible would leave tasks out and end with status 0 although nothing was audited.
  - Fails when the pattern selects no host of the inventory, or no host within C(--limit).
  - Listings, C(--syntax-check) and the tags that Molecule always skips are not checked.
options:
  _terms:
    description: Host patterns. A host that one of them selects is in the play.
    type: list
    elements: str
    required: true
  group:
    description:
      - Group that the hosts must also be in. As long as it does not exist the play has no hosts.
      - For plays that change only the hosts that an earlier play has grouped.
    type: str
  controller:
    description:
      - The play runs on the controller and contacts no host. The patterns are returned whatever the inventory has.
      - Fails when the run has C(--limit), by which Ansible would leave the play out and end with status 0.
    type: bool
    default: false
seealso:
  - plugin: ansible.builtin.inventory_hostnames
    plugin_type: lookup
"""

EXAMPLES = r"""
---
- name: Audit the hypervisors
  hosts: "{{ query('svirt.fleet.fleet_hosts', 'hypervisors') }}"
  gather_facts: false
  strategy: ansible.builtin.linear
  roles:
    - role: svirt.fleet.audit
"""

RETURN = r"""
_raw:
  description: The host pattern.
  type: list
  elements: str
"""

import typing as t

from ansible import context
from ansible.errors import AnsibleLookupError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

#: Options that only list or parse.
_LISTINGS = ("listhosts", "listtasks", "listtags", "syntax")

#: Tags that Molecule skips in every run; no task of this collection has them.
_OF_MOLECULE = {"molecule-notest", "molecule-idempotence-notest", "notest"}


class LookupModule(LookupBase):
    """Checks the run before it hands out the pattern."""

    def run(self, terms: t.Any, variables: t.Any = None, **kwargs: t.Any) -> list[str]:
        patterns = [str(pattern) for pattern in _flat(terms)]
        arguments = context.CLIARGS
        if any(arguments.get(option) for option in _LISTINGS):
            return patterns
        limit = arguments.get("subset")
        empty = _limited(limit) if kwargs.get("controller") else self._empty(patterns, variables["groups"], limit)
        for problem in (skipped(arguments), empty):
            if problem:
                raise AnsibleLookupError(problem)
        group = kwargs.get("group")
        if group is None:
            return patterns
        return [*patterns, f"&{group}" if group in variables["groups"] else "!all"]

    def _empty(self, patterns: list[str], groups: t.Mapping[str, list[str]], limit: str | None) -> str:
        manager = InventoryManager(self._loader, parse=False)  # type: ignore[no-untyped-call]
        for group, hosts in groups.items():
            manager.add_group(group)  # type: ignore[no-untyped-call]
            for host in hosts:
                manager.add_host(host, group=group)  # type: ignore[no-untyped-call]
        shown = ", ".join(patterns)
        if not manager.get_hosts(patterns):  # type: ignore[no-untyped-call]
            return f"the inventory has no host that {shown!r} selects, so nothing would be done; correct svirt_hosts"
        manager.subset(limit)  # type: ignore[no-untyped-call]
        if not manager.get_hosts(patterns):  # type: ignore[no-untyped-call]
            return f"no host that {shown!r} selects is within --limit {limit!r}, so nothing would be done"
        return ""


def _limited(limit: str | None) -> str:
    return f"this playbook contacts no host, and --limit {limit!r} would leave it out; run it without" if limit else ""


def skipped(arguments: t.Mapping[str, t.Any]) -> str:
    """The option of the command line that leaves tasks out, as an error; empty: none does."""
    tags = sorted(set(arguments.get("tags") or ()) - {"all"})
    left_out = sorted(set(arguments.get("skip_tags") or ()) - _OF_MOLECULE)
    options = {
        f"--tags {','.join(tags)}": tags,
        f"--skip-tags {','.join(left_out)}": left_out,
        f"--start-at-task {arguments.get('start_at_task')!r}": arguments.get("start_at_task"),
        "--step": arguments.get("step"),
    }
    given = " and ".join(option for option, value in options.items() if value)
    if not given:
        return ""
    return f"{given} would leave out parts of this playbook, and its verdict with them; run it without"


def _flat(terms: t.Any) -> t.Iterator[t.Any]:
    for term in terms:
        if isinstance(term, (list, tuple)):
            yield from _flat(term)
        else:
            yield term
