# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What an image holds, as data: one recipe for each shape of hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tests.lab.shape import Shape


@dataclass(frozen=True)
class Recipe:
    """Packages, files and policy of an image."""

    shape: Shape
    packages: tuple[str, ...]
    files: Mapping[str, str]
    #: Path -> text at the end of what the package ships.
    appends: Mapping[str, str]
    #: Path -> target of the symbolic link.
    links: Mapping[str, str]
    #: Name of the policy below /etc/selinux.
    policy: str
    #: Folders below tests/lab with our policy modules.
    modules: tuple[str, ...]
    #: Path in the image -> the type that it has when labelling was complete.
    labels: Mapping[str, str]
    #: Whether the image boots through GRUB; without it only User-Mode Linux starts it.
    boot_loader: bool
    releases: tuple[str, ...]
    #: Builder modules of this shape alone, whose text decides what the image holds.
    builders: tuple[str, ...] = ()
    #: Builds a tar of daemons that the packages lack, or finds it in the cache.
    daemons: Callable[[str], Path] | None = None
    #: Changes the unpacked packages, before the files are written: (root, tar of the daemons).
    reshape: Callable[[Path, Path], None] | None = None

    @property
    def prefix(self) -> str:
        """Beginning of the image's file name."""
        return "host" if self.shape is Shape.DEBIAN else f"host-{self.shape.value}"

    def policy_sources(self) -> dict[str, str]:
        """Our policy modules: file name -> CIL source."""
        return {
            entry.name: entry.read_text()
            for folder in self.modules
            for entry in sorted((resources.files("tests.lab") / folder).iterdir(), key=lambda each: each.name)
            if entry.name.endswith(".cil")
        }

    def content(self) -> list[str]:
        """Everything of the recipe that goes into the hash of the image, but for its packages."""
        tables = [repr(sorted(table.items())) for table in (self.files, self.appends, self.links)]
        sources = [(resources.files(__package__) / name).read_text() for name in self.builders]
        return [*sources, *(part for item in self.policy_sources().items() for part in item), *tables]
