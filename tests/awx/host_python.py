# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Stands for the Python of a simulated host: the real module runs, over the files of a host that is data.

    host_python.py NUMBER MODULE

MODULE is the file that Ansible sends. The host's files and what its libvirt answers come from tests.awx.simulated. Only
modules that read are simulated: another one would change the machine that the tests run on, and is refused.
"""

from __future__ import annotations

import importlib.machinery
import json
import runpy
import sys
import types
import typing as t
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path

_UTILS = "ansible_collections.svirt.fleet.plugins.module_utils."
READERS = frozenset(("svirt_info", "isolation_info"))
Change = Callable[[t.Any], None]


class _Changing(Loader):
    """Loads a module with the loader that found it, then changes it."""

    def __init__(self, loader: t.Any, change: Change) -> None:
        self._loader = loader
        self._change = change

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return t.cast("types.ModuleType | None", self._loader.create_module(spec))

    def exec_module(self, module: types.ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._loader, name)


class Changes(MetaPathFinder):
    """Changes named modules after they were loaded, wherever they are found."""

    def __init__(self, changes: dict[str, Change]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        change = self._changes.pop(fullname, None)
        if change is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                spec.loader = _Changing(spec.loader, change)
                return spec
        return None


def module_name(path: str) -> str:
    """The module in a file that Ansible sent: AnsiballZ_NAME.py."""
    return Path(path).stem.rpartition("AnsiballZ_")[2]


def simulate(number: int) -> Changes:
    """The changes that put a simulated host in the place of this machine."""

    def of_module(module: t.Any) -> None:
        from tests.awx import simulated  # with the modules' own code, which Ansible has sent

        module.Root = lambda: simulated.root(number)
        module.respawn_for = lambda _binding: None

    def of_backend(module: t.Any) -> None:
        from tests.awx import simulated

        module.Tools = lambda **_given: simulated.tools(number)

    return Changes({f"{_UTILS}_module": of_module, f"{_UTILS}_backends.svirt_info": of_backend})


def main() -> int:
    number, path = int(sys.argv[1]), sys.argv[2]
    if module_name(path) not in READERS:
        print(json.dumps({"failed": True, "msg": f"{module_name(path)} is not simulated"}))
        return 1
    sys.meta_path.insert(0, simulate(number))
    sys.argv = sys.argv[2:]
    runpy.run_path(path, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
