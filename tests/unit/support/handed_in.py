# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The host that a module works on in a test: a captured root, and a journal in a folder of the test."""

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils import _module
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import WAIT, Journals
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.root import Root


def hand_root(monkeypatch: pytest.MonkeyPatch, make: t.Callable[[], Root]) -> None:
    """Hand modules this root, under the Python that runs the test."""
    monkeypatch.setattr(_module, "Root", make)
    monkeypatch.setattr(_module, "respawn_for", lambda _binding: None)


def hand_journal(
    monkeypatch: pytest.MonkeyPatch, module: types.ModuleType, folder: str | Path, wait: float = WAIT
) -> None:
    """Hand a module the journal in a folder."""
    monkeypatch.setattr(module, "Journals", lambda: Journals(str(folder), wait))
