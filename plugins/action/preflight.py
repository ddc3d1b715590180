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
from ansible.utils.vars import load_extra_vars

from ..module_utils._core.errors import SvirtError
from ..module_utils._core.words import some
from ..plugin_utils import _role_variables, _snapshots, _variables
from ..plugin_utils._action import Arguments, ControllerAction, negative
from ..plugin_utils._variables import Problem

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "hosts": {"type": "list", "elements": "str", "default": []},
    "report_dir": {"type": "path"},
    "renewed": {"type": "list", "elements": "path", "default": []},
    "store": {"type": "str"},
    "ledger": {"type": "str"},
    "steps": {"type": "list", "elements": "str"},
    "earlier_batches": {"type": "bool", "default": False},
}
#: Problems that are shown; the others are counted.
_MAX_SHOWN = 50
_NOT_SET = object()


class ActionModule(ControllerAction):
    """Reads the variables of the play and of its hosts, and tries what the playbook will need on the controller."""

    ARGUMENTS = ARGUMENTS
    _read: dict[str, dict[str, t.Any]] | None = None

    def work(self, arguments: Arguments) -> dict[str, t.Any]:
        if arguments["earlier_batches"]:
            return self._batches()
        problems, warnings = self._variables(arguments["hosts"])
        if not problems:  # places come from variables
            steps, _readable = self._value(self.variables.get("svirt_run_steps"))
            problems = [*_steps(steps, arguments["steps"]), *_folder(arguments["report_dir"])]
            problems += _store(arguments["store"], arguments["ledger"])
        if not problems:
            names = arguments["hosts"] or self.variables.get("ansible_play_hosts_all") or ()
            problems += [problem for folder in arguments["renewed"] for problem in _renewed(Path(folder), names)]
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

    def _batches(self) -> dict[str, t.Any]:
        """Refuse where Ansible gave up a host in an earlier batch: max_fail_percentage does not count these."""
        left = set(self.variables.get("ansible_play_hosts") or ())
        lost = [host for host in self.variables.get("ansible_play_hosts_all") or () if host not in left]
        if not lost:
            return {"changed": False, "problems": [], "msg": "no host of an earlier batch was lost"}
        why = "could not be reached any more while this playbook changed hosts: no further host is touched"
        problem = Problem("", "lost", f"{some(lost, _MAX_SHOWN)} {why}", lost[0])
        raise negative({"changed": False, "problems": [problem.as_dict()], "msg": problem.text})

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
        problems += self._misplaced(hosts)
        return _unique(problems), sorted(set(warnings))

    def _given(self, hosts: t.Sequence[str]) -> Iterator[tuple[str, str, t.Any, bool]]:
        """Host, name, value, and whether the value can be judged, of all variables of the play and of the hosts."""
        for name, value in sorted(self.variables.items(), key=lambda item: str(item[0])):
            if _variables.concerns(name) or _role_variables.concerns(name):
                yield ("", name, *self._value(value))
        for host, values in self._of_hosts(hosts).items():
            for name, value in values.items():
                # Templates of a host may need variables that only its own plays have.
                yield host, name, value, not _is_template(value)

    def _of_hosts(self, hosts: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """Variables of each host that concern the collection, as the inventory and the command line have them."""
        if self._read is None:
            hostvars = self.variables.get("hostvars")
            names = hosts or self.variables.get("ansible_play_hosts_all") or ()
            self._read = {
                host: {
                    name: value
                    for name, value in _raw(hostvars, host).items()
                    if _variables.concerns(name) or _role_variables.concerns(name)
                }
                for host in (dict.fromkeys(names) if hostvars else ())
            }
        return self._read

    def _misplaced(self, hosts: t.Sequence[str]) -> Iterator[Problem]:
        """Variables of hosts that would be passed over, or of which one host's value would count for all hosts."""
        of_hosts = self._of_hosts(hosts)
        given = load_extra_vars(self._loader)
        for name in sorted(set(_variables.VARIABLES) - _variables.OF_ONE_HOST):
            having = [host for host, values in of_hosts.items() if name in values]
            # What the play or the command line gives counts for all hosts.
            if name in given or not having or not self._counts(name, of_hosts):
                continue
            if name in _variables.BEFORE_HOSTS:
                why = (
                    f"{name} is a variable of hosts, and Ansible chooses the hosts of a play before it reads these, "
                    "so it would be passed over: give it with -e"
                )
                yield Problem(name, "place", why, having[0])
            elif differing := self._differing(name, of_hosts):
                why = (
                    f"{name} is not the same for {differing[0]} and {differing[1]}, but counts for the whole fleet: "
                    "set it for all hosts, or with -e"
                )
                yield Problem(name, "differs", why)

    def _counts(self, name: str, of_hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> bool:
        """Whether a play has its value of a variable from its hosts: the play's own comes before theirs."""
        host = str(self.variables.get("inventory_hostname", ""))
        if host not in of_hosts:
            return name not in self.variables
        own = of_hosts[host]
        return self.variables[name] == own.get(name, _NOT_SET) if name in self.variables else name not in own

    def _differing(self, name: str, of_hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> tuple[str, str] | None:
        """Two hosts with different values of a variable."""
        first: tuple[str, t.Any] | None = None
        for host, values in of_hosts.items():
            value = values.get(name, _NOT_SET)
            if _is_template(value):
                try:
                    value = self.variables["hostvars"][host][name]
                except (AnsibleError, KeyError, TypeError, ValueError):
                    continue  # the task that takes it says what is wrong
                if _is_template(value):  # ansible-core 2.18 leaves it as it is where a part is not defined
                    continue
            if first is None:
                first = host, value
            elif value != first[1]:
                return first[0], host
        return None

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


def _renewed(folder: Path, hosts: t.Iterable[str]) -> Iterator[Problem]:
    """Remove the files of the hosts: one of an earlier run would count for a host that is lost before it is read."""
    if not folder.absolute().is_dir():
        return
    yield from (problems := list(_folder(str(folder))))
    try:
        for host in () if problems else hosts:
            _snapshots.path_of(folder.absolute(), host).unlink(missing_ok=True)
    except OSError as error:
        why = f"{error.filename} cannot be removed: {error.strerror or error}; name another folder in svirt_report_dir"
        yield Problem("svirt_report_dir", "not_writable", why)


def _steps(given: t.Any, known: t.Sequence[str] | None) -> Iterator[Problem]:
    """Steps that this playbook does not have."""
    if known is None or given is None or _is_template(given):
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
