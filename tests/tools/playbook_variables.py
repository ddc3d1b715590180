# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Reference of the playbooks' variables: docs/variables.md.

Names come from the table that the playbooks check variables against, defaults from the playbooks, types and meanings
from the option of the role or module that a playbook hands the variable to. OWN describes those that no option takes.
"""

from __future__ import annotations

import ast
import functools
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.svirt.fleet.plugins.plugin_utils._variables import BEFORE_HOSTS, OF_ONE_HOST, VARIABLES

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "playbooks"
ROLES = ROOT / "roles"
MODULES = ROOT / "plugins" / "modules"
#: Playbooks that only others import.
PARTS = frozenset(("survey",))

#: Type and meaning of variables that no option takes as they are.
OWN: dict[str, tuple[str, str]] = {
    "svirt_guests": (
        "list of objects",
        "Labels to set in guests' definitions: `guest` (name or uuid), `type` (`dynamic`, `static`, `none`), `label`.",
    ),
    "svirt_hosts": ("text", "Hosts of the fleet, as a host pattern."),
    "svirt_ignore_variables": (
        "list of text",
        "Variables of your own whose names begin with `svirt_`. Other unknown names of this kind are refused.",
    ),
    "svirt_keep_runs": ("whole number", "How many runs the store keeps. Older ones are removed, with their snapshots."),
    "svirt_report_file": ("path", "The report to render. Without it `report.json` in `svirt_report_dir`."),
    "svirt_run_id": (
        "text",
        "Run in the store to work on, by its id. Without it the newest of the inventory that the step can go on with.",
    ),
    "svirt_run_steps": (
        "list of text",
        "Steps to run, as jobs of AWX do one by one: see [the steps](awx.md#slices). Without it all of them, in order.",
    ),
    "svirt_since_run_id": ("text", "Earlier run in the store, by its id: the report says what is new and gone since."),
    "svirt_store": (
        "text",
        "URL of the database of snapshots and ledger: SQLite, or PostgreSQL where jobs run side by side.",
    ),
    "svirt_serial": (
        "list",
        "Batches of hosts. The first batch is the canary: when it fails, no other host is touched.",
    ),
}
#: Ranks of options, best first. The module that only checks variables describes them least.
ROLE, MODULE, CHECK = range(3)
_TYPES = {
    "bool": "true or false",
    "dict": "object",
    "float": "number",
    "int": "whole number",
    "list": "list",
    "path": "path",
    "str": "text",
}
_NAME = re.compile(r"\bsvirt_[a-z_]+\b")
_QUOTED = re.compile(r"'[^']*'")
#: A value that is nothing but the variable, with a default or without, or what an importing playbook sets in its place.
_ALONE = re.compile(
    r"\{\{ (?:audit_run_[a-z_]+ \| default\()?(svirt_[a-z_]+)( \| default\(.*\))?\)?(?: or omit)? \}\}\Z"
)
_MARKUP = re.compile(r"\b[CVIBEMP]\((?P<plain>[^)]*)\)|\b(?:O|RV)\((?:(?P<plugin>[\w.]+)#\w+:)?(?P<option>[^)]*)\)")


@dataclass(frozen=True)
class Use:
    """A place of a playbook where a variable is read."""

    playbook: str
    variable: str
    #: Default there, as written; empty where there is none.
    default: str
    #: What describes the option that takes the variable as it is; None where none does.
    option: Mapping[str, t.Any] | None
    #: Rank of that option's description, best first: roles, modules, the check of variables.
    rank: int = 0


def document(head: str) -> str:
    """docs/variables.md. Raises ValueError for a variable that nothing describes."""
    lines = [
        head,
        "# Variables of the playbooks",
        "",
        "Set them in the inventory, with `-e`, or in a job template of AWX. Lists and objects need YAML or JSON, as in",
        '`-e \'{"svirt_report_formats": ["json", "junit"]}\'`. A name or value that a playbook does not know is',
        "refused before a host is contacted. Those of `svirt.fleet.awx_setup` are in [AWX](awx.md).",
        "",
        f"Ansible reads {_listed(BEFORE_HOSTS)} before any host has variables: they are refused in the inventory.",
        f"Hosts may differ in {_listed(OF_ONE_HOST - {'svirt_ignore_variables'})}.",
        "All others count for the whole fleet, and are refused where they are not the same for all its hosts.",
        "",
    ]
    uses = list(all_uses())
    for playbook in sorted({use.playbook for use in uses}):
        lines += [
            f"## svirt.fleet.{playbook}",
            "",
            "| variable | type | default | meaning |",
            "| --- | --- | --- | --- |",
        ]
        for name in sorted({use.variable for use in uses if use.playbook == playbook} | {"svirt_ignore_variables"}):
            lines.append(_row(name, [use for use in uses if use.variable == name], playbook))
        lines.append("")
        if playbook == "harden":
            lines += list(_role_tables())
    return "\n".join(lines)


def undescribed() -> list[str]:
    """Variables that a playbook knows and nothing describes, and descriptions of variables that none knows."""
    uses = list(all_uses())
    described = {use.variable for use in uses if use.option} | set(OWN)
    unused = set(VARIABLES) - {use.variable for use in uses} - {"svirt_ignore_variables"}
    return sorted((set(VARIABLES) - described) | unused | (set(OWN) - set(VARIABLES)))


def _row(name: str, uses: list[Use], playbook: str) -> str:
    here = [use for use in uses if use.playbook == playbook]
    describing = sorted(
        (use for use in uses if use.option), key=lambda use: (use.rank == CHECK, use not in here, use.rank)
    )
    option = describing[0].option if describing else None
    if name in OWN:
        kind, meaning = OWN[name]
    elif option is not None:
        kind, meaning = type_of(option), text_of(option)
    else:
        raise ValueError(f"no option takes {name} and OWN of tests/tools/playbook_variables.py does not describe it")
    defaults = dict.fromkeys(use.default for use in here if use.default)
    default = next(iter(defaults), "") or (_value(option.get("default")) if option else "")
    return f"| `{name}` | {kind} | {f'`{default}`' if default else ''} | {_cell(meaning)} |"


def _role_tables() -> Iterator[str]:
    """Variables of the roles that svirt.fleet.harden applies, but for those that it sets itself."""
    yield from ("The variables of these roles apply unchanged.", "")
    for role in ("selinux", "libvirt", "guard", "images", "network"):
        yield from (f"### Role {role}", "", "| variable | type | default | meaning |", "| --- | --- | --- | --- |")
        for name, option in sorted(_role(role).items()):
            default = _value(option.get("default"))
            shown = f"`{default}`" if default else ""
            yield f"| `{name}` | {type_of(option)} | {shown} | {_cell(text_of(option))} |"
        yield ""


# -- playbooks ---------------------------------------------------------------------------------------------------------


def all_uses() -> Iterator[Use]:
    """Every use of a variable in every playbook, those of imported playbooks included."""
    for path in sorted(PLAYBOOKS.glob("*.yml")):
        if path.stem not in PARTS:
            yield from _of_playbook(path.stem, path)


def _of_playbook(playbook: str, path: Path) -> Iterator[Use]:
    """Uses in a playbook and in those that it imports, but for variables that it sets for them itself."""
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        yield from _uses(playbook, play)
        if imported := play.get("ansible.builtin.import_playbook"):
            given = {re.sub(r"\Aaudit_run_", "svirt_", name) for name in play.get("vars", {})}
            yield from (use for use in _of_playbook(playbook, path.parent / imported) if use.variable not in given)


def _uses(playbook: str, value: t.Any, action: str = "") -> Iterator[Use]:
    """Uses in a part of a playbook. ``action``: the module whose arguments the part is."""
    if isinstance(value, list):
        for item in value:
            yield from _uses(playbook, item, action)
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str):
                yield from _in_text(playbook, str(key), item, action)
            else:
                yield from _uses(playbook, item, str(key) if _module(str(key)) else action)


def _in_text(playbook: str, key: str, text: str, action: str) -> Iterator[Use]:
    if "{{" not in text and key != "when":
        return
    alone = _ALONE.match(text.strip())
    for name in dict.fromkeys(_NAME.findall(_QUOTED.sub("''", text))):
        if name not in VARIABLES:
            continue
        default = _default(text, name)
        if alone is None or alone.group(1) != name:
            yield Use(playbook, name, default, None)
        elif option := _role_option(key):
            yield Use(playbook, name, default, option, ROLE)
        else:
            rank = CHECK if action.endswith(".preflight") else MODULE
            yield Use(playbook, name, default, _module(action).get(key), rank)


def _default(text: str, name: str) -> str:
    """What a template takes where the variable is not set; empty: nothing, or what the option has as default."""
    start = re.search(rf"\b{name} \| default\(", text)
    if start is None:
        return ""
    depth, end = 1, start.end()
    while depth and end < len(text):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    words = re.sub(r", true\Z", "", text[start.end() : end - 1]).partition(" if ")[0]
    return "" if words in ("omit", "''", "") else words.strip("'")


# -- options -----------------------------------------------------------------------------------------------------------


@functools.cache
def _role(name: str) -> dict[str, t.Any]:
    path = ROLES / name / "meta" / "argument_specs.yml"
    if not path.is_file():
        return {}
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    return t.cast(dict[str, t.Any], specs["main"].get("options", {}))


def _role_option(variable: str) -> Mapping[str, t.Any] | None:
    for path in ROLES.iterdir():
        if variable.startswith(f"{path.name}_") and (option := _role(path.name).get(variable)):
            return t.cast(Mapping[str, t.Any], option)
    return None


@functools.cache
def _module(action: str) -> dict[str, t.Any]:
    """Options of a module of the collection, with those of its fragments; none for another key of a task."""
    path = MODULES / f"{action.rpartition('.')[2]}.py"
    if not action.startswith("svirt.fleet.") or not path.is_file():
        return {}
    documented = yaml.safe_load(_constants(path)["DOCUMENTATION"])
    options = dict(documented.get("options", {}))
    for fragment in documented.get("extends_documentation_fragment", []):
        file, _dot, section = fragment.removeprefix("svirt.fleet.").partition(".")
        text = _constants(ROOT / "plugins" / "doc_fragments" / f"{file}.py").get(section.upper() or "DOCUMENTATION")
        options.update((yaml.safe_load(text) if text else {}).get("options", {}))
    return options


def _constants(path: Path) -> dict[str, str]:
    """Texts that a Python file assigns to names."""
    return {
        target.id: node.value.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def type_of(option: Mapping[str, t.Any]) -> str:
    """The type of an option, in words."""
    kind = _TYPES[option.get("type", "str")]
    if option.get("choices"):
        return f"{kind}: {', '.join(f'`{choice}`' for choice in option['choices'])}"
    if kind == "list" and option.get("elements"):
        return f"list of {_TYPES[option['elements']]}{'s' if option['elements'] == 'dict' else ''}"
    return kind


def text_of(option: Mapping[str, t.Any]) -> str:
    """What the documentation of an option says, as Markdown on one line."""
    said = option.get("description", [])
    text = " ".join(said if isinstance(said, list) else [said])
    return " ".join(_MARKUP.sub(_plain, text).split())


def _plain(match: re.Match[str]) -> str:
    name = _variable(match.group("plain") or match.group("option"))
    return f"`{name}` of `{match.group('plugin')}`" if match.group("plugin") else f"`{name}`"


def _variable(name: str) -> str:
    """The playbooks' name of an option of the role audit; another name as it is."""
    own = re.sub(r"\Aaudit_", "svirt_", name)
    return own if own in VARIABLES else name


def _listed(names: Iterable[str]) -> str:
    quoted = [f"`{name}`" for name in sorted(names)]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _value(value: t.Any) -> str:
    return "" if value in (None, "") else str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
