# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of a guest's files, as libvirt's SELinux driver sets and leaves them.

Three labels are given: the guest's own image label (its categories), the shared label (the image type at ``s0``,
open to every guest) and the content label (read-only for every guest).

A label depends on the XML and on history. Below the top of a chain a file has the content label when the guest
started with it there. A live snapshot, a block commit (completed or aborted) and a transient overlay put files there
that had or get the guest's own label, and libvirt leaves it. At stop only the top of a chain, its data file and the
files of the guest alone are restored: a shareable or read-only file, or one below the top, keeps what it has.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..errors import LabelError
from ..result import Reason
from ..selinux import context as labels
from ..snapshot.model import Resource, SecLabel
from .domain_xml import Device, Domain, Source

# Roles: what libvirt gives a file while its guest runs.
IMAGE = "image"
SHARED = "shared"
CONTENT = "content"
OWN = "own"
UNTOUCHED = "untouched"

# Results of ``acceptable``.
FITS = "fits"  #: as libvirt sets it, or as it leaves it on purpose
DRIFT = "drift"  #: the guest runs, and its file carries another label
STALE = "stale"  #: the guest is off, and its file still carries a guest's label, which libvirt would have restored
KEPT = "kept"  #: the guest is off, and its file carries a guest's label that libvirt never restores
UNJUDGED = "unjudged"  #: libvirt sets nothing here, or the label is not known

#: Kinds of files that a finished operation labelled once, such as a managed save. libvirt sets no label on them again.
ONCE = frozenset(("save", "memory_snapshot", "snapshot", "blockjob", "open", "merged"))
#: Kinds of directories, sockets and nodes that libvirt makes for a running guest on its host.
MADE_BY_LIBVIRT = frozenset(
    ("state_dir", "memory_dir", "hugepages_dir", "tpm_log", "tpm_socket", "tpm_cancel", "chardev", "tap")
)
#: Kind of the host's node of a macvtap interface, which QEMU gets as an open descriptor.
TAP = "tap"
#: Kinds of files that a definition names for the next start.
DEFINED = frozenset(
    ("disk", "cdrom", "floppy", "nvram", "backing", "data_file", "kernel", "initrd", "shim", "dtb", "acpi", "fw_cfg")
)

_SYSTEM_LIB = "/var/lib/libvirt"
_SWTPM_RUN = "/run/libvirt/qemu/swtpm"
_SWTPM_LOG = "/var/log/swtpm/libvirt/qemu"
#: Type of /dev/tapN in all policies: libvirt keeps it, and adds the guest's range.
_TAP_TYPE = "tun_tap_device_t"


@dataclass(frozen=True)
class ImageTypes:
    """The two types of contexts/virtual_image_context."""

    image: str = "svirt_image_t"
    content: str = "virt_content_t"

    @classmethod
    def of(cls, types: t.Sequence[str]) -> ImageTypes:
        """From the file's types in its order; what is missing is as distributions ship it."""
        return cls(*types[:2])

    @property
    def shared_label(self) -> str:
        """The label of what all guests may write."""
        return f"system_u:object_r:{self.image}:s0"

    @property
    def content_label(self) -> str:
        """The label of what all guests may read."""
        return f"system_u:object_r:{self.content}:s0"


@dataclass(frozen=True)
class LabelVerdict:
    """Result of a label's judgement, with its reason."""

    status: str
    reason: Reason | None = None


def confinement(seclabels: t.Iterable[SecLabel]) -> SecLabel | None:
    """The <seclabel> that the SELinux driver acts on: its own, or one that names no model. None: dynamic by default."""
    unnamed = None
    for item in seclabels:
        if item.model == "selinux":
            return item
        if item.model is None and unnamed is None:
            unnamed = item
    return unnamed


def relabels(seclabel: SecLabel | None) -> bool:
    """Whether libvirt labels the guest's files: the attribute, else yes for dynamic and no for static and none."""
    if seclabel is None:
        return True
    if seclabel.relabel is not None:
        return seclabel.relabel
    return seclabel.type in (None, "dynamic")


