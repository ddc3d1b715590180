# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of qemu.conf by version, with the values that libvirt's own checks accept."""

from __future__ import annotations

import json
import random
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import qemu_conf, qemu_conf_keys
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.qemu_conf_keys import TABLE, version_of
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import QemuConf

from tests.unit.support.documents import assert_fits
from tests.unit.support.fuzzing import Cases
from tests.unit.support.fuzzing import mutated as broken_text

CAPTURED = Path(__file__).parents[2] / "_host" / "probe" / "fixtures" / "kvm1" / "manifest.json"


def problems(text: str) -> list[tuple[str, str]]:
    return [(problem.key, problem.kind) for problem in qemu_conf.parse(text)[1]]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("remote_display_port_min = 5899", "remote_display_port_min"),
        ("remote_display_port_min = 5900", None),
        ("remote_display_port_max = 65536", "remote_display_port_max"),
        ("remote_display_port_max = 5899", "remote_display_port_max"),
        ("remote_display_port_min = 6000\nremote_display_port_max = 5999", "remote_display_port_max"),
        ("remote_display_port_min = 6000\nremote_display_port_max = 6000", None),
        ("remote_display_port_min = 65536", "remote_display_port_min"),
        ("remote_websocket_port_min = 5699", "remote_websocket_port_min"),
        ("remote_websocket_port_max = 5700", None),
        ("migration_port_min = 0", "migration_port_min"),
        ("migration_port_min = 49216", "migration_port_min"),
        ("migration_port_min = 49215", None),
        ("migration_port_min = 50000\nmigration_port_max = 50100", None),
        ("migration_port_max = 49151", "migration_port_max"),
        ('migration_host = "localhost.localdomain"', "migration_host"),
        ('migration_host = "127.0.0.1"', "migration_host"),
        ('migration_host = "127.1"', "migration_host"),
        ('migration_host = "0x7f000001"', "migration_host"),
        ('migration_host = "127.0.0.2"', None),
        ('migration_address = "[::1]"', "migration_address"),
        ('migration_address = "0:0:0:0:0:0:0:1"', "migration_address"),
        ('migration_address = "::"', None),
        ('migration_host = "kvm1.example"', None),
        *(
            (f'{name}_image_format = "{value}"', None)
            for name in ("save", "dump", "snapshot")
            for value in ("raw", "zstd")
        ),
        ('dump_image_format = "zip"', "dump_image_format"),
        ('auto_shutdown_try_save = "persistent"', None),
        ('auto_shutdown_try_save = "transient"', "auto_shutdown_try_save"),
        ('auto_shutdown_poweroff = "all"', None),
        ('auto_shutdown_poweroff = "yes"', "auto_shutdown_poweroff"),
        ("auto_shutdown_wait = -1", "auto_shutdown_wait"),
        ('sched_core = "emulator"', None),
        ('deprecation_behavior = "anything"', None),  # checked when a guest starts
        ("seccomp_sandbox = -7", None),
        ("keepalive_interval = -1", None),
        ("keepalive_count = -1", "keepalive_count"),
        ('cgroup_controllers = [ "perf_event", "name=systemd" ]', None),
        ('cgroup_controllers = [ "pids" ]', "cgroup_controllers"),
        ('clear_emulator_capabilities = "0"', None),
        ("rdp_listen = 1", "rdp_listen"),
    ],
)
def test_values(text: str, key: str | None) -> None:
    assert [name for name, _kind in problems(text)] == ([key] if key else [])


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("11.3.0", (11, 3, 0)),
        ("6.0.0-37.el8", (6, 0, 0)),
        ("12.2", (12, 2, 0)),
        ("eleven", None),
        ("", None),
        (None, None),
    ],
)
def test_versions(text: str | None, version: tuple[int, ...] | None) -> None:
    assert version_of(text) == version


def test_each_key_is_unknown_before_the_version_that_brought_it() -> None:
    for name, key in TABLE.items():
        if key.since <= (9, 0):
            assert qemu_conf_keys.not_read(name, 1, (9, 0, 0)) is None
            continue
        major, minor = key.since
        assert qemu_conf_keys.not_read(name, 1, (major, minor, 0)) is None
        before = (major, minor - 1, 9) if minor else (major - 1, 10, 9)
        problem = qemu_conf_keys.not_read(name, 1, before)
        assert problem is not None
        assert problem.kind == "unknown_key"


VALUES = (
    "1",
    "0",
    "-1",
    '"1"',
    '"none"',
    "[]",
    '[ "a" ]',
    '"selinux"',
    "4294967296",
    '"/nowhere"',
    "'x'",
    "yes",
    '"""a\nb"""',
)
PIECES = ("\n", "#", '"', "'", "[", "]", ",", ";", "=", " ", "\t", "\r", "\0", "é", "\udc80", "user", '"""', "-", "0")


def mutated(text: str, chance: random.Random) -> str:
    """A part of a real file with examples turned into assignments, and pieces of it lost, doubled or replaced."""
    lines = text.split("\n")
    start = chance.randrange(len(lines) - 60)
    lines = lines[start : start + 60]
    for _change in range(chance.randint(1, 12)):
        place = chance.randrange(len(lines))
        line = lines[place]
        if line.startswith("#") and "=" in line and chance.random() < 0.8:
            name = line.lstrip("#").split("=")[0].strip()
            lines[place] = f"{name} = {chance.choice(VALUES)}" if chance.random() < 0.6 else line.lstrip("#")
        elif chance.random() < 0.5:
            at = chance.randrange(len(line) + 1)
            lines[place] = line[:at] + chance.choice(PIECES) + line[at + chance.randint(0, 3) :]
        else:
            lines[place : place + chance.randint(0, 2)] = [lines[chance.randrange(len(lines))]]
    text = "\n".join(lines)
    return broken_text(text, chance, PIECES) if chance.random() < 0.3 else text


def test_fuzz_the_reader_of_qemu_conf(cases: Cases) -> None:
    text: str = json.loads(CAPTURED.read_text())["/etc/libvirt/qemu.conf"]["text"]
    assert qemu_conf.parse(text)[1] == []
    kinds: set[str] = set()
    for _number, chance in cases():
        broken = mutated(text, chance)
        conf = QemuConf("qemu.conf", True, *qemu_conf.parse(broken))
        assert_fits(conf)
        kinds |= {problem.kind for problem in conf.problems}
        syntax = any(problem.kind == "syntax" for problem in conf.problems)
        assert len(qemu_conf.places(broken)) == (0 if syntax else len(conf.assignments))
        assert syntax <= (qemu_conf.doubt_of(conf, "security_driver") is not None)
        for version in (None, (9, 0, 0), (12, 2, 0), (99, 0, 0)):
            _check_version(conf, version)
    assert kinds >= {"syntax", "duplicate", "wrong_type", "bad_value"}


def _check_version(conf: QemuConf, version: t.Any) -> None:
    """No problem is lost for a version; for an unknown version all stay."""
    lost = {(item.line, item.key) for item in conf.problems}
    judged = qemu_conf.problems_for(conf, version)
    assert lost <= {(item.line, item.key) for item in judged}
    assert {item.kind for item in judged} <= {*(item.kind for item in conf.problems), "unknown_key", "unverified"}
