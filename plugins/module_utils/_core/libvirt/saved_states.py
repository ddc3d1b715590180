# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Earlier states of a guest, as libvirt keeps them: the files that a snapshot names, and the XML in a managed save.

The next start of a guest with a managed save resumes that by the XML in it, whatever the definition says by now.

Sources: libvirt's snapshot XML (formatsnapshot), as it lies under /var/lib/libvirt/qemu/snapshot; qemu_saveimage.h: a
header of 92 bytes in the byte order of the host that wrote it, then the XML, which a NUL ends.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import struct
import typing as t
from xml.etree import ElementTree

from ..errors import DomainXmlError, HostReadError
from .domain_xml import MAX_NAME, MAX_XML, read_xml

#: Most files of one snapshot.
MAX_FILES = 1000

_HEADER = 92
#: As much of a managed save as is to be read.
MAX_START = _HEADER + MAX_XML
_SAVED = b"LibvirtQemudSave"
#: A larger version is one in the other byte order.
_MAX_VERSION = 0xFFFF


def snapshot_files(xml: str) -> list[tuple[str, str]]:
    """Kind (``memory_snapshot`` or ``snapshot``) and path of each local file. Raises DomainXmlError."""
    root = read_xml(xml)
    if root.tag != "domainsnapshot":
        raise DomainXmlError(f"expected <domainsnapshot>, found <{root.tag[:80]}>", "xml_root")
    files = dict.fromkeys(_files(root))
    if len(files) > MAX_FILES:
        raise DomainXmlError(f"a snapshot names more than {MAX_FILES} files", "xml_too_large")
    return list(files)


def _files(root: ElementTree.Element) -> t.Iterator[tuple[str, str]]:
    memory = root.find("memory")
    if memory is not None and _is_path(memory.get("file")):
        yield "memory_snapshot", memory.get("file", "")
    for holder in (*root.findall("disks/disk"), *root.findall("revertDisks/disk"), *_disks(root)):
        for source in holder.iter("source"):
            for name in ("file", "dev"):
                path = source.get(name)
                if _is_path(path):
                    yield "snapshot", path or ""


def _disks(root: ElementTree.Element) -> t.Iterator[ElementTree.Element]:
    """Disks of the guest as it was, live and by its definition."""
    for tag in ("domain", "inactiveDomain"):
        yield from root.findall(f"{tag}/devices/disk")


def _is_path(text: str | None) -> bool:
    return bool(text) and len(text or "") <= MAX_NAME and (text or "").startswith("/")


def saved_xml(start: bytes) -> str | None:
    """The XML at the start of a saved state; None where libvirt does not resume it. Raises HostReadError."""
    # libvirt removes a file that is cut off or was not written to its end, and refuses the start by any other.
    if not start.startswith(_SAVED) or len(start) < _HEADER:
        return None
    order = "<" if struct.unpack_from("<I", start, len(_SAVED))[0] <= _MAX_VERSION else ">"
    size = struct.unpack_from(f"{order}I", start, len(_SAVED) + 4)[0]
    content, end, _rest = start[_HEADER : _HEADER + size].partition(b"\0")
    if not end:
        raise HostReadError("the XML in it is cut off or too long", "save_unread")
    return content.decode("utf-8", "surrogateescape")
