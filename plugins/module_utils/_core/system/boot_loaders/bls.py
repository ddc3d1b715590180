# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot Loader Specification snippets, as GRUB's blscfg of Fedora and EL reads them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t

from ...snapshot.model import BootEntry
from ..kernel_arguments import CHOICE, BootRequest, names_a_module, parameter, strengthen
from .files import ENVIRONMENTS, MAX_TEXT, SNIPPETS, BootFiles, BootHost
from .grub import DEFAULTS, run_configs
from .grub_environment import edit_grubenv, parse_grubenv
from .grub_scope import GrubScope, unknown_names, without_unknown
from .kernel_cmdline import KERNEL_CMDLINE
from .loader import BootCommand, BootLoader, BootPlan, SettingsEditor
from .ownership import is_tool, says_other

_TOOL = "grubby"
_MACHINE = re.compile(r"([0-9a-f]{32})-")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
#: Words that grubby takes as they are.
_PLAIN_WORD = re.compile(r"[\w=,.:+-]+\Z")


class Bls(BootLoader):
    """Snippets below ``loader/entries``, and the variables of GRUB's environment block that they use."""

    entry_files = (*SNIPPETS, *ENVIRONMENTS)
    programs = (_TOOL,)

    def entries(self, files: BootFiles) -> list[BootEntry]:
        scope = run_configs(files).scope
        snippets = files.matching(SNIPPETS).items()
        return [entry for path, text in snippets for entry in parse_bls(text, path, scope, files.host)]

    def plan(
        self,
        files: BootFiles,
        request: BootRequest,
        entries: t.Sequence[BootEntry],
        edit_settings: SettingsEditor,  # noqa: ARG002
    ) -> BootPlan:
        plan = BootPlan()
        scope = run_configs(files).scope
        snippets = files.matching(SNIPPETS)
        own = {path: text for path, text in snippets.items() if any(e.source == path and e.own for e in entries)}
        names = variables_of(own.values())
        plan.edit_all(files.matching(ENVIRONMENTS), lambda text: edit_grubenv(text, request, names))
        plan.edit_all(own, lambda text: edit_bls(text, request, scope))
        removed, added = words_for_grubby(files, plan)
        # grubby changes all snippets, those of other systems too.
        if _TOOL in files.programs and (removed or added) and len(own) == len(snippets):
            args = [files.programs[_TOOL].path, "--update-kernel=ALL"]
            args += [f"--remove-args={' '.join(removed)}"] if removed else []
            args += [f"--args={' '.join(added)}"] if added else []
            touches = (*snippets, *files.matching((*ENVIRONMENTS, KERNEL_CMDLINE, DEFAULTS)))
            plan.commands.append(BootCommand(tuple(args), touches))
        return plan


def parse_bls(text: str, source: str, scope: GrubScope, host: BootHost | None = None) -> list[BootEntry]:
    """The entry of one snippet, with the variables of GRUB; none for a snippet that starts no Linux."""
    keys: dict[str, list[str]] = {}
    for line in text[:MAX_TEXT].split("\n"):
        key, value = [*line.strip().split(None, 1), "", ""][:2]
        if key and not key.startswith("#"):
            keys.setdefault(key, []).append(value)
    kernel = next((keys[key][-1] for key in ("linux", "uki", "efi") if key in keys), None)
    if kernel is None or ("linux" not in keys and "options" not in keys and not _is_image(kernel)):
        return []
    title = " ".join((keys.get("title") or keys.get("version") or [""])[0].split())
    # Without options GRUB's blscfg falls back to this variable.
    options = " ".join(keys["options"]) if "options" in keys else "$default_kernelopts"
    first, *others = map(_spaced, scope.expand_text(options))
    unresolved = [name for item in (first, *others) for name in unknown_names(item)]
    if "options" not in keys and "linux" not in keys:
        first, others, unresolved = "", [], ["the image's own arguments"]
    arguments = without_unknown(first)
    entry = BootEntry(
        source,
        title,
        arguments,
        alternatives=list(dict.fromkeys(map(without_unknown, others))),
        unresolved=list(dict.fromkeys(unresolved)),
        kernel=kernel,
    )
    host = host or BootHost()
    if is_tool(kernel):
        entry.own = False
    elif says_other(kernel, title, arguments, keys.get("grub_class", []), host.os_ids) or _of_other_machine(
        source, keys, host
    ):
        entry.own = None
    return [entry]


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _is_image(path: str) -> bool:
    """Whether an EFI program is a kernel with its own arguments."""
    return "/efi/linux/" in path.replace("\\", "/").lower()


def _of_other_machine(source: str, keys: dict[str, list[str]], host: BootHost) -> bool:
    """Whether kernel-install of another system made the snippet."""
    match = _MACHINE.match(posixpath.basename(source))
    machines = {*keys.get("machine-id", []), *([match[1]] if match else [])}
    return bool(host.machine_id and machines and host.machine_id not in machines)


def edit_bls(text: str, request: BootRequest, scope: GrubScope) -> str:
    """A snippet with its own options as they should be; variables are edited where they are assigned."""
    entries = parse_bls(text, "", scope)
    if not any(request.faults(arguments) for entry in entries for arguments in (entry.arguments, *entry.alternatives)):
        return text
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if line.split(None, 1)[:1] == ["options"]]
    for place in places:
        match = re.match(r"(\s*options\s*)(.*?)(\s*)\Z", lines[place], re.DOTALL)
        if match:
            lines[place] = match[1] + strengthen(match[2], request, choose=False) + match[3]
    if request.choose and places:
        edited = parse_bls("\n".join(lines), "", scope)
        texts = [arguments for entry in edited for arguments in (entry.arguments, *entry.alternatives)]
        if not all(map(names_a_module, texts)):
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
    removed: dict[str, None] = {}
    added: dict[str, None] = {}
    for path in files.matching((*SNIPPETS, *ENVIRONMENTS)):
        if path in plan.edits:
            old, fresh = (_arguments_in(text, path in ENVIRONMENTS) for text in plan.edits[path])
            removed.update(dict.fromkeys(word for word in old if word not in fresh))
            added.update(dict.fromkeys(word for word in fresh if word not in old))
    special = [word for word in (*removed, *added) if not _PLAIN_WORD.match(word) or not parameter(word)]
    # What grubby might read as something else is left to the edit that follows it.
    return ([], []) if special else (list(removed), list(added))


def _arguments_in(text: str, grubenv: bool) -> list[str]:
    if grubenv:
        return [word for value in parse_grubenv(text).values() for word in value.split()]
    lines = (line.split() for line in text.split("\n"))
    return [word for words in lines if words[:1] == ["options"] for word in words[1:]]
