# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Everything a captured host needs, small, as a tar on standard output."""

from __future__ import annotations

import base64
import glob
import io
import json
import os
import stat
import sys
import tarfile
from typing import Any

_FILES = (
    "/proc/mounts",
    "/proc/cmdline",
    "/proc/stat",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/osrelease",
    "/proc/filesystems",
    *(f"/sys/fs/selinux/{name}" for name in ("enforce", "mls", "policyvers", "deny_unknown", "reject_unknown")),
    "/sys/kernel/security/lsm",
    "/etc/selinux/config",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub2/grubenv",
    "/etc/kernel/cmdline",
    "/etc/exports",
    "/etc/fstab",
    "/var/lib/nfs/etab",
    "/etc/os-release",
    "/etc/hostname",
    "/etc/machine-id",
)
_GLOBS = (
    "/sys/fs/selinux/booleans/*",
    "/sys/fs/selinux/class/*/index",
    "/sys/fs/selinux/class/*/perms/*",
    "/etc/selinux/*/contexts/virtual_*_context",
    "/etc/selinux/*/contexts/lxc_contexts",
    "/etc/selinux/*/contexts/customizable_types",
    "/etc/selinux/*/contexts/files/file_contexts.local",
    "/etc/libvirt/**",
    "/run/libvirt/qemu/*.xml",
    "/run/libvirt/qemu/*.pid",
    "/run/*libvirt*.pid",
    "/run/virt*.pid",
    "/etc/default/grub.d/*",
    "/etc/default/libvirtd",
    "/boot/loader/entries/*",
    "/boot/grub/grubenv",
    "/etc/exports.d/*",
    "/etc/systemd/system/libvirtd.service.d/*",
    "/etc/systemd/system/virtqemud.service.d/*",
    "/lib/systemd/system/libvirtd.service",
    "/lib/systemd/system/virtqemud.*",
)
_CLASSES = ("file", "process", "dir", "chr_file", "blk_file", "lnk_file", "fd", "unix_stream_socket")
_PROCESS_FILES = ("cmdline", "attr/current", "status", "stat", "cgroup", "mountinfo", "comm")
_HELPERS = ("qemu", "libvirtd", "virt", "swtpm", "passt", "dnsmasq", "dbus-daemon")
_STORAGE = ("/var/lib/libvirt", "/srv")
_LIMIT = 1 << 20  # bytes of one file


class Capture:
    """The tar and the manifest that grow together."""

    def __init__(self, out: Any) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|gz")  # noqa: SIM115 - open as long as the capture, see close()
        self.manifest: dict[str, dict[str, Any]] = {}

    def put(self, path: str, data: bytes) -> None:
        info = tarfile.TarInfo(path.lstrip("/"))
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))

    def note(self, path: str) -> None:
        """Write down what a file is, without its content."""
        try:
            self.manifest[path] = _describe(path)
        except OSError as error:
            self.manifest[path] = {"error": error.strerror}

    def take(self, path: str) -> None:
        """Copy one file, link or folder."""
        if path in self.manifest or not os.path.lexists(path):
            return
        self.note(path)
        if not os.path.isfile(path) or os.path.islink(path):
            return
        try:
            with open(path, "rb") as handle:
                self.put(path, handle.read(_LIMIT))
        except OSError as error:
            self.manifest[path]["unreadable"] = error.strerror

    def close(self) -> None:
        self._tar.close()


def _describe(path: str) -> dict[str, Any]:
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    entry: dict[str, Any] = {
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mode": f"{stat.S_IMODE(info.st_mode):04o}",
        "ino": info.st_ino,
        "dev": f"{os.major(info.st_dev)}:{os.minor(info.st_dev)}",
        "type": _TYPES.get(kind, "other"),
        "size": info.st_size,
        "nlink": info.st_nlink,
        "mtime_ns": info.st_mtime_ns,
        "xattrs": _xattrs(path),
    }
    if kind == stat.S_IFLNK:
        entry["target"] = os.readlink(path)
    if kind in (stat.S_IFBLK, stat.S_IFCHR):
        entry["rdev"] = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    return entry


_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFBLK: "block",
    stat.S_IFCHR: "character",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
}


def _xattrs(path: str) -> dict[str, str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: base64.b64encode(os.getxattr(path, name, follow_symlinks=False)).decode() for name in names}
    except OSError:
        return {}


def _processes(capture: Capture) -> None:
    for entry in filter(str.isdigit, os.listdir("/proc")):
        folder = f"/proc/{entry}"
        try:
            exe = os.readlink(f"{folder}/exe")
        except OSError:
            continue
        if not os.path.basename(exe).startswith(_HELPERS):
            continue
        capture.manifest[f"{folder}/exe"] = {"type": "link", "target": exe}
        for name in _PROCESS_FILES:
            capture.take(f"{folder}/{name}")
        for disk in glob.glob(f"{folder}/root/dev/*"):
            if os.path.basename(exe).startswith("qemu") and stat.S_ISBLK(os.lstat(disk).st_mode):
                capture.note(disk)


def _storage(capture: Capture) -> None:
    for top in _STORAGE:
        capture.note(top)
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                capture.note(os.path.join(folder, name))
    with open("/proc/mounts") as mounts:
        for line in mounts:
            capture.note(line.split()[1].encode().decode("unicode_escape"))


def _libvirt() -> dict[str, Any]:
    """What a read-only connection says. An error takes the place of what it hides."""
    try:
        import libvirt

        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        connection = libvirt.openReadOnly("qemu:///system")
    except Exception as error:  # a host without libvirt is worth a capture too
        return {"error": str(error)}
    return {
        "version": connection.getLibVersion(),
        "security_model": connection.getSecurityModel(),
        "capabilities": connection.getCapabilities(),
        "domains": [_domain(domain) for domain in sorted(connection.listAllDomains(), key=lambda d: str(d.name()))],
    }


def _domain(domain: Any) -> dict[str, Any]:
    inactive = 2  # VIR_DOMAIN_XML_INACTIVE
    active = bool(domain.isActive())
    return {
        "name": domain.name(),
        "uuid": domain.UUIDString(),
        "id": domain.ID(),
        "state": domain.state(),
        "persistent": bool(domain.isPersistent()),
        "live_xml": domain.XMLDesc(0) if active else None,
        "inactive_xml": domain.XMLDesc(inactive) if domain.isPersistent() else None,
        "security_label": _security_label(domain) if active else [],
    }


def _security_label(domain: Any) -> object:
    """Labels by the daemon's own reading. Debian's policy does not let it read that of an unconfined guest."""
    import libvirt

    try:
        return domain.securityLabelList()
    except libvirt.libvirtError as error:
        return {"error": str(error)}


def capture() -> None:
    """Write the tar to standard output."""
    out = Capture(sys.stdout.buffer)
    paths = list(_FILES)
    for pattern in _GLOBS:
        found = sorted(glob.glob(pattern, recursive=True))
        paths += [p for p in found if "/class/" not in p or p.split("/")[5] in _CLASSES]
    for path in paths:
        out.take(path)
    _processes(out)
    _storage(out)
    out.put("libvirt.json", json.dumps(_libvirt(), indent=1, sort_keys=True).encode())
    out.put("manifest.json", json.dumps(out.manifest, indent=1, sort_keys=True).encode())
    out.close()
