# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Names and paths that a tenant could choose to upset whoever reads them."""

from __future__ import annotations

import os
from pathlib import Path

from . import images
from .domains import LOCAL, Disk, Guest
from .faults_guest import add_guest, local
from .journal import Journal
from .registry import fault

#: What libvirt lets through as a name: neither a slash nor a newline, and no longer than a file name may be. U+009B
#: starts a command on some terminals, U+202E turns the text around.
NAMES = (
    "{{ 7 * 7 }}",
    "{% raw %}",
    "<script>alert(1)<",
    "$(touch pwned);&|",
    "'\"--name=x",
    "=cmd|'calc'!A1",
    "\u009b31mred\u202etxt",
    " spaced  out ",
    "x" * 200,
)
_ARGS = ("-boot", "menu=off")
TITLE = "</title><script>alert(1)</script>{{ lookup('pipe', 'id') }}"
PATHS = (f"{LOCAL}/a b: c.raw", f"{LOCAL}/deep/{'/'.join(['d' * 100] * 9)}/{'f' * 60}.raw", f"{LOCAL}/new\nline.raw")


@fault(
    "hostile-names",
    "powered-off guests with hostile names and titles, each with a fault that makes a report say its name",
    "guest {{ 7 * 7 }} and others",
    expects=tuple(("GST-009", f"guest {name}".replace("{", "{{").replace("}", "}}")) for name in NAMES),
)
def _names(journal: Journal, host: str) -> None:
    for index, name in enumerate(NAMES):
        add_guest(journal, Guest(name, local(f"hostile-{index}"), running=False, title=TITLE, qemu_args=_ARGS))


@fault(
    "hostile-paths",
    "a running guest whose disks have a colon, spaces, a newline and a kibibyte in their paths; a powered-off one "
    "whose disk is a symbolic link",
    "guest paths, guest linked",
)
def _paths(journal: Journal, host: str) -> None:
    journal.add("rmtree", path=f"{LOCAL}/deep")
    target, link = f"{LOCAL}/linked-target.raw", f"{LOCAL}/linked.raw"
    for path in (target, link):
        journal.add("unlink", path=path)
    images.make_raw(target)
    os.symlink(target, link)
    Path(PATHS[1]).parent.mkdir(parents=True, exist_ok=True)
    add_guest(journal, Guest("linked", (Disk(link),), running=False))
    add_guest(journal, Guest("paths", tuple(Disk(path) for path in PATHS)))
