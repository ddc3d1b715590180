# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""One host as a virtual machine: start it, wait until it answers, stop it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .accel import Accel, machine_args
from .errors import LabError
from .files import FW_CFG
from .network import HostSpec, free_port
from .process import Process
from .shell import run, tail
from .ssh import Remote

#: Seconds a host may take to answer. It boots in half a minute; a busy machine slows emulation tenfold.
BOOT_LIMIT = 900.0
_PANIC = re.compile(
    r"Kernel panic|end Kernel panic|Oops: |Unable to mount root|Failed to load SELinux policy|"
    r"You are in emergency mode|grub rescue>"
)
_LINK_SOCKET = "link.sock"
_PORT_TRIES = 8


@dataclass(frozen=True)
class Vm:
    """A host's files in the lab's folder and the process that runs it."""

    spec: HostSpec
    folder: Path
    control: Path

    @property
    def disk(self) -> Path:
        return self.folder / f"{self.spec.name}.qcow2"

    @property
    def serial(self) -> Path:
        return self.folder / f"{self.spec.name}.serial.log"

    @property
    def _pidfile(self) -> Path:
        return self.folder / f"{self.spec.name}.process.json"

    @property
    def _portfile(self) -> Path:
        return self.folder / f"{self.spec.name}.port"

    def process(self) -> Process | None:
        """The process that runs this host, when it is alive."""
        found = Process.load(self._pidfile)
        return found if found is not None and found.alive() else None

    def remote(self) -> Remote:
        """How to reach it. Raises LabError when it was not started."""
        try:
            port = int(self._portfile.read_text())
        except (OSError, ValueError):
            raise LabError(f"{self.spec.name} is not up; run: python -m tests.lab up") from None
        return Remote(
            self.spec.name, port, self.folder / "id_ed25519", self.folder / "known_hosts", self.control / self.spec.name
        )

    def start(self, accel: Accel, public_key: Path, name_file: Path) -> None:
        """Start the process. Another program may take the port first, then the next one is tried."""
        for _attempt in range(_PORT_TRIES):
            port = free_port()
            pidfile = self.folder / f"{self.spec.name}.pid"
            done = run(self._argv(accel, port, public_key, name_file, pidfile), check=False, timeout=60)
            if done.returncode == 0:
                Process.of(int(pidfile.read_text())).save(self._pidfile)
                pidfile.unlink()
                self._portfile.write_text(str(port))
                return
            if b"host forwarding" not in done.stderr:
                break
        raise LabError(f"{self.spec.name}: QEMU did not start: {tail(done.stderr)}")

    def _argv(self, accel: Accel, port: int, public_key: Path, name_file: Path, pidfile: Path) -> list[str]:
        uplink = f"user,id=uplink,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
        server = "on" if self.spec.number == 1 else "off"
        link = f"stream,id=link,server={server},addr.type=unix,addr.path={self.control / _LINK_SOCKET}"
        return [
            *machine_args(accel),
            *("-name", f"svirt-lab-{self.spec.name}", "-uuid", self.spec.uuid),
            *("-drive", f"file={self.disk},if=virtio,format=qcow2,cache=unsafe"),
            *("-netdev", uplink, "-device", f"virtio-net-pci,netdev=uplink,mac={self.spec.uplink_mac},romfile="),
            *("-netdev", link, "-device", f"virtio-net-pci,netdev=link,mac={self.spec.link_mac},romfile="),
            *("-fw_cfg", f"name={FW_CFG}.name,file={name_file}", "-fw_cfg", f"name={FW_CFG}.key,file={public_key}"),
            *("-serial", f"file:{self.serial}", "-daemonize", "-pidfile", str(pidfile)),
        ]

    def wait(self, ready: Callable[[], bool] | None = None, limit: float = BOOT_LIMIT) -> None:
        """Wait until it takes commands (or is ready otherwise), limit seconds at most.

        Raises LabError at once on a panic or when its process ends.
        """
        end = time.monotonic() + limit
        remote = self.remote()
        while not (ready or remote.answers)():
            self._check()
            if time.monotonic() > end:
                raise LabError(f"{self.spec.name} did not answer in {limit:.0f} s; {self._tail()}")
            time.sleep(1)
        remote.connect()

    def _check(self) -> None:
        log = self.serial.read_bytes() if self.serial.exists() else b""
        if found := _PANIC.search(log.decode("utf-8", "replace")):
            raise LabError(f"{self.spec.name} did not come up ({found.group(0)!r}); {self._tail()}")
        if self.process() is None:
            raise LabError(f"{self.spec.name}: its QEMU ended; {self._tail()}")

    def _tail(self) -> str:
        data = self.serial.read_bytes() if self.serial.exists() else b""
        return f"end of its serial log ({self.serial}):\n{tail(data, 30)}"

    def stop(self) -> None:
        """End its process and forget its port; nothing is asked of the host."""
        if self._portfile.exists():
            self.remote().disconnect()
        if (found := self.process()) is not None:
            found.stop()
        self._pidfile.unlink(missing_ok=True)
        self._portfile.unlink(missing_ok=True)
