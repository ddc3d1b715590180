# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader that is killed, and a daemon that is slow, are no failure of a restart."""

from __future__ import annotations

import itertools
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.file_write import change_file
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import daemon_restart
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.daemon_restart import RestartActor

from tests.unit.support import hosts
from tests.unit.support.captured import Tree
from tests.unit.support.restarts import Machine, restarted


class Dying(Machine):
    """The child that reads libvirt is killed, so many times after the restart."""

    times = 1

    def _ask(self, uri: str, known: t.Collection[str]) -> t.Iterable[dict[str, t.Any]]:
        deaths = Path(self._log.parent / "deaths")
        items = super()._ask(uri, known)
        if not self.acts or (deaths.exists() and len(deaths.read_text()) >= self.times):
            return items
        return self._die(items, deaths)

    def _die(self, items: t.Iterable[dict[str, t.Any]], deaths: Path) -> t.Iterator[dict[str, t.Any]]:
        yield from itertools.islice(items, 1)
        with deaths.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), 9)


def restart(machine: Machine, tmp_path: Path, timeout: float) -> tuple[daemon_restart.RestartOutcome, str]:
    """Restart after a change of qemu.conf; gives the outcome and the file's text then."""
    conf = tmp_path / "qemu.conf"
    conf.write_text("# old\n")
    folder = str(tmp_path / "journal")
    with Journal("libvirt_security", folder) as other:
        change_file(str(conf), b"# new\n", other)
    actor = RestartActor(machine.root, machine.tools, timeout, conf=str(conf), pause=0.01)
    with Journal("libvirt_restart", folder) as journal:
        return actor.restart(actor.look(), journal), conf.read_text()


@pytest.mark.parametrize("times", [1, 3])
def test_n1_a_reader_that_is_killed_reads_again(times: int, tmp_path: Path) -> None:
    machine = Dying(tmp_path, [hosts.el9(), restarted()])
    machine.times = times
    outcome, text = restart(machine, tmp_path, 20.0)
    assert (outcome.problems, outcome.restored, text) == ([], [], "# new\n")
    assert (tmp_path / "deaths").read_text() == "x" * times


def test_n1_how_the_reader_ended_is_said(tmp_path: Path) -> None:
    machine = Dying(tmp_path, [hosts.el9(), restarted()])
    machine.times = 1000
    outcome, _text = restart(machine, tmp_path, 1.0)
    assert [problem.code for problem in outcome.problems] == ["guests_unread"]
    assert "SIGKILL" in outcome.problems[0].text


class Slow(Machine):
    """The daemon answers only after it has worked for a while."""

    answers_after = 0

    def _ask(self, uri: str, known: t.Collection[str]) -> t.Iterable[dict[str, t.Any]]:
        if self.acts and self.looks < self.answers_after:
            raise OSError(111, "Connection refused")
        return super()._ask(uri, known)

    @property
    def tree(self) -> Tree:
        tree = super().tree
        if self.acts and self.works:
            stat = tree.entries["/proc/950/stat"]
            before, bracket, after = stat.content.rpartition(b") ")
            fields = after.split()
            fields[11] = str(self.looks).encode()
            stat.content = before + bracket + b" ".join(fields)
        return tree

    works = True


def test_n1_a_daemon_that_works_is_waited_for(tmp_path: Path) -> None:
    machine = Slow(tmp_path, [hosts.el9(), restarted()])
    machine.answers_after = 10
    outcome, text = restart(machine, tmp_path, 1.0)
    assert (outcome.problems, text) == ([], "# new\n")


def test_n1_a_daemon_that_hangs_is_given_up(tmp_path: Path) -> None:
    machine = Slow(tmp_path, [hosts.el9(), restarted()])
    machine.answers_after, machine.works = 100_000, False
    outcome, text = restart(machine, tmp_path, 0.3)
    assert [problem.code for problem in outcome.problems][:1] == ["guests_unread"]
    assert text == "# old\n"
