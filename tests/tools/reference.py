# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Writes the reference documents from the code, where each fact is stated once.

python -m tests.tools.reference           write docs/rules.md, docs/variables.md, docs/schemas and others, and tables
python -m tests.tools.reference --check   write nothing; end with 1 when one of them is stale
"""

from __future__ import annotations

import argparse
import re
import sys
import types
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LAB = ROOT / "tests" / "lab" / "README.md"
sys.path.insert(0, str(ROOT / "build" / "collections"))

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import (  # noqa: E402
    finding,
    report,
    report_model,
    waivers,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules import catalogue  # noqa: E402
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model  # noqa: E402

from tests.lab.host.faults import FAULTS, Fault  # noqa: E402
from tests.lab.network import HOSTS  # noqa: E402
from tests.tools import json_schema, playbook_variables  # noqa: E402

HEAD = """\
<!-- Copyright: svirt.fleet contributors -->
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
<!-- Written by `make docs` from {source}. Change it there. -->
"""
TABLE = re.compile(r"(<!-- table of (?P<name>\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

FAMILIES = {
    "SEL": "SELinux on the host",
    "LIB": "libvirt",
    "GST": "Guests",
    "IMG": "Images and storage",
    "NET": "Network",
    "CAT": "Categories across hosts",
    "WVR": "Waivers",
}


def rules_document() -> str:
    """docs/rules.md."""
    rules = (*catalogue.RULES, *analysis.RULES, waivers.RULE)
    return "\n".join([HEAD.format(source="the rules' own data"), *_rules_head(), *_overview(rules), *_details(rules)])


def _rules_head() -> list[str]:
    return [
        "# Rules",
        "",
        "What the audit looks for, by family. A finding's severity may differ from its rule's where the evidence says",
        "more. What could not be read is `unknown`, never a pass; where a rule does not apply it is `not_applicable`.",
        "One rule reports a fault: the rule nearest to its cause.",
        "",
        "The cost is what the repair interrupts:",
        "",
        "| cost | meaning |",
        "| --- | --- |",
        *(f"| `{cost}` | {text} |" for cost, text in finding.COSTS.items()),
        "",
        "How to add a rule: [writing a rule](writing-a-rule.md). What a finding looks like: [the report](report.md).",
        "",
    ]


def _overview(rules: Iterable[finding.RuleBase]) -> Iterator[str]:
    yield "| rule | severity | cost | title |"
    yield "| --- | --- | --- | --- |"
    for rule in rules:
        yield f"| [{rule.id}](#{rule.id.lower()}) | {rule.severity} | `{rule.cost}` | {cell(rule.title)} |"
    yield ""


def _details(rules: Iterable[finding.RuleBase]) -> Iterator[str]:
    family = ""
    for rule in rules:
        if rule.id.partition("-")[0] != family:
            family = rule.id.partition("-")[0]
            yield from (f"## {FAMILIES[family]}", "")
        yield from (f"### {rule.id}", "", f"**{plain(rule.title)}** · {rule.severity} · {rule.scope}", "")
        yield from (
            plain(rule.why),
            "",
            f"*Repair.* {plain(rule.fix)}",
            "",
            f"*Cost.* {finding.COSTS[rule.cost].capitalize()}.",
            "",
        )
        if rule.needs:
            yield from (f"*Needs to read.* {', '.join(rule.needs)}.", "")
        if rule.references:
            yield from (f"*References.* {', '.join(rule.references)}.", "")
        if rule.unproved:
            yield from (f"*Not proved on a real host:* {plain(rule.unproved)}.", "")


def snapshot_document() -> str:
    """docs/snapshot.md."""
    lines = [
        HEAD.format(source="plugins/module_utils/_core/snapshot/model.py"),
        "# The snapshot",
        "",
        f"Everything that `svirt.fleet.svirt_info` reads of one host: one JSON object, schema `{model.SCHEMA}`.",
        "[Its JSON Schema](schemas/snapshot.json) is generated too.",
        "It judges nothing. Labels are raw, as the kernel and libvirt have them. `null` means that a value could not",
        "be read or does not exist; the area's entry in `coverage` says which. Names and paths are chosen by tenants",
        "and stand here as read: escape them before they go to a terminal, a page or a shell.",
        "",
        f"Areas with an entry in `coverage`: {', '.join(f'`{area}`' for area in model.AREAS)}.",
        "",
    ]
    for kind in _in_order(model.Snapshot):
        lines += [f"## {kind.__name__}", "", (kind.__doc__ or "").split("\n")[0], "", *table(kind), ""]
    return "\n".join(lines)


def _in_order(root: type, seen: dict[type, None] | None = None) -> list[type]:
    """The type and all types in its fields, each once, outer ones first."""
    found = {} if seen is None else seen
    if root not in found:
        found[root] = None
        for hint in t.get_type_hints(root).values():
            for kind in _parts(hint):
                if isinstance(kind, type) and is_dataclass(kind):
                    _in_order(kind, found)
    return list(found)


def _parts(hint: t.Any) -> list[t.Any]:
    arguments = t.get_args(hint)
    return [part for argument in arguments for part in _parts(argument)] if arguments else [hint]


def table(
    kind: type, linked: bool = True, renamed: dict[str, str] | None = None, nothing: str = "or null"
) -> Iterator[str]:
    """A type's fields as a table, from their metadata. ``nothing``: what stands for a value that there is not."""
    hints = t.get_type_hints(kind)
    yield "| field | type | meaning |"
    yield "| --- | --- | --- |"
    for item in fields(kind):
        name = (renamed or {}).get(item.name, item.name)
        yield f"| `{name}` | {_type(hints[item.name], linked, nothing)} | {cell(item.metadata['doc'])} |"


