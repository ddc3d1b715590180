# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host identity, boot entries, Xen.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import sys
import typing as t

from ..._core.errors import HostReadError
from ..._core.snapshot.model import BootEntry, Host
from ..._core.system import boot_entries as boot
from ..base.root import Root, reason

GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
GRUBENV = ("/boot/grub2/grubenv", "/boot/grub/grubenv")
BLS = ("/boot/loader/entries", "/efi/loader/entries", "/boot/efi/loader/entries")
_EFI = "/boot/efi/EFI"
_MAX_ENTRIES = 1000
_FLASK = re.compile(r"\b(Enforcing|Permissive|Disabled)\b")

RunCommand = t.Callable[[list[str]], tuple[int, str, str]]


def host(root: Root, booted_at: int | None) -> Host:
    """The host's names and versions."""
    release = _os_release(root)
    return Host(
        name=root.line("/proc/sys/kernel/hostname") or "",
        machine_id=root.line("/etc/machine-id") or None,
        os=release.get("PRETTY_NAME"),
        os_id=release.get("ID"),
        kernel=root.line("/proc/sys/kernel/osrelease"),
        booted_at=booted_at,
        root=root.privileged,
        python=".".join(str(number) for number in sys.version_info[:3]),
    )


def _os_release(root: Root) -> dict[str, str]:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            lines = root.read_text(path, 65536).split("\n")
        except (OSError, HostReadError):
            continue
        pairs = (line.partition("=") for line in lines if "=" in line)
        return {name: value.strip().strip("\"'")[:200] for name, _equals, value in pairs}
    return {}


def boot_entries(root: Root) -> tuple[list[BootEntry], list[str]]:
    """Every boot entry of GRUB and of the Boot Loader Specification, and what could not be read."""
    entries: list[BootEntry] = []
    problems: list[str] = []
    variables: dict[str, str] = {}
    for path in GRUBENV:
        text = read_or_none(root, path, problems)
        variables.update(boot.parse_grubenv(text) if text else {})
    for path in (*GRUB, *efi_configs(root, problems)):
        text = read_or_none(root, path, problems)
        entries += boot.parse_grub_cfg(text, path) if text else []
    for folder in BLS:
        for path in listed(root, folder, ".conf", problems):
            text = read_or_none(root, path, problems)
            entry = boot.parse_bls(text, path, variables) if text else None
            entries += [entry] if entry else []
    if len(entries) > _MAX_ENTRIES:
        problems.append(f"only {_MAX_ENTRIES} of {len(entries)} boot entries are kept")
    if not entries and not problems:
        problems.append("no GRUB configuration and no boot loader entries were found")
    return entries[:_MAX_ENTRIES], problems


def efi_configs(root: Root, problems: list[str]) -> list[str]:
    """GRUB's configuration files on the EFI partition; most only point at the one under /boot."""
    folders = listed(root, _EFI, "", problems)
    return [path for path in (f"{folder}/grub.cfg" for folder in folders) if root.exists(path)]


def listed(root: Root, folder: str, ending: str, problems: list[str]) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in root.names(folder) if name.endswith(ending)]
    except OSError as error:
        problems.append(reason(error))
        return []


def read_or_none(root: Root, path: str, problems: list[str]) -> str | None:
    try:
        return root.read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, HostReadError) as error:
        problems.append(reason(error))
        return None


def is_xen_host(root: Root) -> bool:
    """Whether this system controls a Xen host, rather than runs as a guest on one."""
    capabilities = root.line("/proc/xen/capabilities") or ""
    return root.line("/sys/hypervisor/type") == "xen" and "control_d" in capabilities


def flask(run_command: RunCommand) -> t.Iterator[tuple[str | None, str]]:
    """Whether Xen's own mandatory access control is on, and why that is not known. For a child: xl may hang."""
    status, out, err = run_command(["xl", "getenforce"])
    match = _FLASK.search(out)
    if match is None:
        yield None, f"xl getenforce: exit status {status}, {(err or out).strip()[:200]!r}"
    else:
        yield match.group(1).lower(), ""
