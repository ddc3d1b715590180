# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""Runs inside a host of the lab, and takes the place of somebody who has taken over a guest's QEMU.

    guests                  the guests of this host, each with its disks
    attempts JSON           ask each running guest's QEMU to open each of these disks

QEMU gets what ``virsh qemu-monitor-command GUEST`` would send: blockdev-add with the driver ``file``,
read-only and without locks; what it opened it closes again (blockdev-del).

An answer that refuses is SELinux's only when nothing else would have refused. So three more things are looked at: the
guest's QEMU opens its own disk in the same way; a process of the same user and groups, which sVirt does not confine,
opens the target; and what the loaded policy says of the two labels. libvirt gives the disks of guests that run to
QEMU's user, and those of guests that are off to root: these are lent to QEMU's user for the time of the attempts.
"""

from __future__ import annotations

import json
import os
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from host import images, virt  # type: ignore[import-not-found]  # the lab's code, as it is inside a host

NODE = "svirt-drill"
SELINUX = Path("/sys/fs/selinux")
#: Seconds for all attempts of a host, and for one answer of QEMU's.
LIMIT, ANSWER_LIMIT = 900.0, 30
OUT_OF_TIME = f"not tried: the attempts before took more than {LIMIT:.0f} s"


def guests() -> list[dict[str, Any]]:
    """Every guest with its disks; ``open_to``: why libvirt labels a disk for all guests, or nothing."""
    result = []
    for domain in virt.connection().listAllDomains():
        root = ET.fromstring(domain.XMLDesc(0))  # noqa: S314  # libvirt's own
        result.append(
            {"name": domain.name(), "running": bool(domain.isActive()), "disks": list(_disks(root.find("devices")))}
        )
    return sorted(result, key=lambda guest: str(guest["name"]))


def _disks(devices: Any) -> Iterator[dict[str, str]]:
    for disk in devices.findall("disk"):
        source = disk.find("source")
        path = source.get("file") if source is not None else None
        if path:
            reasons = [tag for tag in ("shareable", "readonly") if disk.find(tag) is not None]
            yield {"path": path, "open_to": reasons[0] if reasons else ""}


class Attacker:
    """The QEMU of a running guest."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = int(Path(f"/run/libvirt/qemu/{name}.pid").read_text())
        self.context = Path(f"/proc/{self.pid}/attr/current").read_text().strip("\0\n")
        self._domain = virt.lookup(name)
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        ids = {line.partition(":")[0]: line.partition(":")[2].split() for line in status}
        self.uid, self.gid = int(ids["Uid"][1]), int(ids["Gid"][1])
        self.groups = tuple(int(word) for word in ids["Groups"])

    def opens(self, path: str) -> str:
        """QEMU's error when it is to open a file; empty when it opened it."""
        options = {"driver": "file", "node-name": NODE, "filename": path, "read-only": True, "locking": "off"}
        refused = self._tell("blockdev-add", options)
        if not refused and (left := self._tell("blockdev-del", {"node-name": NODE})):
            raise RuntimeError(f"{self.name} has opened {path} and does not close it: {left}")
        return refused

    def _tell(self, command: str, arguments: dict[str, Any]) -> str:
        import libvirt
        import libvirt_qemu

        text = json.dumps({"execute": command, "arguments": arguments})
        try:
            answer = json.loads(libvirt_qemu.qemuMonitorCommand(self._domain, text, 0))
        except libvirt.libvirtError as error:
            return f"libvirt: {error}"
        return str(answer["error"]["desc"]) if "error" in answer else ""


def as_user(attacker: Attacker, paths: Sequence[str]) -> dict[str, str]:
    """What a process of the same user says that sVirt does not confine; nothing where it opens the file."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(attacker.groups)
            os.setgid(attacker.gid)
            os.setuid(attacker.uid)
            os.write(writing, json.dumps({path: _opening(path) for path in paths}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    document: dict[str, str] = json.loads(said)
    return document


def _opening(path: str) -> str:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return str(error.strerror)
    return ""


@contextmanager
def lent(path: str, attacker: Attacker) -> Iterator[None]:
    """The file is QEMU's user's while the block runs, as libvirt makes it for a guest that runs.

    It is opened for that: over NFS only an open is sure to see what the other host has changed.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if status.st_uid == attacker.uid:
            yield
            return
        try:
            os.fchown(handle, attacker.uid, attacker.gid)
            yield
        finally:
            os.fchown(handle, status.st_uid, status.st_gid)
    finally:
        os.close(handle)


def policy_lets_read(context: str, label: str) -> bool | None:
    """Whether the loaded policy lets a process with this context read a file with this label; None: it cannot say."""
    try:
        index = (SELINUX / "class/file/index").read_text().strip()
        bit = 1 << (int((SELINUX / "class/file/perms/read").read_text()) - 1)
        handle = os.open(SELINUX / "access", os.O_RDWR)
        try:
            os.write(handle, f"{context} {label} {index}".encode())
            allowed = int(os.read(handle, 256).split()[0], 16)
        finally:
            os.close(handle)
    except (OSError, ValueError, IndexError):
        return None
    return bool(allowed & bit)


def attempts(targets: list[dict[str, str]]) -> dict[str, Any]:
    """Every running guest on every target, and what else there is to know of it; see the head of this file."""
    end = time.monotonic() + LIMIT
    attackers = [Attacker(name) for name in virt.running()]
    paths = [target["path"] for target in targets]
    tries: list[dict[str, Any]] = []
    if not attackers:
        return {"attempts": tries, "contexts": {}, "labels": {}}
    labels = {path: images.get_label(path) for path in paths if os.path.exists(path)}
    with ExitStack() as stack:
        for path in labels:
            stack.enter_context(lent(path, attackers[0]))
        for attacker in attackers:
            free = as_user(attacker, paths)
            for path in paths:
                said = attacker.opens(path) if time.monotonic() < end else OUT_OF_TIME
                allowed = policy_lets_read(attacker.context, labels[path]) if path in labels else None
                tries.append(
                    {"attacker": attacker.name, "path": path, "said": said, "as_user": free[path], "policy": allowed}
                )
    return {"attempts": tries, "contexts": {each.name: each.context for each in attackers}, "labels": labels}


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    print(json.dumps(guests() if verb == "guests" else attempts(json.loads(words[0]))))
