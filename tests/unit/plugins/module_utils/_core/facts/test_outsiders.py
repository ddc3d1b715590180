# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Processes of no guest: nothing that a process claims of itself makes it harmless."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts import outsiders
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import read_context
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.shipped_types import (
    is_container_type,
    named_open,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Process
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support import factory

TYPES = st.sampled_from(
    [
        "svirt_t",
        "svirt_tcg_t",
        "container_t",
        "container_kvm_t",
        "spc_t",
        "virtd_t",
        "unconfined_t",
        "custom_t",
        "x.process",
    ]
)
LEVELS = st.sampled_from(["s0", "s0:c5", "s0:c5,c6", "s0:c1.c9", "s0-s0:c0.c1023", "SystemLow", "s0:c5,c05"])
LABELS = st.one_of(st.none(), st.text(max_size=20), st.builds("system_u:system_r:{}:{}".format, TYPES, LEVELS))
TEXTS = st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["none", "none,accel=kvm", "type=none", "q35"]))
PROCESSES = st.builds(
    Process,
    pid=st.just(50),
    role=st.just("qemu"),
    exe=TEXTS,
    name=TEXTS,
    context=LABELS,
    uid=st.sampled_from([None, 0, 107, 1000]),
    parent=st.sampled_from([None, 1, 2, 900]),
    machine=TEXTS,
    cgroup=st.one_of(st.none(), st.sampled_from(["/kubepods/x", "/user.slice/user@1000.service/x", "/"])),
)


@settings(max_examples=500)
@given(PROCESSES)
def test_a_qemu_is_left_out_or_excused_only_by_what_the_kernel_says_of_it(process: Process) -> None:
    snapshot = factory.host()
    assert snapshot.libvirt.daemon is not None
    snapshot.libvirt.daemon.pid = 900
    snapshot.processes.append(process)
    kinds = [kind for found, kind in outsiders.outside_qemus(snapshot) if found is process]
    context = read_context(process.context)
    if not kinds:  # libvirt's probe
        assert context is not None
        assert (context.type, process.parent in (1, 900)) == ("virtd_t", True)
    elif kinds != [outsiders.UNCONFINED]:
        assert context is not None
        assert 2 <= len(context.categories) <= 8
        assert not named_open(context.type)
        assert is_container_type(context.type) is (kinds == [outsiders.CONTAINER])
        assert context.type != "custom_t"


@given(PROCESSES)
def test_claims_change_nothing(process: Process) -> None:
    """Name, path and command line do not decide, except that a machine makes a probe none."""
    other = Process(**{**vars(process), "exe": "/usr/bin/other", "name": "other", "machine": "q35"})
    kinds = []
    for each in (process, other):
        snapshot = factory.host()
        snapshot.processes.append(each)
        kinds.append([kind for found, kind in outsiders.outside_qemus(snapshot) if found is each])
    assert kinds[0] in ([], kinds[1])


@pytest.mark.parametrize("daemon", ["none", "asleep", "without a label"])
def test_without_a_daemon_there_is_no_probe(daemon: str) -> None:
    snapshot = factory.host()
    assert snapshot.libvirt.daemon is not None
    if daemon == "none":
        snapshot.libvirt.daemon = None
    elif daemon == "asleep":
        snapshot.libvirt.daemon.pid = None
    else:
        snapshot.libvirt.daemon.context = None
    context = None if daemon == "without a label" else factory.DAEMON
    snapshot.processes.append(Process(50, "qemu", "/q", None, context, 107, parent=1, machine="none"))
    assert [kind for process, kind in outsiders.outside_qemus(snapshot) if process.pid == 50] == [outsiders.UNCONFINED]
