# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of guests. Each brings a guest of its own, so that nothing else in the host changes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import conf, images, selinuxfs, virt
from .domains import LOCAL, SHARE, Disk, Guest, static_level, static_seclabel
from .journal import Journal
from .registry import fault
from .undo import started

TWIN_LEVEL = static_level(200)


def add_guest(journal: Journal, guest: Guest) -> None:
    """Define a guest with its disks, and start it when it should run."""
    journal.guest(guest.name, *(disk.path for disk in guest.disks if not disk.block))
    for disk in guest.disks:
        images.make_disk(disk)
    virt.define(guest)
    if guest.running:
        virt.start(guest.name)


def local(name: str) -> tuple[Disk, ...]:
    return (Disk(f"{LOCAL}/{name}.raw"),)


@contextmanager
def off_guard() -> Iterator[None]:
    """Confinement not required and SELinux permissive, for the moment that starts an unconfined guest."""
    before, times = conf.read(), conf.times()
    was = selinuxfs.enforcing()
    conf.write(conf.with_key(before, "security_require_confined", "0"))
    virt.restart_daemon()
    selinuxfs.set_enforcing(False)
    try:
        yield
    finally:
        selinuxfs.set_enforcing(was)
        conf.write(before)
        conf.set_times(times)
        virt.restart_daemon()


@fault("guest-unconfined", "a running guest with <seclabel type='none'/>: its QEMU has the daemon's own label",
       "guest stray", default_on=("kvm2",))
def _unconfined(journal: Journal, host: str) -> None:
    with off_guard():
        add_guest(journal, Guest("stray", local("stray"), "<seclabel type='none'/>"))


@fault("static-twin", "two guests, twin1 on kvm1 and twin2 on kvm2, with one static label and disks on the share",
       "guest twin1, guest twin2", default_on=("kvm1", "kvm2"))
def _twin(journal: Journal, host: str) -> None:
    name = f"twin{host[-1]}"
    add_guest(journal, Guest(name, (Disk(f"{SHARE}/{name}.raw"),), static_seclabel(TWIN_LEVEL)))


@fault("qemu-by-hand", "a QEMU that libvirt does not know, started from a shell: an empty machine, stopped",
       "process handmade", default_on=("kvm1",))
def _by_hand(journal: Journal, host: str) -> None:
    pidfile = Path("/run/handmade-qemu.pid")
    journal.add("unlink", path=str(pidfile))
    # the accelerator without code of its own: a user may not have memory that is both written and executed
    argv = ["qemu-system-x86_64", "-name", "handmade", "-machine", "none,accel=qtest", "-nodefaults", "-display", "none", "-S"]
    subprocess.run([*argv, "-daemonize", "-pidfile", str(pidfile)], check=True, capture_output=True)
    pid = int(pidfile.read_text())
    journal.add("kill", pid=pid, started=started(pid))
