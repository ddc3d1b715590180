# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about guests' network interfaces: sVirt does not guard the network, libvirt's filters do.

An interface is judged as it is (live) and as the next start makes it (persistent). At most one rule reports it: NET-001
without a filter, else NET-002 with a weak filter, else NET-003 with a sound filter that has no address.
libvirt's filters do not apply to interfaces that are on no bridge (user, direct, hostdev, vhostuser, Open vSwitch).

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...facts.guests import qemu_guests
from ...facts.subjects import interface_name
from ...libvirt.network_filter import CLEAN, IP, LEARNING, bridged, is_defined, wants_address, weakness
from ...result import Reason
from ...snapshot.model import Guest, Interface, NetworkFilter, Snapshot
from ..finding import Hit, Rule, Settings, Unsure
from ._common import NIST_AC4, NIST_CM6, NIST_SC7, guest_unread

Results = t.Iterable[t.Union[Hit, Unsure]]

#: Faults, the worst first.
MISSING, WEAK, LOOSE = range(3)
_FILTERS_UNREAD = Reason("filters_unread", "libvirt's network filters could not be read")
_LIVE, _PERSISTENT = "live", "persistent"


@dataclass(frozen=True)
class _Face:
    """One interface of a guest as live or persistent XML has it, and its fault."""

    where: str
    interface: Interface
    fault: int | None
    why: str = ""
    doubt: Reason | None = None
    #: A guest cannot start with this filter: nothing is open, but nothing works either.
    broken: bool = False


def _all_faces(snapshot: Snapshot) -> list[tuple[Guest, dict[str, list[_Face]]]]:
    """The bridged interfaces of each guest."""
    judge = _FilterJudge(snapshot.libvirt.filters)
    return [(guest, _faces(snapshot, guest, judge)) for guest in qemu_guests(snapshot)]


class _FilterJudge:
    """Judges each filter of the host once, for all interfaces that refer to it."""

    def __init__(self, filters: list[NetworkFilter] | None) -> None:
        self.filters = filters
        self._known: dict[str, tuple[str, bool, bool]] = {}

    def judge(self, name: str) -> tuple[str, bool, bool]:
        """Why the filter is weak, whether it is defined with all its parts, and whether it wants an address."""
        if name not in self._known:
            filters = self.filters or []
            self._known[name] = weakness(filters, name), is_defined(filters, name), wants_address(filters, name)
        return self._known[name]


def _faces(snapshot: Snapshot, guest: Guest, judge: _FilterJudge) -> dict[str, list[_Face]]:
    """The guest's bridged interfaces, by MAC address."""
    interfaces_by_mac: dict[str, list[_Face]] = {}
    places = [(_LIVE if guest.active else _PERSISTENT, guest.interfaces)]
    places += [(_PERSISTENT, guest.persistent_interfaces)] if guest.active else []
    known = {item.mac: item for item in guest.interfaces if item.mac} if guest.active else {}
    for where, interfaces in places:
        for number, interface in enumerate(interfaces):
            # The live interface shows how the network attaches it, also where networks could not be read.
            if bridged(snapshot.libvirt.networks, interface) and bridged(
                snapshot.libvirt.networks, known.get(interface.mac or "", interface)
            ):
                key = interface.mac or f"number {number + 1}"
                interfaces_by_mac.setdefault(key, []).append(_judged(judge, where, interface))
    return interfaces_by_mac


def _judged(judge: _FilterJudge, where: str, interface: Interface) -> _Face:
    if not interface.filter:
        return _Face(where, interface, MISSING)
    if judge.filters is None:
        return _Face(where, interface, None, doubt=_FILTERS_UNREAD)
    why, defined, wants = judge.judge(interface.filter)
    if why:
        return _Face(where, interface, WEAK, why, broken=not defined)
    names = {parameter.partition("=")[0] for parameter in interface.parameters}
    if wants and not names & {IP, LEARNING}:
        return _Face(where, interface, LOOSE)
    return _Face(where, interface, None)


