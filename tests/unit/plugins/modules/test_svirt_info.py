# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import typing as t

import ansible.module_utils.common
import pytest
from ansible_collections.svirt.fleet.plugins.module_utils import _module
from ansible_collections.svirt.fleet.plugins.modules import svirt_info
from ansible_collections.svirt.fleet.plugins.plugin_utils._probe_answer import read_answer, unpack

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot
from tests.unit.support.handed_in import hand_root
from tests.unit.support.module_args import patch_module_args


def run(capsys: pytest.CaptureFixture[str], **arguments: t.Any) -> dict[str, t.Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        svirt_info.main()
    return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Bindings that a respawn was tried for; the host is an EL 9 without its binding."""
    result: list[str] = []
    hand_root(monkeypatch, lambda: CapturedRoot(hosts.el9(), hosts.policy()))
    monkeypatch.setattr(_module, "respawn_for", result.append)
    return result


def test_a_host_is_read_in_one_call(asked_for: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, timeout=5, _ansible_check_mode=True)
    _document, snapshot = read_answer(result["packed"])
    assert (result["changed"], "snapshot" in result) == (False, False)
    assert [guest.name for guest in snapshot.guests] == ["web"]
    assert snapshot.coverage["libvirt"].status == "unknown"  # no daemon here behind the files
    assert {entry.source.rpartition("/")[0] for entry in snapshot.selinux.boot_entries} == {"/boot/loader/entries"}
    assert asked_for == ["libvirt"]


def test_what_is_sent_has_texts_in_place_of_boot_entries(
    asked_for: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    answer = unpack(run(capsys, timeout=5)["packed"])
    assert answer["snapshot"]["selinux"]["boot_entries"] == []
    assert answer["snapshot"]["coverage"]["boot"]["status"] == "unknown"  # never green before the entries are listed
    assert "/boot/grub2/grub.cfg" in answer["boot"]["texts"]


def test_two_calls_in_one_process_do_not_meet(asked_for: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (unpack(run(capsys, timeout=5)["packed"]) for _number in range(2))
    del first["snapshot"]["taken_at"], second["snapshot"]["taken_at"]
    assert first == second
    assert len(asked_for) == 2


def test_a_host_without_libvirt_needs_no_other_python(
    asked_for: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_module, "Root", lambda: CapturedRoot(hosts.bare(), hosts.policy()))
    _document, snapshot = read_answer(run(capsys)["packed"])
    assert snapshot.coverage["libvirt"].status == "not_applicable"
    assert asked_for == []


def test_a_timeout_that_is_none(asked_for: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, timeout=0)
    assert result["failed"] is True
    assert result["msg"] == "timeout is 0; give at least 1 second"


class Respawn:
    """Ansible's respawn; ``has`` is the interpreter that has the binding."""

    def __init__(self, has: str | None, again: bool = False) -> None:
        self.has = has
        self.again = again
        self.started: list[str] = []

    def has_respawned(self) -> bool:
        return self.again

    def probe_interpreters_for_module(self, paths: list[str], _binding: str) -> str | None:
        return self.has if self.has in paths else None

    def respawn_module(self, interpreter: str) -> None:
        self.started.append(interpreter)


@pytest.mark.parametrize(
    ("respawn", "binding", "started"),
    [
        (Respawn("/usr/libexec/platform-python"), "no_such_binding", ["/usr/libexec/platform-python"]),
        (Respawn("/usr/bin/python3.12"), "no_such_binding", ["/usr/bin/python3.12"]),
        (Respawn(None), "no_such_binding", []),
        (Respawn("/usr/bin/python3", again=True), "no_such_binding", []),
        (Respawn("/usr/bin/python3"), "json", []),
    ],
)
def test_another_python_is_used_only_where_it_helps(
    monkeypatch: pytest.MonkeyPatch, respawn: Respawn, binding: str, started: list[str]
) -> None:
    monkeypatch.setattr(ansible.module_utils.common, "respawn", respawn, raising=False)
    _module.respawn_for(binding)
    assert respawn.started == started
