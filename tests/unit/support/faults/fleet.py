# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest faults of the rules across hosts."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.ledger import Row
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support.fleets import PROCESS, disk, guest, host, nfs

SHARE = "nfs:filer:/vol"
DAEMON = "system_u:system_r:virtd_t:s0-s0:"
_TENANT = "s0:c33,c287,c528,c"
FILE = "system_u:object_r:svirt_image_t:"


@dataclass(frozen=True)
class FleetCase:
    """Hosts that make a rule speak of the subject, and nothing else."""

    rule: str
    severity: str
    reach: str | None
    subject: str
    hosts: t.Callable[[], list[s.Snapshot]]
    pools: tuple[tuple[str, ...], ...] = ()
    ledger: tuple[Row, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        return f"{self.rule} {self.note}".strip()


def on_share(uuid: str, level: str, **parts: t.Any) -> s.Guest:
    """A running guest with its disk on the share."""
    return guest(uuid, level, f"/share/{uuid}.qcow2", mount="/share", **parts)


def sharing(name: str, *guests: s.Guest, daemon: str = "c0.c1023", **parts: t.Any) -> s.Snapshot:
    """A host that mounts the share."""
    libvirt = s.Libvirt(installed=True, daemon=s.Daemon("libvirtd", 1, DAEMON + daemon))
    return host(name, guests, storage=[nfs("/share", SHARE)], libvirt=libvirt, **parts)


def static(level: str) -> dict[str, t.Any]:
    """What makes a guest a static one, running and by its definition."""
    labels = [s.SecLabel("selinux", "static", label=PROCESS + level)]
    return {"live": labels, "persistent_labels": labels}


def dynamic() -> dict[str, t.Any]:
    """What makes a guest a dynamic one."""
    return {"live": [s.SecLabel("selinux", "dynamic")]}


def defined(uuid: str, level: str, *, share: bool = True) -> s.Guest:
    """A static guest that is off."""
    result = on_share(uuid, level) if share else guest(uuid, level, f"/var/{uuid}.raw")
    result.active, result.state, result.context = False, "shutoff", None
    result.persistent_labels = static(level)["persistent_labels"]
    return result


def resting(uuid: str, label: str) -> s.Guest:
    """A guest that is off, with a file on the share that still carries a guest's label."""
    item = disk(f"/share/{uuid}.qcow2", "/share", inode=77)
    item.file.label = label
    return guest(uuid, None, state="shutoff", active=False, resources=[item])


def clean() -> list[s.Snapshot]:
    """Two hosts like the lab's: dynamic guests with disks of their own, static ones with theirs on the share."""
    return [
        sharing(
            f"kvm{number}",
            guest(f"web{number}", f"s0:c{number},c900", f"/var/web{number}.raw", **dynamic()),
            on_share(
                f"app{number}", f"s0:c33,c287,c528,c{780 + number}", **static(f"s0:c33,c287,c528,c{780 + number}")
            ),
            defined(f"archive{number}", f"s0:c33,c287,c528,c{790 + number}"),
        )
        for number in (1, 2)
    ]


def row(uuid: str, level: str, state: str = "observed") -> Row:
    """What the ledger gave."""
    return Row("prod", uuid, f"guest-{uuid}", "kvm1", "default", 1, level, state)


_TWO = "s0:c1,c2"
_LEDGER = tuple(
    row(f"{name}{number}", f"s0:c33,c287,c528,c{base + number}")
    for name, base in (("app", 780), ("archive", 790))
    for number in (1, 2)
)


def _beside(*more: s.Guest, host_: int = 0, **parts: t.Any) -> t.Callable[[], list[s.Snapshot]]:
    """The clean fleet with more guests on one of its hosts."""

    def made() -> list[s.Snapshot]:
        hosts = clean()
        hosts[host_].guests += more
        for name, value in parts.items():
            setattr(hosts[host_], name, value)
        return hosts

    return made


def _both(first: s.Guest, second: s.Guest) -> t.Callable[[], list[s.Snapshot]]:
    def made() -> list[s.Snapshot]:
        hosts = clean()
        hosts[0].guests.append(first)
        hosts[1].guests.append(second)
        return hosts

    return made


def _ranged(*ranges: str, statics: bool = True) -> t.Callable[[], list[s.Snapshot]]:
    def made() -> list[s.Snapshot]:
        hosts = clean()
        for one, drawn in zip(hosts, ranges):
            assert one.libvirt.daemon is not None
            one.libvirt.daemon.context = DAEMON + drawn
            one.guests = [item for item in one.guests if statics and "web" not in item.uuid]
        return hosts

    return made


def _drawing(count: int) -> t.Callable[[], list[s.Snapshot]]:
    pairs = [(one, other) for one in range(8) for other in range(one + 1, 8)]
    guests = [guest(f"d{n}", f"s0:c{a},c{b}", f"/var/d{n}.raw", **dynamic()) for n, (a, b) in enumerate(pairs[:count])]
    return lambda: [sharing("kvm1", *guests, daemon="c0.c7")]


CASES = (
    FleetCase("CAT-001", "critical", "E2", _TWO, _both(on_share("a", _TWO), on_share("b", _TWO))),
    FleetCase(
        "CAT-001",
        "critical",
        "E2",
        "s0:c1.c3",
        _both(on_share("a", "s0:c1,c2,c3"), on_share("b", _TWO)),
        note="superset",
    ),
    FleetCase(
        "CAT-001", "critical", "E2", _TWO, _both(on_share("a", _TWO), resting("b", FILE + _TWO)), note="a file at rest"
    ),
    FleetCase("CAT-002", "critical", "E1", _TWO, _beside(guest("a", _TWO, "/var/a"), guest("b", _TWO, "/var/b"))),
    FleetCase(
        "CAT-002",
        "critical",
        "E1",
        _TWO,
        _beside(
            guest("a", _TWO, "/var/a"), processes=[s.Process(9, "qemu", "/usr/bin/qemu", "mine", PROCESS + _TWO, 1000)]
        ),
        note="a session daemon",
    ),
    FleetCase(
        "CAT-003", "high", "E3", "s0:c33,c287,c528,c781", _beside(defined("a", "s0:c33,c287,c528,c781"), host_=1)
    ),
    FleetCase(
        "CAT-003",
        "high",
        "E3",
        "s0:c5,c7,c9,c11",
        lambda: [
            host("kvm1", [guest("a", "s0:c5,c7,c9,c11", "/var/a", **static("s0:c5,c7,c9,c11"))]),
            host("kvm2", [defined("b", "s0:c5,c7,c9,c11", share=False)]),
        ],
        pools=(("kvm1", "kvm2"),),
        note="a named pool",
    ),
    FleetCase(
        "CAT-003",
        "high",
        "E3",
        "s0:c5,c6",
        lambda: [host("kvm1", [defined("a", "s0:c5,c6", share=False), defined("b", "s0:c5,c6", share=False)])],
        note="both off on one host",
    ),
    FleetCase("CAT-004", "info", "E4", "fleet", _both(guest("a", _TWO, "/var/a"), guest("b", _TWO, "/var/b"))),
    FleetCase("CAT-005", "medium", None, "c0.c127", _ranged("c0.c63", "c32.c127")),
    FleetCase("CAT-005", "medium", None, "c0.c1023", _ranged("c0.c63", "c0.c1023"), note="one is the whole"),
    FleetCase("CAT-005", "medium", None, "c0.c63", _ranged("c0.c63", "c0.c63", statics=False), note="one range twice"),
    FleetCase("CAT-006", "high", None, "c0.c7", _drawing(15)),
    FleetCase("CAT-006", "critical", None, "c0.c7", _drawing(28), note="full"),
    FleetCase(
        "CAT-007",
        "info",
        None,
        "c0.c63",
        lambda: [sharing("kvm1", guest("a", "s0:c1,c900", "/var/a", **dynamic()), daemon="c0.c63")],
    ),
    FleetCase("CAT-008", "medium", None, "static labels that the ledger does not know", clean, ledger=_LEDGER[:3]),
    FleetCase(
        "CAT-008",
        "low",
        None,
        "guests of the ledger that no host has",
        clean,
        ledger=(*_LEDGER, row("z", "s0:c40,c300,c600,c800")),
        note="gone",
    ),
    FleetCase(
        "CAT-008",
        "medium",
        None,
        "guests without the label that the ledger gave them",
        clean,
        ledger=(*_LEDGER, row("web1", "s0:c40,c300,c600,c800", "published")),
        note="not applied",
    ),
    FleetCase("CAT-009", "medium", None, "s0:c392,c662", _beside(defined("a", "s0:c392,c662"))),
    FleetCase("CAT-010", "high", None, "guest guest-a", _both(on_share("a", "s0:c3,c4"), on_share("a", "s0:c5,c6"))),
    FleetCase(
        "CAT-011",
        "high",
        "E1",
        _TWO,
        _beside(
            guest("a", _TWO, "/var/a"),
            containers=[s.ContainerLabel("system_u:system_r:container_t:s0:c1,c2", [5], 1)],
        ),
    ),
)
