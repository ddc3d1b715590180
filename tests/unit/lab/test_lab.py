# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Which hosts that are up a lab takes for those that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.machine.ground import Ground
from tests.lab.shape import Shape


class StartedError(Exception):
    """Hosts were to be started anew."""


def prepare() -> Ground:
    raise StartedError


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Hosts of Debian 12 that are up."""
    for name, text in (("hosts", "kvm1\n"), ("release", "bookworm\n"), ("shape", "debian\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(Lab, "_healthy", lambda _lab, _name: True)
    return Lab.at(tmp_path)


@pytest.mark.parametrize("release", [None, "bookworm"])
def test_hosts_are_reused(lab: Lab, release: str | None) -> None:
    assert lab.up(prepare, ["kvm1"], Shape.DEBIAN, release) is False
    assert lab.release() == "bookworm"


@pytest.mark.parametrize(("shape", "release"), [(None, "trixie"), (Shape.EL, None)])
def test_hosts_of_another_kind_are_not(lab: Lab, shape: Shape | None, release: str | None) -> None:
    with pytest.raises(StartedError):
        lab.up(prepare, ["kvm1"], shape, release)
    assert lab.names() == []
