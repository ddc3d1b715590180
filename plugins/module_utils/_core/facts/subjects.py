# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of subjects, the same in all findings.

``host``, ``type NAME``, ``boolean NAME``, ``qemu.conf`` or ``qemu.conf KEY``, ``daemon NAME``, ``guest NAME``,
``process PID NAME``, ``image PATH``, ``folder PATH``, ``storage MOUNT``, ``interface MAC of guest NAME``. Names and
paths are as read: renderers escape them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath

from ..snapshot.model import Guest, Interface, Process

HOST = "host"
#: Where qemu.conf as a whole is the subject.
CONF = "qemu.conf"


def guest_name(guest: Guest) -> str:
    """A guest as a subject."""
    return f"guest {guest.name or guest.uuid}"


def interface_name(guest: Guest, interface: Interface) -> str:
    """An interface of a guest as a subject."""
    return f"interface {interface.mac or interface.target or '?'} of {guest_name(guest)}"


def image_name(path: str) -> str:
    """A file of a guest as a subject."""
    return f"image {path}"


def process_name(process: Process) -> str:
    """A process as a subject: its guest's name, else its program's."""
    name = process.name or posixpath.basename(process.exe or "")
    return f"process {process.pid} {name}".rstrip()


def conf_key(key: str) -> str:
    """A key of qemu.conf as a subject."""
    return f"{CONF} {key}"
