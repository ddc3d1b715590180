# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot from the answer of module svirt_info, which is untrusted.

The host sends the texts of its boot loaders; their entries are listed here, so that no host is sent the parsers.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import binascii
import json
import typing as t
import zlib
from collections import Counter
from dataclasses import dataclass

from ..module_utils._core.errors import SchemaError
from ..module_utils._core.facts.boot import boot_area
from ..module_utils._core.snapshot.document import decode, decode_snapshot, encode
from ..module_utils._core.snapshot.model import Snapshot
from ..module_utils._core.system.boot_loaders.files import MAX_FILES, MAX_TEXT, BootFiles, BootHost
from ..module_utils._host.probe.document import plain

#: Bound on an answer; 10,000 guests need about 20 MB.
MAX_BYTES = 256 * 1024 * 1024


def read_answer(packed: t.Any) -> tuple[dict[str, t.Any], Snapshot]:
    """The snapshot as its document and as typed data. Raises SchemaError for an answer that does not fit."""
    answer = unpack(packed)
    document = answer.get("snapshot") if isinstance(answer, dict) else None
    if not isinstance(document, dict) or not set(answer) <= {"snapshot", "boot"}:
        raise SchemaError("not a snapshot: the answer holds none")
    if "boot" in answer:
        entries, coverage = boot_area(_boot_files(answer["boot"]))
        _part(document, "selinux")["boot_entries"] = plain(entries)
        _part(document, "coverage")["boot"] = plain(coverage)
    return document, decode_snapshot(document)


def unpack(text: t.Any) -> t.Any:
    """The data of a packed text. Raises SchemaError for anything else, and above MAX_BYTES."""
    if not isinstance(text, str):
        raise SchemaError("not a snapshot: the answer holds none")
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(binascii.a2b_base64(text), MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise SchemaError(f"not a snapshot: larger than {MAX_BYTES} bytes")
        return json.loads(content)
    except (ValueError, zlib.error, RecursionError) as error:
        raise SchemaError(f"not a snapshot: {str(error)[:200]}") from error


def summary(snapshot: Snapshot) -> dict[str, t.Any]:
    """Counts and coverage, which a task shows."""
    return {
        "selinux": snapshot.selinux.mode,
        "daemon": snapshot.libvirt.daemon.name if snapshot.libvirt.daemon else None,
        "guests": len(snapshot.guests),
        "running": sum(guest.active for guest in snapshot.guests),
        "resources": sum(len(guest.resources) for guest in snapshot.guests),
        "processes": dict(sorted(Counter(item.role for item in snapshot.processes).items())),
        "containers": len(snapshot.containers),
        "storage": len(snapshot.storage),
        "orphans": len(snapshot.orphans),
        "coverage": encode(snapshot.coverage),
    }


@dataclass
class _SentHost:
    """BootHost as it is sent."""

    cmdline: str
    machine_id: str | None
    os_ids: list[str]
    root_source: str
    roots: dict[str, bool | None]


@dataclass
class _SentFiles:
    """BootFiles as they are sent, without the texts, which are longer than those of documents may be."""

    problems: list[str]
    host: _SentHost


def _boot_files(document: t.Any) -> BootFiles:
    texts = document.get("texts") if isinstance(document, dict) else None
    if not isinstance(texts, dict):
        raise SchemaError("boot.texts: expected an object")
    decode(_SentFiles, {key: value for key, value in document.items() if key != "texts"}, "boot")
    # The data itself, not the decoded: names of file systems in it are compared with the texts, byte by byte.
    host = BootHost(**{**document["host"], "os_ids": tuple(document["host"]["os_ids"])})
    files = BootFiles(problems=document["problems"], host=host)
    for path, text in texts.items():
        if not isinstance(text, str):
            raise SchemaError(f"boot.texts: {path[:80]!r} holds no text")
        if not files.add(path, text):
            raise SchemaError(f"boot.texts: more than {MAX_FILES} files or {MAX_TEXT} characters", "too_large")
    return files


def _part(document: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    part = document.get(name)
    if not isinstance(part, dict):
        raise SchemaError(f"snapshot.{name}: expected an object")
    return part
