# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The recipes of images, by the shape of hosts."""

from __future__ import annotations

from tests.lab.shape import Shape

from . import el, files, rootfs
from .recipe import Recipe

DEBIAN = Recipe(
    shape=Shape.DEBIAN,
    releases=rootfs.RELEASES,
    packages=rootfs.PACKAGES,
    files=files.HOST_FILES,
    appends=files.HOST_APPENDS,
    links=files.IMAGE_LINKS,
    policy="default",
    modules=("policy",),
    labels={
        "etc/shadow": "shadow_t",
        "usr/sbin/libvirtd": "virtd_exec_t",
        "srv/vms": "virt_image_t",
        "var/lib/libvirt/images": "virt_image_t",
    },
    boot_loader=True,
)

RECIPES = {recipe.shape: recipe for recipe in (DEBIAN, el.RECIPE)}
