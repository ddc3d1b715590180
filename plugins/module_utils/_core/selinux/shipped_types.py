# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of processes that the shipped policies have for guests and for libvirt, and those that confine nothing.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re

from .context import type_of

#: Types that policies give to guests. A policy's own list (contexts/virtual_domain_context) is added to these.
SHIPPED_GUEST_TYPES = ("svirt_t", "svirt_tcg_t")
#: Types that libvirt's daemons run in. A QEMU started without a label of its own stays in them.
DAEMON_TYPES = ("virtd_t", "virtqemud_t")
#: Types of containers: those of container-selinux, libvirt's for LXC, and those that udica makes, as older releases of
#: KubeVirt have one (virt_launcher.process).
_CONTAINER_TYPE = re.compile(
    r"(container_(?!runtime|auth|engine_exec)\w*_?t|svirt_(?:lxc|qemu|kvm)_net_t|\w+\.process)\Z"
)
#: Domains that Fedora and EL ship permissive: their policy is not finished yet.
SHIPPED_PERMISSIVE = frozenset(("virtqemud_t", "virtsecretd_t", "virtstoraged_t", "virtvboxd_t"))
#: Types beside those named unconfined…: the policy holds them back from next to nothing.
_OPEN_TYPES = frozenset((*DAEMON_TYPES, "init_t", "initrc_t", "kernel_t", "spc_t", "sysadm_t"))


def runs_open(type_: str) -> bool:
    """The policy holds a process of this type back from next to nothing."""
    return type_ in _OPEN_TYPES or type_.startswith("unconfined") or type_.endswith("_unconfined_t")


def is_container_type(type_: str | None) -> bool:
    """Container engines give this type to what runs in their containers, and confine it."""
    return type_ is not None and _CONTAINER_TYPE.match(type_) is not None


def open_type_of(label: str | None) -> str | None:
    """The label's type when it is one that confines nothing; works without levels too."""
    type_ = type_of(label) if label else None
    return type_ if type_ is not None and runs_open(type_) else None
