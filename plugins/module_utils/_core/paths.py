# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths by their text alone.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import typing as t


def below(path: str, folder: str) -> bool:
    """Whether a path is the folder or lies under it."""
    folder = folder.rstrip("/")
    return path == folder or path.startswith(folder + "/")


def below_any(path: str, folders: t.Iterable[str]) -> bool:
    """Whether a path lies under one of the folders."""
    return any(below(path, folder) for folder in folders)


def parent(path: str) -> str:
    """The folder of a path, after which no path is left above ``/`` and the empty one.

    posixpath.dirname keeps a leading ``//``, whose folder is itself for ever.
    """
    folder = posixpath.dirname(path)
    return folder if folder.strip("/") else folder[:1]
