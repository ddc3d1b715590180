# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section N, the guard: a self-test on a slow host is not a failed one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostWriteError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import guard as plan
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guard import (
    GuardOptions,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import LINK
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.own_programs.guard import Guard

from tests.unit.support.hooks import HostRoot, answer, tree

OPTIONS = GuardOptions("print('guard')\n")


class Slow:
    """run_command of a host on which programs take long: what each call gives."""

    def __init__(self, *results: tuple[int, str]) -> None:
        self.results = list(results)
        self.calls = 0

    def __call__(self, _command: list[str], **_more: object) -> tuple[int, str, str]:
        self.calls += 1
        status, out = self.results.pop(0)
        return status, out, ""


def install(tmp_path: Path, slow: Slow) -> str:
    for folder in ("usr/local/lib", "usr/sbin", "etc/libvirt"):
        (tmp_path / folder).mkdir(parents=True)
    guard = Guard(HostRoot(tree(), answer), slow, str(tmp_path))
    with Journal("guard_hook", str(tmp_path / "journal")) as journal:
        guard.install(plan.install(OPTIONS, guard.look()), journal)
    return f"{tmp_path}{LINK}"


@pytest.mark.parametrize("status", [0, 124, 137])
def test_n2_a_self_test_that_said_ok_is_ok_whatever_its_end_was(tmp_path: Path, status: int) -> None:
    assert os.path.islink(install(tmp_path, Slow((status, "svirt-guard: ok\n"))))


def test_n2_a_self_test_that_ran_out_of_time_is_tried_again(tmp_path: Path) -> None:
    slow = Slow((124, ""), (124, ""), (0, "svirt-guard: ok\n"))
    assert os.path.islink(install(tmp_path, slow))
    assert slow.calls == 3


def test_n2_test_that_never_ends_is_named_with_its_limit(tmp_path: Path) -> None:
    with pytest.raises(HostWriteError, match=r"did not end within 120 s, 3 times in a row") as error:
        install(tmp_path, Slow(*[(124, "")] * 3))
    assert error.value.code == "self_test_timed_out"
    assert not os.path.lexists(f"{tmp_path}{LINK}")


@pytest.mark.parametrize("result", [(1, "svirt-guard: ok\n"), (70, ""), (124, "not svirt-guard: ok"), (127, "")])
def test_n2_a_self_test_with_a_fault_has_failed(tmp_path: Path, result: tuple[int, str]) -> None:
    with pytest.raises(HostWriteError):
        install(tmp_path, Slow(*[result] * 3))
    assert not os.path.lexists(f"{tmp_path}{LINK}")


def test_n2_the_limit_of_the_self_test_is_not_that_of_a_guests_start() -> None:
    program = plan.program_text(GuardOptions("x", time_limit=1))
    assert "timeout --foreground -k 1 3 " in program  # what libvirt waits for
    assert "timeout --foreground -k 1 120 " in program
