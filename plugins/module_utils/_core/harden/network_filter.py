# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan of network filters: which filter each interface of a guest gets, in the persistent XML and in the live one.

A sound filter is kept: one that already confines the guest to its own addresses. libvirt's own building blocks are
replaced by the filter that is asked for; a weak filter of the operator's is reported and left as it is.

A running guest whose address libvirt has to learn by DHCP would lose its network until it renews its lease, so its
filter goes into the persistent XML only.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass, field

from ..errors import DomainXmlError, PlanError
from ..facts.guests import QEMU_KINDS
from ..libvirt.domain_edit import Card, Filter, cards, with_filter
from ..libvirt.network_filter import CLEAN, IP, LEARNING, STOCK, is_bridged, is_defined, wants_address, weakness
from ..result import Reason, Step
from ..snapshot.model import NetworkFilter
from .guest_definition import OPERATOR, POWER_CYCLE, Define, Definition, GuestPlan, LiveFilter, Survey
from .seclabel import unreadable

LEARNINGS = ("any", "dhcp")
PERSISTENT, LIVE = "persistent", "live"

_MAX = 256
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\Z")
_PARAMETER = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_VALUE = re.compile(r"[A-Za-z0-9_.:]{1,64}\Z")
_REMEDY = "; give its address as parameter IP, or have selinux_state install the supporting policy"
_NO_FILTER = {
    "direct": "it is attached past the host's bridges (macvtap), where libvirt has no filters",
    "hostdev": "a device of the host is handed to the guest, where libvirt has no filters",
    "user": "its packets go through QEMU's own network stack, where libvirt has no filters",
    "vhostuser": "another process moves its packets, past the host's filters",
    "vdpa": "a device of the host moves its packets, past the host's filters",
    "ethernet": "whoever created its tap device connects it; libvirt does not know to what",
}


@dataclass(frozen=True)
class FilterChoice:
    """The filter of one guest, or of one of its interfaces."""

    guest: str
    #: None: for all of its interfaces.
    mac: str | None = None
    filter: str | None = None
    #: None: as for all.
    parameters: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True)
class FilterRequest:
    """The filters that the guests of a host are to have."""

    filter: str = CLEAN
    parameters: tuple[tuple[str, str], ...] = ()
    choices: tuple[FilterChoice, ...] = ()
    #: Names and uuids of guests, and MAC addresses, that are left alone.
    exclude: frozenset[str] = frozenset()
    learning: str = "any"
    live: bool = True


def parameters_of(given: t.Mapping[str, t.Any]) -> tuple[tuple[str, str], ...]:
    """Parameters as a playbook gives them: name to value, or to a list of values. Raises PlanError."""
    parameters: list[tuple[str, str]] = []
    for name, values in sorted(given.items(), key=lambda item: str(item[0])):
        for value in values if isinstance(values, list) else [values]:
            text = str(value)
            if not _PARAMETER.match(str(name)) or not _VALUE.match(text):
                raise PlanError(
                    f"parameter {str(name)[:80]!r} = {text[:80]!r}: libvirt takes letters, digits and _ in a name, "
                    "and . and : besides in a value",
                    "bad_parameter",
                )
            if name == IP:
                _ipv4(text)
            parameters.append((str(name), text))
    return tuple(parameters)


def _ipv4(text: str) -> None:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise PlanError(f"parameter IP = {text!r} is not an IPv4 address: {error}", "bad_address") from error
    if address.is_unspecified or address.is_multicast or int(address) == 0xFFFFFFFF:
        raise PlanError(f"parameter IP = {text!r} is no address that a guest can have", "bad_address")


@dataclass(repr=False)
class _Interface:
    """One interface of a guest, in its persistent and its live XML."""

    mac: str
    persistent: Card | None = None
    live: Card | None = None
    #: Its filter as it will be, by place.
    wanted: dict[str, Filter | None] = field(default_factory=dict)

    def cards(self) -> t.Iterator[tuple[str, Card]]:
        if self.persistent is not None:
            yield PERSISTENT, self.persistent
        if self.live is not None:
            yield LIVE, self.live


def plan(survey: Survey, request: FilterRequest) -> GuestPlan:
    """The changes of all guests. Raises PlanError for request that make no sense."""
    return _Planner(survey, request).plan()


