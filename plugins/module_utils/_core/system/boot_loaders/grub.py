# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB: grub.cfg with its entries and variables, and the settings that it is made from.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import bisect
import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ...errors import PlanError
from ...snapshot.model import BootEntry
from ..kernel_arguments import BootRequest, strengthen
from .files import CONFIGS, ENVIRONMENTS, SOURCED, BootFiles
from .grub_environment import parse_grubenv
from .grub_scope import GrubLine, GrubScope, GrubTooComplexError, Values, unknown_names, without_unknown
from .grub_script import parse_script
from .loader import BootLoader, BootMake, BootPlan, SettingsEditor, entry_faults, faults_of
from .ownership import is_tool, says_other

DEFAULTS = "/etc/default/grub"
DROP_INS = "/etc/default/grub.d/*.cfg"
#: The program that makes a grub.cfg, and which.
_MAKERS = {"grub-mkconfig": "/boot/grub/grub.cfg", "grub2-mkconfig": "/boot/grub2/grub.cfg"}
_MEMO = "grub"
_CHECKERS = ("grub-script-check", "grub2-script-check")
_SECTION = re.compile(r"^### (?P<edge>BEGIN|END) /etc/grub\.d/\S*os-prober ###", re.MULTILINE)
_ASSIGNMENT = re.compile(
    r"""^(?P<name>[ \t]*(?:set[ \t]+)?(?P<variable>\w+)=)(?P<quote>["'])(?P<value>.*)(?P=quote)(?P<end>[ \t]*)$""",
    re.MULTILINE,
)