def resources(domain: Domain, active: bool, selinux: ImageTypes, hugetlbfs: t.Iterable[str] = ()) -> list[Resource]:
    """Every file of the guest that has a path, with the label that libvirt gives it while the guest runs.

    A running guest whose live XML has no SELinux <seclabel> (the driver is off) has only untouched files. ``hugetlbfs``
    are the host's mount points of that file system.
    """
    seclabel = confinement(domain.seclabels)
    relabel = relabels(seclabel) and not (active and seclabel is None)
    hugepages = domain.short_name if domain.hugepages else None
    folders = [f"{point}/libvirt/qemu/{hugepages}" for point in hugetlbfs if hugepages]
    plan = _ResourceList(domain, active, selinux, seclabel, relabel, sets_owners(domain.seclabels), folders)
    by_key: dict[tuple[str, str, str], Resource] = {}
    for device in domain.devices:
        for item in plan.of(device):
            by_key.setdefault((item.kind, item.target, item.path), item)
    for item in plan.of_guest():
        by_key.setdefault((item.kind, item.target, item.path), item)
    return sorted(by_key.values(), key=order)


def order(resource: Resource) -> tuple[str, str, str]:
    """Sort key of a guest's resources."""
    return (resource.kind, resource.target, resource.path)


@dataclass(frozen=True)
class _ResourceList:
    domain: Domain
    active: bool
    types: ImageTypes
    seclabel: SecLabel | None
    relabel: bool
    #: The guest's own <seclabel> lets libvirt set owners.
    sets_owners: bool
    hugepage_dirs: t.Sequence[str] = ()

    @property
    def image_label(self) -> str | None:
        return self.seclabel.imagelabel if self.seclabel else None

    def of(self, device: Device) -> t.Iterator[Resource]:
        if device.kind in ("disk", "cdrom", "floppy", "nvram", "backup"):
            return self._storage(device)
        if device.kind in ("chardev", "smartcard_chardev"):
            return self._chardev(device)
        if device.kind == "hostdev":
            return self._hostdev(device)
        if device.kind == "tpm":
            return self._tpm(device)
        if device.kind == TAP:
            return self._tap(device)
        return self._plain(device)

    def of_guest(self) -> t.Iterator[Resource]:
        """What libvirt makes for the guest while it runs."""
        if not self.active:
            return
        for path in self.domain.state_dirs:
            yield self._give("state_dir", "", path, IMAGE)
        if self.domain.memory_dir:
            yield self._give("memory_dir", "", self.domain.memory_dir, IMAGE)
        for path in self.hugepage_dirs:
            yield self._give("hugepages_dir", "", path, IMAGE)

    def _give(self, kind: str, target: str, path: str, role: str, **more: t.Any) -> Resource:
        """A resource with the label of its role; untouched when the guest's files are not labelled at all."""
        if not self.relabel and not more.pop("always", False):
            role = UNTOUCHED
        more.pop("always", None)
        own = more.pop("own", None)
        more["sets_owner"] = self.sets_owners and more.get("sets_owner", True)
        gives = {IMAGE: self.image_label, SHARED: self.types.shared_label, CONTENT: self.types.content_label, OWN: own}
        expected = gives.get(role) if self.active else None
        if self.active and role == IMAGE and expected is None:
            role = UNTOUCHED
        return Resource(kind=kind, target=target, path=path, role=role, expected=expected, **more)

    def _plain(self, device: Device) -> t.Iterator[Resource]:
        if not device.source.path:
            return
        role = {
            "kernel": CONTENT,
            "initrd": CONTENT,
            "shim": CONTENT,
            "dtb": CONTENT,
            "acpi": CONTENT,
            "fw_cfg": CONTENT,
            "smartcard": CONTENT,
            "input": IMAGE,
            "memory": IMAGE,
            "pstore": IMAGE,
        }.get(device.kind, UNTOUCHED)
        yield self._give(device.kind, device.target, device.source.path, role, readonly=device.readonly)

    def _storage(self, device: Device) -> t.Iterator[Resource]:
        top, below = device.source, list(device.backing)
        overlay = f".TRANSIENT-{self.domain.name}"
        if device.transient and top.path and not top.path.endswith(overlay):
            below.insert(0, top)
            top = Source(top.type, top.path + overlay if self.active else None, seclabels=top.seclabels)
        yield from self._image(device, top, top, device.kind)
        for source in below:
            yield from self._image(device, source, top, "backing")
        if device.mirror is not None:
            yield from self._image(device, device.mirror, device.mirror, "mirror")
            for source in device.mirror_backing:
                yield from self._image(device, source, device.mirror, "backing")

    def _image(self, device: Device, source: Source, parent: Source, kind: str) -> t.Iterator[Resource]:
        """One layer of a chain, and its external data file."""
        is_top = source is parent
        if source.path:
            yield self._layer(device, source, parent, kind, is_top)
        if source.data_file is not None and source.data_file.path:
            yield self._layer(device, source.data_file, parent, "data_file", is_top)

    def _layer(self, device: Device, source: Source, parent: Source, kind: str, is_top: bool) -> Resource:
        path = source.path or ""
        shareable = device.shareable and is_top
        readonly = (device.readonly and is_top) or kind == "backing" or not is_top
        own = _own(source.seclabels) or _own(parent.seclabels)
        if source.type not in ("file", "block", "nvme", "volume") or (own is not None and _kept(own)):
            role = UNTOUCHED
        elif own is not None:
            role = OWN
        elif not is_top:
            role = CONTENT
        elif device.shareable:  # libvirt looks at this before it looks at readonly
            role = SHARED
        else:
            role = CONTENT if device.readonly else IMAGE
        restored = is_top and not device.shareable and not device.readonly and not source.fdgroup
        return self._give(
            kind,
            device.target,
            path,
            role,
            own=own.label if own else None,
            restored=restored,
            shareable=shareable,
            readonly=readonly,
            sets_owner=_sets_owner(source.seclabels, parent.seclabels),
        )

    def _chardev(self, device: Device) -> t.Iterator[Resource]:
        source = device.source
        if not source.path:
            return
        own = _own(source.seclabels)
        logd = self.domain.logd and device.kind == "chardev" and not any(map(_for_selinux, source.seclabels))
        # libvirt opens a socket that QEMU listens on before it labels the guest's files, so it is labelled like others.
        left = source.type == "file" and logd
        role = OWN if own is not None and own.label else IMAGE
        if left or (own is not None and _kept(own)):
            role = UNTOUCHED
        paths = [source.path]
        if source.type == "pipe":
            paths += [f"{source.path}.in", f"{source.path}.out"]
        sets_owner = _sets_owner(source.seclabels)
        for path in paths:
            label = own.label if own else None
            yield self._give("chardev", device.target, path, role, own=label, sets_owner=sets_owner)

    def _hostdev(self, device: Device) -> t.Iterator[Resource]:
        if not device.source.path:
            return
        shared = device.source.type == "scsi" and device.shareable
        content = device.source.type == "scsi" and device.readonly and not shared
        yield self._give(
            "hostdev",
            device.target,
            device.source.path,
            UNTOUCHED if device.mode == "iommufd" else SHARED if shared else CONTENT if content else IMAGE,
            restored=not (shared or content),
            shareable=shared,
            readonly=content,
        )

    def _tpm(self, device: Device) -> t.Iterator[Resource]:
        source = device.source
        if source.type == "passthrough" and source.path:
            yield self._give("tpm", "", source.path, IMAGE)
            cancel = f"/sys/class/tpm/{source.path.rpartition('/')[2]}/device/cancel"
            yield self._give("tpm_cancel", "", cancel, IMAGE, restored=False)
        elif source.type == "external" and source.path:
            yield self._give("tpm", "", source.path, UNTOUCHED)
        elif source.type == "emulator":
            version = "tpm1.2" if device.mode == "1.2" else "tpm2"
            state = source.path or f"{_SYSTEM_LIB}/swtpm/{self.domain.uuid}/{version}"
            # The driver asks here only whether there is a <seclabel>, not whether it relabels.
            labelled = self.seclabel is not None
            yield self._give("tpm", "", state, IMAGE, always=labelled)
            if "/" not in self.domain.name:
                log = f"{_SWTPM_LOG}/{self.domain.name}-swtpm.log"
                yield self._give("tpm_log", "", log, IMAGE, always=labelled)
            if self.active and self.domain.short_name:
                yield self._give("tpm_socket", "", f"{_SWTPM_RUN}/{self.domain.short_name}-swtpm.sock", IMAGE)

    def _tap(self, device: Device) -> t.Iterator[Resource]:
        """The node of a macvtap interface: libvirt gives it the range of the guest's process, whatever relabel says."""
        label = self.seclabel.label if self.seclabel is not None and self.active else None
        level = (label or "").split(":", 3)[3:]
        if not device.source.path:
            return
        own = f"system_u:object_r:{_TAP_TYPE}:{level[0]}" if level else None
        role = OWN if own else UNTOUCHED
        yield self._give(
            TAP, device.target, device.source.path, role, own=own, always=True, restored=False, sets_owner=False
        )