class _Planner:
    def __init__(self, survey: Survey, request: FilterRequest) -> None:
        self.survey = survey
        self.request = request
        self.result = GuestPlan()
        if survey.filters is None:
            text = (
                "libvirt's network filters could not be read; install and start libvirt's nwfilter driver on this host"
            )
            raise PlanError(text, "filters_unreadable")
        self.filters: list[NetworkFilter] = survey.filters
        self.choices = {(survey.guest(choice.guest).uuid, choice.mac): choice for choice in request.choices}
        if len(self.choices) != len(request.choices):
            raise PlanError("an interface or a guest is named twice in guests; give one choice for each", "named_twice")

    def plan(self) -> GuestPlan:
        name = self.request.filter
        why = weakness(self.filters, name)
        if why and not is_defined(self.filters, name):
            raise PlanError(f"filter {name!r}: {why}; define it, or name another", "no_such_filter")
        if why:
            reason = Reason("filter_weakened", f"{why}; define it as libvirt ships it")
            self.result.wait(f"filter {name}", OPERATOR, reason)
        for guest in self.survey.guests:
            if not {guest.name, guest.uuid} & self.request.exclude:
                self._guest(guest)
        return self.result

    def _guest(self, guest: Definition) -> None:
        try:
            interfaces = _interfaces(guest)
            for interface in interfaces:
                self._interface(guest, interface)
            self._unknown_macs(guest, interfaces)
            self._changes(guest, [interface for interface in interfaces if interface.wanted])
        except DomainXmlError as error:
            self.result.refuse(guest.subject, unreadable(error))

    def _unknown_macs(self, guest: Definition, interfaces: list[_Interface]) -> None:
        known = {interface.mac for interface in interfaces}
        for uuid, mac in self.choices:
            if uuid == guest.uuid and mac is not None and mac not in known:
                has = ", ".join(sorted(known)) or "none"
                raise PlanError(f"{guest.subject} has no interface {mac}; it has: {has}", "no_such_interface")

    def _interface(self, guest: Definition, interface: _Interface) -> None:
        subject = f"interface {interface.mac} of {guest.subject}"
        if interface.mac in self.request.exclude:
            return
        chosen = self.choices.get((guest.uuid, interface.mac)) or self.choices.get((guest.uuid, None))
        reason = self._past_filters(interface)
        if reason is not None:
            if (guest.uuid, interface.mac) in self.choices:
                self.result.refuse(subject, reason)
            return
        for place, card in interface.cards():
            other = interface.live if place == PERSISTENT else interface.persistent
            wanted, reason = self._wanted(card.filter, other.filter if other else None, chosen)
            interface.wanted[place] = wanted
            if reason is not None:
                self.result.refuse(subject, reason)
        if self.survey.deaf and self._deafened(interface):
            text = f"{self.survey.deaf}: libvirt would drop all that it sends{_REMEDY}"
            self.result.refuse(subject, Reason("address_cannot_be_learnt", text))
        elif interface.live is not None:
            self._live(subject, interface)

    def _deafened(self, interface: _Interface) -> bool:
        """Takes back a filter that would leave the guest without a network, now or at its next start."""
        new = [interface.wanted[place] for place, card in interface.cards() if card.filter != interface.wanted[place]]
        if not any(self._learnt(wanted) for wanted in new):
            return False
        interface.wanted.update((place, card.filter) for place, card in interface.cards())
        return True

    def _past_filters(self, interface: _Interface) -> Reason | None:
        """Why libvirt's filters do not reach the interface; None when they do."""
        for _place, card in interface.cards():
            if not is_bridged(self.survey.networks, card.type, card.network, card.virtualport):
                if card.virtualport is not None:
                    text = f"its port is one of {card.virtualport}, which hands no packet to the host's filters"
                else:
                    text = _NO_FILTER.get(card.type, f"type {card.type} has no bridge, where libvirt has no filters")
                return Reason("no_bridge", text)
        return None

    def _wanted(
        self, current: Filter | None, other: Filter | None, chosen: FilterChoice | None
    ) -> tuple[Filter | None, Reason | None]:
        """The filter that an interface gets, and why it does not get a better one."""
        if chosen is not None:
            name = chosen.filter or self.request.filter
            given = self.request.parameters if chosen.parameters is None else chosen.parameters
            if not is_defined(self.filters, name):
                return current, Reason("no_such_filter", f"filter {name!r}: {weakness(self.filters, name)}")
            return self._same_or(current, self._complete(Filter(name, given))), None
        base = current or other
        if base is None:
            return self._complete(Filter(self.request.filter, self.request.parameters)), None
        why = weakness(self.filters, base.name)
        if why and base.name not in STOCK and base.name != self.request.filter:
            text = f"it has the filter {base.name}: {why}; name the interface in guests to replace it"
            return current, Reason("weak_filter", text)
        if why and base.name != self.request.filter:
            kept = [item for item in base.parameters if item[0] in (IP, LEARNING, "DHCPSERVER")]
            names = {name for name, _value in kept}
            more = [item for item in self.request.parameters if item[0] not in names]
            return self._complete(Filter(self.request.filter, tuple(kept + more))), None
        return self._same_or(current, self._complete(base)), None

    def _complete(self, wanted: Filter) -> Filter:
        """The filter with the way in which its address is learnt, where it needs one and has none."""
        parameters = list(wanted.parameters)
        if wants_address(self.filters, wanted.name) and not {name for name, _value in parameters} & {IP, LEARNING}:
            parameters.append((LEARNING, self.request.learning))
        return Filter(wanted.name, tuple(sorted(parameters)))

    @staticmethod
    def _same_or(current: Filter | None, wanted: Filter) -> Filter:
        """The current filter where it differs in order alone."""
        same = current is not None and (current.name, sorted(current.parameters)) == (
            wanted.name,
            sorted(wanted.parameters),
        )
        return current if same and current is not None else wanted

    def _live(self, subject: str, interface: _Interface) -> None:
        """A running guest must not lose its network by this."""
        current, wanted = interface.live.filter if interface.live else None, interface.wanted.get(LIVE)
        if current == wanted or wanted is None:
            return
        if self._learnt(wanted) and [value.lower() for value in wanted.values(LEARNING)] == ["dhcp"]:
            text = "libvirt would cut it off until it renews its DHCP lease; give parameter IP, or power-cycle it"
            reason = Reason("waits_for_lease", text)
        elif not self.request.live:
            reason = Reason("live_not_wanted", "live changes were not asked for; its persistent XML has the filter")
        else:
            return
        interface.wanted[LIVE] = current
        self.result.wait(subject, POWER_CYCLE, reason)

    def _learnt(self, wanted: Filter | None) -> bool:
        """Whether libvirt has to learn an address for it."""
        return wanted is not None and not wanted.values(IP) and wants_address(self.filters, wanted.name)

    def _changes(self, guest: Definition, interfaces: list[_Interface]) -> None:
        xml = guest.inactive
        for interface in interfaces:
            mac, card = interface.mac, interface.persistent
            if xml is not None and card is not None and card.filter != interface.wanted[PERSISTENT]:
                xml = with_filter(xml, mac, interface.wanted[PERSISTENT])
                self._step(guest, interface, PERSISTENT, card.filter)
        if xml is not None and guest.inactive is not None and xml != guest.inactive:
            self.result.changes.append(Define(guest.uuid, guest.name, guest.inactive, xml))
        for interface in interfaces:
            if interface.live is not None and interface.live.filter != interface.wanted[LIVE]:
                before, after = interface.live.filter, interface.wanted[LIVE]
                self.result.changes.append(LiveFilter(guest.uuid, guest.name, interface.mac, before, after))
                self._step(guest, interface, LIVE, before)
            self.result.before.append(_state(guest, interface, now=True))
            self.result.after.append(_state(guest, interface, now=False))

    def _step(self, guest: Definition, interface: _Interface, place: str, before: Filter | None) -> None:
        action = "define" if place == PERSISTENT else "update"
        subject = f"interface {interface.mac} of {guest.subject}"
        after = _shown(interface.wanted[place])
        self.result.plan.append(Step(action, subject, _shown(before), after, {"where": place}))


