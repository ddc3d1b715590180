# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks variables, folder and store before a host is contacted. The module of the same name has the documentation."""

from __future__ import annotations

import importlib
import tempfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ansible.errors import AnsibleError

from ..module_utils._core.errors import SvirtError
from ..plugin_utils import _role_variables, _variables
from ..plugin_utils._action import Arguments, ControllerAction, negative
from ..plugin_utils._variables import Problem

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "hosts": {"type": "list", "elements": "str", "default": []},
    "report_dir": {"type": "path"},
    "store": {"type": "str"},
    "ledger": {"type": "str"},
    "steps": {"type": "list", "elements": "str"},
}
#: Problems that are shown; the others are counted.
_MAX_SHOWN = 50


class ActionModule(ControllerAction):
    """Reads the variables of the play and of its hosts, and tries what the playbook will need on the controller."""

    ARGUMENTS = ARGUMENTS

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        problems, warnings = self._variables(arguments["hosts"])
        if not problems:  # places come from variables
            problems = [*_steps(self.variables, arguments["steps"]), *_folder(arguments["report_dir"])]
            problems += _store(arguments["store"], arguments["ledger"])
        result: dict[str, t.Any] = {
            "changed": False,
            "problems": [problem.as_dict() for problem in problems],
            "msg": "variables, report folder and store can be used",
        }
        if warnings:
            result["warnings"] = warnings
        if problems:
            raise negative({**result, "msg": _message(problems)})
        return result

    def _variables(self, hosts: t.Sequence[str]) -> tuple[list[Problem], list[str]]:
        problems: list[Problem] = []
        warnings: list[str] = []
        seen: set[tuple[str, str]] = set()
        ignored = self._ignored()
        for host, name, value, readable in self._given(hosts):
            key = (name, repr(value))
            if key in seen:
                continue
            seen.add(key)
            if _variables.concerns(name):
                problem = _variables.check_name(name, ignored)
                if problem is None and readable and name in _variables.VARIABLES:
                    problem = _variables.check_value(name, value)
            else:
                problem = _role_variables.check(name, value, readable)
                if problem is None:
                    warnings += _role_variables.near(name)
            if problem is not None:
                problems.append(Problem(problem.variable, problem.code, problem.text, host))
        return _unique(problems), sorted(set(warnings))

    def _given(self, hosts: t.Sequence[str]) -> Iterator[tuple[str, str, t.Any, bool]]:
        """Host, name, value, and whether the value can be judged, of all variables of the play and of the hosts."""
        for name, value in sorted(self.variables.items(), key=lambda item: str(item[0])):
            if _variables.concerns(name) or _role_variables.concerns(name):
                yield ("", name, *self._value(value))
        hostvars = self.variables.get("hostvars")
        names = hosts or self.variables.get("ansible_play_hosts_all") or ()
        for host in dict.fromkeys(names) if hostvars else ():
            for name, value in _raw(hostvars, host).items():
                if _variables.concerns(name) or _role_variables.concerns(name):
                    # Templates of a host may need variables that only its own plays have.
                    yield host, name, value, not _is_template(value)

    def _value(self, value: t.Any) -> tuple[t.Any, bool]:
        if not _is_template(value):
            return value, True
        try:
            return self._templar.template(value), True
        except (AnsibleError, TypeError, ValueError):
            return value, False

    def _ignored(self) -> set[str]:
        value, readable = self._value(self.variables.get("svirt_ignore_variables", []))
        items = value.split(",") if isinstance(value, str) else value
        return {str(item).strip() for item in items} if readable and isinstance(items, list) else set()


def _raw(hostvars: t.Any, host: str) -> t.Mapping[str, t.Any]:
    get = getattr(hostvars, "raw_get", None)
    found = get(host) if callable(get) else hostvars.get(host)
    return found if isinstance(found, t.Mapping) else {}


def _is_template(value: t.Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, t.Mapping):
        return any(map(_is_template, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_is_template, value))


def _unique(problems: list[Problem]) -> list[Problem]:
    """One problem for each text: of the play first, else of the first host."""
    by_text: dict[str, Problem] = {}
    for problem in problems:
        by_text.setdefault(problem.text, problem)
    return list(by_text.values())


def _folder(path: str | None) -> Iterator[Problem]:
    if path is None:
        return
    folder = Path(path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = (
            f"the report folder {folder} cannot be written: {error.strerror or error}; name another in svirt_report_dir"
        )
        yield Problem("svirt_report_dir", "not_writable", why)


def _steps(variables: t.Mapping[str, t.Any], known: t.Sequence[str] | None) -> Iterator[Problem]:
    """Steps that this playbook does not have."""
    given = variables.get("svirt_run_steps")
    if known is None or given is None:
        return
    for step in _variables.listed(given):
        if step not in known:
            question = _variables.nearest(step, known, 0.4)
            why = f"svirt_run_steps: this playbook has no step {step!r}; its steps are {', '.join(known)}. {question}"
            yield Problem("svirt_run_steps", "step", why.strip())


def _store(store: str | None, ledger: str | None) -> Iterator[Problem]:
    """A store must be usable, a ledger must be there. Both need SQLAlchemy and the driver of the database."""
    module = importlib.import_module("ansible_collections.svirt.fleet.plugins.plugin_utils._store")
    for variable, url in (("svirt_store", store), ("svirt_ledger", ledger)):
        try:
            if url:
                module.try_out(url, must_exist=variable == "svirt_ledger")
        except SvirtError as error:
            yield Problem(variable, error.code, f"{variable}: {error}")


def _message(problems: t.Sequence[Problem]) -> str:
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    lines = [f"{problem.host}: {problem.text}" if problem.host else problem.text for problem in problems[:_MAX_SHOWN]]
    more = [f"and {len(problems) - _MAX_SHOWN} more"] if len(problems) > _MAX_SHOWN else []
    return "\n".join([f"{count} before any host was contacted:", *lines, *more])
