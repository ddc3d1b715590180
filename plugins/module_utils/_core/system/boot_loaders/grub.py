# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB: grub.cfg with its entries, the settings that it is made from, and the environment block.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import PlanError
from ...snapshot.model import BootEntry
from ..kernel_arguments import BootWish
from .grub_defaults import edit_defaults
from .grub_environment import ENVIRONMENTS
from .loader import MAX_TEXT, BootFiles, BootLoader, BootMake, BootPlan, faults_of

CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/boot/efi/EFI/*/grub.cfg")
DEFAULTS = "/etc/default/grub"
DROP_INS = "/etc/default/grub.d/*.cfg"
#: The program that makes a grub.cfg, and which.
_MAKERS = {"grub-mkconfig": "/boot/grub/grub.cfg", "grub2-mkconfig": "/boot/grub2/grub.cfg"}
_CHECKERS = ("grub-script-check", "grub2-script-check")

_MENUS = ("menuentry", "submenu")
_KERNELS = frozenset(("linux", "linux16", "linuxefi", "linux_xen"))
#: Under Xen the kernel is a module of the hypervisor, as its initrd is.
_MODULES = frozenset(("module", "module2"))
#: A token of GRUB's shell: a comment, an end of command, or one piece of a word.
_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r]|\\\r?\n)+)
      | (?P<end>[\n;])
      | (?P<single>'[^']*'?)
      | (?P<double>"(?:[^"\\]|\\.)*"?)
      | (?P<escape>\\.?)
      | (?P<plain>[^ \t\r\n;'"\\]+)""",
    re.VERBOSE | re.DOTALL,
)


class Grub(BootLoader):
    """GRUB 2 with a grub.cfg that grub-mkconfig makes."""

    entry_files = (*CONFIGS, *ENVIRONMENTS)
    setting_files = (DEFAULTS, DROP_INS)
    programs = (*_MAKERS, *_CHECKERS)

    def entries(self, files: BootFiles) -> list[BootEntry]:
        configs = files.matching(CONFIGS)
        return [entry for path, text in configs.items() for entry in parse_grub_cfg(text, path)]

    def plan(self, files: BootFiles, wish: BootWish) -> BootPlan:
        plan = BootPlan()
        settings = self._settings(files)
        followed = True
        try:
            for path, text in edit_defaults(settings, wish).items() if settings else ():
                plan.edits[path] = (dict(settings)[path], text)
        except PlanError as error:
            followed = False
            plan.refuse(DEFAULTS, error.code, str(error))
        configs = files.matching(CONFIGS)
        faults = faults_of(self.entries(files), wish)
        has_entries = bool(self.entries(files))
        program = next((name for name in _MAKERS if name in files.programs), None)
        for path in configs:
            wrong = faults.get(path, [])
            if program is None or path != _MAKERS[program]:
                if wrong:
                    why = "no program here makes this file; edit it by hand"
                    plan.refuse(path, "not_generated", f"{'; '.join(wrong)}: {why}")
            elif followed and (wrong or (plan.edits and has_entries)):
                plan.makes.append(self._make(files, path, program, settings, wrong))
            elif wrong:
                why = "it is not made anew while its settings cannot be followed"
                plan.refuse(path, "settings_not_followed", f"{'; '.join(wrong)}: {why}")
        return plan

    @staticmethod
    def _make(files: BootFiles, path: str, program: str, settings: list[tuple[str, str]], wrong: list[str]) -> BootMake:
        checker = next((name for name in _CHECKERS if name in files.programs), None)
        return BootMake(path, program, checker, frozenset(name for name, _text in settings), tuple(wrong))

    @staticmethod
    def _settings(files: BootFiles) -> list[tuple[str, str]]:
        """What grub-mkconfig reads, in its order; not every version of it reads the folder."""
        program = next((files.programs[name] for name in _MAKERS if name in files.programs), None)
        if program is None and DEFAULTS not in files.texts:
            return []
        settings = [(DEFAULTS, files.texts.get(DEFAULTS, ""))]
        if program is not None and "default/grub.d" in program.text:
            settings += sorted(files.matching((DROP_INS,)).items())
        return settings


def parse_grub_cfg(text: str, source: str) -> list[BootEntry]:
    """Every entry of a grub.cfg with a Linux kernel; entries that blscfg adds are in snippets, not here."""
    entries: list[BootEntry] = []
    titles: list[str | None] = []  # one for each open brace; None for a brace that is no menu
    for words, brace in _commands(text[:MAX_TEXT]):
        arguments = _linux_arguments(words)
        if arguments is not None:
            title = ">".join(title for title in titles if title is not None)
            entries.append(BootEntry(source, title, arguments))
        if brace == "{":
            titles.append(words[1] if len(words) > 1 and words[0] in _MENUS else None)
        elif brace == "}":
            del titles[-1:]
    return entries


def _commands(text: str) -> t.Iterator[tuple[list[str], str]]:
    """Commands of GRUB's shell as words without their quotes, each with the brace that ends it, if one does."""
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    for kind, piece in _tokens(text):
        if kind not in ("space", "end"):
            word = [*(word or ()), _unquoted(kind, piece)]
            quoted = quoted or kind != "plain"
            continue
        brace = "".join(word or ()) if not quoted else ""
        if brace in ("{", "}"):
            yield words or [""], brace
            words = []
        elif word is not None:
            words.append("".join(word))
        word, quoted = None, False
        if kind == "end" and words:
            yield words, ""
            words = []


def _tokens(text: str) -> t.Iterator[tuple[str, str]]:
    position = 0
    in_word = False
    while position < len(text):
        match = _TOKEN.match(text, position)
        kind, piece = (str(match.lastgroup), match.group()) if match else ("plain", text[position])
        if not in_word and piece.startswith("#") and kind == "plain":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
            continue
        yield kind, piece
        in_word = kind not in ("space", "end")
        position += len(piece)
    yield "end", "\n"


def _unquoted(kind: str, piece: str) -> str:
    if kind == "single":
        return piece[1:].rstrip("'")
    if kind == "double":
        return re.sub(r"\\([\"$\\])", r"\1", piece[1:-1] if len(piece) > 1 and piece.endswith('"') else piece[1:])
    return piece[1:] if kind == "escape" else piece


def _linux_arguments(words: list[str]) -> str | None:
    starts = words[0] in _KERNELS or (words[0] in _MODULES and "vmlinu" in "".join(words[1:2]))
    if not starts or len(words) < 2:
        return None
    return " ".join(f'"{word}"' if " " in word else word for word in words[2:])
