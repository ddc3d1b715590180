# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of a host, and where its paths are: what actors use beside its files. Tests put their own in.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


class ProgramRunner(t.Protocol):
    """Runs a program and returns its exit status, output and errors."""

    def __call__(self, args: list[str], *, data: str | None = None) -> tuple[int, str, str]: ...


@dataclass(repr=False, eq=False)
class HostTools:
    """Programs and paths of one host."""

    run_command: ProgramRunner
    #: The path of a program; None when the host has none.
    find: t.Callable[[str], str | None] = lambda name: None
    #: The place of a path of the host.
    at: t.Callable[[str], str] = lambda path: path
