# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The drill as people read it: a matrix of attackers and disks, and what was breached. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .outcome import BREACHED, HELD, OWN, UNKNOWN, Attempt, Disk, numbers_of

WIDTH = 120
MARKS = {BREACHED: "X", HELD: ".", UNKNOWN: "?", OWN: "o"}
LEGEND = (
    "X opened: breached   . refused by SELinux: held   ? unknown   o its own disk, opened   blank: on the other host"
)
_CELL = 5
#: So many names of one kind in a line of text, and so many reasons in all.
_NAMES, _REASONS = 8, 10

Group = tuple[str, list[Disk]]


def matrix(attempts: Sequence[Attempt], width: int = WIDTH) -> str:
    """Attackers as rows, disks as columns, with a legend and the numbers; as many blocks as the width needs."""
    rows = sorted({(attempt.host, attempt.attacker) for attempt in attempts})
    results = {(attempt.host, attempt.attacker, attempt.disk): attempt.result for attempt in attempts}
    label = max([len("attacker"), *(len(_row(row)) for row in rows)]) + 2
    lines: list[str] = []
    for block in _blocks(_groups(attempts), (width - label) // _CELL):
        lines += _head(block, label)
        lines += [f"{_row(row):<{label}}{_cells(row, block, results)}".rstrip() for row in rows]
        lines.append("")
    return "\n".join([*lines, LEGEND, str(numbers_of(attempts))])


def _row(row: tuple[str, str]) -> str:
    return f"{row[0]} {row[1]}"


def _groups(attempts: Iterable[Attempt]) -> list[Group]:
    """The disks: those on the share, then those of each host."""
    groups: dict[tuple[bool, str], list[Disk]] = {}
    for disk in sorted({attempt.disk for attempt in attempts}, key=lambda disk: (disk.host, disk.guest, disk.path)):
        groups.setdefault((not disk.shared, "" if disk.shared else disk.host), []).append(disk)
    return [(host or "the share", disks) for (_local, host), disks in sorted(groups.items(), key=lambda item: item[0])]


def _blocks(groups: Iterable[Group], most: int) -> Iterator[list[Group]]:
    """Groups side by side while they fit. Each takes one cell more than it has disks: the last name needs two."""
    most = max(most, 2)
    block: list[Group] = []
    for name, disks in groups:
        for start in range(0, len(disks), most - 1):
            part = disks[start : start + most - 1]
            if block and sum(len(each) + 1 for _name, each in block) + len(part) + 1 > most:
                yield block
                block = []
            block.append((name, part))
    if block:
        yield block


def _head(block: Iterable[Group], label: int) -> list[str]:
    """Names above their columns, by turns on two lines: a name is wider than its column."""
    title, names = [" "] * WIDTH, ([" "] * WIDTH, list("attacker".ljust(WIDTH)))
    at = label
    for name, disks in block:
        _put(title, at, f"on {name}"[: _CELL * (len(disks) + 1) - 1])
        for index, disk in enumerate(disks):
            _put(names[index % 2], at + _CELL * index, _named(disk, disks)[: 2 * _CELL - 1])
        at += _CELL * (len(disks) + 1)
    return ["".join(line).rstrip() for line in (title, *names)]


def _put(line: list[str], at: int, text: str) -> None:
    line[at : at + len(text)] = text


def _named(disk: Disk, others: Iterable[Disk]) -> str:
    """A disk by its guest, or by its file where the guest has several."""
    several = [other for other in others if (other.guest, other.host) == (disk.guest, disk.host)]
    return disk.guest if len(several) == 1 else disk.file


def _cells(row: tuple[str, str], block: Iterable[Group], found: dict[tuple[str, str, Disk], str]) -> str:
    text = ""
    for _name, disks in block:
        for disk in disks:
            result = found.get((*row, disk))
            text += (MARKS[result] if result else " ").ljust(_CELL)
        text += " " * _CELL
    return text


def breaches(attempts: Iterable[Attempt]) -> list[str]:
    """Who opened whose disk, in a line for each attacker."""
    by_attacker: dict[tuple[str, str], list[Disk]] = {}
    for attempt in attempts:
        if attempt.result == BREACHED:
            by_attacker.setdefault((attempt.host, attempt.attacker), []).append(attempt.disk)
    return [_breach(host, name, disks) for (host, name), disks in sorted(by_attacker.items())]


def _breach(host: str, name: str, disks: list[Disk]) -> str:
    if len(disks) == 1:
        where = f" of {disks[0].guest} on {disks[0].host}" + (", across the share" if disks[0].host != host else "")
        return f"{name} on {host} opened {disks[0].path}{where}"
    names = [disk.guest for disk in disks]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"{name} on {host} opened {len(disks)} disks: those of {', '.join(names[:_NAMES])}{more}"


def doubts(attempts: Iterable[Attempt]) -> list[str]:
    """Why attempts are unknown: each reason once, with an example."""
    by_reason: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.result == UNKNOWN:
            by_reason.setdefault(attempt.why.replace(attempt.disk.path, "the disk"), []).append(attempt)
    lines = []
    for why, found in by_reason.items():
        one = found[0]
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        lines.append(f"{one.attacker} on {one.host} at {one.disk.path}{others}: {why}")
    return lines[:_REASONS]
