# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must change so that every boot entry starts SELinux as it should: the files' new texts, nothing more.

An edit is tried on what the files would then mean; where that is not exactly what was wanted, nothing is edited.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..system import boot_entries as boot
from ..system.shell_settings import UNKNOWN, Change, Settings, rewrite

#: What to do with enforcing= on a command line.
KEEP = "keep"
STRONG = "strong"  # what makes the host permissive goes
NONE = "none"  # all of it goes: the next boot has to be permissive, by /etc/selinux/config

CHOICE = "security=selinux"
DEFAULTS = "/etc/default/grub"

_LINUX = "GRUB_CMDLINE_LINUX"
_XEN = "GRUB_CMDLINE_LINUX_XEN_REPLACE"
_VARIABLES = (_LINUX, f"{_LINUX}_DEFAULT", f"{_LINUX}_RECOVERY", _XEN, f"{_XEN}_DEFAULT")
#: Security modules that cannot work beside SELinux as the one in charge.
_OTHER_MODULES = frozenset(("apparmor", "smack", "tomoyo"))
_GRUBENV_UNIT = 1024
_GRUBENV_HEAD = "# GRUB Environment Block\n"
_REFERENCE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
#: Words that grubby takes as they are.
_PLAIN_WORD = re.compile(r"[\w=,.:+-]+\Z")


@dataclass(frozen=True)
class Wish:
    """What a boot entry has to be like."""

    enforcing: str = STRONG
    #: The distribution's kernels take another module unless SELinux is named.
    choose: bool = False

    def faults(self, arguments: str) -> list[str]:
        """What is wrong with the arguments of a whole entry."""
        found = [item for item in boot.weakness(arguments) if item != "enforcing=0" or self.enforcing != KEEP]
        if self.enforcing == NONE and "enforcing=0" not in found:
            names = [parameter and parameter[0] for parameter in map(boot.parameter, _words(arguments))]
            found += ["enforcing=1"] if "enforcing" in names else []
        return found + (boot.not_chosen(arguments, next(iter(boot.APPARMOR_BY_DEFAULT))) if self.choose else [])


def strengthen(arguments: str, wish: Wish, choose: bool | None = None) -> str:
    """The arguments as they should be; the same text where nothing is wrong with it."""
    parts: list[str] = []
    rest = 0
    for start, end, word in _spans(arguments):
        fresh = _strong(word, wish)
        if fresh is None:
            parts.append(arguments[rest:start].rstrip(" \t"))
        elif fresh != word:
            parts += [arguments[rest:start], fresh]
        else:
            continue
        rest = end
    made = "".join(parts) + arguments[rest:]
    if parts and not arguments[:1].isspace():
        made = made.lstrip(" \t")
    if (wish.choose if choose is None else choose) and not _named(made):
        made = _with_choice(made)
        if not _named(made):
            raise PlanError(f"a quote does not end in {arguments[:200]!r}; edit it by hand")
    return made


def _with_choice(arguments: str) -> str:
    """SELinux named, before the arguments of init."""
    for start, _end, word in _all_spans(arguments):
        if word == "--":
            return f"{arguments[:start]}{CHOICE} {arguments[start:]}"
    return f"{arguments.rstrip()} {CHOICE}" if arguments.strip() else CHOICE


def _named(arguments: str) -> bool:
    return any(
        parameter and parameter[0] in ("security", "lsm") for parameter in map(boot.parameter, _words(arguments))
    )


def _strong(word: str, wish: Wish) -> str | None:
    """The word as it should be; None when it should go."""
    parameter = boot.parameter(word)
    if parameter is None:
        return word
    name, value = parameter
    if name == "enforcing" and (wish.enforcing == NONE or (wish.enforcing == STRONG and boot.weakness(word))):
        return None
    if name in ("selinux", "security") and boot.weakness(word):
        return None
    if name == "lsm" and boot.weakness(word):
        return f"lsm={_with_selinux(value)}"
    return word


def _with_selinux(modules: str) -> str:
    """The list of security modules with SELinux in the place of the one that excludes it, or at its end."""
    names = [name for name in modules.split(",") if name]
    places = [place for place, name in enumerate(names) if name in _OTHER_MODULES]
    if places:
        names[places[0]] = "selinux"
    else:
        names.append("selinux")
    return ",".join(name for name in names if name not in _OTHER_MODULES)


