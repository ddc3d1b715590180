# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The cached image of a host, keyed by everything that goes into it."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path

from . import rootfs
from .accel import Accel
from .cache import cache_dir, digest, obtain
from .disk import make_disk
from .errors import LabError
from .files import HOST_APPENDS, HOST_FILES, IMAGE_LINKS
from .shell import as_root, run, say

#: Modules whose text decides what the image holds.
_BUILDERS = ("rootfs.py", "files.py", "disk.py", "network.py")


def _base_name(release: str) -> str:
    return f"base-{release}-{digest([release, *rootfs.PACKAGES])}.tar"


def image_name(release: str) -> str:
    """File name of the image of a release; changes whenever an input does."""
    sources = [(resources.files(__package__) / name).read_text() for name in _BUILDERS]
    policy = [part for item in rootfs.policy_sources().items() for part in item]
    content = [repr(sorted(table.items())) for table in (HOST_FILES, HOST_APPENDS, IMAGE_LINKS)]
    return f"host-{release}-{digest([_base_name(release), *sources, *policy, *content])}.qcow2"


def build(release: str, accel: Accel, install: bool = False) -> Path:
    """The image of a release, built when the cache has none. Raises LabError with what is missing on this machine."""
    if release not in rootfs.RELEASES:
        raise LabError(f"no release {release!r}; there are {', '.join(rootfs.RELEASES)}")
    final = cache_dir() / image_name(release)
    if missing := rootfs.missing_packages():
        if not install:
            raise LabError(f"Debian packages are missing: apt-get install {' '.join(missing)} (or give --install)")
        rootfs.install_packages(missing)
    if final.exists():
        return final
    if os.geteuid() != 0:
        return _build_as_root(final, release, accel)
    base = obtain(_base_name(release), lambda target, scratch: rootfs.bootstrap(release, target))
    result = obtain(final.name, lambda target, scratch: _make(base, target, scratch, accel))
    say(f"image ready: {result}")
    return result


def _make(base: Path, target: Path, scratch: Path, accel: Accel) -> None:
    root = scratch / "root"
    rootfs.unpack(base, root)
    rootfs.configure(root)
    rootfs.label(root)
    make_disk(root, target, scratch, accel)


def _build_as_root(final: Path, release: str, accel: Accel) -> Path:
    """Only the build needs root (device nodes, owners, labels); everything else runs as the caller."""
    keep = "--preserve-env=HOME,XDG_CACHE_HOME,PYTHONPATH"
    argv = [sys.executable, "-m", "tests.lab", "image", "--release", release, "--accel", accel.value]
    run([as_root([])[0], keep, *argv])
    if not final.exists():
        raise LabError(
            f"{final}: the build as root left no image there; see whether sudo keeps HOME and XDG_CACHE_HOME"
        )
    return final
