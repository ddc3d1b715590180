# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Faults of SELinux itself: now, at the next boot, in the policy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from . import selinuxfs
from .journal import Journal
from .registry import fault

_CONFIG, _GRUB_CFG, _GRUB_DEFAULT = Path("/etc/selinux/config"), Path("/boot/grub/grub.cfg"), Path("/etc/default/grub")
_WEAK_POLICY = Path("/usr/share/svirt-lab/policy.permissive-svirt")
_GUEST_STORAGE = "/var/lib/libvirt/images", "/var/lib/libvirt/isos", "/srv"

#: Booleans that open something to every guest, all off by default in the distribution's policy.
BOOLEANS = (
    "virt_use_nfs",
    "virt_use_samba",
    "virt_use_fusefs",
    "virt_use_comm",
    "virt_use_vfio",
    "virt_use_sysfs",
    "virt_use_evdev",
    "virt_use_xserver",
)


@fault("selinux-permissive", "SELinux is permissive now", "{host}")
def _permissive(journal: Journal, host: str) -> None:
    journal.add("enforcing", on=selinuxfs.enforcing())
    selinuxfs.set_enforcing(False)


def _edited(path: Path, edit: Callable[[str], str]) -> Callable[[Journal, str], None]:
    def inject(journal: Journal, host: str) -> None:
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
    """Change the last boot entry only, the one for recovery: not the one that starts by default."""

    def edit(text: str) -> str:
        start = [found.start() for found in re.finditer(r"(?m)^\s+linux\s.*$", text)][-1]
        return text[:start] + text[start:].replace(old, new, 1)

    return edit


for _name, _about, _path, _edit in (
    (
        "selinux-permissive-next-boot",
        "SELinux will be permissive after the next boot, by its configuration",
        _CONFIG,
        _config("permissive"),
    ),
    (
        "selinux-disabled-next-boot",
        "SELinux will be off after the next boot, by its configuration",
        _CONFIG,
        _config("disabled"),
    ),
    (
        "boot-entry-enforcing-0",
        "one boot entry says enforcing=0",
        _GRUB_CFG,
        _last_entry("security=selinux", "security=selinux enforcing=0"),
    ),
    (
        "boot-entry-selinux-0",
        "one boot entry says selinux=0",
        _GRUB_CFG,
        _last_entry("security=selinux", "security=selinux selinux=0"),
    ),
    (
        "boot-entry-other-module",
        "one boot entry chooses another security module",
        _GRUB_CFG,
        _last_entry("security=selinux", "security=apparmor"),
    ),
    (
        "grub-default-weakened",
        "the next update-grub will write enforcing=0 into every boot entry",
        _GRUB_DEFAULT,
        lambda text: text.replace("security=selinux", "security=selinux enforcing=0"),
    ),
):
    fault(_name, _about, "{host}")(_edited(_path, _edit))


@fault(
    "selinux-disabled",
    "SELinux is off since boot, by its configuration; guests do not start there",
    "{host}",
    reboot=True,
)
def _disabled(journal: Journal, host: str) -> None:
    # Files made meanwhile have no label. The guests' storage keeps what it has.
    skip = [word for path in ("/proc", "/sys", "/dev", "/run", *_GUEST_STORAGE) for word in ("-e", path)]
    contexts = "/etc/selinux/default/contexts/files/file_contexts"
    journal.add("run", argv=["setfiles", "-F", *skip, contexts, "/"])
    _edited(_CONFIG, _config("disabled"))(journal, host)


@fault("selinux-permissive-domain", "the domain of all guests is permissive in the loaded policy", "svirt_t")
def _permissive_domain(journal: Journal, host: str) -> None:
    journal.add("policy")
    selinuxfs.load_policy(_WEAK_POLICY)


def _boolean(name: str) -> None:
    @fault(f"boolean-{name.replace('_', '-')}", f"the boolean {name} is on, until the next boot", name)
    def inject(journal: Journal, host: str) -> None:
        journal.add("boolean", name=name, on=selinuxfs.boolean(name))
        selinuxfs.set_boolean(name, True)


for _name in BOOLEANS:
    _boolean(_name)
