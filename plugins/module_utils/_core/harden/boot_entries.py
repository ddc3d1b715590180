# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot entries of all boot loaders of a host: what has to change so that each starts SELinux as it should.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import replace

from ..result import Reason, Refusal
from ..snapshot.model import BootEntry
from ..system.boot_loaders.kinds import KINDS
from ..system.boot_loaders.loader import SUBJECT, BootFiles, BootMake, BootPlan, faults_of
from ..system.kernel_arguments import BootWish


def entries_of(files: BootFiles) -> list[BootEntry]:
    """The entries of all boot loaders."""
    return [entry for kind in KINDS for entry in kind.entries(files)]


def boot_faults(files: BootFiles, wish: BootWish) -> list[str]:
    """``path: title: faults`` of each entry that is at fault, by path."""
    faults = faults_of(entries_of(files), wish)
    return [f"{path}: {text}" for path, texts in sorted(faults.items()) for text in texts]


def plan_boot(files: BootFiles, wish: BootWish) -> BootPlan:
    """What has to change so that no entry is at fault, now and after the next update of the boot loader."""
    plan = BootPlan(refused=[Refusal(SUBJECT, Reason("boot_files_unread", problem)) for problem in files.problems])
    for kind in KINDS:
        plan.add(kind.plan(files, wish))
    return plan


def faults_after(files: BootFiles, plan: BootPlan, wish: BootWish) -> list[str]:
    """Faults that are left once the plan is carried out."""
    edited = replace(files, texts={**files.texts, **{path: fresh for path, (_old, fresh) in plan.edits.items()}})
    remade = {make.path for make in plan.makes}
    faults = faults_of((entry for entry in entries_of(edited) if entry.source not in remade), wish)
    return [f"{path}: {text}" for path, texts in sorted(faults.items()) for text in texts]


def without_effect(plan: BootPlan, make: BootMake) -> BootPlan:
    """The plan for a file of which making it anew changed nothing: its entries come from a script."""
    why = "made anew it would be the same; look for the arguments in /etc/grub.d"
    refusal = Refusal(make.path, Reason("make_changes_nothing", f"{'; '.join(make.wrong)}: {why}"))
    makes = [item for item in plan.makes if item != make]
    return replace(plan, makes=makes, refused=[*plan.refused, refusal])
