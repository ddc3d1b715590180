# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of the libvirt daemon and its configuration."""

from __future__ import annotations

from . import conf, virt
from .journal import Journal
from .registry import fault


def change_conf(journal: Journal, text: str, restart: bool = True) -> None:
    """Write qemu.conf anew; the way back ends with a restart when the way there has one."""
    if restart:
        journal.add("daemon")
    journal.file(conf.QEMU_CONF)
    conf.write(text)
    if restart:
        virt.restart_daemon()


@fault("driver-implicit", "security_driver is not stated: libvirt takes what it finds, or nothing", "{host}",
       default_on=("kvm2",))
def _driver_implicit(journal: Journal, host: str) -> None:
    change_conf(journal, conf.without_key(conf.read(), "security_driver"))


@fault("shared-filesystems-missing", "the exporter does not name the exported folder in shared_filesystems: a guest that "
       "migrates away loses its disk", "/srv/vms", hosts=("kvm1",), default_on=("kvm1",))
def _shared_filesystems(journal: Journal, host: str) -> None:
    change_conf(journal, conf.without_key(conf.read(), "shared_filesystems"))
