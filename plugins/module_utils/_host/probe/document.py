# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot as plain JSON: whatever a host's names hold, the text that leaves is valid and bounded.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import binascii
import json
import typing as t
import zlib

from ..._core.snapshot.model import MAX_TEXT, Snapshot
from ..._core.system.boot_loaders.files import BootFiles
from ..._core.utf8 import clean_text

_CUT = "…(cut)"
_ATOMS = frozenset((int, float, bool, type(None)))


def document(snapshot: Snapshot) -> dict[str, t.Any]:
    """The snapshot's JSON form."""
    return t.cast("dict[str, t.Any]", plain(snapshot))


def pack(whole: dict[str, t.Any]) -> str:
    """A document as one text: Ansible visits every value of a result, which costs more than reading the host."""
    content = json.dumps(whole, separators=(",", ":")).encode("ascii")
    return binascii.b2a_base64(zlib.compress(content, 1), newline=False).decode("ascii")


def boot_document(files: BootFiles) -> dict[str, t.Any]:
    """The files of the boot loaders for the controller: the texts as they are, since a parser reads them there."""
    return {"texts": files.texts, "problems": files.problems, "host": {**vars(files.host)}}


def plain(value: t.Any) -> t.Any:
    """As snapshot.document.encode, with clean and bounded texts; one pass, as many guests are 10,000 values."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() and len(value) <= MAX_TEXT else _text(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return [plain(item) for item in value]
    if kind is dict:
        return {plain(key): plain(item) for key, item in sorted(value.items())}
    return {name: plain(item) for name, item in vars(value).items()}


def _text(value: str) -> str:
    """Text that UTF-8 can hold, of bounded length."""
    plain = clean_text(value)
    return plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - len(_CUT)] + _CUT