_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", t.Any: "value"}


def _type(hint: t.Any, linked: bool, nothing: str) -> str:
    arguments = t.get_args(hint)
    origin = t.get_origin(hint)
    if origin in (t.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return f"{_type(inner, linked, nothing)}, {nothing}"
    if origin is list:
        return f"list of {_type(arguments[0], linked, nothing)}"
    if origin is dict and arguments[1] is t.Any:
        return "object"
    if origin is dict:
        return f"object of {_type(arguments[1], linked, nothing)}"
    if is_dataclass(hint):
        name = t.cast(type, hint).__name__
        return f"[{name}](#{name.lower()})" if linked else name
    return _NAMES[hint]


def report_document() -> str:
    """docs/report.md."""
    found = table(finding.Finding, linked=False, renamed={"reach": "class"}, nothing="left out when there is none")
    return filled(DOCS / "report.md", {"finding": found})


def report_schema() -> str:
    """docs/schemas/report.json."""
    name = report.SCHEMA
    return json_schema.text(json_schema.schema_of(report_model.Report, name, "Report of an audit", {"schema": name}))


def snapshot_schema() -> str:
    """docs/schemas/snapshot.json."""
    made = json_schema.schema_of(model.Snapshot, model.SCHEMA, "Snapshot of a host", {"schema": model.SCHEMA})
    made["properties"]["coverage"]["required"] = list(model.AREAS)
    return json_schema.text(made)


def variables_document() -> str:
    """docs/variables.md."""
    return playbook_variables.document(HEAD.format(source="the playbooks and the options that take their variables"))


def lab_document() -> str:
    """tests/lab/README.md."""
    return filled(LAB, {"default_faults": _default_faults(), "faults": _faults()})


def filled(path: Path, tables: Mapping[str, Iterable[str]]) -> str:
    """A document written by hand, with its marked tables filled anew. Raises ValueError for a missing mark."""
    text = path.read_text(encoding="utf-8")
    marked = {match.group("name") for match in TABLE.finditer(text)}
    if marked != set(tables):
        raise ValueError(f"{path}: tables {sorted(marked)} are marked, not {sorted(tables)}")

    def fill(match: re.Match[str]) -> str:
        lines = "\n".join(tables[match.group("name")])
        return f"{match.group(1)}{lines}\n{match.group(3)}"

    return TABLE.sub(fill, text)


def _default_faults() -> Iterator[str]:
    yield "| host | fault | what is wrong | subject |"
    yield "| --- | --- | --- | --- |"
    for host in HOSTS:
        for fault in FAULTS.values():
            if host in fault.default_on:
                subject = fault.subject.replace("{host}", host)
                yield f"| {host} | `{fault.name}` | {cell(fault.about)} | {cell(subject)} |"


def _faults() -> Iterator[str]:
    yield "| fault | what is wrong | subject | hosts | finding |"
    yield "| --- | --- | --- | --- | --- |"
    for name, fault in sorted(FAULTS.items()):
        about = cell(fault.about) + (" (reboots the host)" if fault.reboot else "")
        hosts = ", ".join(fault.hosts)
        yield f"| `{name}` | {about} | {cell(fault.subject)} | {hosts} | {_shown(fault)} |"


def _shown(fault: Fault) -> str:
    """The rules that report a fault in an audit of its host alone."""
    rules = dict.fromkeys(rule for rule, _subject in fault.expects)
    return ", ".join([*rules, *(f"{rule} unknown" for rule in fault.doubts)]) or "none"


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return plain(text).replace("|", "\\|")


def plain(text: str) -> str:
    """Text in which Markdown finds no HTML."""
    return text.replace("<", "&lt;").replace(">", "&gt;")


DOCUMENTS: dict[Path, Callable[[], str]] = {
    DOCS / "rules.md": rules_document,
    DOCS / "snapshot.md": snapshot_document,
    DOCS / "report.md": report_document,
    DOCS / "variables.md": variables_document,
    DOCS / "schemas" / "report.json": report_schema,
    DOCS / "schemas" / "snapshot.json": snapshot_schema,
    LAB: lab_document,
}


def stale() -> list[Path]:
    """Documents that are not what the code says."""
    return [
        path
        for path, make in DOCUMENTS.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != make().rstrip("\n") + "\n"
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.reference", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when a document is stale")
    options = parser.parse_args(arguments)
    found = stale()
    for path in found:
        if options.check:
            print(f"{path.relative_to(ROOT)} is stale: run `make docs`")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(DOCUMENTS[path]().rstrip("\n") + "\n", encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
