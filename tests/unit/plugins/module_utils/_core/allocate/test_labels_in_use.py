# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.labels_in_use import (
    from_stored,
    label_use,
    stored,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support.fleets import PROCESS, disk, guest, host
from tests.unit.support.labels import sets, uuid

IMAGE = "system_u:object_r:svirt_image_t:"


def labelled(path: str, label: str) -> s.Resource:
    item = disk(path, "/")
    return replace(item, file=replace(item.file, label=label))


def everything() -> s.Snapshot:
    one = guest(
        uuid(1),
        "s0:c1,c2",
        live=[s.SecLabel("selinux", "dynamic", label=PROCESS + "s0:c1,c2", imagelabel=IMAGE + "s0:c1,c2")],
        persistent_labels=[s.SecLabel("selinux", "static", label=PROCESS + "s0:c3,c4", relabel=True)],
        resources=[labelled("/a", IMAGE + "s0:c5,c6"), labelled("/b", IMAGE + "s0"), labelled("/c", "nonsense")],
    )
    daemon = s.Daemon("libvirtd", context="system_u:system_r:virtd_t:s0-s0:c64.c127")
    models = [s.SecurityModel("dac"), s.SecurityModel("selinux", baselabels={"kvm": PROCESS + "s0"})]
    return host(
        "kvm1",
        [one],
        libvirt=s.Libvirt(installed=True, daemon=daemon, models=models),
        processes=[
            s.Process(1, "swtpm", context=PROCESS + "s0:c7,c8", guest=uuid(1)),
            s.Process(2, "qemu", context=PROCESS + "s0:c9,c10"),
        ],
        containers=[s.ContainerLabel("system_u:system_r:container_t:s0:c11,c12")],
        orphans=[s.Orphan("/o", IMAGE + "s0:c13,c14")],
    )


def test_every_place_where_a_label_may_be_counts() -> None:
    use = label_use("kvm1", everything())
    (one,) = use.guests
    assert one.held == sets("c1,c2", "c3,c4", "c7,c8")
    assert one.files == sets("c5,c6")
    assert use.strangers == sets("c9,c10", "c11,c12")
    assert use.files == sets("c13,c14")
    assert use.baselabels == {"kvm": PROCESS + "s0"}
    assert use.range == DaemonRange(64, 127)
    assert (one.running, str(one.defined), one.relabels, one.static) == (
        next(iter(sets("c1,c2"))),
        PROCESS + "s0:c3,c4",
        True,
        False,
    )
    assert use.complete


def test_what_is_kept_comes_back() -> None:
    use = label_use("kvm1", everything())
    back = from_stored("kvm1", json.loads(json.dumps(stored(use))))
    assert (back.strangers, back.files) == (use.strangers, use.files)
    assert [(one.uuid, one.held, one.files) for one in back.guests] == [
        (one.uuid, one.held, one.files) for one in use.guests
    ]


@pytest.mark.parametrize("area", ["guests", "processes", "containers", "images", "orphans"])
def test_an_area_that_could_not_be_read_is_a_doubt(area: str) -> None:
    snapshot = host("kvm1")
    snapshot.coverage[area] = s.Coverage(s.UNKNOWN, "not root")
    assert label_use("kvm1", snapshot).doubts == (f"{area}: not root",)
    snapshot.coverage[area] = s.Coverage(s.NOT_APPLICABLE, "none here")
    assert label_use("kvm1", snapshot).complete


@pytest.mark.parametrize("level", [None, "SystemLow"])
def test_a_running_guest_whose_label_is_not_known_is_a_doubt(level: str | None) -> None:
    assert "label of its process" in label_use("kvm1", host("kvm1", [guest(uuid(1), level)])).doubts[0]
    assert label_use("kvm1", host("kvm1", [guest(uuid(1), level, active=False)])).complete
    off = host("kvm1", [guest(uuid(1), level)], selinux=s.SELinux(mode="disabled"))
    assert label_use("kvm1", off).complete


def test_a_guest_that_could_not_be_read_is_a_doubt() -> None:
    use = label_use("kvm1", host("kvm1", [guest(uuid(1), "s0:c1,c2", error="broken XML")]))
    assert not use.complete
    assert use.guests[0].error == "broken XML"


@pytest.mark.parametrize("wrong", ["", "web", uuid(1) + "\n", uuid(1).replace("-", ""), "A" * 36])
def test_a_uuid_that_is_none_is_an_error(wrong: str) -> None:
    (one,) = label_use("kvm1", host("kvm1", [guest(wrong, "s0:c1,c2")])).guests
    assert "which is none" in one.error
    assert one.held == sets("c1,c2")


def test_names_are_bounded_and_plain() -> None:
    (one,) = label_use("kvm1", host("kvm1", [guest(uuid(1), None, name="a\0\udc80" + "b" * 999)])).guests
    assert one.name.startswith("a\\0\\udc80bbb")
    assert len(one.name) < 250


@pytest.mark.parametrize(
    ("labels", "defined", "relabels"),
    [
        ([], False, True),
        ([s.SecLabel("dac", "static", label="+0:+0")], False, True),
        ([s.SecLabel("selinux", "dynamic")], False, True),
        ([s.SecLabel("selinux", "static", label=PROCESS + "s0:c1,c2")], True, False),
        ([s.SecLabel(None, "static", label=PROCESS + "s0:c1,c2", relabel=True)], True, True),
        ([s.SecLabel("selinux", "static", label="broken")], False, False),
    ],
)
def test_the_definitions_label(labels: list[s.SecLabel], defined: bool, relabels: bool) -> None:
    (one,) = label_use("kvm1", host("kvm1", [guest(uuid(1), None, persistent_labels=labels)])).guests
    assert (one.defined is not None, one.relabels) == (defined, relabels)


@pytest.mark.parametrize("context", [None, "system_u:system_r:virtd_t:s0-s0:c5"])
def test_a_range_that_is_not_known_is_none(context: t.Any) -> None:
    snapshot = host("kvm1", libvirt=s.Libvirt(installed=True, daemon=s.Daemon("libvirtd", context=context)))
    assert label_use("kvm1", snapshot).range is None
