# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""qemu.conf in a host: one key at a time, the rest of the text untouched."""

from __future__ import annotations

import os
import re
from pathlib import Path

QEMU_CONF = Path("/etc/libvirt/qemu.conf")


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(rf"^{re.escape(key)}[ \t]*=.*(?:\n|$)", re.MULTILINE)


def with_key(text: str, key: str, value: str) -> str:
    """The text with the first assignment of a key replaced, or one added. value is in libvirt's own notation."""
    line = f"{key} = {value}\n"
    changed, count = _pattern(key).subn(lambda _: line, text, count=1)
    return changed if count else text.rstrip("\n") + "\n" + line


def without_key(text: str, key: str) -> str:
    """The text with every assignment of a key commented out."""
    return _pattern(key).sub(lambda found: f"#{found.group(0)}", text)


def read() -> str:
    return QEMU_CONF.read_text()


def write(text: str) -> None:
    QEMU_CONF.write_text(text)


def times() -> tuple[int, int]:
    """Access and modification time in nanoseconds."""
    info = QEMU_CONF.stat()
    return info.st_atime_ns, info.st_mtime_ns


def set_times(value: tuple[int, int]) -> None:
    os.utime(QEMU_CONF, ns=value)