def _all_spans(arguments: str) -> t.Iterator[tuple[int, int, str]]:
    if len(arguments) > boot.MAX_ARGUMENTS:
        raise PlanError(f"a kernel command line of {len(arguments)} characters is too long; edit it by hand")
    for match in boot.ARGUMENT.finditer(arguments):
        yield match.start(), match.end(), match.group()


def _spans(arguments: str) -> t.Iterator[tuple[int, int, str]]:
    """Place and text of each argument of the kernel, up to those of init."""
    for span in _all_spans(arguments):
        if span[2] == "--":
            return
        yield span


def _words(arguments: str) -> list[str]:
    return [word for _start, _end, word in _spans(arguments)]


def edit_defaults(files: t.Sequence[tuple[str, str]], wish: Wish) -> dict[str, str]:
    """New texts of /etc/default/grub and what follows it, by path; empty when they are as they should be.

    Raises PlanError when it cannot be told what the files mean, or no safe edit of them does what is wanted.
    """
    settings = Settings(files)
    wanted: dict[str, str] = {}
    changes: dict[int, Change] = {}
    append = ""
    for name in _VARIABLES:
        value = settings.value(name)
        choose = wish.choose and (name == _LINUX or (name == _XEN and value.text != ""))
        text = value.text
        if not value.known:
            raise PlanError(
                f"{_where(settings, name)} what {name} holds cannot be told; set SELinux's arguments by hand"
            )
        wanted[name] = strengthen(text, wish, choose)
        if wanted[name] == text:
            continue
        if settings.last(name) is None and not text:
            append = f'{name}="{CHOICE}"\n'
            continue
        _collect(settings, name, wish, choose, changes)
    texts = rewrite(settings, changes)
    if append:
        path, old = files[0]
        base = texts.get(path, old)
        texts[path] = base + ("" if base.endswith("\n") or not base else "\n") + append
    if texts:
        _prove([(path, texts.get(path, text)) for path, text in files], wanted)
    return texts


def _where(settings: Settings, name: str) -> str:
    number = settings.last(name)
    if number is None:
        return f"{next(iter(settings.files))}:"
    return f"{settings.statements[number].path}, line {settings.statements[number].line}:"


def _collect(settings: Settings, name: str, wish: Wish, choose: bool, changes: dict[int, Change]) -> None:
    """Note which characters of which assignments have to change, so that the variable ends up as it should."""
    value = settings.value(name)
    text = value.text
    for start, end, word in _spans(text):
        fresh = _strong(word, wish)
        if fresh == word:
            continue
        numbers = {number for number, _place in value.origins[start:end]}
        if len(numbers) != 1 or -1 in numbers:
            raise PlanError(
                f"{_where(settings, name)} {word[:60]!r} is put together from several values; edit it by hand"
            )
        change = changes.setdefault(numbers.pop(), Change())
        change.remove |= {place for _number, place in value.origins[start:end]}
        if fresh is None:
            change.remove |= _blanks_before(value.origins, text, start)
        else:
            change.insert[value.origins[start][1]] = fresh
    for place, touched in changes.items():
        _drop_leading_blanks(settings, place, touched)
    if choose and not _named(strengthen(text, wish, choose=False)):
        number = settings.last(name)
        if number is None:
            raise PlanError(f"{_where(settings, name)} {name} has no assignment of its own; edit it by hand")
        change = changes.setdefault(number, Change())
        _insert_choice(settings, number, change, text.strip() != "")


def _blanks_before(origins: list[tuple[int, int]], text: str, start: int) -> set[int]:
    """The blanks before a word that goes: of the same assignment only."""
    before = start
    while before and text[before - 1] in " \t" and origins[before - 1][0] == origins[start][0]:
        before -= 1
    return {place for _number, place in origins[before:start]}


def _drop_leading_blanks(settings: Settings, number: int, change: Change) -> None:
    """Where the first words of a value go, so do the blanks after them."""
    if 0 not in change.remove or 0 in change.insert:
        return
    for place, piece in enumerate(getattr(settings.statements[number], "pieces", ())):
        if piece.kind == "char" and piece.text in " \t":
            change.remove.add(place)
        elif place not in change.remove or place in change.insert:
            return


