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
class ImageRequest:
    """The requested label of a file; None: the policy's default for the path."""

    path: str
    label: str | None = None


@dataclass(frozen=True)
class ImageRequests:
    """The module's options."""

    repair: frozenset[str] = frozenset()
    labels: tuple[ImageRequest, ...] = ()
    #: Files elsewhere are left alone; empty: no bound.
    within: tuple[str, ...] = ()
    #: Where the policy has no label for a path, or one that every guest may write.
    fallback: str = FALLBACK
    elsewhere: tuple[FolderUse, ...] = ()
    #: File-context rules that are about to be added: the policy's future answers.
    rules: tuple[ContextRule, ...] = ()


def checked(request: ImageRequest) -> ImageRequest:
    """The request with a plain path. Raises PlanError and LabelError."""
    if not request.path.startswith("/") or "\0" in request.path:
        raise PlanError(f"path {request.path[:200]!r} is not absolute; give the file's real path from / on", "bad_path")
    if request.label is not None:
        parse_context(request.label)
    return replace(request, path=posixpath.normpath("/" + request.path.lstrip("/")))


def unknown_labels(requests: ImageRequests, lacks: t.Callable[[str], bool]) -> list[str]:
    """Labels of the requests that the loaded policy does not know. ``lacks`` asks it about one label."""
    labels = {request.label for request in requests.labels if request.label} | {requests.fallback}
    labels |= {rule.context for rule in requests.rules if rule.context and rule.context != NONE}
    return sorted(label for label in labels if lacks(label))
