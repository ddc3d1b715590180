# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""How a host runs: by the hardware when it really can, else as a User-Mode Linux process, else emulated."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.lab.errors import LabError

MEMORY_MIB = 2048
#: Where the memory of a host under User-Mode Linux lies: a file on a disk would be written back all the time.
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # the kernel's own name for it


class Accel(Enum):
    """The ways to run a host."""

    KVM = "kvm"
    UML = "uml"
    TCG = "tcg"

    @property
    def boots(self) -> bool:
        """Whether the host boots through its boot loader, with its distribution's own kernel."""
        return self is not Accel.UML


@dataclass(frozen=True)
class Facts:
    """What of this machine decides how hosts run. free: MiB in MEMORY_FOLDER; None where nothing can be put there."""

    architecture: str
    virtualises: bool
    free: int | None


def here() -> Facts:
    """The facts of this machine. A /dev/kvm alone says nothing: some do not run ordinary kernels."""
    flags = Path("/proc/cpuinfo").read_text(errors="replace").split()
    able = ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    free = None
    if os.access(MEMORY_FOLDER, os.W_OK | os.X_OK):
        space = os.statvfs(MEMORY_FOLDER)
        free = space.f_bavail * space.f_frsize >> 20
    return Facts(platform.machine(), able, free)


def choose(asked: str, facts: Facts, *, boot_loader: bool = False, hosts: int = 2) -> Accel:
    """How so many hosts run on such a machine; boot_loader: only a way that has one.

    Raises LabError when the way that was asked for, if not "auto", cannot be taken.
    """
    if asked != "auto":
        accel = Accel(asked)
        if boot_loader and not accel.boots:
            raise LabError(f"a host under {asked} has no boot loader; leave --accel out, or give kvm or tcg")
        if accel is Accel.UML and (why := uml_unable(facts, hosts)):
            raise LabError(f"no User-Mode Linux here: {why}")
        return accel
    if facts.virtualises:
        return Accel.KVM
    return Accel.TCG if boot_loader or uml_unable(facts, hosts) else Accel.UML


def uml_unable(facts: Facts, hosts: int) -> str | None:
    """Why so many hosts cannot run under User-Mode Linux on such a machine, or None."""
    if facts.architecture != "x86_64":
        return f"its kernel is built for x86_64, and this machine is {facts.architecture}"
    if facts.free is None:
        return f"the memory of its hosts lies in {MEMORY_FOLDER}, which is not there or may not be written"
    needed = hosts * MEMORY_MIB
    if facts.free < needed:
        return f"{hosts} hosts need {needed} MiB in {MEMORY_FOLDER}, and {facts.free} MiB are free"
    return None


def machine_args(accel: Accel) -> list[str]:
    """The start of a QEMU command line.

    Emulated hosts get one processor and no cmpxchg16b: QEMU 7.2 leaves garbage in the flags around that instruction,
    and an interrupt that comes just then ends in a kernel panic. The kernel has another way for processors without it.
    """
    cpu = "host" if accel is Accel.KVM else "max,cx16=off"
    return [
        *("qemu-system-x86_64", "-accel", accel.value, "-cpu", cpu, "-smp", "1", "-m", str(MEMORY_MIB)),
        *("-nodefaults", "-display", "none", "-no-user-config"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
    ]