def _insert_choice(settings: Settings, number: int, change: Change, more: bool) -> None:
    statement = settings.statements[number]
    pieces = getattr(statement, "pieces", ())
    own = "".join(piece.text if piece.kind == "char" else UNKNOWN for piece in pieces)
    place = next((start for start, _end, word in _all_spans(own) if word == "--"), None)
    if place is not None:
        change.insert[place] = f"{CHOICE} {change.insert.get(place, '')}"
        return
    left = [piece for index, piece in enumerate(pieces) if index not in change.remove]
    blank = bool(left) and left[-1].kind == "char" and left[-1].text in " \t"
    change.insert[len(pieces)] = f"{'' if blank or not (left and more) else ' '}{CHOICE}"


def _prove(files: list[tuple[str, str]], wanted: dict[str, str]) -> None:
    """The edited files have to mean exactly what was wanted."""
    settings = Settings(files)
    for name, text in wanted.items():
        seen = settings.value(name).text
        if seen.split() != text.split():
            raise PlanError(
                f"{_where(settings, name)} no safe edit makes {name} read {text[:200]!r}; the values depend on each "
                f"other. Edit it by hand"
            )


def edit_bls(text: str, wish: Wish, variables: dict[str, str]) -> str:
    """A snippet with its own options as they should be; what GRUB's environment adds is edited there."""
    entry = boot.parse_bls(text, "", variables)
    if entry is None or not wish.faults(entry.arguments):
        return text
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if line.split(None, 1)[:1] == ["options"]]
    for place in places:
        match = re.match(r"(\s*options\s*)(.*?)(\s*)\Z", lines[place], re.DOTALL)
        if match:
            lines[place] = match[1] + strengthen(match[2], wish, choose=False) + match[3]
    if wish.choose and places:
        edited = boot.parse_bls("\n".join(lines), "", variables)
        if edited is not None and not _named(edited.arguments):
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
                names |= {braced or bare for braced, bare in _REFERENCE.findall(line)}
    return names


def edit_grubenv(text: str, wish: Wish, names: t.Collection[str]) -> str:
    """The environment block with these variables as they should be, of the same size. Raises PlanError."""
    variables = boot.parse_grubenv(text)
    edits = {name: strengthen(variables[name], wish, choose=False) for name in names if name in variables}
    edits = {name: value for name, value in edits.items() if value != variables[name]}
    if not edits:
        return text
    if len(text.encode("utf-8", "surrogateescape")) % _GRUBENV_UNIT or not text.startswith(_GRUBENV_HEAD):
        raise PlanError("it is no GRUB environment block; make a new one with grub-editenv")
    lines = re.sub(r"\\\n", "\\\0", text).rstrip("#").split("\n")  # an escaped end of line does not end the line
    for place, line in enumerate(lines):
        name = line.partition("=")[0]
        if name in edits and not line.startswith("#"):
            lines[place] = f"{name}=" + re.sub(r"([\\\n])", r"\\\1", edits[name])
    made = "\n".join(lines).replace("\\\0", "\\\n")
    room = len(text.encode("utf-8", "surrogateescape")) - len(made.encode("utf-8", "surrogateescape"))
    if room < 0:
        raise PlanError("the GRUB environment block is full; use grub-editenv to make room")
    made += "#" * room
    after = boot.parse_grubenv(made)
    if {**variables, **edits} != {name: value for name, value in after.items() if name in variables}:
        raise PlanError("the GRUB environment block cannot be edited safely; use grub-editenv")
    return made


def edit_cmdline(text: str, wish: Wish) -> str:
    """/etc/kernel/cmdline: the arguments that kernels to come get."""
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    for place in places:
        lines[place] = strengthen(lines[place], wish, choose=False)
    if wish.choose and places and not _named(" ".join(lines[place] for place in places)):
        lines[places[-1]] = _with_choice(lines[places[-1]])
    return "\n".join(lines)


