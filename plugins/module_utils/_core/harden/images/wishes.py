# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the caller of image_label asks for: repairs, labels of single files, file-context rules.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass, replace

from ...errors import PlanError
from ...selinux.context import parse_context
from ...selinux.file_contexts import AT_REST, NONE, ContextRule
from ..shared_use import FolderUse

#: Label for a path that the policy gives none.
FALLBACK = AT_REST


@dataclass(frozen=True)
class ImageWish:
    """The requested label of a file; None: the policy's default for the path."""

    path: str
    label: str | None = None


@dataclass(frozen=True)
class ImageWishes:
    """The module's options."""

    repair: frozenset[str] = frozenset()
    labels: tuple[ImageWish, ...] = ()
    #: Files elsewhere are left alone; empty: no bound.
    within: tuple[str, ...] = ()
    #: Where the policy has no label for a path, or one that every guest may write.
    fallback: str = FALLBACK
    elsewhere: tuple[FolderUse, ...] = ()
    #: File-context rules that are about to be added: the policy's future answers.
    rules: tuple[ContextRule, ...] = ()


def checked(wish: ImageWish) -> ImageWish:
    """The wish with a plain path. Raises PlanError and LabelError."""
    if not wish.path.startswith("/") or "\0" in wish.path:
        raise PlanError(f"path {wish.path[:200]!r} is not absolute; give the file's real path from / on", "bad_path")
    if wish.label is not None:
        parse_context(wish.label)
    return replace(wish, path=posixpath.normpath("/" + wish.path.lstrip("/")))


def unknown_labels(wishes: ImageWishes, lacks: t.Callable[[str], bool]) -> list[str]:
    """Labels of the wishes that the loaded policy does not know. ``lacks`` asks it about one label."""
    labels = {wish.label for wish in wishes.labels if wish.label} | {wishes.fallback}
    labels |= {rule.context for rule in wishes.rules if rule.context and rule.context != NONE}
    return sorted(label for label in labels if lacks(label))
