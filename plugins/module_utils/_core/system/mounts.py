# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mount tables and NFS export tables to typed data.

Formats: proc(5) for /proc/PID/mountinfo, fstab(5) for /proc/PID/mounts, exports(5) for /etc/exports and
/var/lib/nfs/etab.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import dataclass

from ..paths import below

#: File systems that are reached over a network or are clustered: libvirt's own list, and more that behave alike.
REMOTE_TYPES = frozenset(
    (
        "nfs",
        "nfs4",
        "gfs2",
        "ocfs2",
        "afs",
        "cifs",
        "smb3",
        "smbfs",
        "ceph",
        "gpfs",
        "acfs",
        "beegfs",
        "lustre",
        "9p",
        "virtiofs",
        "fuse.glusterfs",
        "fuse.quobyte",
        "fuse.ceph",
        "fuse.sshfs",
    )
)

#: File systems of one host. A type that is in neither list may be shared with other hosts.
LOCAL_TYPES = frozenset(
    """
    autofs bcachefs btrfs erofs exfat ext2 ext3 ext4 f2fs fuseblk hfsplus hugetlbfs iso9660 jfs minix msdos nilfs2 ntfs
    ntfs3 overlay ramfs reiserfs rootfs squashfs tmpfs ubifs udf vfat xfs zfs devtmpfs proc sysfs cgroup cgroup2
    securityfs selinuxfs debugfs tracefs configfs pstore bpf mqueue devpts efivarfs binfmt_misc nsfs rpc_pipefs nfsd
    """.split()
)

_OCTAL = re.compile(r"\\([0-3][0-7]{2})")
_CLIENT = re.compile(r"(?P<client>[^()\s]*)\((?P<options>[^()]*)\)\Z")
#: One option of a mount: a value in quotes may hold commas, as a context with categories does.
_OPTION = re.compile(r'[^,="]+(?:=(?:"[^"]*"|[^,]*))?')


@dataclass(frozen=True)
class Mount:
    """One mounted file system."""

    mount: str
    type: str
    source: str
    options: tuple[str, ...]
    #: MAJOR:MINOR; only mountinfo has it.
    device: str | None = None
    #: Folder of the file system that is mounted; only mountinfo has it.
    root: str = "/"

    @property
    def labelled(self) -> bool:
        """Files here carry labels of their own."""
        return "seclabel" in self.options and self.context is None

    @property
    def context(self) -> str | None:
        """The one label that a context= option gives to every file here."""
        for option in self.options:
            name, _equals, value = option.partition("=")
            if name == "context":
                return value.strip('"')
        return None

    @property
    def is_bound(self) -> bool:
        """A folder of a file system that is mounted elsewhere as a whole; NFS says so in its source."""
        return self.root not in ("", "/") and self.type not in ("nfs", "nfs4")

    @property
    def remote(self) -> bool:
        """Reached over a network, or clustered."""
        return self.type in REMOTE_TYPES

    @property
    def may_be_remote(self) -> bool:
        """Remote, or of a type that may be."""
        return self.type not in LOCAL_TYPES


@dataclass(frozen=True)
class Export:
    """One folder exported by NFS to one client."""

    path: str
    client: str
    options: tuple[str, ...]

    @property
    def labelled(self) -> bool:
        """Clients see and set the files' labels."""
        return "security_label" in self.options


def parse_mountinfo(text: str) -> list[Mount]:
    """Entries of /proc/PID/mountinfo in its order; lines that do not fit are passed over."""
    found = []
    for line in text.split("\n"):
        left, dash, right = line.partition(" - ")
        fields, last = left.split(" "), right.split(" ")
        if not dash or len(fields) < 6 or len(last) < 3:
            continue
        options = _options(fields[5]) + _options(" ".join(last[2:]))
        found.append(Mount(unescape(fields[4]), last[0], unescape(last[1]), options, fields[2], unescape(fields[3])))
    return found


def parse_mounts(text: str) -> list[Mount]:
    """Entries of /proc/PID/mounts in its order; lines that do not fit are passed over."""
    lines = (line.split(" ") for line in text.split("\n"))
    return [
        Mount(unescape(fields[1]), fields[2], unescape(fields[0]), _options(fields[3]))
        for fields in lines
        if len(fields) >= 4
    ]


