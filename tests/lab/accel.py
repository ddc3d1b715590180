# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""How the processors of a host are run: by the hardware when it really can, else emulated."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

MEMORY_MIB = 2048


class Accel(Enum):
    """The two ways to run a host."""

    KVM = "kvm"
    TCG = "tcg"


def detect(asked: str = "auto") -> Accel:
    """What to use here. A /dev/kvm alone says nothing: some do not run ordinary kernels."""
    if asked != "auto":
        return Accel(asked)
    flags = Path("/proc/cpuinfo").read_text(errors="replace").split()
    able = ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return Accel.KVM if able else Accel.TCG


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
