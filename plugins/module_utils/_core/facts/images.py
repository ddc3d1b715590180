# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of this host's guests: each file once, with all its users and the status of its label.

Each file has one status, so that one fault is reported by one rule. Statuses, in order of precedence:

- ``UNREAL``  its storage holds no labels of its own, so its label says nothing
- ``OPEN``    no categories, and a type that every guest may write, although no disk of it is shareable
- ``LOST``    a running guest's own image, with a label that does not let that guest in
- ``WRONG``   a running guest's file with any other label than libvirt gives it
- ``LEFT``    no running guest here uses it, and it carries a guest's categories that should be gone
- ``FITS``    as libvirt sets it, or as it leaves it on purpose
- ``UNSURE``  it could not be judged; ``reason`` says why
- ``SILENT``  libvirt does not label it, or it is not there while its guest is off

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..libvirt import file_labels
from ..libvirt.qemu_conf import UNREAD, doubt_of, setting
from ..paths import below_any
from ..result import Reason
from ..selinux.context import Context, read_context, type_of, unreadable
from ..snapshot.model import Access, FileFacts, Guest, Resource, Snapshot, Storage
from .guests import qemu_guests, selinux_off
from .process_types import guest_types
from .subjects import guest_name

UNREAL = "unreal"
OPEN = "open"
LOST = "lost"
WRONG = "wrong"
LEFT = "left"
FITS = "fits"
UNSURE = "unsure"
SILENT = "silent"

#: Kinds of files that hold a guest's own data.
OWN_KINDS = frozenset(("disk", "floppy", "nvram", "data_file", "mirror", "tpm"))
#: Kinds of files whose content is data; directories, sockets and devices of the host are none.
_DATA_KINDS = OWN_KINDS | frozenset(
    ("cdrom", "backing", "kernel", "initrd", "shim", "dtb", "acpi", "fw_cfg", "memory", "backup", "save", "snapshot")
)
#: Kinds of special files that hold no data: their label opens nothing at rest.
SPECIAL = frozenset(("char", "socket", "fifo"))
#: libvirt notes the host's boot time with a remembered owner. It is found in several ways, which differ a little.
_BOOT_SLACK = 120
#: What the probe calls the device of a block disk in the list of storage. Its label lives in /dev, not on the disk.
BLOCK = "block"


@dataclass(frozen=True)
class Use:
    """One guest's use of a file."""

    guest: Guest
    resource: Resource

    @property
    def own(self) -> bool:
        """The file holds the guest's own data, and libvirt gives it the guest's own label (or one from its XML)."""
        return self.resource.kind in OWN_KINDS and self.resource.role in (file_labels.IMAGE, file_labels.OWN)

    @property
    def keeps_owner(self) -> bool:
        """The guest's XML forbids libvirt to set the file's owner: <seclabel model='dac' relabel='no'/>."""
        labels = (*self.guest.persistent_labels, *self.guest.live)
        return not self.resource.sets_owner or not file_labels.sets_owners(labels)


@dataclass(frozen=True)
class File:
    """A file and all guests here that use it."""

    path: str
    facts: FileFacts
    uses: tuple[Use, ...]
    storage: Storage | None

    @property
    def active(self) -> tuple[Use, ...]:
        """Its running users."""
        return tuple(use for use in self.uses if use.guest.active)

    @property
    def in_namespace(self) -> bool:
        """It was read in the guest's own /dev."""
        return self.uses[0].resource.in_namespace

    @property
    def real_path(self) -> str:
        """Where the file is, links followed."""
        return self.facts.resolved or self.path

    @property
    def shared_with_hosts(self) -> bool:
        """Another host may use the file: guests there are not seen from here."""
        return self.storage is not None and shared_with_hosts(self.storage, self.real_path)


@dataclass(frozen=True)
class FileStatus:
    """Status of a file's label, and the use that it was judged by."""

    status: str
    use: Use
    reason: Reason | None = None

    @property
    def why(self) -> str:
        """The reason as text; empty where there is none."""
        return "" if self.reason is None else self.reason.text


def shared_with_hosts(storage: Storage, path: str) -> bool:
    """The file lies on a network or cluster file system, or in a folder that this host exports."""
    return storage.type != BLOCK and (storage.remote or below_any(path, storage.exports))


def files(snapshot: Snapshot) -> list[File]:
    """Every file of the guests, by path. One file under several names is one file."""
    storage = {entry.mount: entry for entry in snapshot.storage}
    by_identity: dict[tuple[t.Any, ...], list[Use]] = {}
    for guest in qemu_guests(snapshot):
        for resource in guest.resources:
            by_identity.setdefault(_identity(guest, resource), []).append(Use(guest, resource))
    result = []
    for uses in by_identity.values():
        facts = uses[0].resource.file
        result.append(File(uses[0].resource.path, facts, tuple(uses), storage.get(facts.mount or "")))
    return sorted(result, key=lambda file: (file.path, file.uses[0].guest.uuid))


