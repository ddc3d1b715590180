# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for libvirt's read-write connection: guests as texts of XML, changed as libvirt would change them."""

from __future__ import annotations

import re
import typing as t
import uuid as uuidlib
from dataclasses import dataclass, field

from . import factory

CAPABILITIES = f"""
<capabilities><host><secmodel><model>selinux</model><doi>0</doi>
<baselabel type='kvm'>{factory.process_label("s0")}</baselabel>
<baselabel type='qemu'>{factory.process_label("s0", "svirt_tcg_t")}</baselabel></secmodel>
<secmodel><model>dac</model><doi>0</doi></secmodel></host></capabilities>
"""
PARTS = ("no-mac-spoofing", "no-ip-spoofing", "no-arp-spoofing")


def uuid(name: str) -> str:
    """The uuid of a guest of that name."""
    return str(uuidlib.uuid5(uuidlib.NAMESPACE_DNS, name))


def filter_xml(name: str, *references: str, variable: str = "") -> str:
    """A network filter that refers to others, or passes what has the variable's value and drops the rest."""
    refs = "".join(f"<filterref filter='{one}'/>" for one in references)
    rules = f"<rule action='return' direction='out'><ip srcipaddr='${variable}'/></rule>" if variable else ""
    rules += "<rule action='drop' direction='out' priority='1000'/>" if variable else ""
    return f"<filter name='{name}'>{refs}{rules}</filter>"


STOCK = {
    "clean-traffic": filter_xml("clean-traffic", *PARTS),
    "no-mac-spoofing": filter_xml("no-mac-spoofing", variable="MAC"),
    "no-ip-spoofing": filter_xml("no-ip-spoofing", variable="IP"),
    "no-arp-spoofing": filter_xml("no-arp-spoofing", variable="IP"),
}


def card(mac: str, filterref: str = "", kind: str = "bridge", source: str = "bridge='br0'", more: str = "") -> str:
    """An interface, as libvirt writes it."""
    lines = [f"<mac address='{mac}'/>", f"<source {source}/>", "<model type='virtio'/>", more, filterref]
    body = "".join(f"\n      {line}" for line in lines if line)
    return f"    <interface type='{kind}'>{body}\n    </interface>\n"


def seclabel(kind: str = "static", label: str = "", relabel: str = "yes") -> str:
    """The <seclabel> for SELinux, as libvirt writes it."""
    if kind == "none":
        return "  <seclabel type='none' model='selinux'/>\n"
    head = f"  <seclabel type='{kind}' model='selinux' relabel='{relabel}'"
    return f"{head}>\n    <label>{label}</label>\n  </seclabel>\n" if label else f"{head}/>\n"


def domain(name: str, label: str = "", cards: str = "", kind: str = "kvm", more: str = "") -> str:
    """A guest's XML, as libvirt writes it."""
    return (
        f"<domain type='{kind}'>\n  <name>{name}</name>\n  <uuid>{uuid(name)}</uuid>\n"
        f"  <metadata>\n    <x:y xmlns:x='urn:x'><![CDATA[<seclabel type='none'/>]]></x:y>\n  </metadata>\n{more}"
        f"  <devices>\n    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n{cards}  </devices>\n{label}"
        "  <seclabel type='dynamic' model='dac' relabel='yes'/>\n</domain>\n"
    )


