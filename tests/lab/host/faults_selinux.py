# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of SELinux itself: now, at the next boot, in the policy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from . import selinuxfs, shape
from .journal import Journal
from .registry import fault

_CONFIG = Path("/etc/selinux/config")
_WEAK_POLICY = Path("/usr/share/svirt-lab/policy.permissive-svirt")
_GUEST_STORAGE = "/var/lib/libvirt/images", "/var/lib/libvirt/isos", "/srv"

#: What opens a door to every guest, beside virt_use_nfs. All are off in the distribution's policy.
_DOORS = ("virt_use_fusefs", "virt_use_samba", "virt_use_xserver")


@fault("selinux-permissive", "SELinux is permissive now", "{host}", expects=(("SEL-002", "host"),), alone=True)
def _permissive(journal: Journal, host: str) -> None:
    journal.add("enforcing", on=selinuxfs.enforcing())
    selinuxfs.set_enforcing(False)


def _edited(place: Callable[[], Path], edit: Callable[[str], str]) -> Callable[[Journal, str], None]:
    def inject(journal: Journal, host: str) -> None:
        path = place()
        before = path.read_text()
        after = edit(before)
        if after == before:
            raise RuntimeError(f"{path}: nothing to change in it")
        journal.file(path)
        path.write_text(after)

    return inject


def _config(mode: str) -> Callable[[str], str]:
    return lambda text: re.sub(r"(?m)^SELINUX=.*$", f"SELINUX={mode}", text)


def _last_entry(old: str, new: str) -> Callable[[str], str]:
    """Change the last boot entry only, not the one that starts by default. Where its arguments come from a variable,
    new is added to them."""

    def edit(text: str) -> str:
        line = list(re.finditer(r"(?m)^(?:\s+linux|options)\s.*$", text))[-1]
        said = line.group()
        return (
            text[: line.start()] + (said.replace(old, new, 1) if old in said else f"{said} {new}") + text[line.end() :]
        )

    return edit


for _name, _about, _place, _edit, _rule in (
    (
        "selinux-permissive-next-boot",
        "SELinux will be permissive after the next boot, by its configuration",
        lambda: _CONFIG,
        _config("permissive"),
        "SEL-003",
    ),
    (
        "selinux-disabled-next-boot",
        "SELinux will be off after the next boot, by its configuration",
        lambda: _CONFIG,
        _config("disabled"),
        "SEL-003",
    ),
    (
        "boot-entry-enforcing-0",
        "one boot entry says enforcing=0",
        lambda: shape.here().last_entry(),
        _last_entry("security=selinux", "security=selinux enforcing=0"),
        "SEL-004",
    ),
    (
        "boot-entry-selinux-0",
        "one boot entry says selinux=0",
        lambda: shape.here().last_entry(),
        _last_entry("security=selinux", "security=selinux selinux=0"),
        "SEL-004",
    ),
    (
        "boot-entry-other-module",
        "one boot entry chooses another security module",
        lambda: shape.here().last_entry(),
        _last_entry("security=selinux", "security=apparmor"),
        "SEL-004",
    ),
    (
        "guest-type-unconstrained",
        "the policy's contexts file gives guests a type that categories do not bind; the daemon has not read it yet",
        lambda: shape.here().contexts / "virtual_domain_context",
        lambda text: text.replace("svirt_t", "unconfined_t"),
        "SEL-007",
    ),
):
    _subject = "type unconfined_t" if _rule == "SEL-007" else "host"
    fault(_name, _about, "{host}", expects=((_rule, _subject),))(_edited(_place, _edit))


@fault(
    "selinux-disabled",
    "SELinux is off since boot, by its configuration; guests do not start there",
    "{host}",
    reboot=True,
    expects=(("SEL-001", "host"),),
    alone=True,
)
def _disabled(journal: Journal, host: str) -> None:
    # Files created meanwhile have no label. The guests' storage keeps its labels.
    skip = [word for path in ("/proc", "/sys", "/dev", "/run", *_GUEST_STORAGE) for word in ("-e", path)]
    contexts = str(shape.here().contexts / "files/file_contexts")
    journal.add("run", argv=["setfiles", "-F", *skip, contexts, "/"])
    _edited(lambda: _CONFIG, _config("disabled"))(journal, host)


@fault(
    "selinux-permissive-domain",
    "the domain of all guests is permissive in the loaded policy",
    "svirt_t",
    expects=(("SEL-006", "type svirt_t"),),
    alone=True,
)
def _permissive_domain(journal: Journal, host: str) -> None:
    journal.add("policy")
    selinuxfs.load_policy(_WEAK_POLICY)


def _booleans(fault_name: str, about: str, *names: str) -> None:
    expects = tuple(("SEL-008", f"boolean {name}") for name in names)

    @fault(fault_name, about, ", ".join(names), expects=expects)
    def inject(journal: Journal, host: str) -> None:
        for name in names:
            journal.add("boolean", name=name, on=selinuxfs.boolean(name))
            selinuxfs.set_boolean(name, True)


_booleans("boolean-virt-use-nfs", "guests may use all unlabelled NFS storage, until the next boot", "virt_use_nfs")
_booleans("booleans-open", "booleans that open other storage and the X server are on, until the next boot", *_DOORS)
