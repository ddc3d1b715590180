# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read libvirt's state over one read-only connection. Runs in a child with a deadline: see deadline.py.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import re
import sys
import typing as t
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ..._core.errors import DomainXmlError, HostReadError
from ..._core.libvirt.network_filter import parse_filter, parse_network
from ..._core.result import Reason
from ..._core.snapshot.model import Network, NetworkFilter, SecurityModel
from ..base.deadline import alive
from ..base.root import Root, trouble

_OS_RELEASE = "/etc/os-release"
_EL8 = "PLATFORM_ID=platform:el8"
QEMU_URI = "qemu:///system"
XEN_URI = "xen:///system"

_STATES = ("unknown", "running", "running", "paused", "shutoff", "shutoff", "crashed", "pmsuspended")
_PERSISTENT = 4  # VIR_CONNECT_LIST_DOMAINS_PERSISTENT
_INACTIVE = 2  # VIR_DOMAIN_XML_INACTIVE
_STATS_STATE = 1  # VIR_DOMAIN_STATS_STATE
_MODELS = re.compile(r"<secmodel>.*</secmodel>", re.DOTALL)
_MAX_CAPABILITIES = 16 * 1024 * 1024
#: What reading capabilities may take: where libvirt has not kept them it runs each QEMU of the host first, which takes
#: half a minute, and minutes on an emulated host.
CAPABILITIES_SECONDS = 180.0
#: The step, for whoever waits for it.
CAPABILITIES = "getCapabilities, for which it may first have to try each QEMU"


@dataclass(repr=False, eq=False)
class ListedGuest:
    """A guest as libvirt lists it."""

    uuid: str
    name: str
    state: str
    active: bool
    persistent: bool
    #: Live XML, where the status file does not already give it.
    live: str | None = None
    #: Persistent XML.
    inactive: str | None = None
    error: str = ""


@dataclass(repr=False, eq=False)
class LibvirtAnswer:
    """The daemon's answer."""

    connected: bool = False
    driver: str | None = None
    version: str | None = None
    models: list[SecurityModel] | None = None
    filters: list[NetworkFilter] | None = None
    networks: list[Network] | None = None
    #: All was listed; at most the capabilities are missing.
    listed: bool = False
    guests: list[ListedGuest] = field(default_factory=list)
    #: Why the answer is not whole.
    problem: str = ""
    #: Why the capabilities are not known although libvirt gave them.
    unread: Reason | None = None


def ask(uri: str, known: t.Collection[str]) -> t.Iterator[dict[str, t.Any]]:
    """Everything wanted of the daemon, item by item. Live XML is left out for names in ``known``.

    Only for a child: the binding is imported here, and nothing here has a deadline of its own.
    """
    try:
        import libvirt  # here, not above: half a second on a slow host, and a child's business only
    except ImportError as error:
        raise HostReadError(missing_binding(Root()), "no_binding") from error
    libvirt.registerErrorHandler(lambda *_args: None, None)
    try:
        alive("openReadOnly")
        connection = libvirt.openReadOnly(uri)
        yield {"driver": connection.getType(), "version": connection.getLibVersion()}
        alive("listAllDomains")
        persistent = {domain.UUIDString() for domain in connection.listAllDomains(_PERSISTENT)}
        for domain, state in _states(libvirt, connection):
            yield _domain(libvirt, domain, state, domain.UUIDString() in persistent, known)
        # A daemon may have neither: drivers of their own, which distributions package by themselves.
        alive("listAllNWFilters")
        yield {"filters": texts(libvirt, connection.listAllNWFilters)}
        alive("listAllNetworks")
        yield {"networks": texts(libvirt, connection.listAllNetworks)}
        # Last, for it may be large and slow: all else is read by then.
        alive(CAPABILITIES, CAPABILITIES_SECONDS)
        yield {"capabilities": connection.getCapabilities()}
    except libvirt.libvirtError as error:
        raise HostReadError(str(error), "libvirt_error") from error


def missing_binding(root: Root) -> str:
    """Why there is no binding, and what helps."""
    missing = f"Python {sys.version.split()[0]} has no libvirt binding"
    try:
        release = root.read_text(_OS_RELEASE)
    except (OSError, HostReadError):
        release = ""
    if any(line.replace('"', "").strip() == _EL8 for line in release.split("\n")):
        return f"{missing}; it cannot be had here: EL 8 has python3-libvirt for Python 3.6 only, which Ansible has left"
    return f"{missing}; install python3-libvirt"