def _interfaces(guest: Definition) -> list[_Interface]:
    """The interfaces of a guest by MAC address; none of another hypervisor's guest."""
    domain = guest.next or guest.now
    if (
        domain is None
        or domain.kind not in QEMU_KINDS
        or not domain.interfaces + (guest.now.interfaces if guest.now else [])
    ):
        return []
    interfaces: dict[str, _Interface] = {}
    for place, xml in ((PERSISTENT, guest.inactive), (LIVE, guest.live)):
        for card in cards(xml) if xml is not None else ():
            if card.mac is None:
                continue  # libvirt gives every interface that it defines one
            interface = interfaces.setdefault(card.mac, _Interface(card.mac))
            if getattr(interface, place) is not None:
                raise DomainXmlError(f"two interfaces have the MAC address {card.mac}; give each its own")
            setattr(interface, place, card)
    return list(interfaces.values())


def _shown(wanted: Filter | None) -> str | None:
    return wanted.shown() if wanted is not None else None


def _state(guest: Definition, interface: _Interface, now: bool) -> dict[str, t.Any]:
    state: dict[str, t.Any] = {
        "guest": guest.name,
        "uuid": guest.uuid,
        "mac": interface.mac,
        PERSISTENT: None,
        LIVE: None,
    }
    for place, card in interface.cards():
        state[place] = _shown(card.filter if now else interface.wanted[place])
    return state


def excluded(given: t.Iterable[str]) -> t.Iterator[str]:
    """Names, uuids and MAC addresses; the latter as libvirt writes them."""
    for key in given:
        yield key.lower() if _MAC.match(key) else key


def choices_of(given: t.Iterable[t.Mapping[str, t.Any]]) -> t.Iterator[FilterChoice]:
    """Choices as a playbook gives them: guests with their interfaces. Raises PlanError."""
    for item in given:
        guest = item["guest"]
        if item["filter"] is not None or item["parameters"] is not None:
            yield _choice(guest, None, item["filter"], item["parameters"])
        for interface in item["interfaces"]:
            yield _choice(guest, interface["mac"], interface["filter"], interface["parameters"])


def _choice(guest: str, mac: str | None, name: str | None, parameters: t.Mapping[str, t.Any] | None) -> FilterChoice:
    if mac is not None and not _MAC.match(mac):
        raise PlanError(f"guest {guest!r}: {mac[:40]!r} is not a MAC address such as 52:54:00:12:34:56", "bad_mac")
    if name is not None and not 0 < len(name) <= _MAX:
        raise PlanError(f"guest {guest!r}: {name[:80]!r} is not the name of a filter", "bad_filter_name")
    given = None if parameters is None else parameters_of(parameters)
    return FilterChoice(guest, mac.lower() if mac else None, name, given)
