# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What hosts are started from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError

from .accel import Accel


@dataclass(frozen=True)
class Ground:
    """How hosts run, the disk that they are copies of (qcow2; raw for User-Mode Linux), and that kernel."""

    accel: Accel
    disk: Path
    uml_kernel: Path | None = None

    @property
    def kernel(self) -> Path:
        """The User-Mode Linux kernel. Raises LabError on a ground that has none."""
        if self.uml_kernel is None:
            raise LabError(f"there is no kernel for a host under {self.accel.value}")
        return self.uml_kernel
