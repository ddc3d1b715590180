# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A captured host whose policy has other names for all its types: labels, contexts files, answers, modules."""

from __future__ import annotations

import copy
import json
import re
import typing as t
from dataclasses import dataclass, field

from .captured import Policy, Tree

_LABEL = re.compile(r"(\b\w+_u:(?:\w+_r):)([\w.]+)")
_WORD = re.compile(r"[\w.]*\w")
_CIL = re.compile(r"(\(\s*typepermissive\s+)([\w.]+)")


@dataclass
class Renaming:
    """New names for types, by a rule; ``old`` has the old name of each that was given."""

    rule: t.Callable[[str], str]
    old: dict[str, str] = field(default_factory=dict)

    def tree(self, tree: Tree) -> Tree:
        """The host under the renamed policy."""
        renamed = copy.deepcopy(tree)
        for entry in {id(entry): entry for entry in renamed.entries.values()}.values():  # one file may have two paths
            entry.content = self._bytes(entry.content)
            entry.xattrs = {name: self._bytes(value) for name, value in entry.xattrs.items()}
        renamed.answers = {self.text(question): self.text(answer) for question, answer in tree.answers.items()}
        renamed.libvirt = json.loads(self.text(json.dumps(tree.libvirt)))
        return renamed

    def policy(self, policy: Policy) -> Policy:
        """The renamed policy's answers: those of the policy to the same question in its own words."""

        def answer(question: str) -> str | None:
            types = [label.split(":")[2] for label in question.removeprefix("create ").split(" ")[:2]]
            if not set(types) <= set(self.old):
                return None  # the renamed policy has no such type
            loaded = policy(_LABEL.sub(lambda match: match[1] + self.old[match[2]], question))
            return None if loaded is None else self.text(loaded)

        return answer

    def text(self, text: str) -> str:
        """All labels in a text, renamed."""
        for pattern in (_LABEL, _CIL):
            text = pattern.sub(lambda match: match[1] + self._new(match[2]), text)
        return text

    def restored(self, value: t.Any) -> t.Any:
        """Verdicts in the old names, in an order that names do not change."""
        if isinstance(value, str):
            return _WORD.sub(lambda match: self.old.get(match[0], match[0]), value)
        if isinstance(value, dict):
            return {self.restored(key): self.restored(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return sorted((self.restored(item) for item in value), key=repr)
        return value

    def _new(self, name: str) -> str:
        new = self.rule(name)
        assert self.old.setdefault(new, name) == name
        return new

    def _bytes(self, content: bytes) -> bytes:
        return self.text(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def prefixed() -> Renaming:
    """svirt_t becomes my_svirt_t, and so on."""
    return Renaming("my_{}".format)


def ciphered() -> Renaming:
    """Names that say nothing, and end like no type: each letter becomes the one 13 places on."""
    shift = {ord(char): (ord(char) - 97 + 13) % 26 + 97 for char in "abcdefghijklmnopqrstuvwxyz"}
    return Renaming(lambda name: f"x{name.translate(shift)}")
