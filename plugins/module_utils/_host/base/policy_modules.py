# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of policy modules, read: names and contents by priority.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import bz2
import typing as t

from ..._core.errors import HostReadError
from ..._core.selinux.policy_modules import SHIPPED_PRIORITIES, permissive_types
from .root import Root

STORE = "/var/lib/selinux"
#: Where distributions declare the types and booleans of guests and of libvirt's daemons.
OF_GUESTS = "virt"
MAX_MODULE = 16 * 1024 * 1024


def folder_of(policy: str) -> str:
    """The folder of a policy's modules."""
    return f"{STORE}/{policy}/active/modules"


def priorities(root: Root, policy: str) -> list[int]:
    """Priorities that have modules, lowest first. Raises OSError."""
    names = root.names(folder_of(policy))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def content(root: Root, path: str) -> bytes | None:
    """A file of the store as it was handed in; None where there is none. Raises OSError and HostReadError."""
    try:
        return plain(root.read_bytes(path, MAX_MODULE))
    except (FileNotFoundError, NotADirectoryError):
        return None


def plain(stored: bytes) -> bytes:
    """The store compresses files, unless semanage.conf says otherwise. Raises HostReadError."""
    if not stored.startswith(b"BZh"):
        return stored
    try:
        unpacked = bz2.BZ2Decompressor().decompress(stored, MAX_MODULE)
    except OSError as error:
        raise HostReadError(f"a module of the policy store cannot be unpacked: {error}", "module_damaged") from error
    return unpacked


def shipped_permissive(root: Root, policy: str, wanted: t.Collection[str]) -> set[str] | None:
    """Those of these types that the distribution's modules make permissive; None where there is no store.

    The module of guests is read first, and the others only while a type is missing. Raises OSError and HostReadError.
    """
    shipped = [number for number in priorities(root, policy) if number in SHIPPED_PRIORITIES]
    if not shipped:
        return None
    permissive: set[str] = set()
    for path in _by_likelihood(root, policy, shipped):
        cil = content(root, path) or b""
        if b"typepermissive" in cil:
            permissive.update(permissive_types(cil)[0])
        if permissive.issuperset(wanted):
            break
    return permissive & set(wanted)


def _by_likelihood(root: Root, policy: str, shipped: t.Iterable[int]) -> t.Iterator[str]:
    folders = [f"{folder_of(policy)}/{priority}" for priority in shipped]
    yield from (f"{folder}/{OF_GUESTS}/cil" for folder in folders)
    for folder in folders:
        yield from (f"{folder}/{name}/cil" for name in root.names(folder) if name != OF_GUESTS)
