# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""SELinux through its own file system: no library, no waiting for tools."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/selinux")


def present() -> bool:
    """Whether SELinux is on in this boot."""
    return (ROOT / "enforce").exists()


def enforcing() -> bool:
    return (ROOT / "enforce").read_text().strip() == "1"


def set_enforcing(on: bool) -> None:
    (ROOT / "enforce").write_text("1" if on else "0")


def boolean(name: str) -> bool:
    """The value in force now."""
    return (ROOT / "booleans" / name).read_text().split()[0] == "1"


def set_boolean(name: str, on: bool) -> None:
    """Change the running value only; the next boot has the old one."""
    (ROOT / "booleans" / name).write_text("1" if on else "0")
    (ROOT / "commit_pending_bools").write_text("1")


def load_policy(source: Path) -> None:
    """Load a compiled policy into the kernel, which keeps the values of its booleans."""
    with (ROOT / "load").open("wb", buffering=0) as handle:  # the kernel wants it in one write
        handle.write(source.read_bytes())
