# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What the answers of the hosts mean: breached, held, or unknown with the reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

BREACHED, HELD, UNKNOWN, OWN = "breached", "held", "unknown", "own"
DENIED = "Permission denied"


@dataclass(frozen=True)
class Disk:
    """A disk of a guest, as a target. ``host`` has the guest; ``shared``: every host has the file, by the same path."""

    guest: str
    host: str
    path: str
    shared: bool
    running: bool = True

    @property
    def file(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Attempt:
    """One guest's QEMU at one disk, with the result."""

    attacker: str
    host: str
    disk: Disk
    result: str
    #: Why it is unknown.
    why: str = ""
    #: Whether the loaded policy lets the attacker read the file; None: it could not be asked.
    policy: bool | None = None


@dataclass(frozen=True)
class Guests:
    """The guests of all hosts: the disks that are targets, and those that libvirt labels for every guest."""

    disks: tuple[Disk, ...]
    open_to_all: tuple[Disk, ...] = ()


def guests_of(said: Mapping[str, Any], shares: Sequence[str]) -> Guests:
    """What the hosts said of their guests. ``shares``: folders that all hosts have in common."""
    disks: list[Disk] = []
    open_to_all: list[Disk] = []
    for host, guests in sorted(said.items()):
        for guest in guests:
            for disk in guest["disks"]:
                path = disk["path"]
                shared = any(PurePosixPath(path).is_relative_to(share) for share in shares)
                target = Disk(guest["name"], host, path, shared, guest["running"])
                (open_to_all if disk["open_to"] else disks).append(target)
    return Guests(tuple(disks), tuple(open_to_all))


def targets_on(host: str, disks: Iterable[Disk]) -> list[Disk]:
    """The disks that a host has at their paths."""
    return [disk for disk in disks if disk.shared or disk.host == host]


def attempts_of(host: str, answer: Mapping[str, Any], disks: Iterable[Disk]) -> list[Attempt]:
    """What a host's answers mean. An attacker's own disks are in it too: they are the proof that it can open any."""
    on = {disk.path: disk for disk in targets_on(host, disks)}
    tries = [(item, on[item["path"]]) for item in answer["attempts"]]
    own: dict[str, list[str]] = {}
    for item, disk in tries:
        if _is_own(host, item["attacker"], disk):
            own.setdefault(item["attacker"], []).append(item["said"])
    return [_attempt(host, item, disk, own.get(item["attacker"], [])) for item, disk in tries]


def _is_own(host: str, attacker: str, disk: Disk) -> bool:
    return (disk.guest, disk.host) == (attacker, host)


def _attempt(host: str, item: Mapping[str, Any], disk: Disk, own: Sequence[str]) -> Attempt:
    attacker, said, policy = item["attacker"], item["said"], item["policy"]
    if _is_own(host, attacker, disk):
        result, why = (UNKNOWN, f"its own disk does not open: {said}") if said else (OWN, "")
    else:
        result, why = _result(said, item["as_user"], policy, own)
    return Attempt(attacker, host, disk, result, why, policy)


def _result(said: str, as_user: str, policy: bool | None, own: Sequence[str]) -> tuple[str, str]:
    """A refusal is SELinux's only when nothing else would have refused."""
    if not said:
        return BREACHED, ""
    if not said.endswith(DENIED):
        return UNKNOWN, said
    if not own or any(own):
        return UNKNOWN, f"refused, but its own disk does not open either: {own[0] if own else 'it has none to try'}"
    if as_user:
        return UNKNOWN, f"refused, but owner and mode refuse it already: {as_user}"
    if policy is not False:
        said = "could not be asked" if policy is None else "would allow it"
        return UNKNOWN, f"refused, but the loaded policy {said}"
    return HELD, ""


@dataclass(frozen=True)
class Numbers:
    """Attempts on disks of other guests, counted."""

    attempts: int
    breached: int
    held: int
    unknown: int

    @property
    def refused(self) -> bool:
        """Whether every attempt was refused, and there was one."""
        return self.attempts > 0 and self.held == self.attempts

    def __str__(self) -> str:
        return (
            f"{self.attempts} attempts: {self.breached} breached, {self.held} held by SELinux, {self.unknown} unknown"
        )


def numbers_of(attempts: Iterable[Attempt]) -> Numbers:
    """Count them. An own disk that does not open is unknown; an own disk that opens is no attempt."""
    results = [attempt.result for attempt in attempts if attempt.result != OWN]
    return Numbers(len(results), *(results.count(result) for result in (BREACHED, HELD, UNKNOWN)))
