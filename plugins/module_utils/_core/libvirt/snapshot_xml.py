# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a guest's snapshot names: its memory, its overlays, and the disks of the guest at that time.

Source: libvirt's snapshot XML (formatsnapshot), as it lies under /var/lib/libvirt/qemu/snapshot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from xml.etree import ElementTree

from ..errors import DomainXmlError
from .domain_xml import MAX_NAME, read_xml

#: Most files of one snapshot.
MAX_FILES = 1000


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
