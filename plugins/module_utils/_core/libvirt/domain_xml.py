# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse a guest's XML: labels, every file that libvirt may label, interfaces, and risks.

The XML is chosen by tenants in part (names, metadata, paths), so it is read with bounds and without DTDs, and
nothing in it is trusted: names and paths are passed on just as they are.

Sources: libvirt's domain XML format (formatdomain) and the status XML under /run/libvirt/qemu.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
import uuid as uuidlib
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ..errors import DomainXmlError
from ..snapshot.model import Interface, SecLabel

#: Bounds on what is read: far above any real guest, low enough to bound the memory of a hostile one.
MAX_XML = 4 * 1024 * 1024
MAX_TAGS = 200_000
#: PATH_MAX; libvirt could not use a longer path, and takes no longer name.
MAX_NAME = 4096
#: libvirt itself gives up on deeper backing chains (VIR_MAX_BACKING_CHAIN is 200).
MAX_CHAIN = 200
#: libvirt's own parser takes no more.
MAX_DEPTH = 256

#: Values of ``Domain.risks``.
RISKS: dict[str, str] = {
    "custom_argv": "<qemu:commandline> passes arguments or environment past libvirt's knowledge",
    "custom_capabilities": "<qemu:capabilities> overrides what libvirt found QEMU able to do",
    "custom_emulator": "<emulator> is outside the directories that distributions install QEMU in",
    "custom_override": "<qemu:override> changes devices behind libvirt's back",
    "external_launch": "QEMU was started by something else and attached",
    "high_privileges": "QEMU runs with high privileges (root, or with capabilities)",
    "hook_script": "a hook script has changed the guest's XML",
    "host_capability": "a device of the host is passed to a container",
    "host_filesystem": "a directory of the host is shared with the guest; sVirt does not label its files",
    "input_passthrough": "an input device of the host is passed through",
    "passthrough_lun": "raw SCSI commands of the guest reach the LUN",
    "passthrough_mdev": "a mediated device is passed through",
    "passthrough_pci": "a PCI device (a network function too) is passed through",
    "passthrough_scsi": "a SCSI device is passed through",
    "passthrough_scsi_host": "a SCSI target of the kernel (vhost-scsi) is passed through",
    "passthrough_tpm": "the TPM of the host is passed through",
    "passthrough_usb": "a USB device is passed through",
    "raw_io": "QEMU keeps CAP_SYS_RAWIO for a device",
    "shared_memory": "the guest's memory, or a memory device, is shared with other processes",
    "transient_disk": "writes to a disk go to an overlay that is thrown away",
    "unfiltered_sgio": "SCSI commands of the guest are not filtered",
    "vdpa": "a vDPA device of the host is passed through",
    "vhostuser": "another process serves a device from the guest's memory; sVirt does not label its socket",
}

#: Taints that libvirt keeps in the status XML and that are risks here.
_TAINTS = {
    "custom-argv": "custom_argv",
    "custom-ga-command": None,
    "external-launch": "external_launch",
    "high-privileges": "high_privileges",
    "hook-script": "hook_script",
}

_QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_PROLOG = re.compile(r"\A\ufeff?(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
#: A line that does not start with a tag, or a tab: in XML that libvirt wrote, a sign of one within a value.
_ODD_SPACE = re.compile(r"\n *[^ <]")
_TAG = re.compile(r"<[A-Za-z][^<>]*>")
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"")
_ESCAPES = {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"}
_NAME_IN_TEXT = re.compile(r"<name>([^<]{1,256})</name>")
_EMULATORS = ("/usr/bin/", "/usr/libexec/", "/usr/lib/", "/usr/lib64/", "/usr/sbin/", "/usr/local/bin/", "/bin/")
#: Attribute of <source> that holds the path, by type of storage.
_SOURCE_ATTRIBUTE = {"file": "file", "block": "dev", "dir": "dir", "vhostvdpa": "dev"}
_HOSTDEV_RISK = {
    "usb": "passthrough_usb",
    "pci": "passthrough_pci",
    "scsi": "passthrough_scsi",
    "scsi_host": "passthrough_scsi_host",
    "mdev": "passthrough_mdev",
}


@dataclass
class Source:
    """One file, device or other origin of a device's data."""

    type: str
    #: None where the XML holds no path (network, volume, PCI addresses); a reader may fill it in.
    path: str | None = None
    format: str | None = None
    #: <seclabel> inside <source>.
    seclabels: list[SecLabel] = field(default_factory=list)
    #: qcow2 external data file.
    data_file: Source | None = None
    #: PCI address, mediated device's uuid or SCSI address, for a reader that can resolve it.
    address: str | None = None
    pool: str | None = None
    volume: str | None = None
    #: The image is handed over as a file descriptor of this group.
    fdgroup: str | None = None


@dataclass
class Device:
    """A file or device of the host that the guest uses."""

    #: disk, cdrom, floppy, nvram, loader, kernel, initrd, shim, dtb, acpi, fw_cfg, tpm, chardev, …: see file_labels.py
    kind: str
    target: str
    source: Source
    #: Backing files, from the one below the top downwards.
    backing: list[Source] = field(default_factory=list)
    #: The XML does not say where the chain ends, so libvirt reads on in the image headers.
    open_chain: bool = False
    #: Target of a block copy or an active commit, and the files below it.
    mirror: Source | None = None
    mirror_backing: list[Source] = field(default_factory=list)
    shareable: bool = False
    readonly: bool = False
    transient: bool = False
    #: Chardev: bind or connect. TPM: its version. Host device: iommufd, where that is its backend.
    mode: str | None = None


@dataclass
class Domain:
    """A guest as its XML describes it."""

    uuid: str
    name: str
    kind: str
    #: <domain id=…>, only while the guest runs.
    id: int | None = None
    emulator: str | None = None
    seclabels: list[SecLabel] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    risks: list[str] = field(default_factory=list)
    #: libvirt's directories for this running guest, where they are known.
    state_dirs: list[str] = field(default_factory=list)
    #: Directory of the files that back the guest's memory, where QEMU keeps memory in files.
    memory_dir: str | None = None
    #: QEMU takes the guest's memory from hugetlbfs.
    hugepages: bool = False
    #: virtlogd writes the files of file chardevs (libvirt's default), so QEMU is not given their labels.
    logd: bool = True

    @property
    def short_name(self) -> str | None:
        """ID-NAME with at most twenty characters of the name, as libvirt names the guest's directories."""
        if self.id is None or "/" in self.name:
            return None
        return f"{self.id}-{self.name[:20]}"


@dataclass
class GuestStatus:
    """A running guest, from libvirt's status XML: also there when the daemon is not."""

    domain: Domain
    state: str
    reason: str | None
    pid: int | None
    #: QEMU runs in its own mount namespace.
    mount_namespace: bool = False
    #: libvirt remembers the owners of this guest's files.
    remember_owner: bool = False


def parse_domain(xml: str) -> Domain:
    """A guest from its XML (live or persistent). Raises DomainXmlError."""
    root = _root(xml)
    if root.tag != "domain":
        raise DomainXmlError(f"expected <domain>, found <{root.tag[:80]}>{_of(xml)}", "xml_root")
    return _domain(root, xml)


def parse_status(xml: str) -> GuestStatus:
    """A running guest from /run/libvirt/qemu/NAME.xml. Raises DomainXmlError."""
    root = _root(xml)
    element = root.find("domain")
    if root.tag != "domstatus" or element is None:
        raise DomainXmlError(f"expected <domstatus> around <domain>, found <{root.tag[:80]}>{_of(xml)}", "xml_root")
    domain = _domain(element, xml)
    # Written since 3.0 when virtlogd serves this guest; its absence means that QEMU opens the files itself.
    domain.logd = root.find("chardevStdioLogd") is not None
    domain.state_dirs = _state_dirs(root)
    domain.memory_dir = _attribute(root, "memoryBackingDir", "path") if _memory_in_files(element) else None
    domain.devices += _jobs(root, domain)
    taints = (_TAINTS.get(item.get("flag", "")) for item in root.findall("taint"))
    domain.risks = sorted({*domain.risks, *(risk for risk in taints if risk)})
    return GuestStatus(
        domain=domain,
        state=root.get("state", "unknown"),
        reason=root.get("reason"),
        pid=_number(root.get("pid")),
        mount_namespace=root.find("namespaces/mount") is not None,
        remember_owner=root.find("rememberOwner") is not None,
    )


def job_under_way(xml: str) -> tuple[str, str]:
    """The uuid of a running guest from its status XML, and the job that a restart of the daemon would break off.

    A backup goes on over the restart; migrating, saving, dumping, taking a snapshot and starting do not.
    """
    root = _root(xml)
    job = root.find("job")
    name = "" if job is None else _bounded(job.get("async")) or ""
    return _uuid(_text(root, "domain/uuid")), "" if name in ("none", "backup") else name


def read_xml(xml: str) -> ElementTree.Element:
    """The tree of any XML of libvirt's, within bounds, also of depth, and without a DTD. Raises DomainXmlError."""
    root = _root(xml)
    if _is_deep(root):
        raise DomainXmlError(f"the XML is nested deeper than {MAX_DEPTH} elements", "xml_too_deep")
    return root


def _state_dirs(root: ElementTree.Element) -> list[str]:
    """The guest's own, and that of its channels: libvirt 9 has it in the same folder, libvirt 11 below /run."""
    own = _attribute(root, "libDir", "path")
    channels = _attribute(root, "channelTargetDir", "path")
    beside = own and channels and channels.startswith(own.rpartition("/")[0] + "/")
    return [path for path in (own, channels if beside else None) if path]


class _Tree(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE wherever the parser meets one."""

    def doctype(self, name: str, *_ids: str | None) -> None:
        raise DomainXmlError(
            f"the XML declares a DOCTYPE ({name[:40]!r}); libvirt never writes one, so it is refused", "xml_doctype"
        )


def _root(xml: str) -> ElementTree.Element:
    if len(xml) > MAX_XML:
        raise DomainXmlError(f"XML of {len(xml)} characters is longer than {MAX_XML}{_of(xml)}", "xml_too_large")
    if xml.count("<") > MAX_TAGS:
        raise DomainXmlError(f"XML has more than {MAX_TAGS} tags{_of(xml)}", "xml_too_large")
    prolog = _PROLOG.match(xml)
    if prolog is not None and xml.startswith("<!", prolog.end()):
        raise DomainXmlError(
            f"the XML declares a DOCTYPE; libvirt never writes one, so it is refused{_of(xml)}", "xml_doctype"
        )
    try:
        # A builder in Python costs as much as all the parsing: only for what might hold a DOCTYPE.
        target = _Tree() if "<!DOCTYPE" in xml else None
        parser = ElementTree.XMLParser(target=target)  # noqa: S314 - no DTD gets here, and size is bounded
        parser.feed(_escaped(xml))
        root: ElementTree.Element = parser.close()
    except DomainXmlError:
        raise
    except (ElementTree.ParseError, ValueError) as error:
        raise DomainXmlError(f"the XML does not parse: {error}{_of(xml)}", "xml_malformed") from error
    return root


def _is_deep(root: ElementTree.Element) -> bool:
    """Whether elements are nested deeper than MAX_DEPTH."""
    level, depth = [root], 0
    while level and depth <= MAX_DEPTH:
        level, depth = [child for element in level for child in element], depth + 1
    return bool(level)


def _escaped(xml: str) -> str:
    """With line ends and tabs within values escaped: libvirt leaves them, a parser makes spaces of them.

    libvirt escapes < and > in values, so a tag ends where it seems to.
    """
    if "\t" not in xml and "\r" not in xml and not _ODD_SPACE.search(xml):
        return xml
    return _TAG.sub(lambda tag: _VALUE.sub(_escape, tag.group()), xml)


def _escape(value: re.Match[str]) -> str:
    text = value.group()
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _of(xml: str) -> str:
    """Name the guest in a message, when its XML says it."""
    match = _NAME_IN_TEXT.search(xml, 0, 65536)
    return f" (guest {match.group(1)!r})" if match else ""


def _domain(root: ElementTree.Element, xml: str) -> Domain:
    try:
        name = _text(root, "name")
        if not name:
            raise DomainXmlError("the guest has no <name>", "no_name")
        devices = root.find("devices")
        devices = ElementTree.Element("devices") if devices is None else devices
        return Domain(
            uuid=_uuid(_text(root, "uuid")),
            name=name,
            kind=root.get("type", ""),
            id=_number(root.get("id")),
            emulator=_text(devices, "emulator"),
            seclabels=[_seclabel(item) for item in root.findall("seclabel")],
            devices=[*_disks(devices), *_boot(root), *_others(devices)],
            hugepages=_in_hugepages(root),
            interfaces=[_interface(item) for item in devices.findall("interface")],
            risks=sorted(set(_risks(root, devices))),
        )
    except DomainXmlError as error:
        known = _of(xml)
        raise error if known in str(error) else DomainXmlError(f"{error}{known}", error.code) from error


def _uuid(text: str | None) -> str:
    try:
        return str(uuidlib.UUID((text or "").strip()))
    except ValueError:
        raise DomainXmlError(f"the guest has no proper <uuid>: {(text or '')[:60]!r}", "no_uuid") from None


def _seclabel(element: ElementTree.Element) -> SecLabel:
    relabel = element.get("relabel")
    return SecLabel(
        model=_bounded(element.get("model")),
        type=_bounded(element.get("type")),
        relabel=None if relabel is None else relabel == "yes",
        label=_text(element, "label"),
        imagelabel=_text(element, "imagelabel"),
        baselabel=_text(element, "baselabel"),
    )


def _source(holder: ElementTree.Element, kind: str, with_data: bool = True) -> Source:
    """The storage source below ``holder``: a disk, a backing store, a mirror, a data store or an NVRAM."""
    element = holder.find("source")
    source = Source(kind, format=_format(holder))
    if element is None:
        return source
    attribute = _SOURCE_ATTRIBUTE.get(kind)
    source.path = _bounded(element.get(attribute)) if attribute else None
    if kind == "vhostuser":
        source.path = _bounded(element.get("path"))
    elif kind == "nvme":
        source.address = _pci(element.find("address"))
    elif kind == "volume" and element.get("mode") != "direct":  # direct: QEMU itself reaches the target, by network
        source.pool, source.volume = _bounded(element.get("pool")), _bounded(element.get("volume"))
    source.fdgroup = _bounded(element.get("fdgroup"))
    source.seclabels = [_seclabel(item) for item in element.findall("seclabel")]
    store = element.find("dataStore") if with_data else None  # a data file has none of its own
    if store is not None:
        source.data_file = _source(store, store.get("type", "file"), with_data=False)
    return source


def _format(holder: ElementTree.Element) -> str | None:
    return _attribute(holder, "format", "type") or _attribute(holder, "driver", "type")


def _memory_in_files(domain: ElementTree.Element) -> bool:
    """Whether QEMU keeps memory in files of libvirt's memory directory."""
    if _attribute(domain, "memoryBacking/source", "type") == "file":
        return True
    if domain.find("memoryBacking/access") is not None:
        return True
    cells = domain.findall("cpu/numa/cell")
    modules = [item for item in domain.findall("devices/memory") if item.get("model") in ("dimm", "virtio-mem")]
    return any(cell.get("memAccess") for cell in cells) or any(item.get("access") for item in modules)


def _in_hugepages(domain: ElementTree.Element) -> bool:
    """Whether QEMU takes memory from hugetlbfs; pages of the ordinary size are not there."""
    if domain.find("memoryBacking/hugepages") is None:
        modules = [item for item in domain.findall("devices/memory") if item.get("model") in ("dimm", "virtio-mem")]
        return any(_is_huge(page) for item in modules for page in item.findall("source/pagesize"))
    pages = domain.findall("memoryBacking/hugepages/page")
    return not pages or any(not _is_ordinary(page.get("size"), page.get("unit")) for page in pages)


def _is_huge(page: ElementTree.Element) -> bool:
    return not _is_ordinary(page.text, page.get("unit"))


def _is_ordinary(size: str | None, unit: str | None) -> bool:
    return (size or "").strip() == "4" and (unit or "KiB") in ("KiB", "k", "K")


def _jobs(root: ElementTree.Element, domain: Domain) -> t.Iterator[Device]:
    """Files that block jobs and a backup of the running guest use, from the status XML around its <domain>."""
    known = {source.path for device in domain.devices for source in sources_of(device)}
    for child in root:
        if child.tag == "domain":
            continue
        yield from _backup(child)
        for job in child.iter("blockjob"):
            for holder in job.iter():
                if holder.find("source") is not None:
                    source = _source(holder, holder.get("type", "file"))
                    if source.path and source.path not in known:
                        known.add(source.path)
                        target = _attribute(job, "disk", "dst") or _bounded(job.get("name")) or ""
                        yield Device("blockjob", target, source)


def _backup(jobs: ElementTree.Element) -> t.Iterator[Device]:
    """Files that a backup of the guest writes: scratch files (pull mode), targets (push mode)."""
    for disk in jobs.iter("disk"):
        for tag in ("scratch", "target"):
            element = disk.find(tag)
            kind = disk.get("type", "file")
            attribute = _SOURCE_ATTRIBUTE.get(kind)
            path = element.get(attribute) if element is not None and attribute else None
            if element is None or not path:
                continue
            source = Source(kind, _bounded(path), format=_attribute(disk, "driver", "type"))
            source.seclabels = [_seclabel(item) for item in element.findall("seclabel")]
            yield Device("backup", _bounded(disk.get("name")) or "", source)


def sources_of(device: Device) -> t.Iterator[Source]:
    """Every source of a device: its own, its chain, its mirror, and their data files."""
    mirror = [] if device.mirror is None else [device.mirror]
    for source in (device.source, *device.backing, *mirror, *device.mirror_backing):
        yield source
        if source.data_file is not None:
            yield source.data_file


def _disks(devices: ElementTree.Element) -> t.Iterator[Device]:
    for disk in devices.findall("disk"):
        kind = disk.get("device", "disk")
        mirror = disk.find("mirror")
        yield Device(
            kind=kind if kind in ("cdrom", "floppy") else "disk",
            target=_attribute(disk, "target", "dev") or "",
            source=_source(disk, disk.get("type", "file")),
            backing=_chain(disk),
            open_chain=_is_open(disk),
            mirror=None if mirror is None else _mirror(mirror),
            mirror_backing=[] if mirror is None else _chain(mirror),
            shareable=disk.find("shareable") is not None,
            # libvirt makes every CD-ROM read-only, whatever the XML says.
            readonly=disk.find("readonly") is not None or kind == "cdrom",
            transient=disk.find("transient") is not None,
        )


def _mirror(element: ElementTree.Element) -> Source:
    mirror = _source(element, element.get("type", "file"))
    if mirror.path is None:
        mirror.path = _bounded(element.get("file"))  # the form that older versions wrote
    return mirror


def _chain(disk: ElementTree.Element) -> list[Source]:
    chain: list[Source] = []
    store = disk.find("backingStore")
    while store is not None and store.find("source") is not None:
        chain.append(_source(store, store.get("type", "file")))
        if len(chain) > MAX_CHAIN:
            raise DomainXmlError(f"a backing chain is deeper than {MAX_CHAIN}", "chain_too_deep")
        store = store.find("backingStore")
    return chain


def _is_open(disk: ElementTree.Element) -> bool:
    """Whether the XML leaves the end of the backing chain to the image headers: an empty <backingStore/> is an end."""
    holder = disk
    for _depth in range(MAX_CHAIN + 1):
        store = holder.find("backingStore")
        if store is None:
            return True
        if store.find("source") is None:
            return False
        holder = store
    return False


def _file(kind: str, path: str | None, target: str = "", readonly: bool = False) -> Device:
    return Device(kind, target, Source("file", path), readonly=readonly)


def _boot(root: ElementTree.Element) -> t.Iterator[Device]:
    os = root.find("os")
    if os is not None:
        yield from _firmware(os)
    for entry in root.findall("sysinfo[@type='fwcfg']/entry"):
        if entry.get("file"):
            yield _file("fw_cfg", _bounded(entry.get("file")), entry.get("name", ""), readonly=True)


def _firmware(os: ElementTree.Element) -> t.Iterator[Device]:
    for kind in ("kernel", "initrd", "shim", "dtb"):
        path = _text(os, kind)
        if path:
            yield _file(kind, path, readonly=True)
    for table in os.findall("acpi/table"):
        if table.text and table.text.strip():
            yield _file("acpi", _bounded(table.text.strip()), table.get("type", ""), readonly=True)
    loader = _text(os, "loader")
    if loader:
        yield _file("loader", loader, readonly=True)
    nvram = os.find("nvram")
    if nvram is not None:
        yield _nvram(nvram)
    varstore = _attribute(os, "varstore", "path")
    if varstore:
        yield _file("nvram", _bounded(varstore))


def _nvram(element: ElementTree.Element) -> Device:
    if element.find("source") is not None:
        source = _source(element, element.get("type", "file"))
        source.format = source.format or element.get("format")
        return Device("nvram", "", source, backing=_chain(element), open_chain=_is_open(element))
    return _file("nvram", _bounded((element.text or "").strip() or None))


def _others(devices: ElementTree.Element) -> t.Iterator[Device]:
    yield from _chardevs(devices)
    for item in devices.findall("hostdev"):
        yield _hostdev(item, item.get("type", ""))
    for item in devices.findall("filesystem"):
        yield _filesystem(item)
    for item in devices.findall("tpm"):
        yield _tpm(item)
    for item in devices.findall("smartcard"):
        yield from _smartcard(item)
    for item in devices.findall("input"):
        path = _attribute(item, "source", "evdev") or _attribute(item, "source", "dev")
        if path:
            yield _file("input", _bounded(path))
    for item in devices.findall("memory"):
        yield from _memory(item)
    for item in devices.findall("pstore"):
        yield _file("pstore", _text(item, "path"))
    if devices.find("vsock") is not None:
        yield _file("vsock", "/dev/vhost-vsock")
    yield from _interface_devices(devices)
    yield from _taps(devices)
    for item in devices.findall("interface[@type='vhostuser']"):
        path = _attribute(item, "source", "path")
        if path:
            yield _file("vhostuser", _bounded(path), _attribute(item, "mac", "address") or "")


def _interface_devices(devices: ElementTree.Element) -> t.Iterator[Device]:
    """Host devices behind interfaces: by their own type, or by what their network resolved to."""
    for item in devices.findall("interface"):
        actual = item.find("actual")
        holder = actual if actual is not None and actual.get("type") == "hostdev" else item
        if holder.get("type") != "hostdev" or (holder is item and actual is not None):
            continue
        address = holder.find("source/address")
        type_ = "pci" if address is None else address.get("type", "pci")
        device = _hostdev(holder, type_)
        device.target = _attribute(item, "alias", "name") or _attribute(item, "mac", "address") or ""
        yield device


def _taps(devices: ElementTree.Element) -> t.Iterator[Device]:
    """macvtap interfaces, each with its name on the host; only a running guest has one.

    One that somebody made before the start is given to the guest as type ethernet, as ordinary taps are.
    """
    for item in devices.findall("interface"):
        type_ = _attribute(item, "actual", "type") or item.get("type")
        if type_ in ("direct", "ethernet"):
            source = Source(type_, address=_attribute(item, "target", "dev"))
            yield Device("tap", _attribute(item, "alias", "name") or _attribute(item, "mac", "address") or "", source)


def _chardevs(devices: ElementTree.Element) -> t.Iterator[Device]:
    # These four are what libvirt walks; redirdev, rng and shmem sockets get no label.
    for tag in ("serial", "parallel", "channel", "console"):
        for item in devices.findall(tag):
            device = _chardev(item, "chardev")
            if device is not None:
                device.target = _attribute(item, "target", "name") or f"{tag}{_attribute(item, 'target', 'port') or ''}"
                yield device


def _chardev(item: ElementTree.Element, kind: str) -> Device | None:
    element = item.find("source")
    type_ = item.get("type", "")
    if element is None or type_ not in ("file", "dev", "pipe", "unix"):
        return None
    source = Source(type_, _bounded(element.get("path")))
    source.seclabels = [_seclabel(label) for label in element.findall("seclabel")]
    return Device(kind, "", source, mode=element.get("mode"))


def _smartcard(item: ElementTree.Element) -> t.Iterator[Device]:
    if item.get("mode") == "host-certificates":
        yield _file("smartcard", _text(item, "database") or "/etc/pki/nssdb", readonly=True)
    elif item.get("mode") == "passthrough":
        device = _chardev(item, "smartcard_chardev")
        if device is not None:
            yield device


def _hostdev(item: ElementTree.Element, type_: str) -> Device:
    element = item.find("source")
    source = Source(type_)
    if element is not None:
        if item.get("mode") == "capabilities":
            source.path = _text(element, "block") or _text(element, "char")
        elif type_ == "usb":
            source.path = _usb_node(element)
        elif type_ == "pci":
            source.address = _pci(element.find("address"))
        elif type_ == "mdev":
            source.address = _attribute(element, "address", "uuid")
        elif type_ == "scsi_host":
            source.path = "/dev/vhost-scsi"
        elif type_ == "scsi" and element.get("protocol") != "iscsi":
            source.address = _scsi(element)
    return Device(
        "hostdev",
        _attribute(item, "alias", "name") or "",
        source,
        shareable=item.find("shareable") is not None,
        readonly=item.find("readonly") is not None,
        mode="iommufd" if _attribute(item, "driver", "iommufd") == "yes" else None,
    )


def _usb_node(source: ElementTree.Element) -> str | None:
    address = source.find("address")
    if address is None or source.get("missing") == "yes":
        return None
    bus, device = _number(address.get("bus")), _number(address.get("device"))
    return None if bus is None or device is None else f"/dev/bus/usb/{bus:03d}/{device:03d}"


def _scsi(source: ElementTree.Element) -> str | None:
    """ADAPTER:BUS:TARGET:UNIT, as in /sys/bus/scsi/devices when the adapter is a host number."""
    adapter, address = _attribute(source, "adapter", "name"), source.find("address")
    if not adapter or address is None:
        return None
    number = adapter[len("scsi_host") :] if adapter.startswith("scsi_host") else adapter
    return ":".join([number, *(address.get(part, "0") for part in ("bus", "target", "unit"))])


def _pci(address: ElementTree.Element | None) -> str | None:
    """DDDD:BB:SS.F, as in /sys/bus/pci/devices."""
    if address is None:
        return None
    parts = [_hex(address.get(part, "0")) for part in ("domain", "bus", "slot", "function")]
    if any(part is None for part in parts):
        return None
    domain, bus, slot, function = (part or 0 for part in parts)
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _filesystem(item: ElementTree.Element) -> Device:
    element = item.find("source")
    path = None
    if element is not None:
        path = next((element.get(name) for name in ("dir", "file", "dev", "socket") if element.get(name)), None)
    target = _attribute(item, "target", "dir") or ""
    source = Source(item.get("type", "mount"), _bounded(path))
    return Device("filesystem", target, source, readonly=item.find("readonly") is not None)


def _tpm(item: ElementTree.Element) -> Device:
    backend = item.find("backend")
    type_ = backend.get("type", "") if backend is not None else ""
    source = Source(type_)
    if backend is not None:
        if type_ == "passthrough":
            source.path = _bounded(_attribute(backend, "device", "path")) or "/dev/tpm0"
        elif type_ in ("emulator", "external"):
            source.path = _bounded(_attribute(backend, "source", "path"))
            # A state file or block device of its own, in place of the directory.
            source.format = _attribute(backend, "source", "type")
    return Device("tpm", "", source, mode=backend.get("version") if backend is not None else None)


def _memory(item: ElementTree.Element) -> t.Iterator[Device]:
    model = item.get("model", "")
    if model in ("nvdimm", "virtio-pmem", "egm"):
        yield _file("memory", _text(item, "source/path"), model)
    elif model == "sgx-epc":
        yield _file("memory", "/dev/sgx_vepc", model)
        yield _file("memory", "/dev/sgx_provision", model)


def _interface(item: ElementTree.Element) -> Interface:
    source = item.find("source")
    origin = None
    if source is not None:
        names = ("network", "bridge", "dev", "path", "name")
        origin = next((source.get(name) for name in names if source.get(name)), None)
    reference = item.find("filterref")
    # Live XML has, beside the defined type, the type that the network resolved to.
    actual = _attribute(item, "actual", "type")
    parameters = [] if reference is None else reference.findall("parameter")
    return Interface(
        type=actual if actual in ("direct", "hostdev") else item.get("type", ""),
        mac=_attribute(item, "mac", "address"),
        source=_bounded(origin),
        target=_attribute(item, "target", "dev"),
        filter=None if reference is None else _bounded(reference.get("filter")),
        parameters=sorted(f"{parameter.get('name', '')}={parameter.get('value', '')}" for parameter in parameters),
        virtualport=_attribute(item, "actual/virtualport", "type") or _attribute(item, "virtualport", "type"),
    )


def _risks(root: ElementTree.Element, devices: ElementTree.Element) -> t.Iterator[str]:
    for tag, risk in (
        ("commandline", "custom_argv"),
        ("capabilities", "custom_capabilities"),
        ("override", "custom_override"),
    ):
        if root.find(_QEMU + tag) is not None:
            yield risk
    emulator = _text(devices, "emulator")
    if emulator and (not emulator.startswith(_EMULATORS) or "/../" in emulator):
        yield "custom_emulator"
    if _attribute(root, "memoryBacking/access", "mode") == "shared" or devices.find("shmem") is not None:
        yield "shared_memory"
    for tag, risk in (("filesystem", "host_filesystem"), ("tpm/backend[@type='passthrough']", "passthrough_tpm")):
        if devices.find(tag) is not None:
            yield risk
    if any(_attribute(item, "source", "evdev") or _attribute(item, "source", "dev") for item in devices.iter("input")):
        yield "input_passthrough"
    for item in devices.findall("hostdev"):
        yield "host_capability" if item.get("mode") == "capabilities" else _HOSTDEV_RISK.get(item.get("type", ""), "")
        yield from _scsi_risks(item)
    yield from _disk_risks(devices)
    yield from _interface_risks(devices)


def _scsi_risks(item: ElementTree.Element) -> t.Iterator[str]:
    if item.get("rawio") == "yes":
        yield "raw_io"
    if item.get("sgio") == "unfiltered":
        yield "unfiltered_sgio"


def _disk_risks(devices: ElementTree.Element) -> t.Iterator[str]:
    for disk in devices.findall("disk"):
        yield from _scsi_risks(disk)
        if disk.get("device") == "lun":
            yield "passthrough_lun"
        if disk.get("type") == "nvme":  # the whole controller is the guest's
            yield "passthrough_pci"
        if disk.get("type") in ("vhostuser", "vhostvdpa"):
            yield "vhostuser" if disk.get("type") == "vhostuser" else "vdpa"
        if disk.find("transient") is not None:
            yield "transient_disk"


def _interface_risks(devices: ElementTree.Element) -> t.Iterator[str]:
    kinds = {"vhostuser": "vhostuser", "hostdev": "passthrough_pci", "vdpa": "vdpa"}
    for item in devices.findall("interface"):
        for type_ in (item.get("type"), _attribute(item, "actual", "type")):
            if type_ in kinds:
                yield kinds[type_]


def _text(element: ElementTree.Element, path: str) -> str | None:
    """Text of the element at ``path``, just as it is; None when there is none."""
    return _bounded(element.findtext(path) or None)


def _attribute(element: ElementTree.Element, path: str, name: str) -> str | None:
    child = element.find(path)
    return None if child is None else _bounded(child.get(name))


def _bounded(text: str | None) -> str | None:
    if text is not None and len(text) > MAX_NAME:
        raise DomainXmlError(
            f"a name or path of {len(text)} characters, {text[:40]!r}…, is longer than {MAX_NAME}", "text_too_long"
        )
    return text


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else None


def _hex(text: str) -> int | None:
    try:
        return int(text, 0) if len(text) < 12 else None
    except ValueError:
        return None