def sets_owners(seclabels: t.Iterable[SecLabel]) -> bool:
    """Whether the guest's <seclabel> of model dac lets libvirt set owners; without one it does."""
    return relabels(next((item for item in seclabels if item.model == "dac"), None))


def _sets_owner(*sources: t.Iterable[SecLabel]) -> bool:
    """Whether the first source (a layer, then its chain's top) with a word on owners lets libvirt set the file's."""
    for seclabels in sources:
        for item in seclabels:
            if item.model == "dac" and (item.label or item.relabel is False):
                return item.relabel is not False
    return True


def _own(seclabels: t.Iterable[SecLabel]) -> SecLabel | None:
    """A device's own <seclabel>, when it says something: a label, or relabel='no'."""
    for item in seclabels:
        if _for_selinux(item) and (item.label or item.relabel is False):
            return item
    return None


def _for_selinux(item: SecLabel) -> bool:
    """Whether a device's <seclabel> is SELinux's: one without a model is no driver's, and libvirt refuses the start."""
    return item.model == "selinux"


def _kept(own: SecLabel) -> bool:
    return own.relabel is False


def acceptable(
    resource: Resource, active: bool, label: str | None, types: ImageTypes, image_label: str | None = None
) -> LabelVerdict:
    """Whether libvirt would have set or left the label that a file carries.

    ``image_label`` is the running guest's own label for images: history may have left it on files of a chain.
    """
    if resource.role == UNTOUCHED and not (resource.kind in ONCE and not active):
        return LabelVerdict(UNJUDGED, Reason("not_labelled", "libvirt does not label this file"))
    if not label:
        return LabelVerdict(UNJUDGED, Reason("label_unknown", "the file's label is not known"))
    if not active:
        return _at_rest(resource, label, types)
    if resource.expected is None:
        return LabelVerdict(UNJUDGED, Reason("expected_unknown", "the label that libvirt would set is not known"))
    if any(same(label, wanted) for wanted in labels_of(resource, types, image_label)):
        return LabelVerdict(FITS)
    return LabelVerdict(DRIFT, Reason("other_label", f"expected {resource.expected}"))