class Error(Exception):
    """The binding's own exception."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code

    def get_error_code(self) -> int:
        return self.code


@dataclass(eq=False)
class FakeGuest:
    """One guest. ``label_of`` gives the label that a start gives it."""

    host: FakeHost
    uuid: str
    title: str
    inactive: str | None
    live: str | None = None
    process: str | None = None
    answers_acpi: bool = True
    saved: bool = False
    starts: bool = True
    #: virDomainState while it is active: 1 runs, 3 paused, 6 crashed, 7 asleep.
    stands: int = 1
    #: Operation of a job that is under way (virDomainJobOperation), and targets of disks with a block job.
    job: int = 0
    block_jobs: tuple[str, ...] = ()

    def UUIDString(self) -> str:  # noqa: N802 - the binding's name
        return self.uuid

    def name(self) -> str:
        return self.title

    def isActive(self) -> int:  # noqa: N802 - as above
        return int(self.live is not None)

    def isPersistent(self) -> int:  # noqa: N802 - as above
        return int(self.inactive is not None)

    def hasManagedSaveImage(self) -> int:  # noqa: N802 - as above
        return int(self.saved)

    def state(self) -> list[int]:
        return [self.stands if self.live is not None else 5, 0]

    def jobInfo(self) -> list[int]:  # noqa: N802 - as above
        return [2 if self.job else 0, 0, 0, 0]

    def jobStats(self) -> dict[str, int]:  # noqa: N802 - as above
        return {"operation": self.job}

    def blockJobInfo(self, target: str, flags: int) -> dict[str, int]:  # noqa: N802 - as above
        assert flags == 0
        return {"type": 4} if target in self.block_jobs else {}

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - as above
        text = self.inactive if flags & 2 else self.live
        assert text is not None
        return text

    def securityLabel(self) -> list[t.Any]:  # noqa: N802 - as above
        if self.live is None:
            raise Error("domain is not running")
        return [self.process or "", 1]

    def updateDeviceFlags(self, xml: str, flags: int) -> None:  # noqa: N802 - as above
        assert flags == 1
        self.host.calls.append(f"update {self.title}")
        if self.host.refuse_update:
            raise Error("failed to add new filter rules to 'vnet0' - attempting to restore old rules")
        mac = re.search(r"<mac address='([^']+)'", xml)
        assert mac is not None
        assert self.live is not None
        pieces = re.split(r"(<interface.*?</interface>)", self.live, flags=re.DOTALL)
        result = [number for number, piece in enumerate(pieces) if mac[0] in piece]
        assert len(result) == 1
        # As libvirt does: the interface of a network is listed as its <actual> element.
        kind = re.match(r"<interface type='\w+'", pieces[result[0]])
        assert kind is not None
        pieces[result[0]] = re.sub(r"^<interface type='\w+'", kind[0], xml)
        self.live = "".join(pieces)

    def shutdown(self) -> None:
        self.host.calls.append(f"shutdown {self.title}")
        if self.answers_acpi:
            self.live = self.process = None

    def destroyFlags(self, flags: int) -> None:  # noqa: N802 - as above
        assert flags == 1
        self.host.calls.append(f"destroy {self.title}")
        self.live = self.process = None

    def create(self) -> None:
        self.host.calls.append(f"create {self.title}")
        if not self.starts:
            raise Error("unable to set security context")
        assert self.inactive is not None
        label = re.search(r"<label>([^<]*svirt[^<]*)</label>", self.inactive)
        self.live, self.process = self.inactive, label[1] if label else factory.process_label("s0:c900,c901")


@dataclass
class FakeHost:
    """A connection, and the binding that it is from."""

    guests: dict[str, FakeGuest] = field(default_factory=dict)
    filters: dict[str, str] | None = field(default_factory=lambda: dict(STOCK))
    networks: list[str] = field(default_factory=list)
    capabilities: str = CAPABILITIES
    calls: list[str] = field(default_factory=list)
    #: What libvirt makes of a definition beside what was meant.
    twist: t.Callable[[str], str] = staticmethod(lambda xml: xml)
    refuse_update: bool = False
    libvirtError = Error  # noqa: N815 - the binding's name

    def add(self, name: str, inactive: str | None, live: str | None = None, **more: t.Any) -> FakeGuest:
        """A guest of the host."""
        self.guests[uuid(name)] = guest = FakeGuest(self, uuid(name), name, inactive, live, **more)
        return guest

    def getCapabilities(self) -> str:  # noqa: N802 - as above
        return self.capabilities

    def listAllDomains(self) -> list[FakeGuest]:  # noqa: N802 - as above
        return list(self.guests.values())

    def listAllNWFilters(self) -> list[Text]:  # noqa: N802 - as above
        if self.filters is None:
            raise Error("this function is not supported by the connection driver")
        return [Text(xml) for xml in self.filters.values()]

    def listAllNetworks(self) -> list[Text]:  # noqa: N802 - as above
        return [Text(xml) for xml in self.networks]

    def lookupByUUIDString(self, key: str) -> FakeGuest:  # noqa: N802 - as above
        if key not in self.guests:
            raise Error("Domain not found", 42)
        return self.guests[key]

    def defineXML(self, xml: str) -> FakeGuest:  # noqa: N802 - as above
        result = re.search(r"<uuid>([^<]*)</uuid>", xml)
        assert result is not None
        guest = self.guests[result[1]]
        self.calls.append(f"define {guest.title}")
        guest.inactive = self.twist(xml)
        return guest


@dataclass(frozen=True)
class Text:
    """Something that has XML."""

    xml: str

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - as above
        return self.xml
