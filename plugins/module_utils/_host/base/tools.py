# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of a host, and where its paths are: what actors use beside its files. Tests put their own in.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

#: coreutils' program, and its exit status when the limit was reached.
_LIMITER, _REACHED = "timeout", 124
_KILL_AFTER = "10"


class ProgramRunner(t.Protocol):
    """Runs a program and returns its exit status, output and errors."""

    def __call__(self, args: list[str], *, data: str | None = None) -> tuple[int, str, str]: ...


@dataclass(repr=False, eq=False)
class HostTools:
    """Programs and paths of one host."""

    #: Without a time limit: for programs that would leave something half done, such as semodule.
    run_command: ProgramRunner
    #: The path of a program; None when the host has none.
    find: t.Callable[[str], str | None] = lambda name: None
    #: The place of a path of the host.
    at: t.Callable[[str], str] = lambda path: path

    def run_reader(self, args: list[str], seconds: int, *, data: str | None = None) -> tuple[int, str, str]:
        """Run a program that changes nothing, and end it when it hangs; the limit is many times its usual time.

        Output that is complete counts, whatever came after it: only status and errors tell that the limit was reached.
        """
        limiter = self.find(_LIMITER)
        if limiter is None:
            return self.run_command(args, data=data)
        status, out, err = self.run_command([limiter, "-k", _KILL_AFTER, str(seconds), *args], data=data)
        if status == _REACHED:
            err = f"{args[0]} did not end within {seconds} s. {err}".strip()
        return status, out, err