def labels_of(resource: Resource, types: ImageTypes, image_label: str | None = None) -> list[str]:
    """Every label that libvirt may rightly have left on a running guest's file; the one of a fresh start first."""
    if resource.expected is None:
        return []
    if not below_top(resource):
        return [resource.expected]
    return [resource.expected, types.content_label, *([image_label] if image_label else [])]


def below_top(resource: Resource) -> bool:
    """Whether the file is below the top of its chain, where its label depends on how it came there."""
    if resource.role not in (CONTENT, OWN):
        return False
    return resource.kind == "backing" or (resource.kind == "data_file" and not resource.restored)


def _at_rest(resource: Resource, label: str, types: ImageTypes) -> LabelVerdict:
    type_ = labels.type_of(label)
    if type_ != types.image:
        return LabelVerdict(FITS)
    if same(label, types.shared_label):
        if resource.role == SHARED:
            return LabelVerdict(FITS, Reason("never_restored", "libvirt never restores the label of a shareable disk"))
        return LabelVerdict(STALE, Reason("open_to_all", "every guest may write the file"))
    if below_top(resource) or resource.kind in ONCE:
        return LabelVerdict(KEPT, Reason("never_restored", "libvirt restores no label below the top of a chain"))
    return LabelVerdict(STALE, Reason("left_over", "the label of a guest that is off; libvirt did not restore it"))


def same(left: str, right: str) -> bool:
    """Whether two labels mean the same: type and range, as sets. User and role come from the daemon that set them."""
    if left == right:  # nearly always: libvirt wrote both
        return True
    try:
        one, other = labels.parse_context(left), labels.parse_context(right)
    except LabelError:
        return left.rstrip("\0\n") == right.rstrip("\0\n")
    return (one.type, one.low, one.high) == (other.type, other.low, other.high)
