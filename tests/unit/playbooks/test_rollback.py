# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The rollback run as an operator runs it: over no hosts, and over hosts with journals in a folder of the test.

The hosts are this machine under several names. They get a copy of the collection in which the journal is where the
host's interpreter says, and libvirt_restart, which would need a daemon, records its call and answers as the test says.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import stat
import sys
import typing as t
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.file_write import change_file
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journal, runs_in

from tests.unit.support.playbooks import Run, inventory, play, refused

__all__ = ["inventory", "refused"]

ROOT = Path(__file__).resolve().parents[3]
JOURNALS = "Journals()"
REDIRECTED = "Journals(__import__('os').environ['SVIRT_TEST_JOURNAL'])"
RESTART = """
import json
import os
from ansible.module_utils.basic import AnsibleModule

spec = {"foreseen_pending": {"type": "list", "elements": "dict"}}
module = AnsibleModule(spec, supports_check_mode=True)
with open(os.environ["SVIRT_TEST_JOURNAL"] + ".restarts", "a") as calls:
    calls.write("called\\n")
answer = json.loads(os.environ["SVIRT_TEST_RESTART"])
module.fail_json(**answer) if "msg" in answer else module.exit_json(**answer)
"""
FINE: t.Mapping[str, t.Any] = MappingProxyType({"refused": []})
REFUSED = {"refused": [{"subject": "guest db", "why": "a job is running", "code": "job_running"}]}
BROKEN = {"msg": "the daemon does not answer"}


class Host:
    """A host of which two files were changed, by one run each."""

    def __init__(
        self, folder: Path, name: str, restart: t.Mapping[str, t.Any] = FINE, edited: t.Sequence[str] = ()
    ) -> None:
        self.place = folder / name
        self.place.mkdir()
        self.name = name
        self.journal = str(self.place / "journal")
        for word in ("one", "two"):
            path = self.place / word
            path.write_text("before\n")
            with Journal("libvirt_security", self.journal) as journal:
                change_file(str(path), b"after\n", journal)
        for word in edited:  # by an administrator
            (self.place / word).write_text("edited\n")
        self.python = self.place / "python"
        given = f"SVIRT_TEST_JOURNAL={self.journal} SVIRT_TEST_RESTART='{json.dumps(dict(restart))}'"
        self.python.write_text(f'#!/bin/sh\n{given} exec {sys.executable} "$@"\n')
        self.python.chmod(self.python.stat().st_mode | stat.S_IXUSR)

    def path(self, word: str) -> str:
        return str(self.place / word)

    @property
    def files(self) -> list[str]:
        return [(self.place / word).read_text().strip() for word in ("one", "two")]

    @property
    def restarts(self) -> int:
        calls = Path(f"{self.journal}.restarts")
        return len(calls.read_text().splitlines()) if calls.exists() else 0


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections")
    root = folder / "ansible_collections" / "svirt" / "fleet"
    root.mkdir(parents=True)
    for name in ("meta", "plugins", "playbooks", "roles"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "galaxy.yml", root)
    module = root / "plugins" / "modules" / "svirt_rollback.py"
    text = module.read_text()
    assert text.count(JOURNALS) == 1
    module.write_text(text.replace(JOURNALS, REDIRECTED))
    (root / "plugins" / "modules" / "libvirt_restart.py").write_text(RESTART)
    return folder


def roll_back(
    collections: Path, folder: Path, hosts: t.Iterable[Host], *options: str, others: t.Sequence[str] = ()
) -> Run:
    path = folder / "hosts.ini"
    lines = [*others] + [
        f"{host.name} ansible_connection=local ansible_python_interpreter={host.python}" for host in hosts
    ]
    path.write_text("\n".join(lines) + "\n")
    return play("rollback", path, *options, ANSIBLE_COLLECTIONS_PATH=str(collections))


def failed(run: Run) -> set[str]:
    """The hosts that failed, by the closing lines."""
    return set(re.findall(r"^(\w+) +: .*failed=[1-9]", run.output, re.MULTILINE))


def verdict(run: Run, host: str) -> str:
    """What the closing task says of a host."""
    closing = run.output.partition("TASK [Verdict]")[2].partition("PLAY RECAP")[0]
    (text,) = re.findall(rf"^(?:fatal|ok): \[{host}\](.*)$", closing, re.MULTILINE)
    return str(text)


