# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the roles, by their argument specs: types and choices, and near misses of their names.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import difflib
import functools
import typing as t
from pathlib import Path

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ._variables import Problem, nearest

ROLES = Path(__file__).resolve().parents[2] / "roles"


@functools.cache
def specs() -> dict[str, dict[str, t.Any]]:
    """Options of all entry points of all roles, by name."""
    options: dict[str, dict[str, t.Any]] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for entry in document["argument_specs"].values():
            options.update(entry.get("options") or {})
    return options


@functools.cache
def _prefixes() -> tuple[str, ...]:
    """Prefixes of these names that belong to the roles, longest first."""
    names = {path.parent.parent.name for path in ROLES.glob("*/meta/argument_specs.yml")}
    return tuple(f"{name}_" for name in sorted(names, key=len, reverse=True))


@functools.lru_cache(maxsize=10_000)
def concerns(name: t.Any) -> bool:
    """Whether a name begins as a variable of a role."""
    return isinstance(name, str) and name.casefold().startswith(_prefixes())


def check(name: str, value: t.Any, readable: bool) -> Problem | None:
    """The problem with the value of a role's variable."""
    spec = specs().get(name)
    if spec is None or not readable:
        return None
    if value is None:
        return Problem(name, "empty", f"{name} has no value: give one, or leave the variable out")
    validator: t.Any = ArgumentSpecValidator
    validated = validator({name: _plain(spec)}).validate({name: value})
    if not validated.error_messages:
        return None
    choices = [choice for choice in spec.get("choices") or () if isinstance(choice, str)]
    question = nearest(str(value), choices, 0.4) if choices and isinstance(value, str) else ""
    return Problem(name, "value", f"{name}: {validated.error_messages[0]} {question}".strip())


def near(name: str) -> list[str]:
    """A warning for a name that is nearly a role's variable. Others may use the same prefix, so it is no error."""
    if name in specs():
        return []
    close = difflib.get_close_matches(name, specs(), 1, 0.88)
    return [f"{name} is no variable of a role of svirt.fleet: did you mean {close[0]}?"] if close else []


def _plain(spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The parts of a spec that validation knows."""
    known = ("type", "elements", "choices", "required")
    plain = {key: value for key, value in spec.items() if key in known and key != "required"}
    if spec.get("options"):
        plain["options"] = {
            name: {**_plain(option), "required": bool(option.get("required", False))}
            for name, option in spec["options"].items()
        }
    return plain
