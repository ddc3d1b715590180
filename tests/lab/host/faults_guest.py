# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of guests. Each brings a guest of its own, so that nothing else in the host changes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from . import conf, images, selinuxfs, shape, virt
from .domains import GUEST_TYPE, LOCAL, SHARE, Disk, Guest, static_level, static_seclabel
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
def permissive_moment() -> Iterator[None]:
    """SELinux permissive while something starts that the policy refuses."""
    was = selinuxfs.enforcing()
    selinuxfs.set_enforcing(False)
    try:
        yield
    finally:
        selinuxfs.set_enforcing(was)


@contextmanager
def off_guard() -> Iterator[None]:
    """Confinement not required and SELinux permissive, for the moment that starts an unconfined guest."""
    before, times = conf.read(), conf.times()
    conf.write(conf.with_key(before, "security_require_confined", "0"))
    try:
        virt.restart_daemon()
        with permissive_moment():
            yield
    finally:
        conf.write(before)
        conf.set_times(times)
        virt.restart_daemon()


@fault(
    "guest-unconfined",
    "a running guest with <seclabel type='none'/>: its QEMU has the daemon's own label",
    "guest stray",
    default_on=("kvm2",),
    expects=(("GST-002", "guest stray"),),
)
def _unconfined(journal: Journal, host: str) -> None:
    with off_guard():
        add_guest(journal, Guest("stray", local("stray"), "<seclabel type='none'/>"))


@fault(
    "static-twin",
    "two guests, twin1 on kvm1 and twin2 on kvm2, with one static label and disks on the share",
    "guest twin1, guest twin2",
    default_on=("kvm1", "kvm2"),
)
def _twin(journal: Journal, host: str) -> None:
    name = f"twin{host[-1]}"
    add_guest(journal, Guest(name, (Disk(f"{SHARE}/{name}.raw"),), static_seclabel(TWIN_LEVEL)))


@fault(
    "qemu-by-hand",
    "a QEMU that libvirt does not know, started from a shell: an empty machine, stopped",
    "process handmade",
    default_on=("kvm1",),
    expects=(("GST-001", "process PID handmade"),),
)
def _by_hand(journal: Journal, host: str) -> None:
    pidfile = Path("/run/handmade-qemu.pid")
    journal.add("unlink", path=str(pidfile))
    # split-wx: a user may not have memory that is both written and executed
    argv = [shape.here().emulator, "-name", "handmade", "-machine", "none", "-accel", "tcg,split-wx=on"]
    argv += ["-nodefaults", "-display", "none", "-S", "-daemonize", "-pidfile", str(pidfile)]
    subprocess.run(argv, check=True, capture_output=True)
    pid = int(pidfile.read_text())
    journal.add("kill", pid=pid, started=started(pid))


def _static(
    name: str,
    about: str,
    level: str,
    *rules: str,
    relabel: str = "yes",
    permissive: bool = False,
    type_: str = GUEST_TYPE,
    alone: bool = False,
) -> None:
    """A fault that is one running guest with a static label. Rules that compare guests have the level as subject."""
    expects = tuple((rule, level if rule.startswith("CAT") else f"guest {name}") for rule in rules)

    @fault(name, about, f"guest {name}", expects=expects, alone=alone)
    def inject(journal: Journal, host: str) -> None:
        disk = local(name)[0]
        if relabel == "no":
            journal.file(disk.path)
            images.make_raw(disk.path, label=f"{images.RUNNING_TYPE}:{level}", mode=0o666)
        guest = Guest(name, (disk,), static_seclabel(level, relabel, type_))
        with permissive_moment() if permissive else nullcontext():
            add_guest(journal, guest)


_static(
    "guest-wide-label",
    "a static label with every category: it dominates all other guests",
    "s0:c0.c1023",
    "GST-006",
    "CAT-002",
    alone=True,
)
_static("guest-single-category", "a static label with one category", "s0:c900", "GST-005")
_static("guest-no-category", "a static label without categories", "s0", "GST-005")
_static(
    "guest-static-no-relabel",
    "a static label with relabel='no': its images are the administrator's task",
    static_level(210),
    "GST-008",
    relabel="no",
    permissive=True,  # the policy keeps the daemon off /dev/userfaultfd while it has its own label
)
_static(
    "guest-unconfined-type",
    "a static label of a type that no category constrains",
    "s0:c700,c701",
    "GST-002",
    permissive=True,
    type_="virtd_t",
)
_static(
    "guest-dominates",
    "a static label that contains the label of another guest of the lab",
    "s0:c33,c287,c528,c787,c788,c797,c798",
    "CAT-002",
    alone=True,
)


@fault(
    "guest-same-label",
    "two guests on one host with one static label",
    "guest same-a, guest same-b",
    expects=(("CAT-002", static_level(220)),),
)
def _same_label(journal: Journal, host: str) -> None:
    for name in ("same-a", "same-b"):
        add_guest(journal, Guest(name, local(name), static_seclabel(static_level(220))))


