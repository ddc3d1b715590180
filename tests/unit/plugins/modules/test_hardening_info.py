# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Several modules asked in one process."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible_collections.svirt.fleet.plugins.module_utils._backends import hardening_info as work
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Journals
from ansible_collections.svirt.fleet.plugins.module_utils._module import Call
from ansible_collections.svirt.fleet.plugins.modules import hardening_info

from tests.unit.support.module_args import patch_module_args

Run = t.Callable[..., dict[str, t.Any]]
QUIET: dict[str, t.Any] = {"changed": False, "plan": [], "pending": [], "refused": []}
WAITS = {"subject": "guest web", "needs": "guest_power_cycle", "why": "it runs as it does", "code": "runs"}
LEFT = {"subject": "guest db", "why": "it is transient", "code": "transient"}


class Modules:
    """Stand-ins for the work of modules: what each is to say, and what it was called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.says: dict[str, dict[str, t.Any] | Exception] = {}
        self.calls: list[tuple[str, Call]] = []
        table = {name: (spec, self._work(name)) for name, (spec, _work) in work.MODULES.items()}
        monkeypatch.setattr(work, "MODULES", table)

    def _work(self, name: str) -> work.Work:
        def run(call: Call, _journals: Journals) -> dict[str, t.Any]:
            self.calls.append((name, call))
            said = self.says.get(name, QUIET)
            if isinstance(said, Exception):
                raise said
            return said

        return run


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    return Modules(monkeypatch)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*steps: str, **arguments: t.Any) -> dict[str, t.Any]:
        asked = [{"module": name, "arguments": arguments} for name in steps]
        with patch_module_args({"steps": asked}), pytest.raises(SystemExit):
            hardening_info.main()
        result = t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))
        result.pop("invocation", None)
        return result

    return call


def test_a_host_that_needs_nothing(modules: Modules, run: Run) -> None:
    modules.says = {"guest_seclabel": {**QUIET, "pending": [WAITS]}, "image_label": {**QUIET, "refused": [LEFT]}}
    look = run("guest_seclabel", "image_label")
    assert look == {"changed": False, "needed": False, "why": "", "pending": [WAITS], "refused": [LEFT]}
    assert set(look) - {"changed"} == set(yaml.safe_load(hardening_info.RETURN))
    assert [name for name, _call in modules.calls] == ["guest_seclabel", "image_label"]
    for _name, call in modules.calls:
        assert (call.check_mode, call.diff) == (True, False)
        assert call.params["timeout"] in (30, 120)  # each module's own default


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({**QUIET, "changed": True, "plan": [{"action": "define", "subject": "guest web"}]}, "define guest web"),
        ({**QUIET, "reboot_needed": True}, "a reboot is pending"),
        (PlanError("there is no guest 'x'"), "there is no guest 'x'"),
    ],
)
def test_the_first_that_has_something_to_do_ends_the_look(
    modules: Modules, run: Run, said: dict[str, t.Any] | Exception, why: str
) -> None:
    modules.says["guest_seclabel"] = said
    look = run("guest_seclabel", "image_label")
    assert (look["changed"], look["needed"], look["why"]) == (False, True, f"guest_seclabel: {why}")
    assert len(modules.calls) == 1


def test_what_was_refused_counts_where_that_is_to_fail(modules: Modules, run: Run) -> None:
    modules.says["image_label"] = {**QUIET, "refused": [LEFT]}
    assert run("image_label", strict=False)["needed"] is False
    assert run("image_label", strict=True)["needed"] is True


def test_arguments_that_the_module_itself_would_not_take(modules: Modules, run: Run) -> None:
    look = run("image_label", repair=["everything"])
    assert look["failed"] is True
    assert look["msg"].startswith("image_label: ")
    assert "repair" in look["msg"]
    assert modules.calls == []


def test_no_other_module_can_be_asked(run: Run) -> None:
    assert run("svirt_rollback")["failed"] is True


def test_it_documents_the_modules_that_it_knows() -> None:
    documented = yaml.safe_load(hardening_info.DOCUMENTATION)["options"]["steps"]["suboptions"]["module"]["choices"]
    assert documented == sorted(work.MODULES)