def _identity(guest: Guest, resource: Resource) -> tuple[t.Any, ...]:
    file = resource.file
    if resource.in_namespace:
        return ("namespace", guest.uuid, resource.path)
    if file.device is not None and file.inode is not None:
        return ("inode", file.device, file.inode)
    return ("path", file.resolved or resource.path)


def status(snapshot: Snapshot, file: File) -> FileStatus:
    """Status of a file's label."""
    types = file_labels.ImageTypes.of(snapshot.selinux.image_types)
    first = next((use for use in file.active if use.resource.role != file_labels.UNTOUCHED), file.uses[0])
    if file.storage is not None and not_real(file.storage) and not file.in_namespace:
        return FileStatus(UNREAL, first)
    if file.facts.exists is False:
        return _gone(first)
    label = file.facts.label
    judged_ = any(_judges(use) for use in file.uses)
    if not label:
        why = file.facts.error or "its label could not be read"
        return FileStatus(UNSURE if judged_ else SILENT, first, Reason("label_unknown", why))
    if _is_open(snapshot, file, label, types):
        return FileStatus(OPEN, first)
    if not judged_:
        return FileStatus(SILENT, first)
    if file.active:
        return _while_running(snapshot, file, label, types)
    return _at_rest(snapshot, file, label, types)


def _judges(use: Use) -> bool:
    """Whether the label means something to this use of the file."""
    once = use.resource.kind in file_labels.ONCE and not use.guest.active
    return use.resource.role != file_labels.UNTOUCHED or once


def not_real(storage: Storage) -> bool:
    """Files there carry no labels of their own."""
    return storage.type != BLOCK and (not storage.labelled or storage.context is not None)


def _gone(use: Use) -> FileStatus:
    if use.guest.active and use.own:
        return FileStatus(UNSURE, use, Reason("gone", "its guest runs, but the file is not there"))
    return FileStatus(SILENT, use)


def _is_open(snapshot: Snapshot, file: File, label: str, types: file_labels.ImageTypes) -> bool:
    if file.in_namespace:
        return False  # no other guest sees it
    if label.rpartition(":")[2].startswith("c"):
        return False  # it has categories
    if not file_labels.same(label, types.shared_label):
        return _is_written_by_all(snapshot, file, label)
    if any(use.resource.shareable or use.resource.role == file_labels.SHARED for use in file.active or file.uses):
        return False
    # Such files are normal for a guest without categories: the fault is its own label, which has its own rule.
    return not any(
        use.resource.role == file_labels.IMAGE and file_labels.same(label, use.resource.expected or "")
        for use in file.active
    )


def _is_written_by_all(snapshot: Snapshot, file: File, label: str) -> bool:
    """Whether the loaded policy lets every guest write a file that libvirt is configured not to label."""
    if any(use.resource.role != file_labels.UNTOUCHED or use.resource.shareable for use in file.uses):
        return False
    if not any(use.resource.kind in _DATA_KINDS for use in file.uses) or file.facts.kind in SPECIAL:
        return False
    return any(access.write and access.target == label for access in asked_by_guests(snapshot))


_WORST_FIRST = (LOST, WRONG, UNSURE, FITS, SILENT)


def _while_running(snapshot: Snapshot, file: File, label: str, types: file_labels.ImageTypes) -> FileStatus:
    """The worst of what the label is to each running guest that uses the file."""
    statuses = [_for_one(snapshot, file, use, label, types) for use in file.active]
    return min(statuses, key=lambda item: _WORST_FIRST.index(item.status))


def _for_one(snapshot: Snapshot, file: File, use: Use, label: str, types: file_labels.ImageTypes) -> FileStatus:
    verdict = file_labels.acceptable(use.resource, True, label, types, _image_label(use.guest))
    if use.resource.role == file_labels.UNTOUCHED:
        return FileStatus(SILENT, use)
    if verdict.status == file_labels.FITS:
        return _by_history(file, use, label)
    if verdict.status != file_labels.DRIFT:
        return FileStatus(UNSURE, use, verdict.reason)
    if file.storage is None and not file.in_namespace and type_of(label) != types.image:
        why = "it carries another label than its guest gives it, but its storage is not known"
        return FileStatus(UNSURE, use, Reason("storage_unknown", why))
    wanted, actual = read_context(use.resource.expected), read_context(label)
    if wanted is None or actual is None:
        why = unreadable(label if actual is None else use.resource.expected, "its label")
        return FileStatus(UNSURE, use, Reason("label_unreadable", why))
    lost = use.own and not _lets_in(snapshot, use.guest, wanted, actual, label)
    return FileStatus(LOST if lost else WRONG, use, verdict.reason)


