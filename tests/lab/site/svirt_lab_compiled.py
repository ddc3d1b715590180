# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Part of every Python in a lab host: what was imported from a zip archive once is not compiled again.

Ansible sends a module as a zip archive of sources, and Python compiles those at every run: where the processor is
emulated, half the time of a run. What is compiled is kept until the host goes down, by a hash of the source, where
only root writes. Everything else of an import stays Python's own.
"""

from __future__ import annotations

import _imp
import marshal
import os
import zipimport
from collections.abc import Callable
from types import CodeType

FOLDER = "/run/svirt-lab/compiled"
#: What zipimport itself calls, in all versions here.
_compile: Callable[[str, bytes], CodeType] = zipimport._compile_source  # type: ignore[attr-defined]  # it is private


def compiled(path: str, source: bytes) -> CodeType:
    """The code of a source; path is where it is said to come from."""
    kept = f"{FOLDER}/{_imp.source_hash(0, source).hex()}-{len(source)}"
    try:
        with open(kept, "rb") as handle:
            code: CodeType = marshal.load(handle)  # noqa: S302  # only root writes there
    except OSError:
        code = _compile(path, source)
        _keep(kept, code)
        return code
    _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]  # what Python does with its own cache, too
    return code


def _keep(path: str, code: CodeType) -> None:
    """Keep it for the next run, whole or not at all. Who is not root keeps nothing."""
    if os.geteuid() != 0:
        return
    fresh = f"{path}.{os.getpid()}"
    try:
        os.makedirs(FOLDER, exist_ok=True)
        with open(fresh, "xb") as handle:
            marshal.dump(code, handle)
        os.rename(fresh, path)
    except OSError:
        pass


zipimport._compile_source = compiled  # type: ignore[attr-defined]  # it is private
