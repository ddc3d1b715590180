# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the product's own source says, for tests that must miss none of it."""

from __future__ import annotations

import ast
import types
import typing as t
from pathlib import Path


def reason_codes(*modules: types.ModuleType) -> set[str]:
    """Codes of all reasons that these modules make."""
    return {code for module in modules for code in _codes(ast.parse(Path(str(module.__file__)).read_text()))}


def _codes(tree: ast.AST) -> t.Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason":
            code = node.args[0]
            if isinstance(code, ast.Constant):
                yield str(code.value)
