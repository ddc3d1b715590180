# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What hosts are started from, taken from the cache or built: each part is keyed by everything that goes into it."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

from tests.lab import packages
from tests.lab.cache import cache_dir, digest, obtain
from tests.lab.errors import LabError
from tests.lab.machine.accel import Accel
from tests.lab.machine.ground import Ground
from tests.lab.shape import Shape
from tests.lab.shell import as_root, run, say

from . import kernel, rootfs, uml_disk
from .disk import make_disk
from .recipe import Recipe
from .shapes import RECIPES

#: Modules of all shapes whose text decides what the image holds.
_BUILDERS = ("rootfs.py", "files.py", "disk.py")


def _base_name(release: str, recipe: Recipe) -> str:
    return f"base-{release}-{digest([release, *recipe.packages])}.tar"


def image_name(release: str, recipe: Recipe) -> str:
    """File name of the image of a release; changes whenever an input does."""
    sources = [(resources.files(__package__) / name).read_text() for name in _BUILDERS]
    inputs = [_base_name(release, recipe), *sources, *recipe.content()]
    return f"{recipe.prefix}-{release}-{digest(inputs)}.qcow2"


def ground(
    release: str, accel: Accel, *, shape: Shape = Shape.DEBIAN, install: bool = False, fall_back: bool = False
) -> Ground:
    """What hosts of a release need, made where the cache has it not. Raises LabError with what is missing here.

    fall_back: hosts are emulated when the kernel of User-Mode Linux cannot be had here.
    """
    if release not in rootfs.RELEASES:
        raise LabError(f"no release {release!r}; there are {', '.join(rootfs.RELEASES)}")
    recipe = RECIPES[shape]
    if release not in recipe.releases:
        raise LabError(f"shape {shape.value} exists of {', '.join(recipe.releases)} only, not of {release}")
    if accel is not Accel.UML and not recipe.boot_loader:
        raise LabError(f"hosts of shape {shape.value} have no boot loader, so only --accel uml starts them")
    packages.require(rootfs.MACHINE_PACKAGES, install)
    if accel is not Accel.UML:
        return Ground(accel, _image(release, recipe, accel))
    try:
        return _uml_ground(release, recipe, install)
    except _KernelError as error:
        if not fall_back or not recipe.boot_loader:
            raise
        say(f"User-Mode Linux cannot be used here, so hosts are emulated, several times slower: {error}")
        return Ground(Accel.TCG, _image(release, recipe, Accel.TCG))


class _KernelError(LabError):
    """There is an image, and no kernel of ours that boots it."""


def _uml_ground(release: str, recipe: Recipe, install: bool) -> Ground:
    """The image, and beside it the kernel: one waits for the network, the other uses the processors."""
    if kernel.cached() is None:
        packages.require(kernel.MACHINE_PACKAGES, install)
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(kernel.build)
        image = _image(release, recipe, Accel.TCG)
        try:
            folder = made.result()
            return Ground(Accel.UML, uml_disk.build(image, folder), folder / kernel.KERNEL)
        except LabError as error:
            raise _KernelError(str(error)) from error


def _image(release: str, recipe: Recipe, accel: Accel) -> Path:
    final = cache_dir() / image_name(release, recipe)
    if final.exists():
        return final
    if os.geteuid() != 0:
        return _image_as_root(final, release, recipe, accel)
    name = _base_name(release, recipe)
    base = obtain(name, lambda target, scratch: rootfs.bootstrap(release, recipe.packages, target))
    daemons = recipe.daemons(release) if recipe.daemons else None
    result = obtain(final.name, lambda target, scratch: _make(base, daemons, recipe, target, scratch, accel))
    say(f"image ready: {result}")
    return result


def _make(base: Path, daemons: Path | None, recipe: Recipe, target: Path, scratch: Path, accel: Accel) -> None:
    root = scratch / "root"
    rootfs.unpack(base, root)
    if recipe.reshape and daemons:
        recipe.reshape(root, daemons)
    rootfs.configure(root, recipe)
    rootfs.label(root, recipe)
    make_disk(root, target, scratch, accel, boot_loader=recipe.boot_loader)


def _image_as_root(final: Path, release: str, recipe: Recipe, accel: Accel) -> Path:
    """Only the image needs root (device nodes, owners, labels); everything else runs as the caller."""
    keep = "--preserve-env=HOME,XDG_CACHE_HOME,PYTHONPATH"
    argv = [sys.executable, "-m", "tests.lab", "image", "--release", release]
    # Without a boot loader no other way is offered, and the kernel is in the cache, or made by the caller beside this.
    argv += ["--shape", recipe.shape.value, "--accel", accel.value if recipe.boot_loader else Accel.UML.value]
    run([as_root([])[0], keep, *argv])
    if not final.exists():
        raise LabError(
            f"{final}: the build as root left no image there; see whether sudo keeps HOME and XDG_CACHE_HOME"
        )
    return final
