# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Debian packages that this machine needs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from .errors import LabError
from .shell import as_root, run, step

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(wanted: Mapping[str, str]) -> list[str]:
    """Names of packages that are not here. wanted: package -> a command or the path of a file that it brings."""
    return [name for name, brings in wanted.items() if not _there(brings)]


def require(wanted: Mapping[str, str], install: bool) -> None:
    """See that the packages are here. Raises LabError that names the missing ones, unless they may be installed."""
    names = missing(wanted)
    if not names:
        return
    if not install:
        raise LabError(f"Debian packages are missing: apt-get install {' '.join(names)} (or give --install)")
    with step(f"installing {' '.join(names)}"):
        run(as_root(["apt-get", "update"]))
        env = ["env", "DEBIAN_FRONTEND=noninteractive"]
        run(as_root([*env, "apt-get", "install", "-y", "--no-install-recommends", *names]))


def _there(brings: str) -> bool:
    return Path(brings).exists() if brings.startswith("/") else shutil.which(brings, path=_PATH) is not None
