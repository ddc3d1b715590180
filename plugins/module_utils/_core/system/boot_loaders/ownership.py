# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which boot entries start this host's system.

An entry is this host's when its root file system is, whatever it is called. It is another system's when its root file
system is known to be another one. Where neither is known, the text decides only if it says so itself: entries that
os-prober made, live and installation systems, the class of another distribution. What is left is unknown.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import replace

from ...snapshot.model import BootEntry
from ..kernel_arguments import all_parameters
from .files import BootHost

#: Programs that boot loaders start as if they were kernels of Linux.
_TOOLS = re.compile(
    r"(?:elf-)?memtest|mt86|memdisk|ipxe|netboot\.?xyz|grubfm|hdt\b|plop|shell(?:x64|ia32|aa64)?\.efi|fwup|bootmgfw|"
    r"refind|pxelinux|[\w.-]+\.(?:lkrn|iso|c32)\Z",
    re.IGNORECASE,
)
#: Arguments of live and installation systems, by the beginning of their names.
_LIVE = ("iso-scan/", "findiso", "img_dev", "img_loop", "inst.", "rd.live", "archiso", "live-media", "root=live:")
_LIVE_BOOT = frozenset(("boot=live", "boot=casper"))
#: Values of ``--class`` and grub_class that name a distribution; others are desktop themes and the like.
_DISTRIBUTIONS = frozenset(
    """
    almalinux alpine amzn arch artix centos clear debian deepin devuan elementary endeavouros fedora freebsd garuda
    gentoo kali linuxmint mageia manjaro mint neon netbsd nixos nobara ol opensuse openmandriva oracle parrot pop
    pop_os qubes raspbian red redhat rhel rocky scientific slackware sles sled steamos suse trisquel ubuntu void
    windows zorin
    """.split()
)
_PROBED_TITLE = re.compile(r"\(on /dev/[^)>]+\)")
_KERNEL_NAME = re.compile(r"/dev/(?:[shv]d[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+|vd[a-z]+)p?\d*\Z")
_TAGS = ("UUID=", "PARTUUID=", "LABEL=", "PARTLABEL=")


def root_of(arguments: str) -> str:
    """The value of ``root=`` that counts; empty without one."""
    return next((value for name, value in reversed(list(all_parameters(arguments))) if name == "root"), "")


def is_tool(kernel: str) -> bool:
    """Whether the program is none that runs SELinux."""
    return bool(_TOOLS.match(posixpath.basename(kernel.replace("\\", "/"))))


def says_other(kernel: str, title: str, arguments: str, classes: t.Iterable[str], os_ids: t.Collection[str]) -> bool:
    """Whether an entry's own text says that it starts another system than the installed one."""
    words = arguments.split()
    if kernel.startswith("(loop") or any(word.startswith(_LIVE) or word in _LIVE_BOOT for word in words):
        return True
    if _PROBED_TITLE.search(title):
        return True
    named = {name.lower() for name in classes} & _DISTRIBUTIONS
    own = {part for os_id in os_ids for part in (os_id, os_id.partition("-")[0])}
    if own & {"rhel", "redhat"}:
        own |= {"red", "redhat", "rhel"}
    return bool(named and own and not named & own)


def settle(entries: t.Sequence[BootEntry], host: BootHost) -> list[BootEntry]:
    """The entries, with ``own`` decided."""
    running = root_of(host.cmdline)
    roots = {root_of(entry.arguments) for entry in entries if entry.own is not False}
    known = {root: True if root and root in (running, host.root_source) else host.roots.get(root) for root in roots}
    own_roots = {root for root, same in known.items() if same}
    if not own_roots:
        # The host's own entries come first; to judge one too many is safer than to judge none.
        listed = [root_of(entry.arguments) for entry in entries if entry.own]
        own_roots = set([root for root in listed if root and known[root] is None][:1])
    names = {*own_roots, running, host.root_source}
    return [replace(entry, own=_own(entry, known, own_roots, names)) for entry in entries]


def _own(
    entry: BootEntry, known: dict[str, bool | None], own_roots: t.Collection[str], names: t.Collection[str]
) -> bool | None:
    if entry.own is False:
        return False
    root = root_of(entry.arguments)
    if root in own_roots:
        return True
    if entry.own is None or known[root] is False:
        return False
    if not root:
        return not entry.unresolved or None
    return False if any(_differ(root, name) for name in names) else None


def _differ(root: str, own: str) -> bool:
    """Whether two names of file systems are known to mean two: both of one kind, which gives each only one name."""
    for tag in _TAGS:
        if root.startswith(tag) and own.startswith(tag):
            return root.lower() != own.lower()
    return bool(_KERNEL_NAME.match(root) and _KERNEL_NAME.match(own) and root != own)