@dataclass(repr=False, eq=False)
class GrubRun:
    """All grub.cfg of a host, run."""

    entries: list[BootEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    #: Variables as blscfg saw them, or those of the environment block.
    scope: GrubScope = field(default_factory=GrubScope)
    #: Whether a grub.cfg has the entries of snippets.
    blscfg: bool = False


def run_configs(files: BootFiles) -> GrubRun:
    """Run every grub.cfg, with the environment block and the texts that it sources; once for the same files."""
    if _MEMO in files.memo:
        return t.cast("GrubRun", files.memo[_MEMO])
    run = files.memo[_MEMO] = GrubRun()
    sources = {path: parse_script(text) for path, text in files.matching(SOURCED).items()}
    exists = dict.fromkeys((*map(posixpath.basename, SOURCED), "grubenv"), False) if not files.problems else {}
    exists.update(
        dict.fromkeys((*map(posixpath.basename, sources), *(["grubenv"] if files.matching(ENVIRONMENTS) else [])), True)
    )
    run.scope = GrubScope(environment=_environment(files), sources=sources, exists=exists)
    run.scope.values = dict(run.scope.environment)
    scopes: list[dict[str, Values]] = []
    for path, text in files.matching(CONFIGS).items():
        scope = _run(run, path, text, files)
        scopes += [scope.at_blscfg] if scope.at_blscfg is not None else []
    run.problems += [f"{path}: {why}" for path, script in sources.items() for why in script.problems]
    run.blscfg = bool(scopes)
    if scopes:
        run.scope.values = _any_of(scopes)
    return run


def _run(run: GrubRun, path: str, text: str, files: BootFiles) -> GrubScope:
    script = parse_script(text)
    scope = run.scope.fresh(path)
    problems = script.problems
    try:
        scope.run(script.nodes)
        run.entries += [_entry(line, files.texts.get(line.source, text), files) for line in scope.entries()]
        if scope.missed(script.nodes):
            problems.append("commands that load a kernel are not run as far as it can be followed")
    except GrubTooComplexError:
        problems.append("it is too complex to be followed")
    run.problems += [f"{path}: {why}" for why in (*problems, *scope.problems)]
    return scope


def parse_grub_cfg(text: str, source: str) -> list[BootEntry]:
    """Every entry of one grub.cfg with a Linux kernel; entries that blscfg adds are in snippets, not here."""
    run = GrubRun()
    _run(run, source, text, BootFiles())
    return run.entries


def _environment(files: BootFiles) -> dict[str, Values]:
    """Variables of the environment blocks; more values where blocks differ."""
    blocks = [parse_grubenv(text) for text in files.matching(ENVIRONMENTS).values()]
    return {
        name: frozenset(block[name] for block in blocks if name in block)
        for name in dict.fromkeys(name for block in blocks for name in block)
    }


def _any_of(scopes: list[dict[str, Values]]) -> dict[str, Values]:
    names = dict.fromkeys(name for scope in scopes for name in scope)
    return {name: frozenset().union(*(scope.get(name, frozenset()) for scope in scopes)) for name in names}


def _entry(line: GrubLine, text: str, files: BootFiles) -> BootEntry:
    title = ">".join(line.titles)
    first, *others = line.arguments
    names = [name for item in line.arguments for name in unknown_names(item)]
    arguments = without_unknown(first)
    classes = [after for before, after in zip(line.words, line.words[1:]) if before == "--class"]
    classes += [word[len("--class=") :] for word in line.words if word.startswith("--class=")]
    probed = any(word.startswith("osprober-") for word in line.words) or _probed(line, text, files)
    own: bool | None = True
    if is_tool(line.kernel):
        own = False
    elif probed or says_other(line.kernel, title, arguments, classes, files.host.os_ids):
        own = None
    return BootEntry(
        line.source,
        title,
        arguments,
        alternatives=list(dict.fromkeys(map(without_unknown, others))),
        unresolved=list(dict.fromkeys(names)),
        kernel=without_unknown(line.kernel),
        own=own,
    )


def _probed(line: GrubLine, text: str, files: BootFiles) -> bool:
    """Whether the entry is in a section that os-prober made."""
    edges = files.memo.get((_SECTION, line.source))
    if edges is None:  # once for a text: it may have many entries
        edges = files.memo[_SECTION, line.source] = [
            (match.end(), match["edge"] == "BEGIN") for match in _SECTION.finditer(text)
        ]
    last = bisect.bisect_right(edges, (line.at, True)) - 1
    return last >= 0 and bool(edges[last][1])


class Grub(BootLoader):
    """GRUB 2 with a grub.cfg that grub-mkconfig makes."""

    entry_files = (*CONFIGS, *SOURCED, *ENVIRONMENTS)
    setting_files = (DEFAULTS, DROP_INS)
    programs = (*_MAKERS, *_CHECKERS)

    def entries(self, files: BootFiles) -> list[BootEntry]:
        return run_configs(files).entries

    def doubts(self, files: BootFiles) -> list[str]:
        return run_configs(files).problems

    def plan(
        self, files: BootFiles, request: BootRequest, entries: t.Sequence[BootEntry], edit_settings: SettingsEditor
    ) -> BootPlan:
        plan = BootPlan()
        settings = self._settings(files)
        followed = True
        try:
            for path, text in edit_settings(settings, request).items() if settings else ():
                plan.edits[path] = (dict(settings)[path], text)
        except PlanError as error:
            followed = False
            plan.refuse(DEFAULTS, error.code, str(error))
        texts = files.matching((*CONFIGS, *SOURCED))
        faults = faults_of((entry for entry in entries if entry.source in texts), request)
        if any(entry_faults(entry, request) for entry in entries):
            for path, text in texts.items():
                faults.setdefault(path, []).extend(_variable_faults(text, request))
        program = next((name for name in _MAKERS if name in files.programs), None)
        for path in texts:
            wrong = faults.get(path, [])
            if program is None or path != _MAKERS[program]:
                if wrong:
                    why = "no program here makes this file; edit it by hand"
                    plan.refuse(path, "not_generated", f"{'; '.join(wrong)}: {why}")
            elif followed and (wrong or (plan.edits and any(entry.source == path for entry in entries))):
                plan.makes.append(self._make(files, path, program, settings, wrong))
            elif wrong:
                why = "it is not made anew while its settings cannot be followed"
                plan.refuse(path, "settings_not_followed", f"{'; '.join(wrong)}: {why}")
        return plan

    def makes_entries(self, text: str, make: BootMake) -> bool:
        run = run_configs(BootFiles({make.path: text}))
        return run.blscfg or bool(run.entries)

    def predicted(self, text: str, request: BootRequest) -> str:
        return _ASSIGNMENT.sub(lambda match: _strengthened(match, request), text)

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


def _variable_faults(text: str, request: BootRequest) -> list[str]:
    """Weak values of variables, which entries of this and of other files take arguments from."""
    return [
        f"set {match['variable']}: {' '.join(match['value'].split())}"[:300]
        for match in _ASSIGNMENT.finditer(text)
        if match.group() != _strengthened(match, request)
    ]


def _strengthened(match: re.Match[str], request: BootRequest) -> str:
    try:
        value = strengthen(match["value"], request, choose=False)
    except PlanError:
        value = match["value"]
    return f"{match['name']}{match['quote']}{value}{match['quote']}{match['end']}"