def _by_history(file: File, use: Use, label: str) -> FileStatus:
    """A guest's own label below the top of its chain is sound only while no other guest uses the file."""
    others = any(other.guest.uuid != use.guest.uuid for other in file.uses)
    own = _image_label(use.guest)
    fresh = file_labels.same(label, use.resource.expected or "")
    if others and not fresh and own and file_labels.below_top(use.resource) and file_labels.same(label, own):
        return FileStatus(WRONG, use, Reason("shared_chain", "it carries the label of one of several users"))
    return FileStatus(FITS, use)


def _image_label(guest: Guest) -> str | None:
    """The label that libvirt gives the running guest's images."""
    seclabel = file_labels.confinement(guest.live)
    return seclabel.imagelabel if seclabel is not None else None


def _lets_in(snapshot: Snapshot, guest: Guest, wanted: Context, actual: Context, label: str) -> bool:
    """Whether a process with the guest's own categories may write a file of this label."""
    if not wanted.high.dominates(actual.high):
        return False
    # Guests write their image type; for any other type the loaded policy must be asked.
    return actual.type == wanted.type or any(
        access.write for access in snapshot.selinux.access if access.target == label and _of_type(access.source, guest)
    )


def _of_type(source: str, guest: Guest) -> bool:
    return bool(guest.context) and type_of(source) == type_of(guest.context or "")


def _at_rest(snapshot: Snapshot, file: File, label: str, types: file_labels.ImageTypes) -> FileStatus:
    use = next((use for use in file.uses if use.own), file.uses[0])
    verdicts = {file_labels.acceptable(use.resource, False, label, types).status for use in file.uses}
    left = file_labels.STALE in verdicts
    kept = file_labels.KEPT in verdicts and bool(RunningGuests(snapshot).holders(label))
    if not (left or kept) or file_labels.same(label, types.shared_label):
        return FileStatus(FITS, use)
    if file.shared_with_hosts:
        why = "it carries a guest's categories, and its guest may run on another host"
        return FileStatus(UNSURE, use, Reason("may_run_elsewhere", why))
    return FileStatus(LEFT, use)


class RunningGuests:
    """Running guests of a host, for the question to which of them a file at rest is open."""

    def __init__(self, snapshot: Snapshot) -> None:
        contexts = ((guest, read_context(guest.context)) for guest in qemu_guests(snapshot) if guest.active)
        self._guests = [(guest, context) for guest, context in contexts if context is not None]
        self._open_types = {entry.name for entry in snapshot.selinux.types if entry.constrained is False}

    def holders(self, label: str | None) -> list[Guest]:
        """Guests whose categories include those of the file's label."""
        file = read_context(label)
        if file is None or not file.categories.mask:
            return []
        return [guest for guest, context in self._guests if context.high.dominates(file.high)]

    def reach(self, label: str | None) -> bool:
        """Whether a confined guest holds the categories of a file: the fleet's rules report it.

        Labels of fewer than two categories have rules of their own.
        """
        file = read_context(label)
        if file is None or len(file.categories) < 2:
            return False
        return any(
            context.high.dominates(file.high) and context.type not in self._open_types
            for _guest, context in self._guests
        )


def asked_by_guests(snapshot: Snapshot) -> t.Iterator[Access]:
    """The loaded policy's answers on what guests may do."""
    types = guest_types(snapshot)
    return (access for access in snapshot.selinux.access if type_of(access.source) in types)


def owner_lets_in(snapshot: Snapshot, facts: FileFacts) -> bool | None:
    """Whether owner, group and mode let a guest's QEMU read the file; None when that is not known."""
    if facts.mode is None:
        return None
    users, groups = _qemu_users(snapshot), snapshot.libvirt.qemu_gids
    if facts.mode & 0o004 or 0 in users or guests_as_owner(snapshot, facts):
        return True
    if not users or facts.uid is None:
        return None if facts.mode & 0o440 else False
    if facts.uid in users and facts.mode & 0o400:
        return True
    if not facts.mode & 0o040:
        return False
    return facts.gid in groups if groups and facts.gid is not None else None


def _qemu_users(snapshot: Snapshot) -> set[int]:
    """Users that guests run as: by configuration, else as seen."""
    if snapshot.libvirt.qemu_uid is not None:
        return {snapshot.libvirt.qemu_uid}
    return set(_users_of_guests(snapshot).values())


def _users_of_guests(snapshot: Snapshot) -> dict[str, int]:
    """The user that each running guest's QEMU has, by uuid: the XML may name another than the configuration."""
    return {
        process.guest: process.uid
        for process in snapshot.processes
        if process.role == "qemu" and process.guest is not None and process.uid is not None
    }


