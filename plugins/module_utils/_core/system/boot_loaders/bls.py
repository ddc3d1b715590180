# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot Loader Specification snippets, as GRUB's blscfg of Fedora and EL reads them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from ...snapshot.model import BootEntry
from ..kernel_arguments import CHOICE, BootWish, names_a_module, parameter, strengthen
from .grub import DEFAULTS
from .grub_environment import ENVIRONMENTS, edit_grubenv, parse_grubenv
from .kernel_cmdline import KERNEL_CMDLINE
from .loader import MAX_TEXT, BootCommand, BootFiles, BootLoader, BootPlan

SNIPPETS = ("/boot/loader/entries/*.conf", "/efi/loader/entries/*.conf", "/boot/efi/loader/entries/*.conf")
_TOOL = "grubby"
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
#: Words that grubby takes as they are.
_PLAIN_WORD = re.compile(r"[\w=,.:+-]+\Z")


class Bls(BootLoader):
    """Snippets below ``loader/entries``, and the variables of GRUB's environment block that they use."""

    entry_files = (*SNIPPETS, *ENVIRONMENTS)
    programs = (_TOOL,)

    def entries(self, files: BootFiles) -> list[BootEntry]:
        variables = _variables(files)
        entries = (parse_bls(text, path, variables) for path, text in files.matching(SNIPPETS).items())
        return [entry for entry in entries if entry]

    def plan(self, files: BootFiles, wish: BootWish) -> BootPlan:
        plan = BootPlan()
        variables = _variables(files)
        snippets = files.matching(SNIPPETS)
        names = variables_of(snippets.values())
        plan.edit_all(files.matching(ENVIRONMENTS), lambda text: edit_grubenv(text, wish, names))
        plan.edit_all(snippets, lambda text: edit_bls(text, wish, variables))
        gone, new = words_for_grubby(files, plan)
        if _TOOL in files.programs and (gone or new):
            args = [files.programs[_TOOL].path, "--update-kernel=ALL"]
            args += [f"--remove-args={' '.join(gone)}"] if gone else []
            args += [f"--args={' '.join(new)}"] if new else []
            touches = (*snippets, *files.matching((*ENVIRONMENTS, KERNEL_CMDLINE, DEFAULTS)))
            plan.commands.append(BootCommand(tuple(args), touches))
        return plan


def parse_bls(text: str, source: str, variables: dict[str, str]) -> BootEntry | None:
    """One Boot Loader Specification snippet; ``variables`` are those of grubenv. None: no Linux entry."""
    keys: dict[str, list[str]] = {}
    for line in text[:MAX_TEXT].split("\n"):
        key, value = [*line.strip().split(None, 1), "", ""][:2]
        if key and not key.startswith("#"):
            keys.setdefault(key, []).append(value)
    if "linux" not in keys and "efi" not in keys:
        return None
    # Without options GRUB's blscfg falls back to this variable.
    options = " ".join(keys["options"]) if "options" in keys else variables.get("default_kernelopts", "")
    title = next(iter(keys.get("title", [])), "") or next(iter(keys.get("version", [])), "")
    return BootEntry(source, title, _expand(options, variables))


def edit_bls(text: str, wish: BootWish, variables: dict[str, str]) -> str:
    """A snippet with its own options as they should be; what GRUB's environment adds is edited there."""
    entry = parse_bls(text, "", variables)
    if entry is None or not wish.faults(entry.arguments):
        return text
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if line.split(None, 1)[:1] == ["options"]]
    for place in places:
        match = re.match(r"(\s*options\s*)(.*?)(\s*)\Z", lines[place], re.DOTALL)
        if match:
            lines[place] = match[1] + strengthen(match[2], wish, choose=False) + match[3]
    if wish.choose and places:
        edited = parse_bls("\n".join(lines), "", variables)
        if edited is not None and not names_a_module(edited.arguments):
            last = lines[places[-1]]
            lines[places[-1]] = last.rstrip() + (" " if last.split(None, 1)[1:] else "") + CHOICE
            if lines[places[-1]].startswith(f"options{CHOICE}"):
                lines[places[-1]] = f"options {CHOICE}"
    return "\n".join(lines)


def variables_of(snippets: t.Iterable[str]) -> set[str]:
    """Variables of GRUB's environment that snippets take arguments from."""
    names = {"kernelopts", "default_kernelopts"}
    for text in snippets:
        for line in text.split("\n"):
            if line.split(None, 1)[:1] == ["options"]:
                names |= {braced or bare for braced, bare in _VARIABLE.findall(line)}
    return names


def words_for_grubby(files: BootFiles, plan: BootPlan) -> tuple[list[str], list[str]]:
    """Arguments that grubby has to take away and add, so that the snippets become what the plan says."""
    gone: dict[str, None] = {}
    new: dict[str, None] = {}
    for path in files.matching((*SNIPPETS, *ENVIRONMENTS)):
        if path in plan.edits:
            old, fresh = (_arguments_in(text, path in ENVIRONMENTS) for text in plan.edits[path])
            gone.update(dict.fromkeys(word for word in old if word not in fresh))
            new.update(dict.fromkeys(word for word in fresh if word not in old))
    special = [word for word in (*gone, *new) if not _PLAIN_WORD.match(word) or not parameter(word)]
    # What grubby might read as something else is left to the edit that follows it.
    return ([], []) if special else (list(gone), list(new))


def _arguments_in(text: str, grubenv: bool) -> list[str]:
    if grubenv:
        return [word for value in parse_grubenv(text).values() for word in value.split()]
    lines = (line.split() for line in text.split("\n"))
    return [word for words in lines if words[:1] == ["options"] for word in words[1:]]


def _variables(files: BootFiles) -> dict[str, str]:
    """The variables of all environment blocks."""
    variables: dict[str, str] = {}
    for text in files.matching(ENVIRONMENTS).values():
        variables.update(parse_grubenv(text))
    return variables


def _expand(options: str, variables: dict[str, str]) -> str:
    expanded = _VARIABLE.sub(lambda match: variables.get(match.group(1) or match.group(2), ""), options)
    return " ".join(expanded.split())
