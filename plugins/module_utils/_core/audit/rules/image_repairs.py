# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs of a guest's file, chosen by the situation in which it was read.

One text for all situations would name repairs that cannot be done, or that take the file from its guest: the owner of
a file that libvirt never gives back, the label of a folder that libvirt never sets.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...facts import images
from ...libvirt import file_labels
from ...selinux.file_contexts import AT_REST, NONE
from ...snapshot.model import Guest, Snapshot

#: Kind of a shared folder: virtiofs or 9p.
FILESYSTEM = "filesystem"


@dataclass(frozen=True)
class Repair:
    """Text of a repair, and what it interrupts."""

    fix: str
    cost: str

    def values(self) -> dict[str, t.Any]:
        """Arguments of a Hit."""
        return {"fix": self.fix, "cost": self.cost}


_NOT_OPEN = "Make sure that no process has the file open."
_OWN_LABEL = "categories that no other guest has, relabel='yes'"
_POWER_CYCLE = "power-cycle it when its owner agrees"
_ON_PURPOSE = "waive this finding with the reason"

#: Without a label by policy restorecon does nothing; the guests' image type without categories is open to all guests.
NO_LABEL_BY_PATH = (
    f"Where matchpathcon PATH prints {NONE}, as it does below /mnt and /tmp, or the guests' image type, set {AT_REST} "
    "by chcon instead."
)
REST = Repair(
    f"{_NOT_OPEN} Then set the label that its folder gives: restorecon -F PATH, on this file only. {NO_LABEL_BY_PATH}",
    "none",
)
REST_FOLDER = Repair(
    "While its guest is off, set the label that the folder's path gives, on it and all in it: restorecon -RF PATH. "
    f"{NO_LABEL_BY_PATH}",
    "none",
)
BACK = Repair(
    "Set the label in the evidence (expected): chcon LABEL PATH. It is safe while the guest runs, provided that no "
    "other guest uses the file. Never run restorecon on an image in use.",
    "none",
)
SHAREABLE = Repair(
    "Several running guests use the disk. If they share it on purpose, say <shareable/> in the XML of each; else give "
    "each a disk of its own. It counts from their next power cycle; until then leave the label as it is.",
    "guest_power_cycle",
)
READ_BY_SEVERAL = Repair(
    "Several running guests use the file, and libvirt lets them read it only. Set the label in the evidence "
    "(expected), which all of them may read: chcon LABEL PATH. Never run restorecon on a file in use.",
    "none",
)
NAMED_LABEL = Repair(
    "The guest's XML names this label itself. Remove the <label> from the device's <seclabel> (virsh edit), and "
    f"{_POWER_CYCLE}: libvirt then gives the file the guest's own categories. If guests share the disk on purpose, say "
    "<shareable/> in their XML.",
    "guest_power_cycle",
)
KEPT_LABEL = Repair(
    "libvirt does not label the file (relabel='no'). Set relabel='yes' on that <seclabel> (virsh edit), and "
    f"{_POWER_CYCLE}: libvirt then gives the file the guest's own categories. A guest that is off needs a start and a "
    "stop. Do not set a label by hand before that: the guest would not get in.",
    "guest_power_cycle",
)
UNCONFINED = Repair(
    "libvirt labels no file of this guest, for the guest runs unconfined: repair that first (GST-002, GST-003, "
    f"GST-010), and {_POWER_CYCLE}: libvirt then gives the file the guest's own categories. Do not set a label by hand "
    "before that.",
    "guest_power_cycle",
)
SHARED_FOLDER = Repair(
    "libvirt labels no folder that a <filesystem> shares. Give the guest a static label of its own "
    f"({_OWN_LABEL}), and {_POWER_CYCLE}. After that give the folder and all in it the guest's categories: "
    "chcon -R -l LEVEL PATH, and keep them by semanage fcontext -a -r LEVEL. If guests share the folder on purpose, "
    f"{_ON_PURPOSE}.",
    "guest_power_cycle",
)
SHARED_FOLDER_STATIC = Repair(
    "libvirt labels no folder that a <filesystem> shares. Give the folder and all in it the categories of the guest's "
    "static label: chcon -R -l LEVEL PATH, and keep them by semanage fcontext -a -r LEVEL. It is safe while the guest "
    f"runs. If guests share the folder on purpose, {_ON_PURPOSE}.",
    "none",
)
SHARED_FOLDER_OF_SEVERAL = Repair(
    "Several guests share the folder, so no guest's categories fit it. If that is on purpose, "
    f"{_ON_PURPOSE}; else give each guest a folder of its own in its XML, and power-cycle it when its owner agrees.",
    "operator",
)
CLOSE = Repair(
    "While the guest is off: chown root:root PATH and chmod 0600 PATH. libvirt gives it to the guest at start.", "none"
)
CLOSE_DEVICE = Repair(
    'While the guest is off: an udev rule that gives the device OWNER="root", GROUP="root", MODE="0600". libvirt '
    "gives it to the guest at start, in the guest's own /dev.",
    "none",
)
#: Where libvirt would not give the file back to its guest, only its label can close it.
CLOSE_BY_LABEL = Repair(
    "Leave owner and mode as they are, or the guest cannot start. By a rule of file contexts (semanage fcontext) give "
    "the path a type that guests may not read (isolation_info asks the loaded policy), and set it while the guest is "
    "off: restorecon -F PATH. libvirt labels the file when its guest starts, and sets it back when it stops.",
    "operator",
)


