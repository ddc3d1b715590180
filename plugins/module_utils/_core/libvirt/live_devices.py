# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware of a running guest that its persistent XML does not have: a power cycle would take it away.

``virsh attach-device --live`` and live snapshots without a change of the definition leave such devices. Devices are
compared by what they are (target and source of a disk, MAC address of an interface, address of a host device), not by
their XML: live XML has aliases, addresses, run-time paths and backing chains that the definition lacks.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from xml.etree import ElementTree

from .domain_xml import read_xml

#: Devices that every start makes anew, or that cannot be attached to a running guest.
_NOT_HARDWARE = frozenset(("emulator", "controller", "graphics", "video", "audio", "memballoon", "console"))
#: Media that a guest may eject by itself.
_REMOVABLE = ("cdrom", "floppy")
#: Attributes of a source that name no storage.
_RUN_TIME = frozenset(("index", "startupPolicy", "mode", "portid", "bridge"))
#: What an interface is connected to, in the order in which a definition says it.
_WIRES = ("network", "bridge", "dev", "path")
#: Children of a source that name storage or a device of the host.
_NAMING = frozenset(("host", "address", "adapter", "vendor", "product", "block", "char", "interface"))
#: Devices whose type is the host's end of a line, which live XML may write in another way.
_CHARACTER = frozenset(("serial", "parallel", "channel"))

_Item = tuple[str, ...]
_Source = frozenset[tuple[str, str]]


def live_only(live: str, inactive: str) -> list[str]:
    """The devices of a running guest that its persistent XML does not have, named. Raises DomainXmlError."""
    now, then = _devices(live), _devices(inactive)
    lost = [*_disks(now, then), *_interfaces(now, then), *_host_devices(now, then)]
    others, kept = _others(now), _others(then)
    for item, count in others.items():
        if count > kept[item]:
            lost.append(" ".join(part for part in item if part)[:200])
    return lost


def block_jobs(live: str) -> list[str]:
    """The disks of a running guest that a block job mirrors or commits. Raises DomainXmlError."""
    return [_named(disk) for disk in _devices(live) if disk.tag == "disk" and disk.find("mirror") is not None]


def reboots_instead(live: str) -> bool:
    """Whether libvirt has a running guest reboot where it is told to shut down. Raises DomainXmlError."""
    return (read_xml(live).findtext("on_poweroff") or "").strip() in ("restart", "rename-restart")


def disk_targets(live: str) -> list[str]:
    """The targets of a running guest's disks, such as vda. Raises DomainXmlError."""
    return [target for disk in _devices(live) if disk.tag == "disk" and (target := _target(disk))]


def _devices(xml: str) -> list[ElementTree.Element]:
    return [device for devices in read_xml(xml).findall("devices") for device in devices]


# -- disks -------------------------------------------------------------------------------------------------------------


def _disks(now: t.Sequence[ElementTree.Element], then: t.Sequence[ElementTree.Element]) -> t.Iterator[str]:
    kept = {_target(disk): disk for disk in then if disk.tag == "disk"}
    for disk in now:
        if disk.tag != "disk":
            continue
        source, other = _source(disk), kept.get(_target(disk))
        if other is None:
            yield _named(disk)
        elif not _kept(disk, source, other):
            yield f"{_named(disk)}, whose definition has {_place(other)}"


def _kept(disk: ElementTree.Element, source: _Source, other: ElementTree.Element) -> bool:
    """Whether the definition (``other``) has the storage that a running guest's disk has."""
    defined = _source(other)
    if source == defined or other.find("transient") is not None:
        return True
    if not source:
        return disk.get("device") in _REMOVABLE  # ejected
    # Live XML of a network disk has ports that the definition leaves out.
    return bool(defined) and defined <= source


