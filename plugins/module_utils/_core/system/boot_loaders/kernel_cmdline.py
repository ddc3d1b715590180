# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/kernel/cmdline: the arguments that kernel-install gives to the entries of kernels to come.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ...snapshot.model import BootEntry
from ..kernel_arguments import BootRequest, names_a_module, strengthen, with_choice
from .files import BootFiles
from .loader import BootLoader, BootPlan, SettingsEditor

KERNEL_CMDLINE = "/etc/kernel/cmdline"


class KernelCmdline(BootLoader):
    """kernel-install's file. It has no entries of its own."""

    setting_files = (KERNEL_CMDLINE,)

    def plan(
        self,
        files: BootFiles,
        request: BootRequest,
        entries: t.Sequence[BootEntry],  # noqa: ARG002
        edit_settings: SettingsEditor,  # noqa: ARG002
    ) -> BootPlan:
        plan = BootPlan()
        plan.edit_all(files.matching((KERNEL_CMDLINE,)), lambda text: edit_cmdline(text, request))
        return plan


def edit_cmdline(text: str, request: BootRequest) -> str:
    """/etc/kernel/cmdline: the arguments that kernels to come get."""
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    for place in places:
        lines[place] = strengthen(lines[place], request, choose=False)
    if request.choose and places and not names_a_module(" ".join(lines[place] for place in places)):
        lines[places[-1]] = with_choice(lines[places[-1]])
    return "\n".join(lines)