def left_over(file: images.File) -> Repair:
    """A file of a guest that is off, with a guest's categories (IMG-001)."""
    if file.facts.kind == "dir":
        return REST_FOLDER
    return Repair(f"{REST.fix} Then remove its attributes trusted.libvirt.security.* (setfattr -x).", "none")


def open_to_all(file: images.File) -> Repair:
    """A file with the guests' image type and no categories (IMG-006)."""
    uses = file.active or file.uses
    if any(use.resource.kind == FILESYSTEM for use in file.uses):
        return _shared_folder(file)
    if any(use.resource.role == file_labels.UNTOUCHED for use in uses):
        return UNCONFINED if any(_is_unconfined(use.guest) for use in uses) else KEPT_LABEL
    if any(use.resource.role == file_labels.OWN for use in uses):
        return NAMED_LABEL
    if not file.active:
        return REST_FOLDER if file.facts.kind == "dir" else REST
    if len({use.guest.uuid for use in file.active}) == 1:
        return BACK
    return SHAREABLE if any(use.own for use in file.active) else READ_BY_SEVERAL


def _shared_folder(file: images.File) -> Repair:
    guests = {use.guest.uuid: use.guest for use in file.uses}
    if len(guests) > 1:
        return SHARED_FOLDER_OF_SEVERAL
    return SHARED_FOLDER_STATIC if _is_static(next(iter(guests.values()))) else SHARED_FOLDER


def _is_unconfined(guest: Guest) -> bool:
    """Whether libvirt gives the guest no label: its <seclabel> has type none, or the driver was off at its start."""
    seclabel = file_labels.confinement(guest.live if guest.active else guest.persistent_labels)
    return guest.active if seclabel is None else seclabel.type == "none"


def _is_static(guest: Guest) -> bool:
    """It keeps its label over starts: static by its persistent XML, and running with it if it runs."""
    defined = file_labels.confinement(guest.persistent_labels)
    if defined is None or defined.type != "static" or not defined.label:
        return False
    return not guest.active or file_labels.same(defined.label, guest.context or "")


def readable(snapshot: Snapshot, file: images.File) -> Repair:
    """An image at rest that every guest may read (IMG-007)."""
    reason = images.owner_must_stay(snapshot, file)
    if reason is None:
        return CLOSE
    return CLOSE_DEVICE if reason.code == "device_node" else CLOSE_BY_LABEL
