# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection's own files are on a host: the guard, the watch.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

#: What libvirt finds: a link to the program.
LINK = "/etc/libvirt/hooks/qemu.d/svirt-guard"
PROGRAM = "/usr/sbin/svirt-guard"
SETTINGS = "/etc/svirt-fleet/guard.json"

WATCH_PROGRAM = "/usr/local/lib/svirt-fleet/watch.pyz"
WATCH_SETTINGS = "/etc/svirt-fleet/watch.json"
WATCH_STATE = "/var/lib/svirt-fleet/watch/state.json"
