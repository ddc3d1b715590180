# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The administrator's persistent file-context rules: present, wanted, and the changes between them.

Format of file_contexts.local: one rule a line: a regular expression, an optional file type, and a label.

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
#: Label of images at rest in the shipped policies, and a path to which each policy gives its own.
AT_REST = "system_u:object_r:virt_image_t:s0"
PATH_AT_REST = "/var/lib/libvirt/images/disk"
#: Paths under it carry no label by policy.
NONE = "<<none>>"

_SPECIAL = re.compile(r"([.^$?*+|\[\](){}\\])")
_FLAGS = {flag: letter for letter, flag in FTYPES.items()}
#: Longer than any path, with room for an expression.
_MAX_TARGET = 5000


@dataclass(frozen=True)
class ContextRule:
    """One rule; ``context`` is a label, or None for a rule that does not exist."""

    target: str
    ftype: str
    context: str | None

    @property
    def key(self) -> tuple[str, str]:
        """Identity: (expression, file type). A later rule with the same key replaces the earlier."""
        return (self.target, self.ftype)

    @property
    def subject(self) -> str:
        """The rule as a subject."""
        return f"file context {self.target} ({self.ftype})"

    def matches(self, path: str, ftype: str) -> bool:
        """Whether the rule matches this file."""
        try:
            return self.ftype in ("a", ftype) and re.fullmatch(self.target, path) is not None
        except re.error:  # an expression of another dialect: libselinux reports it once the rule is set
            return False


def parse(text: str) -> list[ContextRule]:
    """The rules of file_contexts.local. Other lines are ignored, as libselinux does."""
    rules = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 2:
            rules.append(ContextRule(words[0], "a", words[1]))
        elif len(words) == 3 and words[1] in _FLAGS:
            rules.append(ContextRule(words[0], _FLAGS[words[1]], words[2]))
    return rules


def of_folder(folder: str, label: str = AT_REST) -> ContextRule:
    """The rule for a folder with images, and for all below it. ``label`` is the policy's label of images at rest."""
    if not folder.startswith("/") or folder.rstrip("/") == "" or "\n" in folder:
        why = f"folder {folder!r} is not an absolute path of a folder below /; give the images' own folder"
        raise PlanError(why, "folder_not_absolute")
    _must_be_ascii("folder", folder)
    plain = re.sub(r"\s", r"\\s", _SPECIAL.sub(r"\\\1", folder.rstrip("/")))
    return ContextRule(f"{plain}(/.*)?", "a", label)


def wanted(document: t.Mapping[str, t.Any]) -> ContextRule:
    """A rule from the module's option. Raises PlanError and LabelError."""
    target, ftype = str(document["target"]), str(document["ftype"])
    if not target.startswith("/") or re.search(r"\s", target) or len(target) > _MAX_TARGET:
        why = f"target {target[:200]!r} must start with / and hold no white space; write \\s for a space"
        raise PlanError(why, "target_malformed")
    _must_be_ascii("target", target)
    if document["state"] == "absent":
        return ContextRule(target, ftype, None)
    if not document.get("setype"):
        why = f"target {target[:200]!r} has no setype; name the type, or set state: absent"
        raise PlanError(why, "type_missing")
    if document["setype"] == NONE:
        return ContextRule(target, ftype, NONE)
    context = f"{document['seuser']}:object_r:{document['setype']}:{document['selevel']}"
    parse_context(context)
    return ContextRule(target, ftype, context)


def _must_be_ascii(what: str, text: str) -> None:
    if not text.isascii():
        why = f"{what} {text[:200]!r} is not ASCII, which setfiles refuses; write a dot for each other byte"
        raise PlanError(why, "not_ascii")


def changes(
    present: t.Iterable[ContextRule], requested: t.Iterable[ContextRule]
) -> list[tuple[ContextRule, ContextRule]]:
    """Present and wanted rule, where they differ, by target. Raises PlanError for wanted rules that contradict."""
    present_rules = {rule.key: rule for rule in present}
    rules: dict[tuple[str, str], ContextRule] = {}
    for rule in requested:
        first = rules.setdefault(rule.key, rule)
        if first != rule:
            why = f"{rule.subject} is given twice, with {first.context} and {rule.context}; give it once"
            raise PlanError(why, "rule_given_twice")
    pairs = [(present_rules.get(key, ContextRule(*key, None)), rule) for key, rule in sorted(rules.items())]
    return [(old, new) for old, new in pairs if old.context != new.context]


def label_by(rules: t.Iterable[ContextRule], path: str, ftype: str) -> str | None:
    """The label that the last matching rule gives; None when none matches."""
    label = None
    for rule in rules:
        if rule.context is not None and rule.matches(path, ftype):
            label = rule.context
    return label
