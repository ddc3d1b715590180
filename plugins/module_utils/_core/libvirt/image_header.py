# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the files below an image, from the first bytes of its header: backing file, its format, external data file.

Only an image whose format is declared is read, and only for that format: nothing is probed, as in libvirt. A backing
file without a declared format is named, and not read in turn.

Formats without files below them have no header to read; what is not understood is an error, never no file.

Sources: QEMU's docs/interop/qcow2.rst and qed_spec.rst, block/vmdk.c; libvirt's storage_source.c and
storage_file_probe.c.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import posixpath
import re
import struct
import typing as t
from dataclasses import dataclass

from ..errors import HostReadError

#: libvirt reads no more of an image (VIR_STORAGE_MAX_HEADER).
MAX_HEADER = 0x8200
#: QEMU's own bound on the name of a backing file.
MAX_NAME = 1023
#: Formats whose headers name other files.
FORMATS = ("qcow2", "qcow", "qed", "vmdk")
#: Formats of libvirt whose images are whole. An image without a declared format is raw.
WHOLE = frozenset(("raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "vhd", "ploop", "luks", "fat"))

_QCOW = b"QFI\xfb"
_QED = b"QED\0"
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE = 0x44415441
_HAS_DATA_FILE = 1 << 2
_QED_HAS_BACKING = 1
#: Where the description in a vmdk image begins, at which libvirt looks for its parent.
_VMDK_DESCRIPTION = 0x200
_VMDK_PARENT = re.compile(rb'parentFileNameHint="([^"\0]*)"')
#: A vmdk file that is text names its extents, which libvirt does not follow.
_VMDK_TEXT = re.compile(rb"\s*# Disk DescriptorFile", re.IGNORECASE)
#: Drivers of QEMU behind which a local file stands.
_LOCAL_DRIVERS = frozenset(("file", "host_device", "host_cdrom"))
#: Protocols by which QEMU reaches images over a network.
_PROTOCOLS = frozenset(
    "nbd nbd+tcp nbd+unix rbd iscsi iser http https ftp ftps tftp ssh nfs gluster gluster+tcp gluster+unix "
    "gluster+rdma sheepdog sheepdog+tcp sheepdog+unix vxhs".split()
)


@dataclass(frozen=True)
class ImageHeader:
    """Files that an image is built on, as its header spells them."""

    backing: str | None = None
    backing_format: str | None = None
    data_file: str | None = None


def parse_header(content: bytes, format_: str) -> ImageHeader:
    """Header of an image that is declared to have this format. Raises HostReadError for one that is damaged."""
    try:
        if format_ == "qed":
            return _qed(content)
        if format_ in ("qcow2", "qcow"):
            return _qcow(content, format_)
        if format_ == "vmdk":
            return _vmdk(content)
    except struct.error as error:
        raise HostReadError(f"the {format_} header is cut off", "image_header") from error
    return ImageHeader()


def _qcow(content: bytes, format_: str) -> ImageHeader:
    if not content.startswith(_QCOW):
        return ImageHeader()  # no QEMU opens it as what it is declared to be
    version = _number(content, 4)
    if (version == 1) != (format_ == "qcow") or version not in (1, 2, 3):
        return ImageHeader()
    offset, size = struct.unpack_from(">QI", content, 8)
    backing = _text(content, offset, size) if offset and size else None
    if version == 1:
        return ImageHeader(backing)
    start, features = 72, 0
    if version == 3:
        features, start = struct.unpack_from(">Q", content, 72)[0], _number(content, 100)
    extensions = _extensions(content, start, offset or min(len(content), 1 << min(_number(content, 20), 21)))
    data_file = extensions.get(_DATA_FILE) if features & _HAS_DATA_FILE else None
    return ImageHeader(backing, extensions.get(_BACKING_FORMAT), data_file)


def _extensions(content: bytes, start: int, end: int) -> dict[int, str]:
    """Header extensions by type; the first of a type counts."""
    extensions: dict[int, str] = {}
    while start + 8 <= min(end, len(content)):
        type_, size = struct.unpack_from(">II", content, start)
        if type_ == 0 or start + 8 + size > end:
            break
        if type_ in (_BACKING_FORMAT, _DATA_FILE):
            extensions.setdefault(type_, _text(content, start + 8, size))
        start += 8 + (size + 7) // 8 * 8
    return extensions


def _qed(content: bytes) -> ImageHeader:
    if not content.startswith(_QED):
        return ImageHeader()
    features = struct.unpack_from("<Q", content, 16)[0]
    offset, size = struct.unpack_from("<II", content, 56)
    return ImageHeader(_text(content, offset, size) if features & _QED_HAS_BACKING and size else None)


def _vmdk(content: bytes) -> ImageHeader:
    if _VMDK_TEXT.match(content):
        raise HostReadError("the vmdk file names its extents, which are not followed", "chain_not_followed")
    description = content[_VMDK_DESCRIPTION:].partition(b"\0")[0]
    parent = _VMDK_PARENT.search(description)
    return ImageHeader(_text(parent[1], 0, len(parent[1])) if parent and parent[1] else None)


def _number(content: bytes, offset: int) -> int:
    return int(struct.unpack_from(">I", content, offset)[0])


def _text(content: bytes, offset: int, size: int) -> str:
    text = content[offset : offset + size]
    if size > MAX_NAME or len(text) != size or b"\0" in text:
        raise HostReadError("the image's header names a file that cannot be read from it", "image_header")
    return text.decode("utf-8", "surrogateescape")


def may_name_others(format_: str | None) -> bool:
    """Whether images of a declared format may be built on others in a way that is not followed."""
    return not (format_ is None or format_ in FORMATS or format_ in WHOLE)


def local_path(name: str, image: str) -> str | None:
    """Path of the file that the header of ``image`` names; None where it is no local file (rbd:, nbd://, …).

    Raises HostReadError where it cannot be said.
    """
    if name.startswith("json:"):
        path = _json_path(name[5:])
        if path is None:
            return None
        name = path
    if not name:
        return None
    colon, slash = name.find(":"), name.find("/")
    if colon >= 0 and (slash < 0 or colon < slash):
        if name[:colon].lower() in _PROTOCOLS:
            return None
        raise _not_followed(name)
    return name if name.startswith("/") else posixpath.join(posixpath.dirname(image), name)


def _not_followed(name: str) -> HostReadError:
    return HostReadError(f"the image below it, {name[:80]!r}, is not followed", "chain_not_followed")


def _json_path(text: str) -> str | None:
    """Local file of a description of a block device in JSON, nested or with dotted keys; None: it is no local file."""
    try:
        node = json.loads(text)
    except (ValueError, RecursionError):
        raise _not_followed(text) from None
    for _depth in range(8):
        if not isinstance(node, dict) or node.get("backing"):
            break
        below = node.get("file")
        if isinstance(below, dict):
            node = below
            continue
        dotted = {key[5:]: value for key, value in node.items() if isinstance(key, str) and key.startswith("file.")}
        if not dotted:
            return _filename(node, text)
        node = dotted
    raise _not_followed(text)


def _filename(node: t.Mapping[str, t.Any], text: str) -> str | None:
    name = node.get("filename")
    driver = node.get("driver", "file")
    if not isinstance(driver, str):
        raise _not_followed(text)
    if isinstance(name, str) and name and driver in _LOCAL_DRIVERS:
        return name
    if driver not in _PROTOCOLS:
        raise _not_followed(text)
    return None