def _interfaces_with(snapshot: Snapshot, settings: Settings, fault: int) -> Results:
    for guest, all_faces in settings.once("bridged_interfaces", lambda: _all_faces(snapshot)):
        for key, faces in all_faces.items():
            subject = interface_name(guest, faces[0].interface)
            faulty = [face for face in faces if face.fault is not None]
            if faulty and min(face.fault for face in faulty if face.fault is not None) == fault:
                yield _hit(guest, subject, key, faces, fault)
            elif not faulty:
                # A filter that cannot be judged is present at least: NET-001 is not in doubt.
                doubts = [face.doubt for face in faces if face.doubt] if fault != MISSING else []
                yield from (Unsure(subject, doubt) for doubt in doubts[:1])
        if guest.error:
            yield guest_unread(guest)


def _hit(guest: Guest, subject: str, key: str, faces: list[_Face], fault: int) -> Hit:
    evidence: dict[str, t.Any] = {face.where: _shown(face.interface) for face in faces}
    evidence["bridge"] = faces[0].interface.source
    worst = [face for face in faces if face.fault == fault]
    if worst[0].why:
        evidence["weakness"] = worst[0].why
    severity = "low" if all(face.broken for face in worst) else None
    # The right name with a wrong definition: somebody changed it for all guests of the host, and must change it back.
    redefined = fault == WEAK and all(face.interface.filter == CLEAN for face in worst)
    return Hit(subject, f"{guest.uuid}\0{key}", evidence, "operator" if redefined else None, severity=severity)


def _shown(interface: Interface) -> str | None:
    return " ".join([interface.filter, *interface.parameters]) if interface.filter else None


def _missing(snapshot: Snapshot, settings: Settings) -> Results:
    return _interfaces_with(snapshot, settings, MISSING)


def _weak(snapshot: Snapshot, settings: Settings) -> Results:
    return _interfaces_with(snapshot, settings, WEAK)


def _loose(snapshot: Snapshot, settings: Settings) -> Results:
    return _interfaces_with(snapshot, settings, LOOSE)


_HOW = "The module guest_network_filter does it for all guests of a host, live too and without touching the link"

RULES: tuple[Rule, ...] = (
    Rule(
        id="NET-001",
        title="A bridged interface without a network filter",
        severity="medium",
        scope="network",
        why=(
            "sVirt does not guard the network. Without a filter the guest may send frames in any other guest's name: "
            "take over its MAC or IP address, poison ARP caches, and read or change what others send."
        ),
        fix=(
            f"Give the interface the filter clean-traffic with the guest's IP address. {_HOW}. It lets only IPv4 and "
            "ARP pass: a guest that needs IPv6 needs a filter of your own."
        ),
        cost="none",
        needs=("selinux", "guests"),
        check=_missing,
        references=(NIST_AC4, NIST_SC7),
    ),
    Rule(
        id="NET-002",
        title="A network filter that does not hold the guest to its own addresses",
        severity="medium",
        scope="network",
        why=(
            "The filter has a name but not the parts that stop forged MAC addresses, IP addresses and ARP messages: a "
            "building block was used alone, or a filter was redefined on this host, which no guest's XML shows."
        ),
        fix=(
            "Give the interface the filter clean-traffic. Where that filter itself was changed on the host, define it "
            "again as libvirt ships it (/usr/share/libvirt/nwfilter): running guests take it over at once."
        ),
        cost="none",
        needs=("selinux", "guests"),
        check=_weak,
        references=(NIST_AC4, NIST_SC7, NIST_CM6),
    ),
    Rule(
        id="NET-003",
        title="A network filter without the guest's address",
        severity="low",
        scope="network",
        why=(
            "The filter allows the guest's IP address, but the XML neither states one nor says how to learn it. "
            "libvirt then takes the first that the guest uses, without anybody having chosen that."
        ),
        fix=(
            "State the address as parameter IP of the <filterref>, or say how it is learnt: CTRL_IP_LEARNING dhcp "
            f"(with DHCPSERVER) or any. {_HOW}."
        ),
        cost="none",
        needs=("selinux", "guests"),
        check=_loose,
        references=(NIST_AC4, NIST_SC7),
    ),
)