def identity(item: dict[str, t.Any]) -> str:
    """What an item of ``ask`` is about: a guest, or something of the daemon."""
    return str(item["uuid"]) if "uuid" in item else ",".join(item)


def texts(libvirt: t.Any, listing: t.Callable[[], t.Iterable[t.Any]]) -> list[str] | None:
    """The XML of each thing in a list of libvirt's; None where there is no such list. What goes meanwhile is left out.

    Like ``ask``, only for a child.
    """
    try:
        things = listing()
    except libvirt.libvirtError:
        return None
    xmls: list[str] = []
    for thing in things:
        with contextlib.suppress(libvirt.libvirtError):
            xmls.append(thing.XMLDesc(0))
    return xmls


def _states(libvirt: t.Any, connection: t.Any) -> list[tuple[t.Any, int]]:
    """All guests with their states: one call where the driver has it, else one for each."""
    try:
        return [(domain, stats.get("state.state", 0)) for domain, stats in connection.getAllDomainStats(_STATS_STATE)]
    except libvirt.libvirtError:
        return [(domain, domain.state()[0]) for domain in connection.listAllDomains()]


def _domain(libvirt: t.Any, domain: t.Any, state: int, persistent: bool, known: t.Collection[str]) -> dict[str, t.Any]:
    item: dict[str, t.Any] = {
        "uuid": domain.UUIDString(),
        "name": domain.name(),
        "state": _STATES[state] if 0 <= state < len(_STATES) else "unknown",
        "active": domain.ID() != -1,
        "persistent": persistent,
    }
    try:
        if item["active"] and item["name"] not in known:
            item["live"] = domain.XMLDesc(0)
        if persistent:
            item["inactive"] = domain.XMLDesc(_INACTIVE)
    except (libvirt.libvirtError, UnicodeDecodeError) as error:
        item["error"] = f"libvirt: {error}"[:500]
    return item


def gather(items: t.Iterable[dict[str, t.Any]]) -> t.Iterator[ListedGuest | LibvirtAnswer]:
    """Typed data from a child's items: each guest as it comes, and at the end what is known of the daemon."""
    answer = LibvirtAnswer()
    for item in items:
        answer.connected = True
        if "uuid" in item:
            yield ListedGuest(**item)
        elif "driver" in item:
            answer.driver = item["driver"]
            number = int(item["version"])
            answer.version = f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
        elif "filters" in item:
            answer.filters = filters(item["filters"])
        elif "networks" in item:
            answer.networks = networks(item["networks"])
            answer.listed = True
        else:
            try:
                answer.models = security_models(item["capabilities"])
            except HostReadError as error:
                answer.unread = trouble(error)
    yield answer


def filters(xmls: list[str] | None) -> list[NetworkFilter] | None:
    """Network filters from their XML, by name; None when one of them cannot be read."""
    try:
        return None if xmls is None else sorted(map(parse_filter, xmls), key=lambda item: item.name)
    except DomainXmlError:
        return None


def networks(xmls: list[str] | None) -> list[Network] | None:
    """Networks from their XML, by name; None when one of them cannot be read."""
    try:
        return None if xmls is None else sorted(map(parse_network, xmls), key=lambda item: item.name)
    except DomainXmlError:
        return None


def security_models(capabilities: str) -> list[SecurityModel]:
    """The security drivers in the host's capabilities, in their order. Raises HostReadError."""
    match = _MODELS.search(capabilities[:_MAX_CAPABILITIES])
    if match is None:
        return []
    try:
        root = ElementTree.fromstring(f"<all>{match.group(0)}</all>")  # noqa: S314 - the daemon's own, no DTD inside
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: characters that are no UTF-8
        raise HostReadError(f"libvirt's capabilities do not parse: {error}", "capabilities_malformed") from error
    return [
        SecurityModel(
            model=item.findtext("model") or "",
            doi=item.findtext("doi") or "",
            baselabels={base.get("type", ""): base.text or "" for base in item.findall("baselabel")},
        )
        for item in root.findall("secmodel")
    ]