@fault(
    "guest-none-defined",
    "a powered-off guest with <seclabel type='none'/>",
    "guest none-off",
    expects=(("GST-003", "guest none-off"),),
)
def _none_defined(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("none-off", local("none-off"), "<seclabel type='none'/>", running=False))


@fault(
    "guest-foreign-type",
    "a powered-off guest with a static label whose type is not for guests; require_confined lets it through",
    "guest foreign",
    expects=(("GST-004", "guest foreign"),),
)
def _foreign_type(journal: Journal, host: str) -> None:
    label = static_seclabel(static_level(241), type_="unconfined_t")
    add_guest(journal, Guest("foreign", local("foreign"), label, running=False))


@fault(
    "guest-needs-power-cycle",
    "a guest that was started unconfined; its persistent XML is right since",
    "guest late",
    expects=(("GST-010", "guest late"),),
)
def _needs_power_cycle(journal: Journal, host: str) -> None:
    disks = local("late")
    with off_guard():
        add_guest(journal, Guest("late", disks, "<seclabel type='none'/>"))
    virt.define(Guest("late", disks))


@fault(
    "guest-label-disagrees",
    "libvirt's XML of a running guest names another label than its process has",
    "guest unlike",
    expects=(("GST-007", "guest unlike"),),
)
def _disagrees(journal: Journal, host: str) -> None:
    real, claimed = static_level(230), static_level(231)
    add_guest(journal, Guest("unlike", local("unlike"), static_seclabel(real)))
    status = Path("/run/libvirt/qemu/unlike.xml")
    journal.add("run", argv=["systemctl", "start", *shape.here().units])  # should this end half way
    virt.stop_daemon()
    status.write_text(status.read_text().replace(f"svirt_t:{real}<", f"svirt_t:{claimed}<"))
    virt.start_daemon()


@fault(
    "guest-label-pending",
    "the persistent XML of a running guest asks for another static label than it runs with",
    "guest pending",
    expects=(("GST-010", "guest pending"),),
)
def _pending(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("pending", local("pending"), static_seclabel(static_level(232))))
    virt.define(Guest("pending", local("pending"), static_seclabel(static_level(233))))


@fault("device-relabel-no", "a disk with a label element of its own that says relabel='no'", "guest own-disk")
def _device_relabel(journal: Journal, host: str) -> None:
    level = static_level(240)
    disk = Disk(f"{LOCAL}/own-disk.raw", seclabel="<seclabel model='selinux' relabel='no'/>")
    journal.file(disk.path)
    images.make_raw(disk.path, label=f"{images.RUNNING_TYPE}:{level}")
    add_guest(journal, Guest("own-disk", (disk,), static_seclabel(level)))


@fault(
    "device-label",
    "a disk whose own label element opens it to every guest",
    "guest open-disk",
    expects=(("IMG-006", f"image {LOCAL}/open-disk.raw"),),
)
def _device_label(journal: Journal, host: str) -> None:
    label = f"<seclabel model='selinux' relabel='yes'><label>{images.RUNNING_TYPE}:s0</label></seclabel>"
    add_guest(journal, Guest("open-disk", (Disk(f"{LOCAL}/open-disk.raw", seclabel=label),)))


@fault(
    "guest-commandline",
    "arguments handed to QEMU past libvirt (qemu:commandline, taint custom-argv)",
    "guest custom",
    expects=(("GST-009", "guest custom"),),
)
def _commandline(journal: Journal, host: str) -> None:
    add_guest(journal, Guest("custom", local("custom"), qemu_args=("-boot", "menu=off")))


@fault(
    "guest-hostdev",
    "a powered-off guest that is given a PCI device of the host",
    "guest hostdev",
    expects=(("GST-009", "guest hostdev"),),
)
def _hostdev(journal: Journal, host: str) -> None:
    address = "<address domain='0x0000' bus='0x00' slot='0x01' function='0x0'/>"
    device = f"<hostdev mode='subsystem' type='pci' managed='yes'><source>{address}</source></hostdev>"
    add_guest(journal, Guest("hostdev", local("hostdev"), running=False, devices=device))


@fault(
    "guest-filesystem",
    "a powered-off guest that is given a folder of the host, which libvirt does not label",
    "guest folder",
    expects=(("GST-009", "guest folder"),),
)
def _filesystem(journal: Journal, host: str) -> None:
    device = "<filesystem type='mount' accessmode='passthrough'><source dir='/srv'/><target dir='host'/></filesystem>"
    add_guest(journal, Guest("folder", local("folder"), running=False, devices=device))


@fault(
    "dynamic-on-share",
    "a guest with a dynamic label and its disk on the share",
    "guest drifter{host}",
    expects=(("IMG-004", "guest drifter{host[3]}"),),
)
def _dynamic_on_share(journal: Journal, host: str) -> None:
    name = f"drifter{host[-1]}"
    add_guest(journal, Guest(name, (Disk(f"{SHARE}/{name}.raw"),)))
