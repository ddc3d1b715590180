# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/default/grub and its drop-ins: edits of the settings that grub-mkconfig gives to every entry.

The probe does without this file: hosts are sent what they need.

An edit is checked on what the files would then mean; where that is not exactly what was wanted, nothing is edited.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..errors import PlanError
from .kernel_arguments import CHOICE, BootRequest, all_spans, names_a_module, spans, strengthen, strong_word
from .shell_settings import UNKNOWN, ShellChange, ShellSettings, rewrite

_LINUX = "GRUB_CMDLINE_LINUX"
_XEN = "GRUB_CMDLINE_LINUX_XEN_REPLACE"
_VARIABLES = (_LINUX, f"{_LINUX}_DEFAULT", f"{_LINUX}_RECOVERY", _XEN, f"{_XEN}_DEFAULT")


def edit_settings(files: t.Sequence[tuple[str, str]], request: BootRequest) -> dict[str, str]:
    """New texts of /etc/default/grub and what follows it, by path; empty when they are as they should be.

    Raises PlanError when the files cannot be followed, or no safe edit of them does what is wanted.
    """
    settings = ShellSettings(files)
    wanted: dict[str, str] = {}
    changes: dict[int, ShellChange] = {}
    append = ""
    for name in _VARIABLES:
        value = settings.value(name)
        choose = request.choose and (name == _LINUX or (name == _XEN and value.text != ""))
        text = value.text
        if not value.known:
            raise PlanError(
                f"{_where(settings, name)} the value of {name} is not known; set SELinux's arguments by hand",
                "settings_value_unknown",
            )
        wanted[name] = strengthen(text, request, choose)
        if wanted[name] == text:
            continue
        if settings.last(name) is None and not text:
            append = f'{name}="{CHOICE}"\n'
            continue
        _collect(settings, name, request, choose, changes)
    texts = rewrite(settings, changes)
    if append:
        path, old = files[0]
        base = texts.get(path, old)
        texts[path] = base + ("" if base.endswith("\n") or not base else "\n") + append
    if texts:
        _prove([(path, texts.get(path, text)) for path, text in files], wanted)
    return texts


def _where(settings: ShellSettings, name: str) -> str:
    number = settings.last(name)
    if number is None:
        return f"{next(iter(settings.files))}:"
    return f"{settings.statements[number].path}, line {settings.statements[number].line}:"


def _collect(
    settings: ShellSettings, name: str, request: BootRequest, choose: bool, changes: dict[int, ShellChange]
) -> None:
    """Note which characters of which assignments have to change, so that the variable ends up as it should."""
    value = settings.value(name)
    text = value.text
    for start, end, word in spans(text):
        fresh = strong_word(word, request)
        if fresh == word:
            continue
        numbers = {number for number, _place in value.origins[start:end]}
        if len(numbers) != 1 or -1 in numbers:
            raise PlanError(
                f"{_where(settings, name)} {word[:60]!r} is put together from several values; edit it by hand",
                "settings_value_composed",
            )
        change = changes.setdefault(numbers.pop(), ShellChange())
        change.remove |= {place for _number, place in value.origins[start:end]}
        if fresh is None:
            change.remove |= _blanks_before(value.origins, text, start)
        else:
            change.insert[value.origins[start][1]] = fresh
    for place, touched in changes.items():
        _drop_leading_blanks(settings, place, touched)
    if choose and not names_a_module(strengthen(text, request, choose=False)):
        number = settings.last(name)
        if number is None:
            raise PlanError(
                f"{_where(settings, name)} {name} has no assignment of its own; edit it by hand",
                "settings_not_assigned",
            )
        change = changes.setdefault(number, ShellChange())
        _insert_choice(settings, number, change, text.strip() != "")


def _blanks_before(origins: list[tuple[int, int]], text: str, start: int) -> set[int]:
    """The blanks before a word that goes: of the same assignment only."""
    before = start
    while before and text[before - 1] in " \t" and origins[before - 1][0] == origins[start][0]:
        before -= 1
    return {place for _number, place in origins[before:start]}


def _drop_leading_blanks(settings: ShellSettings, number: int, change: ShellChange) -> None:
    """Where the first words of a value go, so do the blanks after them."""
    if 0 not in change.remove or 0 in change.insert:
        return
    for place, piece in enumerate(getattr(settings.statements[number], "pieces", ())):
        if piece.kind == "char" and piece.text in " \t":
            change.remove.add(place)
        elif place not in change.remove or place in change.insert:
            return


def _insert_choice(settings: ShellSettings, number: int, change: ShellChange, more: bool) -> None:
    statement = settings.statements[number]
    pieces = getattr(statement, "pieces", ())
    own = "".join(piece.text if piece.kind == "char" else UNKNOWN for piece in pieces)
    place = next((start for start, _end, word in all_spans(own) if word == "--"), None)
    if place is not None:
        change.insert[place] = f"{CHOICE} {change.insert.get(place, '')}"
        return
    left = [piece for index, piece in enumerate(pieces) if index not in change.remove]
    blank = bool(left) and left[-1].kind == "char" and left[-1].text in " \t"
    change.insert[len(pieces)] = f"{'' if blank or not (left and more) else ' '}{CHOICE}"


def _prove(files: list[tuple[str, str]], wanted: dict[str, str]) -> None:
    """The edited files have to mean exactly what was wanted."""
    settings = ShellSettings(files)
    for name, text in wanted.items():
        edited = settings.value(name).text
        if edited.split() != text.split():
            raise PlanError(
                f"{_where(settings, name)} no safe edit makes {name} read {text[:200]!r}; the values depend on each "
                f"other. Edit it by hand",
                "settings_interdependent",
            )
