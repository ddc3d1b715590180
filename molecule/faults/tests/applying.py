# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules that change a host, all of them or some: a module that is to be struck is run alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from looking import HOST, Host

from tests.scenarios.playbooks import Run, run

#: Of the guests that conftest.py makes: a filter that learns addresses needs more than the lab's policy allows.
_ADDRESSES = [
    {"guest": "open-wire", "parameters": {"IP": "10.78.0.60"}},
    {"guest": "nameless", "parameters": {"IP": "10.78.0.61"}},
]
#: What each is asked for. The first six change the host that conftest.py prepares, in the order of a whole hardening.
TASKS: dict[str, dict[str, Any]] = {
    "selinux_state": {"svirt.fleet.selinux_state": {"soak_seconds": 0}},
    "libvirt_security": {"svirt.fleet.libvirt_security": {"settings": {"max_core": 0}}},
    "guard_hook": {"ansible.builtin.import_role": {"name": "svirt.fleet.guard"}},
    "image_label": {"svirt.fleet.image_label": {"repair": ["at_rest", "readable", "orphans", "stale_owners"]}},
    "guest_seclabel": {"svirt.fleet.guest_seclabel": {"repair": ["none"]}},
    "guest_network_filter": {"svirt.fleet.guest_network_filter": {"guests": _ADDRESSES}},
    "libvirt_restart": {"svirt.fleet.libvirt_restart": {}},
    "forced_restart": {"svirt.fleet.libvirt_restart": {"only_if_needed": False}},
    # libvirt makes this folder at its start, which the kernel refuses; only the attempt shows it.
    "refused_conf": {"svirt.fleet.libvirt_security": {"settings": {"auto_dump_path": "/sys/svirt-fleet"}}},
    "svirt_rollback": {"svirt.fleet.svirt_rollback": {}},
}
MODULES = tuple(TASKS)[:6]


@contextmanager
def playbook(names: Sequence[str], go_on: bool = False) -> Iterator[str]:
    """The path of a playbook of these tasks; with ``go_on`` a task that fails keeps no other from being run."""
    tasks = [{"name": name, "ignore_errors": go_on, **TASKS[name]} for name in names]
    with tempfile.NamedTemporaryFile("w", prefix="svirt-faults-", suffix=".yml") as file:
        json.dump([{"hosts": HOST, "gather_facts": False, "tasks": tasks}], file)  # JSON is YAML
        file.flush()
        yield file.name


def apply(host: Host, *names: str, go_on: bool = False, **variables: Any) -> Run:
    """One run of these tasks; its exit status is the caller's to judge."""
    with playbook(names, go_on) as path:
        return run(path, host.lab.inventory, limit=HOST, **variables)


def applied(host: Host, *names: str) -> Run:
    """The same, which must succeed."""
    done = apply(host, *names)
    assert done.status == 0, done.output
    return done


def put_back(host: Host) -> None:
    """Roll everything back, which must succeed and leave no journal."""
    applied(host, "svirt_rollback")
    assert host.journal() == {}