def guests_as_owner(snapshot: Snapshot, facts: FileFacts) -> list[str]:
    """Names of running guests that run as a user of their own who may read the file as its owner."""
    if facts.uid is None or facts.mode is None or not facts.mode & 0o400 or facts.uid == snapshot.libvirt.qemu_uid:
        return []
    users = _users_of_guests(snapshot)
    return [guest_name(guest) for guest in snapshot.guests if users.get(guest.uuid) == facts.uid]


def of_another_boot(snapshot: Snapshot, timestamp: str | None) -> bool:
    """Whether libvirt noted a remembered owner before the host's last boot, or on another host."""
    booted = snapshot.host.booted_at
    if timestamp is None or booted is None or not timestamp.isascii() or not timestamp.isdigit():
        return False
    return len(timestamp) > 12 or abs(int(timestamp) - booted) > _BOOT_SLACK


def judged(snapshot: Snapshot, of: t.Sequence[File] | None = None) -> t.Iterator[tuple[File, FileStatus]]:
    """Every file with its status; none while SELinux is off. ``of``: the files, where they are known."""
    if not selinux_off(snapshot):
        yield from ((file, status(snapshot, file)) for file in (files(snapshot) if of is None else of))


def guests_may_read(snapshot: Snapshot, file: File, judgement: FileStatus) -> bool | Reason:
    """Whether every guest's QEMU may read an image at rest that is its own guest's only, or why that is unknown."""
    shared = any(use.resource.role in (file_labels.CONTENT, file_labels.SHARED) for use in file.uses)
    if judgement.status != FITS or file.active or shared or not judgement.use.own:
        return False
    if file.facts.kind in ("dir", "char"):
        return False  # a directory (a TPM's state) depends on the files in it; a device is no image
    if any(use.keeps_owner for use in file.uses):
        return False  # <seclabel model='dac' relabel='no'/>: owner and mode are the operator's own choice
    let_in = owner_lets_in(snapshot, file.facts)
    accesses = [access for access in asked_by_guests(snapshot) if access.target == file.facts.label]
    if let_in is False or (accesses and not any(access.read for access in accesses)):
        return False
    if not accesses:
        return Reason("label_not_asked", "the loaded policy was not asked whether guests may read its label")
    if let_in is None:
        return Reason("owner_access_unknown", "whether owner and mode let guests' QEMU read it is not known")
    return True


def owner_must_stay(snapshot: Snapshot, file: File) -> Reason | None:
    """Why owner and mode of a file at rest cannot be taken: libvirt would not give them back when its guest starts."""
    for use in file.uses:
        if use.keeps_owner:
            text = f"libvirt sets no owner of it for {guest_name(use.guest)} (model='dac' relabel='no')"
            return Reason("guest_keeps_owners", text)
    conf = snapshot.libvirt.conf
    doubt = doubt_of(conf, "dynamic_ownership")
    if doubt is not None or conf is None:
        why = doubt.reason if doubt else UNREAD
        return Reason("owners_unknown", f"qemu.conf does not tell whether libvirt sets owners: {why}")
    if setting(conf, "dynamic_ownership") == 0:
        text = "libvirt sets no owners here (dynamic_ownership = 0), so its guest could not start"
        return Reason("no_dynamic_ownership", text)
    if snapshot.libvirt.qemu_uid == 0:
        return Reason("guests_run_as_root", "guests run as root here, whom owner and mode do not hold back")
    users = _users_of_guests(snapshot)
    as_root = [guest for guest in snapshot.guests if users.get(guest.uuid) == 0]
    if as_root:
        text = f"{guest_name(as_root[0])} runs as root, to whom owner root and mode 0600 would open it"
        return Reason("guests_run_as_root", text)
    if file.shared_with_hosts:
        text = "other hosts share its storage, and its server may let no client set an owner (root_squash)"
        return Reason("owner_on_shared_storage", text)
    if file.facts.kind in ("block", "char"):
        return Reason("device_node", "it is a device, whose owner and mode are those of an udev rule")
    return None


def owner_is_stale(snapshot: Snapshot, file: File) -> bool | None:
    """Whether libvirt remembers an owner of the file that no guest will give back; None when that is not known."""
    remembered = file.facts.remembered
    if remembered is None or file.active or file.shared_with_hosts or file.in_namespace:
        return False
    if status(snapshot, file).status in (LEFT, OPEN):
        return False  # reported by IMG-001 or IMG-006, with the same repair
    if remembered.references is None:
        return None
    return remembered.references > 0 or of_another_boot(snapshot, remembered.timestamp)
