# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of types in the shipped policies: hints, where the loaded policy was not asked or has no answer.

A policy may give its types any name. What a type is on a host is in facts/process_types.py, by the policy's answers and
its contexts files.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

#: Types that policies give to guests. A policy's own list (contexts/virtual_domain_context) is added to these.
SHIPPED_GUEST_TYPES = ("svirt_t", "svirt_tcg_t")
#: Types of guests' files: read-write, and content. A policy's own are in contexts/virtual_image_context.
SHIPPED_IMAGE_TYPES = ("svirt_image_t", "virt_content_t")
#: Types that libvirt's daemons run in. A QEMU started without a label of its own stays in them.
SHIPPED_DAEMON_TYPES = ("virtd_t", "virtqemud_t")
#: The type of containers' files. A policy's own is in contexts/lxc_contexts.
SHIPPED_CONTAINER_FILE = "container_file_t"
#: Types of containers: those of container-selinux, libvirt's for LXC, and those that udica makes, as older releases of
#: KubeVirt have one (virt_launcher.process).
_CONTAINER_TYPE = re.compile(
    r"(container_(?!runtime|auth|engine_exec)\w*_?t|svirt_(?:lxc|qemu|kvm)_net_t|\w+\.process)\Z"
)
#: Domains that Fedora and EL ship permissive: their policy is not finished yet.
SHIPPED_PERMISSIVE = frozenset(("virtqemud_t", "virtsecretd_t", "virtstoraged_t", "virtvboxd_t"))
#: Types beside those named unconfined…: the policy holds them back from next to nothing.
_OPEN_TYPES = frozenset((*SHIPPED_DAEMON_TYPES, "init_t", "initrc_t", "kernel_t", "spc_t", "sysadm_t"))


def named_open(type_: str) -> bool:
    """The shipped policies hold a process of this type back from next to nothing."""
    return type_ in _OPEN_TYPES or type_.startswith("unconfined") or type_.endswith("_unconfined_t")


def is_container_type(type_: str | None, listed: t.Container[str] = ()) -> bool:
    """Container engines give this type to what runs in their containers, and confine it.

    ``listed`` are the policy's own, of contexts/lxc_contexts.
    """
    return type_ is not None and (type_ in listed or _CONTAINER_TYPE.match(type_) is not None)