@dataclass(repr=False, eq=False)
class BootFiles:
    """The boot loader's files as they are: path -> text."""

    grub_cfgs: dict[str, str] = field(default_factory=dict)
    #: /etc/default/grub and the files that are read after it, in their order; empty where GRUB has no such thing.
    defaults: list[tuple[str, str]] = field(default_factory=list)
    snippets: dict[str, str] = field(default_factory=dict)
    grubenvs: dict[str, str] = field(default_factory=dict)
    cmdlines: dict[str, str] = field(default_factory=dict)
    #: The grub.cfg that grub-mkconfig makes; None when there is no such program.
    made: str | None = None
    problems: list[str] = field(default_factory=list)

    def variables(self) -> dict[str, str]:
        """The variables of all environment blocks."""
        found: dict[str, str] = {}
        for text in self.grubenvs.values():
            found.update(boot.parse_grubenv(text))
        return found

    def faults(self, wish: Wish) -> dict[str, list[str]]:
        """What is wrong with the boot entries: path -> ``title: faults`` of each entry."""
        found: dict[str, list[str]] = {}
        entries = [entry for path, text in self.grub_cfgs.items() for entry in boot.parse_grub_cfg(text, path)]
        variables = self.variables()
        entries += [e for e in (boot.parse_bls(text, path, variables) for path, text in self.snippets.items()) if e]
        for entry in entries:
            wrong = wish.faults(entry.arguments)
            if wrong:
                found.setdefault(entry.source, []).append(f"{entry.title}: {' '.join(wrong)}"[:300])
        return found


@dataclass(repr=False, eq=False)
class BootPlan:
    """What to do about the boot loader."""

    #: path -> (old text, new text)
    edits: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: grub.cfg that has to be made anew once the edits are done, and the entries that are wrong in it.
    regenerate: str | None = None
    wrong: list[str] = field(default_factory=list)
    #: Subject and reason of what cannot be put right.
    refused: list[tuple[str, str]] = field(default_factory=list)


def plan_boot(files: BootFiles, wish: Wish) -> BootPlan:
    """What has to change so that no entry is at fault, now and after the next update of the boot loader."""
    plan = BootPlan(refused=[("boot entries", problem) for problem in files.problems])
    variables = files.variables()
    names = variables_of(files.snippets.values())
    _edit_all(plan, files.grubenvs, lambda text: edit_grubenv(text, wish, names))
    _edit_all(plan, files.snippets, lambda text: edit_bls(text, wish, variables))
    _edit_all(plan, files.cmdlines, lambda text: edit_cmdline(text, wish))
    faults = files.faults(wish)
    has_entries = any(boot.parse_grub_cfg(text, path) for path, text in files.grub_cfgs.items())
    followed = True
    if files.defaults:
        try:
            for path, text in edit_defaults(files.defaults, wish).items():
                plan.edits[path] = (dict(files.defaults)[path], text)
        except PlanError as error:
            followed = False
            plan.refused.append((DEFAULTS, str(error)))
    edited = any(path in plan.edits for path, _text in files.defaults)
    for path in files.grub_cfgs:
        wrong = faults.get(path, [])
        if path == files.made and followed and (wrong or (edited and has_entries)):
            plan.regenerate, plan.wrong = path, wrong
        elif wrong:
            plan.refused.append((path, f"{'; '.join(wrong)}: {_why(path, files, followed)}"))
    return plan


def _why(path: str, files: BootFiles, followed: bool) -> str:
    if path != files.made:
        return "no program here makes this file; edit it by hand"
    return "it is not made anew while its settings cannot be followed" if not followed else "grub-mkconfig is missing"


def _edit_all(plan: BootPlan, texts: dict[str, str], edit: t.Callable[[str], str]) -> None:
    for path, text in texts.items():
        try:
            fresh = edit(text)
        except PlanError as error:
            plan.refused.append((path, str(error)))
            continue
        if fresh != text:
            plan.edits[path] = (text, fresh)


def words_for_grubby(files: BootFiles, plan: BootPlan) -> tuple[list[str], list[str]]:
    """Arguments that grubby has to take away and add, so that the snippets become what the plan says."""
    gone: dict[str, None] = {}
    new: dict[str, None] = {}
    for path in (*files.snippets, *files.grubenvs):
        if path in plan.edits:
            old, fresh = (_arguments_in(text, path in files.grubenvs) for text in plan.edits[path])
            gone.update(dict.fromkeys(word for word in old if word not in fresh))
            new.update(dict.fromkeys(word for word in fresh if word not in old))
    parameters = [word for word in (*gone, *new) if not _PLAIN_WORD.match(word) or not boot.parameter(word)]
    # What grubby might take for something else is left to the edit that follows it.
    return ([], []) if parameters else (list(gone), list(new))


def _arguments_in(text: str, grubenv: bool) -> list[str]:
    if grubenv:
        return [word for value in boot.parse_grubenv(text).values() for word in value.split()]
    lines = (line.split() for line in text.split("\n"))
    return [word for words in lines if words[:1] == ["options"] for word in words[1:]]
