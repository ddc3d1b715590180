# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The disk of hosts under User-Mode Linux: the image as raw, with the clock, kept once a host has booted from it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.lab.cache import digest, obtain
from tests.lab.errors import LabError
from tests.lab.machine import uml
from tests.lab.machine.boot import boot_to_end, end_of
from tests.lab.shell import run, step

from .disk import OFFSET
from .files import TRIAL_MARK, TRIAL_UNIT
from .kernel import CLOCK, KERNEL

_CLOCK_PATH = "/usr/lib/svirt-lab-clock.so"
_PRELOAD = "/etc/ld.so.preload"
_LABELS = {
    _CLOCK_PATH: "system_u:object_r:lib_t:s0",
    _PRELOAD: "system_u:object_r:ld_so_cache_t:s0",
}


def build(image: Path, kernel: Path) -> Path:
    """The disk for an image and a folder of the kernel. Raises LabError when no host boots from it."""
    source = Path(__file__).read_text() + Path(uml.__file__).read_text()
    name = f"{image.stem}-uml-{digest([kernel.name, source])}.raw"
    return obtain(name, lambda target, scratch: _make(image, kernel, target, scratch))


def _make(image: Path, kernel: Path, target: Path, scratch: Path) -> None:
    with step("disk for User-Mode Linux"):
        run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(target)])
        _add(kernel / CLOCK, target, scratch)
    with step("trial: a host boots and enforces"):
        _try(kernel / KERNEL, target, scratch)


def _add(clock: Path, disk: Path, scratch: Path) -> None:
    """Put the clock into the file system, without mounting it, where all programs of a host load it first."""
    preload = scratch / "preload"
    preload.write_text(f"{_CLOCK_PATH}\n")
    commands = []
    for path, source, mode in ((_CLOCK_PATH, clock, "0100755"), (_PRELOAD, preload, "0100644")):
        label = scratch / f"label-{source.name}"
        label.write_bytes(_LABELS[path].encode() + b"\0")
        commands += [f"write {source} {path}", f"sif {path} mode {mode}", f"sif {path} uid 0", f"sif {path} gid 0"]
        commands += [f"ea_set -f {label} {path} security.selinux"]
    place = f"{disk}?offset={OFFSET}"
    run(["debugfs", "-w", "-f", "-", place], stdin="\n".join(commands) + "\n", env={"PATH": _sbin()})
    for path, wanted in _LABELS.items():
        seen = run(["debugfs", "-R", f"ea_list {path}", place], env={"PATH": _sbin()}).stdout.decode()
        if wanted not in seen:
            raise LabError(f"{path} in {disk.name} carries {seen.strip()!r} instead of {wanted}")


def _try(kernel: Path, disk: Path, scratch: Path) -> None:
    serial = scratch / "serial.log"
    argv = uml.kernel_argv(kernel, disk, scratch / "overlay", scratch, "trial")
    log = boot_to_end(
        [*argv, f"systemd.unit={TRIAL_UNIT}"], serial, console=True, env={**os.environ, **uml.ENVIRONMENT}
    )
    if TRIAL_MARK.encode() not in log:
        raise LabError(f"the kernel {kernel} did not boot a host that enforces; {end_of(serial)}")


def _sbin() -> str:
    return f"/usr/sbin:/sbin:{os.environ.get('PATH', os.defpath)}"