@pytest.mark.parametrize("options", [("-e", "svirt_hosts=nobody"), ("--limit", "nobody")])
def test_no_host_at_all_is_no_success(inventory: Path, options: tuple[str, str]) -> None:
    assert play("rollback", inventory, *options).status != 0


def test_what_was_restored_takes_effect_and_the_hosts_are_well(tmp_path: Path, collections: Path) -> None:
    hosts = [Host(tmp_path, "kvm1"), Host(tmp_path, "kvm2")]
    run = roll_back(collections, tmp_path, hosts)
    assert (run.status, failed(run)) == (0, set()), run.output
    assert [host.files for host in hosts] == [["before"] * 2] * 2
    assert [host.restarts for host in hosts] == [1, 1]


def test_what_is_refused_keeps_nothing_else_from_effect_and_is_named_at_the_end(
    tmp_path: Path, collections: Path
) -> None:
    edited, well, both, restart, broken, gone = hosts = [
        Host(tmp_path, "edited", edited=["one"]),
        Host(tmp_path, "well"),
        Host(tmp_path, "both", REFUSED, ["one", "two"]),
        Host(tmp_path, "restart", REFUSED),
        Host(tmp_path, "broken", BROKEN, ["one"]),
        Host(tmp_path, "gone"),
    ]
    gone.python.write_text("#!/bin/sh\nexit 3\n")
    run = roll_back(collections, tmp_path, hosts)
    assert (run.status, failed(run)) == (2, {"edited", "both", "restart", "broken", "gone"}), run.output
    assert edited.files == broken.files == ["edited", "before"]
    assert (well.files, both.files, restart.files) == (["before"] * 2, ["edited"] * 2, ["before"] * 2)
    assert [host.restarts for host in hosts] == [1, 1, 1, 1, 1, 0]
    assert [len(runs_in(host.journal)) for host in hosts] == [1, 0, 2, 0, 1, 2]
    assert "the daemon does not answer" in run.output
    for host, names in (
        (edited, [edited.path("one")]),
        (both, [both.path("one"), both.path("two"), "guest db: a job is running"]),
        (restart, ["guest db: a job is running"]),
        (broken, [broken.path("one")]),
    ):
        assert [name in verdict(run, host.name) for name in names] == [True] * len(names), run.output
    for sign in ("[ERROR]", "Origin:", "Traceback"):
        assert sign not in verdict(run, "edited"), run.output


def test_check_mode_fails_where_the_rollback_would(tmp_path: Path, collections: Path) -> None:
    edited, well = hosts = [Host(tmp_path, "edited", edited=["one"]), Host(tmp_path, "well")]
    run = roll_back(collections, tmp_path, hosts, "--check")
    assert (run.status, failed(run)) == (2, {"edited"}), run.output
    assert (edited.files, well.files) == (["edited", "after"], ["after", "after"])
    assert edited.path("one") in verdict(run, "edited")


def test_the_batch_after_a_refusal_is_not_touched(tmp_path: Path, collections: Path) -> None:
    edited, next_ = hosts = [Host(tmp_path, "edited", edited=["one"]), Host(tmp_path, "next")]
    run = roll_back(collections, tmp_path, hosts, "-e", "svirt_serial=1")
    assert (run.status, edited.files) == (2, ["edited", "before"])
    assert (next_.files, next_.restarts) == (["after", "after"], 0)


def test_the_batch_after_a_host_that_was_lost_is_not_touched(tmp_path: Path, collections: Path, refused: int) -> None:
    down = f"down ansible_host=127.0.0.1 ansible_port={refused}"
    beside, next_ = hosts = [Host(tmp_path, "beside"), Host(tmp_path, "next")]
    run = roll_back(collections, tmp_path, hosts, "-e", '{"svirt_serial": [2, 1]}', others=[down])
    assert run.status != 0
    assert beside.files == ["before", "before"]
    assert (next_.files, next_.restarts) == (["after", "after"], 0)
    assert "down could not be reached any more" in run.output


@pytest.mark.parametrize("name", ["allocate", "harden", "rollback"])
def test_every_play_in_batches_looks_for_lost_hosts_before_it_touches_one(name: str) -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text())
    (batches,) = [each for each in plays if "serial" in each]
    tasks = iter(batches["tasks"])
    checks = [task["svirt.fleet.preflight"] for task in itertools.takewhile(_is_preflight, tasks)]
    assert {"earlier_batches": True} in checks


def _is_preflight(task: dict[str, object]) -> bool:
    return "svirt.fleet.preflight" in task
