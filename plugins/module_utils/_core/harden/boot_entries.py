# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot entries of all boot loaders of a host: what has to change so that each starts SELinux as it should.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ..result import Reason, Refusal
from ..snapshot.model import BootEntry
from ..system.boot_loaders.files import BootFiles
from ..system.boot_loaders.kinds import KINDS, doubts_of, entries_of
from ..system.boot_loaders.loader import SUBJECT, BootMake, BootPlan, faults_of
from ..system.grub_settings import edit_settings
from ..system.kernel_arguments import BootRequest
from ..words import some


def boot_faults(files: BootFiles, request: BootRequest) -> list[str]:
    """``path: title: faults`` of each entry that is at fault, by path."""
    return _listed(entries_of(files), request)


def _listed(entries: t.Iterable[BootEntry], request: BootRequest) -> list[str]:
    return [f"{path}: {text}" for path, texts in sorted(faults_of(entries, request).items()) for text in texts]


def plan_boot(files: BootFiles, request: BootRequest) -> BootPlan:
    """What has to change so that no entry is at fault, now and after the next update of the boot loader.

    Entries of other systems are left as they are, and are no reason to refuse.
    """
    plan = BootPlan(refused=[Refusal(SUBJECT, Reason("boot_files_unread", problem)) for problem in files.problems])
    plan.refused += [Refusal(SUBJECT, Reason("boot_text_unclear", doubt)) for doubt in doubts_of(files)]
    entries = entries_of(files)
    if entries and all(entry.own is False for entry in entries):
        plan.refuse(SUBJECT, "no_own_entry", "no entry starts this host's system; look at its boot loader")
    for kind in KINDS:
        plan.add(kind.plan(files, request, entries, edit_settings))
    for entry in entries:
        if entry.own is None and any(request.faults(text) for text in (entry.arguments, *entry.alternatives)):
            why = f"{entry.title}: whether it starts this host's system is not known; look at its root="
            plan.refuse(entry.source, "owner_unknown", why)
        elif entry.own is not False and entry.unresolved:
            names = some(entry.unresolved)
            why = f"{entry.title}: the value of {names} is not known, so neither is what it starts"
            plan.refuse(entry.source, "variable_unknown", why)
    _refuse_what_is_left(files, plan, request)
    return plan


def _refuse_what_is_left(files: BootFiles, plan: BootPlan, request: BootRequest) -> None:
    """Name the files with an entry that no edit repairs, as one without an options line, and why."""
    named = {refusal.subject for refusal in plan.refused}
    left = faults_of(_entries_after(files, plan, request), request)
    for path in sorted(set(left) - named):
        why = (
            f"{some(left[path])}: it has no line of arguments that could be edited, such as options; add one by hand, "
            "or have grubby (package grubby) do it"
        )
        plan.refuse(path, "nothing_to_edit", why)


def faults_after(files: BootFiles, plan: BootPlan, request: BootRequest) -> list[str]:
    """Faults that are left once the plan is carried out."""
    return _listed(_entries_after(files, plan, request), request)


def _entries_after(files: BootFiles, plan: BootPlan, request: BootRequest) -> list[BootEntry]:
    """The entries once the plan is carried out, without those of files that are made anew."""
    texts = {**files.texts, **{path: fresh for path, (_old, fresh) in plan.edits.items()}}
    for make in plan.makes:
        for kind in KINDS:
            if make.program in kind.programs:
                texts[make.path] = kind.predicted(texts[make.path], request)
    remade = {make.path for make in plan.makes}
    return [entry for entry in entries_of(replace(files, texts=texts)) if entry.source not in remade]


def without_effect(plan: BootPlan, make: BootMake) -> BootPlan:
    """The plan for a file of which making it anew changed nothing: its entries come from a script."""
    why = "made anew it would be the same; look for the arguments in /etc/grub.d"
    refusal = Refusal(make.path, Reason("make_changes_nothing", f"{'; '.join(make.wrong)}: {why}"))
    makes = [item for item in plan.makes if item != make]
    return replace(plan, makes=makes, refused=[*plan.refused, refusal])
