# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The lab as a whole: two hosts, brought up together, reused while they live, taken down without a trace."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import inventory
from .agent import ask
from .cache import locked
from .errors import LabError
from .image.rootfs import RELEASES
from .machine.ground import Ground
from .machine.host import LabHost
from .machine.uml import card
from .network import HOSTS, spec
from .shape import Shape
from .shell import say, step
from .ssh import Remote, make_key

DEFAULT_DIR = Path("build/lab")


@dataclass(frozen=True)
class Lab:
    """A lab in a folder of its own. Several can run side by side."""

    folder: Path

    @classmethod
    def at(cls, folder: Path | str = DEFAULT_DIR) -> Lab:
        return cls(Path(folder).absolute())

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory" / "hosts.yml"

    @property
    def _names(self) -> Path:
        return self.folder / "hosts"

    @property
    def _shape(self) -> Path:
        return self.folder / "shape"

    def shape(self) -> Shape:
        """The shape of its hosts."""
        return Shape(self._shape.read_text().strip()) if self._shape.exists() else Shape.DEBIAN

    @property
    def _release(self) -> Path:
        return self.folder / "release"

    def release(self) -> str:
        """The Debian release of its hosts."""
        return self._release.read_text().strip() if self._release.exists() else RELEASES[0]

    def names(self) -> list[str]:
        """Names of the hosts that this lab was brought up with."""
        return self._names.read_text().split() if self._names.exists() else []

    def host(self, name: str) -> LabHost:
        """One host. Raises LabError for a name that the lab does not have."""
        return LabHost(spec(name), self.folder, self._control())

    def remote(self, name: str) -> Remote:
        """How to reach a host. Raises LabError when it is not up."""
        return self.host(name).remote()

    def up(
        self,
        prepare: Callable[[], Ground],
        names: Sequence[str],
        shape: Shape | None = None,
        release: str | None = None,
    ) -> bool:
        """Bring the hosts up, or reuse those of this shape and release (None: of any); returns whether they were
        started now.

        prepare: what they are started from, asked for when they are not up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock"):
            same = self.names() == list(names) and shape in (None, self.shape()) and release in (None, self.release())
            if same and all(self._healthy(name) for name in names):
                say(f"the lab in {self.folder} is up already")
                return False
            self._clean()
            ground = prepare()
            self._shape.write_text(f"{(shape or Shape.DEBIAN).value}\n")
            self._release.write_text(f"{release or RELEASES[0]}\n")
            with step(f"booting {', '.join(names)} ({ground.accel.value})"):
                self._start(ground, names)
                _each(names, lambda name: self.host(name).wait())
            inventory.write(self.inventory, [self.remote(name) for name in names])
            self.seed(names)
            return True

    def _start(self, ground: Ground, names: Sequence[str]) -> None:
        make_key(self.folder / "id_ed25519")
        self._names.write_text("\n".join(names) + "\n")
        ends = card()
        try:
            for name, end in zip(names, ends, strict=False):
                self.host(name).start(ground, self.folder / "id_ed25519.pub", end)
        finally:
            for end in ends:
                end.close()

    def seed(self, names: Sequence[str]) -> None:
        """Give the hosts their guests, side by side."""
        with step(f"guests of {', '.join(names)}"):
            _each(names, lambda name: ask(self.remote(name), "seed"))

    def reboot(self, name: str) -> dict[str, str]:
        """Reboot a host through its boot loader and start the guests that ran; returns those that did not start."""
        host = self.host(name)
        remote = host.remote()
        with step(f"rebooting {name}"):
            ask(remote, "stop-guests")
            before = _boot_id(remote)
            remote.call("systemctl --no-block reboot", check=False)
            remote.disconnect()
            host.serial.write_bytes(b"")
            host.wait(lambda: _boot_id(remote) not in ("", before))
        with step(f"share and guests of {name}"):
            answer = ask(remote, "resume")
        return answer if isinstance(answer, dict) else {}

    def _healthy(self, name: str) -> bool:
        host = self.host(name)
        return host.process() is not None and host.remote().answers()

    def down(self) -> None:
        """Stop the processes that this lab started, and remove its disks."""
        with locked(self.folder / "lock"):
            self._clean()
        say(f"the lab in {self.folder} is down")

    def processes(self) -> list[int]:
        """Numbers of the processes that run its hosts."""
        return [process.pid for name in self.names() for process in self.host(name).processes()]

    def _clean(self) -> None:
        for name in HOSTS:
            if ended := self.host(name).stop():
                say(f"{name}: stopped process {' '.join(map(str, ended))}")
        shutil.rmtree(self._control(), ignore_errors=True)
        for left in ("control", "hosts", "shape", "release", "known_hosts", "id_ed25519", "id_ed25519.pub", "seeded"):
            (self.folder / left).unlink(missing_ok=True)
        shutil.rmtree(self.inventory.parent, ignore_errors=True)

    def _control(self) -> Path:
        """A short folder for sockets: their paths may not be longer than 107 bytes."""
        note = self.folder / "control"
        if note.exists() and (found := Path(note.read_text())).is_dir():
            return found
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        made = Path(tempfile.mkdtemp(prefix="svirt-lab-", dir=base))
        self.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(str(made))
        return made

    def status(self) -> dict[str, str]:
        """One line a host."""
        lines = {}
        for name in self.names():
            host = self.host(name)
            process = host.process()
            if process is None:
                lines[name] = "down"
                continue
            answers = "answers" if host.remote().answers() else "does not answer"
            lines[name] = f"up, process {process.pid}, port {host.remote().port}, {answers}"
        return lines


def _each(names: Sequence[str], work: Callable[[str], object]) -> None:
    """Do the same for all hosts at once; the first failure counts."""
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        for future in [pool.submit(work, name) for name in names]:
            future.result()


def _boot_id(remote: Remote) -> str:
    """Identity of a host's boot; empty while it does not answer."""
    try:
        done = remote.call("cat /proc/sys/kernel/random/boot_id", timeout=60, check=False)
    except LabError:
        return ""
    return done.stdout.decode().strip() if done.returncode == 0 else ""