def mount_of(path: str, mounts: t.Sequence[Mount]) -> Mount | None:
    """The mount that a path (absolute, links resolved) lies under; of two on one point the later one."""
    best: Mount | None = None
    for mount in mounts:
        if _under(path, mount.mount) and (best is None or len(mount.mount) >= len(best.mount)):
            best = mount
    return best


def exports_under(mount: str, exports: t.Iterable[Export]) -> list[Export]:
    """Exports of folders under a mount point."""
    return [export for export in exports if _under(export.path, mount)]


def parse_exports(text: str) -> list[Export]:
    """Entries of exports(5) or etab, one for each folder and client; what does not fit is passed over."""
    found: list[Export] = []
    for line in _logical_lines(text):
        path, words = _exported_path(line)
        defaults: tuple[str, ...] = ()
        for word in words:
            if word.startswith("-"):
                defaults = tuple(word[1:].split(","))
                continue
            match = _CLIENT.match(word)
            client, own = (match["client"], tuple(match["options"].split(","))) if match else (word, ())
            found.append(Export(path, client, tuple(option for option in (*defaults, *own) if option)))
        if path and not words:
            found.append(Export(path, "", ()))
    return found


def remote_source(mount: Mount) -> str:
    """The source of a remote mount, with its servers and its folder in one form; empty where it names no server."""
    if not mount.remote or mount.source.startswith("//"):
        return ""
    if mount.type == "ceph" and "=" in mount.source.partition("/")[0]:  # user@fsid.name=/folder
        return posixpath.normpath(mount.source + mount.root) if mount.is_bound else mount.source
    server, colon, path = mount.source.partition(":/")
    if not colon and mount.type == "fuse.glusterfs":
        server, colon, path = mount.source.partition(":")
    path = f"{path}/{mount.root}" if mount.is_bound else path
    return f"{unbracketed(server).lower()}{_service(mount)}:{posixpath.normpath('/' + path)}" if colon else ""


def _service(mount: Mount) -> str:
    """Which of the services of one address it is, as the options say; empty for the usual one."""
    options = dict(option.partition("=")[::2] for option in mount.options)
    if mount.type == "ceph":  # before Linux 5.17 the file system of a cluster was an option
        name = options.get("fs") or options.get("mds_namespace")
        return f" (fs {name})" if name else ""
    port = options.get("port", "0") if mount.type in ("nfs", "nfs4") else "0"
    return f" (port {port})" if port not in ("0", "2049") else ""


def unbracketed(server: str) -> str:
    """A server's address without the brackets around it as a whole."""
    bare = server[1:-1] if server.startswith("[") and server.endswith("]") else server
    return server if "[" in bare else bare


def share_source(mount: Mount) -> str:
    """The source of a mount of SMB, with the folder that is mounted, in one form; empty for any other."""
    if not mount.source.startswith("//"):
        return ""
    source = mount.source.lower().rstrip("/")
    if not mount.is_bound:
        return source
    server, share, folder = (*source[2:].split("/", 2), "", "")[:3]
    root = mount.root.lower().strip("/")
    # The root of the file system is the share or, where its top may not be seen, the folder of the source.
    inside = root if below(f"/{root}", f"/{folder}") else f"{folder}/{root}"
    return f"//{server}/{share}/{inside}".rstrip("/")


def unescape(text: str) -> str:
    r"""Undo the kernel's octal escapes: \040 is a space."""
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)


def _options(text: str) -> tuple[str, ...]:
    return tuple(_OPTION.findall(unescape(text)))


def _under(path: str, folder: str) -> bool:
    return folder == "/" or below(path, folder)


def _logical_lines(text: str) -> t.Iterator[str]:
    """Lines joined at a closing backslash, without comments and empty lines."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        kept = _without_comment(line).strip()
        if kept:
            yield kept


def _without_comment(line: str) -> str:
    quoted = False
    for index, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == "#" and not quoted:
            return line[:index]
    return line


def _exported_path(line: str) -> tuple[str, list[str]]:
    """The folder, which may be in double quotes, and the words after it."""
    if line.startswith('"'):
        path, _quote, rest = line[1:].partition('"')
    else:
        path, rest = [*line.split(None, 1), ""][:2]
    return unescape(path), rest.split()
