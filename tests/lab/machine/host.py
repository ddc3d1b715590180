# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""One host of a lab: start it, wait until it answers, stop it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.network import HostSpec
from tests.lab.ssh import Remote

from . import qemu, uml
from .accel import Accel
from .boot import end_of
from .ground import Ground
from .life import Life, fatal
from .process import Process, cpu_seconds, descendants, kill, load, programs_with, save

#: Seconds between two looks at a host that boots.
_PAUSE = 0.5


@dataclass(frozen=True)
class LabHost:
    """A host's files in the lab's folder and the processes that run it."""

    spec: HostSpec
    folder: Path
    control: Path

    @property
    def serial(self) -> Path:
        return self._file("serial.log")

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.spec.name}.{kind}"

    def process(self) -> Process | None:
        """The process that runs this host, when it is alive."""
        found = load(self._file("process.json"))
        return found[0] if found and found[0].alive() else None

    def remote(self) -> Remote:
        """How to reach it. Raises LabError when it was not started."""
        try:
            port = int(self._file("port").read_text())
        except (OSError, ValueError):
            raise LabError(f"{self.spec.name} is not up; run: python -m tests.lab up") from None
        return Remote(
            self.spec.name, port, self.folder / "id_ed25519", self.folder / "known_hosts", self.control / self.spec.name
        )

    def start(self, ground: Ground, public_key: Path, link: socket.socket) -> None:
        """Start it on a disk of its own. link is its end of the cable between hosts that are no virtual machines."""
        if ground.accel is Accel.UML:
            processes, port = self._start_uml(ground, public_key, link)
        else:
            processes, port = self._start_qemu(ground, public_key)
        save(self._file("process.json"), processes)
        self._file("port").write_text(str(port))

    def _start_qemu(self, ground: Ground, public_key: Path) -> tuple[list[Process], int]:
        disk, identity = self._file("qcow2"), self._file("name")
        qemu.overlay(ground.disk, disk)
        identity.write_text(f"{self.spec.name}\n")
        argv = qemu.host_argv(
            self.spec,
            ground.accel,
            disk=disk,
            serial=self.serial,
            identity=identity,
            public_key=public_key,
            control=self.control,
        )
        process, port = qemu.start(argv, self._file("pid"))
        return [process], port

    def _start_uml(self, ground: Ground, public_key: Path, link: socket.socket) -> tuple[list[Process], int]:
        inside, outside = uml.card()
        with inside, outside:
            switch, port = qemu.start(uml.switch_argv(outside), self._file("pid"), [outside.fileno()])
            # Whole sectors, or the host cannot read it.
            self._file("identity").write_text(f"{self.spec.name}\n{public_key.read_text()}".ljust(4096, "\n"))
            argv = [
                *uml.kernel_argv(ground.kernel, ground.disk, self._file("cow"), self.control, f"uml-{self.spec.name}"),
                f"ubd1r={self._file('identity')}",
                *uml.cards(self.spec, [inside, link]),
            ]
            try:
                pid = uml.start(argv, self.serial, [inside, link])
            except OSError as error:
                switch.stop()
                raise LabError(f"{self.spec.name}: {ground.kernel} did not start: {error.strerror}") from error
        return [Process.of(pid), switch], port

    def wait(self, ready: Callable[[], bool] | None = None) -> None:
        """Wait until it takes commands (or is ready otherwise), for as long as it shows signs of life.

        Raises LabError at once on a panic or when its process ends.
        """
        life, remote = Life(time.monotonic()), self.remote()
        while not (ready or remote.answers)():
            log = self.serial.read_bytes() if self.serial.exists() else b""
            process = self.process()
            if found := fatal(log):
                raise LabError(f"{self.spec.name} did not come up ({found!r}); {end_of(self.serial)}")
            if process is None:
                raise LabError(f"{self.spec.name}: its process ended; {end_of(self.serial)}")
            if why := life.look(time.monotonic(), len(log), cpu_seconds(descendants(process.pid))):
                raise LabError(f"{self.spec.name} does not answer, and is given up: {why}; {end_of(self.serial)}")
            time.sleep(_PAUSE)
        remote.connect()

    def stop(self) -> list[int]:
        """End its processes and forget its port; nothing is asked of the host. Returns the numbers of those ended."""
        if self._file("port").exists():
            self.remote().disconnect()
        running = self.processes()
        for process in running:
            # A User-Mode Linux kernel has a process for each that runs in it, and leaves them behind when it is killed.
            started = descendants(process.pid)
            process.stop()
            kill(pid for pid in started if pid != process.pid)
        for kind in ("process.json", "port", "name", "identity", "qcow2", "cow", "serial.log"):
            self._file(kind).unlink(missing_ok=True)
        return [process.pid for process in running]

    def processes(self) -> list[Process]:
        """Its processes that are alive: those written down, and those of which nobody came to write them down."""
        known = [process for process in load(self._file("process.json")) if process.alive()]
        return list(dict.fromkeys([*known, *programs_with(f"{self.folder}/{self.spec.name}.")]))
