# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The guests of a clean lab."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable

from . import conf, images, virt
from .domains import ISOS, LOCAL, SHARE, Disk, Guest, static_level, static_seclabel
from .shape import DEBIAN, Shape, here

_MIB = 16
_MOUNT_LIMIT = 600.0  # seconds; the other host may still be coming up, and a stop of its daemon may take 90
EXPORTER = "kvm1"
#: The first libvirt that reads shared_filesystems.
_READS_SHARED = (10, 8)


def guests(host: str, shape: Shape = DEBIAN) -> tuple[Guest, ...]:
    """The guests of a host of that shape.

    There is one filtered card: its rules make each restart of the daemon 13 s longer.
    """
    n = int(host[-1])

    def static(index: int) -> str:
        return static_seclabel(static_level(10 * n + index))

    iso = Disk(f"{ISOS}/installer.iso", device="cdrom", readonly=True)
    quorum = Disk(f"{SHARE}/quorum.raw", shareable=True)
    return (
        Guest(
            f"web{n}",
            (Disk(f"{LOCAL}/web{n}.raw"),),
            bridge_address="10.78.0.10" if host == EXPORTER else "",
            title="local, on kvm1 with a filtered card",
        ),
        Guest(
            f"db{n}", (Disk(f"{LOCAL}/db{n}.qcow2", "qcow2", backing=f"{LOCAL}/base{n}.qcow2"),), title="backing chain"
        ),
        Guest(f"app{n}", (Disk(f"{SHARE}/app{n}.raw"),), static(1), title="on the share, static label"),
        Guest(f"mail{n}", (Disk(f"{SHARE}/mail{n}.qcow2", "qcow2"), iso), static(2), title="on the share, with an ISO"),
        Guest(f"node{n}", (Disk(f"{SHARE}/node{n}.raw"), quorum), static(3), title="on the share, shareable disk"),
        Guest(f"spare{n}", (Disk(f"{LOCAL}/spare{n}.raw"),), running=False, title="powered off, local"),
        Guest(
            f"archive{n}",
            (Disk(f"{SHARE}/archive{n}.qcow2", "qcow2"),),
            static(4),
            running=False,
            title="powered off, on the share",
        ),
        *_only_on(shape, n),
    )


def _only_on(shape: Shape, n: int) -> tuple[Guest, ...]:
    """Guests that need what only hosts of EL's shape have: swtpm and UEFI."""
    if shape is DEBIAN:
        return ()
    disks = (Disk(f"{LOCAL}/vault{n}.raw"),)
    return (Guest(f"vault{n}", disks, secure=True, paused=True, title="local, with a TPM and UEFI variables"),)


def seed(host: str) -> list[str]:
    """Make a host what the documentation says; returns the running guests. What is there already is left alone.

    Hosts may be seeded side by side: the exporter makes all its disks first, and the others start what is local first.
    """
    wanted = guests(host, here())
    if host == EXPORTER:
        _state_shared_filesystems()
        subprocess.run(["exportfs", "-ra"], check=True, capture_output=True)
    else:
        local = [guest for guest in wanted if not any(disk.path.startswith(SHARE) for disk in guest.disks)]
        _make_disks(local)
        start_missing(local)
        mount_share()
        _wait_for_shared_disks()
    _make_disks(wanted)
    start_missing(wanted)
    return virt.running()


def _make_disks(wanted: Iterable[Guest]) -> None:
    for guest in wanted:
        for disk in guest.disks:
            images.make_disk(disk, _MIB * images.MIB)


def _wait_for_shared_disks() -> None:
    """The exporter creates the disks that several hosts have; its last disk on the share is created after them."""
    last = [disk.path for guest in guests(EXPORTER) for disk in guest.disks if disk.path.startswith(SHARE)][-1]
    end = time.monotonic() + _MOUNT_LIMIT
    while not os.path.exists(last):
        if time.monotonic() > end:
            raise RuntimeError(f"{EXPORTER} has not made {last} after {_MOUNT_LIMIT:.0f} s")
        time.sleep(0.5)


def start_missing(wanted: Iterable[Guest]) -> None:
    """Define what is not defined, start what should run."""
    for guest in wanted:
        if virt.lookup(guest.name) is None:
            virt.define(guest)
        if guest.running:
            virt.start(guest.name, guest.paused)


def mount_share() -> None:
    """Mount the share of the other host and see that labels are real there."""
    end = time.monotonic() + _MOUNT_LIMIT
    while not os.path.ismount(SHARE):
        done = subprocess.run(["mount", SHARE], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            break
        if time.monotonic() > end:
            raise RuntimeError(f"{SHARE} did not mount: {done.stderr.strip()}")
        time.sleep(2)
    with open("/proc/mounts") as mounts:
        line = next(line for line in mounts if line.split()[1] == SHARE)
    if "seclabel" not in line.split()[3].split(","):
        raise RuntimeError(f"labels are not real on {SHARE}: {line.strip()}")


def _state_shared_filesystems() -> None:
    if virt.version() < _READS_SHARED:
        return  # IMG-003 says so, and what to do instead
    text = conf.read()
    changed = conf.with_key(text, "shared_filesystems", f'[ "{SHARE}" ]')
    if changed != text:
        conf.write(changed)
        virt.restart_daemon()
