# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills a lab host with many defined guests for a measurement, and takes them away again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.bench.timing import BenchError

if TYPE_CHECKING:
    from tests.bench.peers import Target

FOLDER = "/var/lib/libvirt/images/bench"

_DEFINE = """
import libvirt, os
os.makedirs({folder!r}, exist_ok=True)
hypervisor = libvirt.open("qemu:///system")
for number in range({guests}):
    disks = ""
    for disk, device in enumerate(("vda", "vdb")):
        path = f"{folder}/guest{{number:03}}-{{device}}.raw"
        with open(path, "wb") as image:
            image.truncate(1 << 20)
        os.chmod(path, 0o600)
        disks += (f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{{path}}'/>"
                  f"<target dev='{{device}}' bus='virtio'/></disk>")
    hypervisor.defineXML(f"<domain type='qemu'><name>bench-{{number:03}}</name><memory unit='MiB'>24</memory>"
                         f"<os><type arch='x86_64'>hvm</type></os><devices>{{disks}}</devices></domain>")
"""

_UNDEFINE = """
import libvirt, shutil
hypervisor = libvirt.open("qemu:///system")
for guest in hypervisor.listAllDomains():
    if guest.name().startswith("bench-"):
        guest.undefine()
shutil.rmtree({folder!r}, ignore_errors=True)
"""


@contextmanager
def defined(target: Target, guests: int) -> Iterator[None]:
    """That many powered-off guests with two images each, for as long as the block lasts."""
    _in_host(target, _UNDEFINE.format(folder=FOLDER))
    try:
        _in_host(target, _DEFINE.format(folder=FOLDER, guests=guests))
        yield
    finally:
        _in_host(target, _UNDEFINE.format(folder=FOLDER))


def _in_host(target: Target, program: str) -> None:
    # The program travels as standard input: no file is left in the host.
    words = target.adhoc("ansible.builtin.command", {"argv": ["python3", "-"], "stdin": program})
    result = subprocess.run(words, env=dict(target.environment), capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{target.host}: could not prepare the guests:\n{(result.stdout + result.stderr)[-2000:]}")
