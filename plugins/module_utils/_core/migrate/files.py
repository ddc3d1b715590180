# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objections to a move by files: disks that the target does not have, and labels that libvirt would reset.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..facts.storage import file_path
from ..libvirt.qemu_conf import UNREAD, doubt_of, setting
from ..libvirt.qemu_conf_keys import ignores
from ..paths import below, below_any
from ..snapshot.model import OK, Resource, Snapshot, Storage
from .move import Move, Objection, refused, unknown

#: Kinds of files that must exist on the target; libvirt creates the rest there.
_NEEDED = frozenset(("disk", "backing", "data_file", "cdrom", "floppy"))
_BLOCK = "block"
#: The daemon's start is known to a hundredth of a second, a file's change to a tick of the clock.
_SLACK = 2.0


def objections(move: Move) -> t.Iterator[Objection]:
    """Objections by the guest's files."""
    for area, snapshot, host in (
        ("images", move.here, move.source),
        ("storage", move.here, move.source),
        ("storage", move.there, move.target),
    ):
        entry = snapshot.coverage[area]
        if entry.status != OK:
            yield unknown("area_unread", f"not all {area} of {host} are known: {entry.why}")
    for item in move.guest.resources:
        if item.kind in _NEEDED:
            yield from _reached(move, item)
    if move.guest.active:
        yield from _exported(move)


# -- files on the target -----------------------------------------------------------------------------------------------


def _reached(move: Move, item: Resource) -> t.Iterator[Objection]:
    if item.in_namespace or item.file.kind == _BLOCK or item.path.startswith("/dev/"):
        yield from _device(move, item)
    elif item.file.mount is None or item.file.exists is not True:
        yield unknown(
            "file_unread",
            f"{item.path} could not be looked at on {move.source}: {item.file.error or 'it is not there'}",
        )
    elif item.file.resolved not in (None, item.path):
        yield unknown("file_link", f"{item.path} goes through a link, and where it leads on {move.target} is not known")
    else:
        yield from _file(move, item)


def _file(move: Move, item: Resource) -> t.Iterator[Objection]:
    sharing, here = move.fleet.sharing, (item.file.mount or "", file_path(item))
    if not sharing.numbers_of_files(move.source, [here]):
        yield refused("file_local", f"{item.path} lies on storage that {move.source} shares with no host")
        return
    mounts = [entry.mount for entry in move.there.storage if entry.type != _BLOCK and below(item.path, entry.mount)]
    mount = max(mounts, key=len, default="")
    reached = sharing.has_file(move.source, here, move.target, mount)
    if reached is None:
        yield unknown(
            "storage_open",
            f"whether {mount} on {move.target} is the storage that {item.path} lies on is not known; name in "
            "svirt_storage which mounts are one storage",
        )
    elif not reached:
        yield refused(
            "file_not_reached",
            f"{item.path} cannot be reached on {move.target}: it does not have that storage at that place",
        )


def _device(move: Move, item: Resource) -> t.Iterator[Objection]:
    here, there = _of_device(move.here, item.path), _of_device(move.there, item.path)
    if here is None or there is None or here.identity is None or there.identity is None:
        yield unknown("device_unknown", f"whether {move.target} has the device {item.path} is not known")
    elif here.identity.partition(":")[0] != there.identity.partition(":")[0]:
        yield unknown(
            "device_unknown",
            f"whether {item.path} is one device on both hosts is not known: {move.source} has its identity as "
            f"{here.identity}, {move.target} as {there.identity}",
        )
    elif here.identity != there.identity:
        yield refused("device_differs", f"{item.path} is another device on {move.target}")


def _of_device(snapshot: Snapshot, path: str) -> Storage | None:
    return next((entry for entry in snapshot.storage if entry.type == _BLOCK and entry.mount == path), None)


# -- labels of exported files ------------------------------------------------------------------------------------------


def _exported(move: Move) -> t.Iterator[Objection]:
    """A folder that the source exports is a local one to its libvirt, which gives the image its old label back."""
    storage = {entry.mount: entry for entry in move.here.storage}
    folders = set()
    for item in move.guest.resources:
        entry = storage.get(item.file.mount or "")
        if item.role != "image" or item.in_namespace or entry is None or entry.remote:
            continue
        over = [folder for folder in entry.exports if below(file_path(item), folder)]
        folders |= {max(over, key=len)} if over else set()
    if not folders:
        return
    conf, daemon = move.here.libvirt.conf, move.here.libvirt.daemon
    doubt = doubt_of(conf, "shared_filesystems")
    if doubt is not None or conf is None:
        why = doubt.reason if doubt is not None else UNREAD
        yield unknown(
            "export_unknown",
            f"whether libvirt on {move.source} knows that it exports {', '.join(sorted(folders))}: {why}",
        )
        return
    value = setting(conf, "shared_filesystems")
    named = [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
    version = move.here.libvirt.version
    if ignores("shared_filesystems", version):
        # A distribution may have added the key to an older version.
        objection = unknown if all(below_any(folder, named) for folder in folders) else refused
        yield objection(
            "export_not_nameable",
            f"{move.source} exports {', '.join(sorted(folders))}, and libvirt {version} as released ignores "
            "shared_filesystems: it would set the disk's label back under the guest that left (see IMG-003)",
        )
        return
    for folder in sorted(folder for folder in folders if not below_any(folder, named)):
        yield refused(
            "export_not_named",
            f"{move.source} exports {folder}, and shared_filesystems of its qemu.conf does not name it: libvirt would "
            "set the disk's label back under the guest that left (svirt.fleet.harden names it)",
        )
    started = daemon.started_at if daemon is not None else None
    if conf.present and (conf.changed_at is None or started is None or conf.changed_at > started + _SLACK):
        yield unknown(
            "export_not_read",
            f"whether libvirt on {move.source} has read shared_filesystems is not known; restart it first",
        )
