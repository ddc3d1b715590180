# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Persistent file-context rules of the administrator: what is there, what is wanted, and what that changes.

Format of file_contexts.local: one rule a line, of a regular expression, where needed a file type, and a label.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..errors import PlanError
from .context import parse_context

#: semanage's letter for a kind of file, and how file_contexts writes it.
FTYPES = {"a": "", "f": "--", "d": "-d", "c": "-c", "b": "-b", "s": "-s", "l": "-l", "p": "-p"}
#: Label of images at rest.
IMAGE_TYPE = "virt_image_t"
#: Paths under it carry no label by policy.
NONE = "<<none>>"

_SPECIAL = re.compile(r"([.^$?*+|\[\](){}\\])")
_FLAGS = {flag: letter for letter, flag in FTYPES.items()}
#: Longer than any path, with room for an expression.
_MAX_TARGET = 5000


@dataclass(frozen=True)
class Rule:
    """One rule; ``context`` is a label, or None for a rule that is not there."""

    target: str
    ftype: str
    context: str | None

    @property
    def key(self) -> tuple[str, str]:
        """Two rules with one key cannot stand side by side."""
        return (self.target, self.ftype)

    @property
    def subject(self) -> str:
        """The rule as a subject."""
        return f"file context {self.target} ({self.ftype})"

    def matches(self, path: str, ftype: str) -> bool:
        """Whether the rule is about this file."""
        try:
            return self.ftype in ("a", ftype) and re.fullmatch(self.target, path) is not None
        except re.error:  # an expression of another dialect: libselinux will tell once the rule is there
            return False


def parse(text: str) -> list[Rule]:
    """The rules of file_contexts.local. Lines that are none are passed over, as libselinux does."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 2:
            found.append(Rule(words[0], "a", words[1]))
        elif len(words) == 3 and words[1] in _FLAGS:
            found.append(Rule(words[0], _FLAGS[words[1]], words[2]))
    return found


def of_folder(folder: str) -> Rule:
    """The rule for a folder with images, and for all below it."""
    if not folder.startswith("/") or folder.rstrip("/") == "" or "\n" in folder:
        raise PlanError(f"folder {folder!r} is no absolute path of a folder below /; give the images' own folder")
    _must_be_ascii("folder", folder)
    plain = re.sub(r"\s", r"\\s", _SPECIAL.sub(r"\\\1", folder.rstrip("/")))
    return Rule(f"{plain}(/.*)?", "a", f"system_u:object_r:{IMAGE_TYPE}:s0")


def wanted(document: t.Mapping[str, t.Any]) -> Rule:
    """A rule from the module's option. Raises PlanError."""
    target, ftype = str(document["target"]), str(document["ftype"])
    if not target.startswith("/") or re.search(r"\s", target) or len(target) > _MAX_TARGET:
        raise PlanError(f"target {target[:200]!r} must start with / and hold no white space; write \\s for a space")
    _must_be_ascii("target", target)
    if document["state"] == "absent":
        return Rule(target, ftype, None)
    if not document.get("setype"):
        raise PlanError(f"target {target[:200]!r} has no setype; name the type, or say state: absent")
    if document["setype"] == NONE:
        return Rule(target, ftype, NONE)
    context = f"{document['seuser']}:object_r:{document['setype']}:{document['selevel']}"
    parse_context(context)
    return Rule(target, ftype, context)


def _must_be_ascii(what: str, text: str) -> None:
    if not text.isascii():
        raise PlanError(
            f"{what} {text[:200]!r} is not ASCII, which setfiles refuses; write a dot for each byte beyond it"
        )


def changes(present: t.Iterable[Rule], wished: t.Iterable[Rule]) -> list[tuple[Rule, Rule]]:
    """What there is and what there shall be, where they differ, by target. Raises PlanError for wishes that collide."""
    there = {rule.key: rule for rule in present}
    asked: dict[tuple[str, str], Rule] = {}
    for rule in wished:
        other = asked.setdefault(rule.key, rule)
        if other != rule:
            raise PlanError(f"{rule.subject} is given twice, with {other.context} and {rule.context}; give it once")
    pairs = [(there.get(key, Rule(*key, None)), rule) for key, rule in sorted(asked.items())]
    return [(old, new) for old, new in pairs if old.context != new.context]


def label_by(rules: t.Iterable[Rule], path: str, ftype: str) -> str | None:
    """The label that the last matching rule gives; None when none matches."""
    label = None
    for rule in rules:
        if rule.context is not None and rule.matches(path, ftype):
            label = rule.context
    return label
