# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The XML in a guest's saved state (virsh managedsave): the next start resumes it, whatever the definition says by now.

Source: libvirt's qemu_saveimage.h: a header of 92 bytes in the byte order of the host that wrote it, then the XML, which
a NUL ends.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import struct

from ..errors import HostReadError
from .domain_xml import MAX_XML

HEADER = 92
#: As much of a file as is to be read.
MAX_START = HEADER + MAX_XML
_SAVED = b"LibvirtQemudSave"
#: It was not written to its end: libvirt removes it at the next start, and starts the guest by its definition.
_PARTIAL = b"LibvirtQemudPart"
#: A larger version is one in the other byte order.
_MAX_VERSION = 0xFFFF


def saved_xml(start: bytes) -> str | None:
    """The XML at the start of a saved state; None where libvirt does not resume it. Raises HostReadError."""
    if start.startswith(_PARTIAL):
        return None
    if not start.startswith(_SAVED) or len(start) < HEADER:
        raise HostReadError("it is no saved state of libvirt's", "save_unread")
    order = "<" if struct.unpack_from("<I", start, len(_SAVED))[0] <= _MAX_VERSION else ">"
    size = struct.unpack_from(f"{order}I", start, len(_SAVED) + 4)[0]
    content, end, _rest = start[HEADER : HEADER + size].partition(b"\0")
    if not end:
        raise HostReadError("the XML in it is cut off or too long", "save_unread")
    return content.decode("utf-8", "surrogateescape")
