# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libvirt daemons a host has installed. Small, since every module carries it.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from .root import Root

#: Daemon -> its control socket. libvirt-sock is virtproxyd's where the modular daemons run.
SOCKETS = {"virtqemud": "/run/libvirt/virtqemud-sock", "libvirtd": "/run/libvirt/libvirt-sock"}
XEN_SOCKETS = {"virtxend": "/run/libvirt/virtxend-sock", "libvirtd": "/run/libvirt/libvirt-sock"}
_FOLDERS = ("/usr/sbin", "/usr/bin", "/usr/local/sbin")


def has_daemon(root: Root, name: str) -> bool:
    """Whether this daemon is installed."""
    return any(root.exists(f"{folder}/{name}") for folder in _FOLDERS)


def is_installed(root: Root) -> bool:
    """Whether a daemon that runs guests is installed."""
    return any(has_daemon(root, name) for name in {**SOCKETS, **XEN_SOCKETS})
