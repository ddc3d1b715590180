# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipes of images, and what a host's shape decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders import files
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.grub_environment import (
    parse_grubenv,
)

from tests.lab.errors import LabError
from tests.lab.host import shape as host_shape
from tests.lab.host.domains import domain_xml
from tests.lab.host.faults import FAULTS
from tests.lab.host.seed import guests
from tests.lab.image import build, modular
from tests.lab.image.el import EMULATOR
from tests.lab.image.shapes import RECIPES
from tests.lab.machine.accel import Accel
from tests.lab.shape import Shape
from tests.scenarios.steps import expected_of

EL, DEBIAN = RECIPES[Shape.EL], RECIPES[Shape.DEBIAN]


def test_every_shape_has_a_recipe_and_an_image_of_its_own() -> None:
    assert set(RECIPES) == set(Shape)
    assert len({build.image_name("trixie", recipe) for recipe in RECIPES.values()}) == len(Shape)


@pytest.mark.parametrize("part", ["files", "appends", "links"])
def test_image_is_another_when_an_input_is(part: str) -> None:
    table = {**getattr(EL, part), "/etc/another": "text"}
    changed = replace(EL, **{part: table})  # type: ignore[arg-type]  # the three have one type
    assert build.image_name("trixie", changed) != build.image_name("trixie", EL)


def test_fault_of_the_policy_is_in_no_image_of_another_shape() -> None:
    assert set(DEBIAN.policy_sources()) < set(EL.policy_sources())


def test_host_has_modular_daemons_only() -> None:
    assert not {"libvirt-daemon", "libvirt-daemon-system"} & set(EL.packages)
    assert not any("libvirtd" in f"{path} {target}" for path, target in EL.links.items())
    started = {path.rpartition("/")[2] for path in EL.links if "/sockets.target.wants/" in path}
    assert {f"{name}.socket" for name in modular.DAEMONS} < started


def test_grub_environment_is_one_block_that_is_read() -> None:
    text = EL.files["/boot/grub2/grubenv"]
    assert len(text.encode()) == 1024
    assert parse_grubenv(text)["kernelopts"] == EL.files["/etc/kernel/cmdline"].strip()


def test_one_boot_entry_states_its_arguments_and_one_takes_them_from_the_environment() -> None:
    entries = [text for path, text in EL.files.items() if path.startswith("/boot/loader/entries/")]
    options = [line.split(None, 1)[1] for text in entries for line in text.splitlines() if line.startswith("options")]
    assert sorted("$kernelopts" in each for each in options) == [False, True]
    assert files.SNIPPETS[0] == "/boot/loader/entries/*.conf"


@pytest.mark.parametrize("accel", [Accel.KVM, Accel.TCG])
def test_host_without_a_boot_loader_is_refused_where_it_would_need_one(accel: Accel) -> None:
    with pytest.raises(LabError, match="no boot loader"):
        build.ground("trixie", accel, shape=Shape.EL)


def test_release_that_a_shape_does_not_have_is_refused() -> None:
    with pytest.raises(LabError, match="trixie only"):
        build.ground("bookworm", Accel.UML, shape=Shape.EL)


def test_guest_with_a_tpm_is_on_hosts_that_have_swtpm() -> None:
    secure = [guest for guest in guests("kvm1", host_shape.EL) if guest.secure]
    assert not any(guest.secure for guest in guests("kvm1"))
    assert len(secure) == 1
    assert host_shape.EL.emulator == EMULATOR
    text = domain_xml(secure[0], emulator=EMULATOR)
    for part in ("<tpm model='tpm-crb'>", "<nvram template=", f"<emulator>{EMULATOR}</emulator>"):
        assert part in text


def test_daemon_in_a_finding_is_that_of_the_shape() -> None:
    wanted = [FAULTS["daemon-range-list"]]
    assert expected_of(wanted, "kvm1") == {("LIB-007", "daemon libvirtd")}
    assert expected_of(wanted, "kvm1", Shape.EL) == {("LIB-007", "daemon virtqemud")}
