# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Around a reboot: end the guests in order, and start again those that ran."""

from __future__ import annotations

import json
from pathlib import Path

from . import selinuxfs, virt
from .seed import EXPORTER, mount_share

_NOTE = Path("/var/lib/svirt-lab/running.json")


def stop_guests() -> list[str]:
    """Stop all guests, so that their images get their labels back, and note which ran. A host whose daemon does not
    answer keeps the note it has."""
    import libvirt

    try:
        names = virt.running()
    except libvirt.libvirtError:
        return []
    _NOTE.parent.mkdir(parents=True, exist_ok=True)
    _NOTE.write_text(json.dumps(names))
    for name in names:
        virt.destroy(name)
    return names


def resume(host: str) -> dict[str, str]:
    """Mount the share and start the guests that ran before; returns those that did not start, with the reason."""
    import libvirt

    names = json.loads(_NOTE.read_text()) if _NOTE.exists() else []
    if not selinuxfs.present():  # labels are not real, and a daemon with security_driver = "selinux" does not run
        return dict.fromkeys(names, "SELinux is off")
    if host != EXPORTER:
        mount_share()
    failed = {}
    for name in names:
        try:
            virt.start(name)
        except (libvirt.libvirtError, AttributeError) as error:
            failed[name] = str(error)
    return failed