def _target(disk: ElementTree.Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _source(device: ElementTree.Element) -> _Source:
    """What a source names, without what only a running guest has."""
    source = device.find("source")
    if source is None:
        return frozenset()
    parts = {(name, value) for name, value in source.attrib.items() if name not in _RUN_TIME}
    for child in source:
        if child.tag in _NAMING:
            parts |= {(f"{child.tag}.{name}", _number(value)) for name, value in child.attrib.items()}
            if (child.text or "").strip():
                parts.add((child.tag, (child.text or "").strip()))
    return frozenset(parts)


def _number(value: str) -> str:
    """Numbers of addresses are written as 0x00, 0x0 or 0."""
    try:
        return str(int(value, 0))
    except ValueError:
        return value


def _named(disk: ElementTree.Element) -> str:
    return f"{disk.get('device') or 'disk'} {_target(disk)} ({_place(disk)})"


def _place(disk: ElementTree.Element) -> str:
    return " ".join(value for _name, value in sorted(_source(disk)))[:200] or "no medium"


# -- interfaces and devices of the host --------------------------------------------------------------------------------


def _interfaces(now: t.Sequence[ElementTree.Element], then: t.Sequence[ElementTree.Element]) -> t.Iterator[str]:
    kept: dict[str, list[ElementTree.Element]] = {}
    for card in then:
        if card.tag == "interface":
            kept.setdefault(_mac(card), []).append(card)
    for card in now:
        if card.tag != "interface":
            continue
        others = kept.get(_mac(card), [])
        if not others:
            yield f"interface {_mac(card) or 'without a MAC address'}"
            continue
        place, defined = _wire(card, others.pop(0))
        if place != defined:
            yield f"the connection of interface {_mac(card)} to {place}, whose definition has {defined}"


def _wire(card: ElementTree.Element, other: ElementTree.Element) -> tuple[str, str]:
    """What the two connect an interface to, as far as both say it: live XML adds what a network chose."""
    sources = [device.find("source") for device in (card, other)]
    texts = [{} if source is None else source.attrib for source in sources]
    for name in _WIRES:
        if name in texts[1]:  # live XML of a network's host device does not name the network
            return texts[0].get(name, texts[1][name]), texts[1][name]
    return "", ""


def _mac(card: ElementTree.Element) -> str:
    mac = card.find("mac")
    return "" if mac is None else mac.get("address", "").lower()


def _host_devices(now: t.Sequence[ElementTree.Element], then: t.Sequence[ElementTree.Element]) -> t.Iterator[str]:
    kept = [(_kind(device), _source(device)) for device in then if device.tag == "hostdev"]
    for device in now:
        if device.tag != "hostdev":
            continue
        kind, source = _kind(device), _source(device)
        # Live XML of a USB device has its bus and number beside vendor and product.
        match = next((item for item in kept if item[0] == kind and item[1] <= source), None)
        if match is None:
            place = " ".join(f"{name.rpartition('.')[2]}={value}" for name, value in sorted(source))
            yield f"hostdev {' '.join(kind)} ({place[:200]})"
        else:
            kept.remove(match)


def _kind(device: ElementTree.Element) -> _Item:
    return tuple(filter(None, (device.get("mode", "subsystem"), device.get("type", ""))))


# -- all other devices -------------------------------------------------------------------------------------------------


def _others(devices: t.Iterable[ElementTree.Element]) -> Counter[_Item]:
    """How many devices there are of each kind, told apart by what a definition says of them."""
    special = _NOT_HARDWARE | {"disk", "interface", "hostdev"}
    return Counter(_item(device) for device in devices if device.tag not in special)


def _item(device: ElementTree.Element) -> _Item:
    target = device.find("target")
    parts = [device.tag, device.get("model", ""), device.get("bus", ""), device.get("name", "")]
    parts += [] if device.tag in _CHARACTER else [device.get("type", "")]
    if target is not None:
        parts += [target.get(name, "") for name in ("type", "name", "dir", "dev")]
        parts += [(target.findtext(name) or "").strip() for name in ("size", "node")]
    parts += [(device.findtext(name) or "").strip() for name in ("lockspace", "key")]
    return tuple(parts)
