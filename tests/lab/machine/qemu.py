# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""A host under QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.image.files import FW_CFG
from tests.lab.network import HostSpec, free_port
from tests.lab.shell import run, tail

from .accel import Accel, machine_args
from .process import Process

_LINK_SOCKET = "link.sock"
_PORT_TRIES = 8


def overlay(base: Path, target: Path) -> None:
    """A disk of its own for one host, on top of the image, which stays as it is."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(target)])


def uplink(port: int) -> str:
    """The user network of a host: nothing goes out, and its ssh is at a port of this machine."""
    return f"user,id=uplink,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"


def host_argv(
    spec: HostSpec, accel: Accel, *, disk: Path, serial: Path, identity: Path, public_key: Path, control: Path
) -> list[str]:
    """The command line of a host, but for its uplink. identity is a file with the host's name."""
    server = "on" if spec.number == 1 else "off"
    link = f"stream,id=link,server={server},addr.type=unix,addr.path={control / _LINK_SOCKET}"
    return [
        *machine_args(accel),
        *("-name", f"svirt-lab-{spec.name}", "-uuid", spec.uuid),
        *("-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe"),
        *("-device", f"virtio-net-pci,netdev=uplink,mac={spec.uplink_mac},romfile="),
        *("-netdev", link, "-device", f"virtio-net-pci,netdev=link,mac={spec.link_mac},romfile="),
        *("-fw_cfg", f"name={FW_CFG}.name,file={identity}", "-fw_cfg", f"name={FW_CFG}.key,file={public_key}"),
        *("-serial", f"file:{serial}"),
    ]


def start(argv: Sequence[str], pidfile: Path, descriptors: Sequence[int] = ()) -> tuple[Process, int]:
    """Start a QEMU with an uplink; returns its process and the port. Raises LabError with what QEMU said.

    Another program may take the port before QEMU does; then the next one is tried.
    """
    said = b""
    for _attempt in range(_PORT_TRIES):
        port = free_port()
        # A card must come after its network.
        words = [argv[0], "-netdev", uplink(port), *argv[1:], "-daemonize", "-pidfile", str(pidfile)]
        done = run(words, check=False, timeout=60, descriptors=descriptors)
        if done.returncode == 0:
            process = Process.of(int(pidfile.read_text()))
            pidfile.unlink()
            return process, port
        said = done.stderr
        if b"host forwarding" not in said:
            break
    raise LabError(f"QEMU did not start: {tail(said)}")
