# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Table finding x situation -> repair: each situation in which a rule about one host speaks, and what its repair is.

A row gives alternatives; each is a list of kinds of repair (repairs.py), in the order in which they are done. All
kinds that the printed text names occur in one of them.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.qemu_conf import effective
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Assignment,
    SecLabel,
    Snapshot,
)

from . import factory
from .factory import CONTENT, DAEMON, IMAGES, SHARED, image_label, process_label, resource
from .faults.all import CASES
from .faults.case import conf, file_of, guest, set_key

Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Situation:
    """A host in which a rule speaks of a subject, and the repairs of that."""

    name: str
    rule: str
    subject: str
    fault: t.Callable[[Snapshot], None]
    repairs: Alternatives
    #: Kinds of repair that the text must not name here.
    never: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def host(self) -> Snapshot:
        snapshot = factory.host()
        self.fault(snapshot)
        return snapshot


_CYCLE = (("no seclabel", "power cycle"), ("static label", "power cycle"))
#: Repairs of the smallest faults, by their names.
SMALLEST: dict[str, Alternatives] = {
    "SEL-001": (("enforcing at boot",),),
    "SEL-001 area": (("enforcing at boot",),),
    "SEL-002": (("setenforce", "SELINUX="),),
    "SEL-003": (("SELINUX=",),),
    "SEL-004": (("boot arguments",),),
    "SEL-004 area": (("boot arguments",),),
    "SEL-005": (("policy with MCS",),),
    "SEL-006": (("semanage permissive",),),
    "SEL-006 not asked": (("semanage permissive",),),
    "SEL-007": (("shipped policy", "restart", "power cycle"),),
    "SEL-008": (("setsebool",),),
    "SEL-009": (("flask",),),
    "LIB-001": (("driver", "restart", "power cycle"), ("driver", "restart", "migration")),
    "LIB-002": (("driver", "restart"),),
    "LIB-003": (("driver",),),
    "LIB-003 daemon silent": (("driver",),),
    "LIB-004": (("default_confined", "restart", "power cycle"),),
    "LIB-005": (("require_confined", "restart"),),
    "LIB-005 syntax error": (("require_confined", "restart"),),
    "LIB-006 syntax error": (("one assignment", "restart"),),
    "LIB-006 duplicate": (("one assignment", "restart"),),
    "LIB-006 quoted number": (("one assignment", "restart"),),
    "LIB-007 range": (("range", "restart"),),
    "LIB-007 type": (("range", "restart"),),
    "LIB-008": (("upgrade", "power cycle"), ("upgrade", "migration")),
    "LIB-009": (("guard's view",),),
    "GST-001": (("end process",),),
    "GST-011": (("end process",),),
    "GST-002": (("no seclabel", "power cycle"),),
    "GST-002 translated": (("no seclabel", "power cycle"),),
    "GST-003": (("no seclabel",),),  # the host requires confinement, so libvirt refuses the start until then
    "GST-004": (("libvirt's type", "power cycle"), ("no seclabel", "power cycle")),
    "GST-004 baselabel": (("libvirt's type",), ("no seclabel", "power cycle")),
    "GST-005 none": _CYCLE,
    "GST-005 single": _CYCLE,
    "GST-005 next start": _CYCLE,
    "GST-006": _CYCLE,
    "GST-006 the daemon's range": _CYCLE,
    "GST-007": (("power cycle",), ("migration",)),
    "GST-008": (("relabel", "power cycle"),),
    "GST-009": (("device",),),
    "GST-010": (("power cycle",), ("migration",)),
    "GST-010 another label": (("power cycle",),),
    "IMG-001 backing file": (("power cycle",), ("migration",)),
    "IMG-001 left over": (("restorecon", "setfattr"),),
    "IMG-001 subset": (("power cycle",), ("migration",)),
    "IMG-002": (("chcon",),),
    "IMG-002 set back": (("chcon",),),
    "IMG-003": (("shared_filesystems", "restart"),),
    "IMG-004": (("static label", "power cycle"),),
    "IMG-005": (("restorecon",),),
    "IMG-006": (("restorecon",),),
    "IMG-006 running": (("chcon",),),
    "IMG-007": (("chown",),),
    "IMG-008": (("storage",),),
    "IMG-009": (("setfattr",),),
    "IMG-010": (("chcon",),),
    "NET-001": (("clean-traffic",),),
    "NET-001 next start": (("clean-traffic",),),
    "NET-002 building block": (("clean-traffic",),),
    "NET-002 redefined": (("shipped filters",),),
    "NET-002 opened": (("shipped filters",),),
    "NET-003": (("clean-traffic",),),
}
#: Kinds that a text may name beside those of its row: a warning, a condition, or the words of another situation.
ASIDE: dict[str, frozenset[str]] = {
    "SEL-002": frozenset(("setenforce", "boot arguments")),
    "LIB-004": frozenset(("power cycle",)),
    "GST-009": frozenset(("waiver", "power cycle")),
    "GST-003": frozenset(("require_confined", "default_confined")),
    "GST-005": frozenset(("upgrade",)),
    "LIB-006": frozenset(("restart",)),
    "NET-002": frozenset(("clean-traffic", "shipped filters")),
}


# -- more situations ---------------------------------------------------------------------------------------------------


def _folder(snapshot: Snapshot, name: str, path: str = "/srv/share") -> None:
    it = guest(snapshot, name)
    it.resources.append(resource("filesystem", path, "untouched", SHARED, target="share", file={"kind": "dir"}))


def _folder_of_two(snapshot: Snapshot) -> None:
    _folder(snapshot, "web")
    _folder(snapshot, "db")


def _no_relabel(snapshot: Snapshot, name: str) -> None:
    disk = file_of(snapshot, name)
    disk.role, disk.expected, disk.file.label = "untouched", None, SHARED


def _named_label(snapshot: Snapshot) -> None:
    disk = file_of(snapshot, "web")
    disk.role, disk.expected, disk.file.label = "own", SHARED, SHARED


def _named_label_off(snapshot: Snapshot) -> None:
    disk = file_of(snapshot, "spare")
    disk.role, disk.file.label = "own", SHARED


def _two_users(snapshot: Snapshot) -> None:
    disk = file_of(snapshot, "web")
    disk.file.label = SHARED
    other = replace(disk, target="vdz", expected=image_label("s0:c40,c300,c600,c900"), file=replace(disk.file))
    guest(snapshot, "db").resources.append(other)


def _kernel_of_two(snapshot: Snapshot) -> None:
    for name in ("web", "db"):
        kernel = resource("kernel", f"{IMAGES}/vmlinuz", "content", SHARED, CONTENT, target="", readonly=True)
        guest(snapshot, name).resources.append(kernel)


def _tpm_at_rest(snapshot: Snapshot, label: str) -> None:
    state = resource("tpm", "/var/lib/libvirt/swtpm/spare", "image", label, target="", file={"kind": "dir"})
    guest(snapshot, "spare").resources.append(state)


def _unconfined_with_open_disk(snapshot: Snapshot) -> None:
    web = guest(snapshot, "web")
    web.context, web.live = DAEMON, []
    for item in web.resources:
        item.role, item.expected = "untouched", None
    file_of(snapshot, "web").file.label = SHARED


def _readable(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.mode = 0o644


def _readable_and(change: t.Callable[[Snapshot], None]) -> t.Callable[[Snapshot], None]:
    def fault(snapshot: Snapshot) -> None:
        _readable(snapshot)
        change(snapshot)

    return fault


def _no_dynamic_ownership(snapshot: Snapshot) -> None:
    conf(snapshot).assignments.append(Assignment("dynamic_ownership", 0, 9))
    assert "dynamic_ownership" in effective(conf(snapshot).assignments)


def _as_root(snapshot: Snapshot) -> None:
    snapshot.libvirt.qemu_uid = 0


def _on_share(snapshot: Snapshot) -> None:
    snapshot.storage.append(factory.share())
    factory.on_share(guest(snapshot, "spare"), f"{factory.SHARE}/spare.raw")
    guest(snapshot, "spare").persistent_labels = [
        SecLabel("selinux", "static", True, process_label("s0:c61,c361,c661,c961"))
    ]


def _device(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.kind = "block"


def _started_with_none(snapshot: Snapshot) -> None:
    """Its XML said none when it started, and was mended since."""
    web = guest(snapshot, "web")
    web.context, web.live = DAEMON, [SecLabel("selinux", "none")]
    for item in web.resources:
        item.role, item.expected = "untouched", None


def _driver_was_off(snapshot: Snapshot) -> None:
    """Unconfined for want of a driver, and its XML asks for none at the next start too."""
    _started_with_none(snapshot)
    guest(snapshot, "web").live = []
    guest(snapshot, "web").persistent_labels = [SecLabel("selinux", "none")]


def _static_later(snapshot: Snapshot) -> None:
    """A dynamic guest whose XML was given a static label meanwhile."""
    web = guest(snapshot, "web")
    web.persistent_labels = [SecLabel("selinux", "static", True, process_label("s0:c62,c362,c662,c962"))]


def _transient(snapshot: Snapshot) -> None:
    web = guest(snapshot, "web")
    web.context, web.live, web.persistent = DAEMON, [SecLabel("selinux", "none")], False
    for item in web.resources:
        item.role, item.expected = "untouched", None


def _none_without_require_confined(snapshot: Snapshot) -> None:
    set_key(snapshot, "security_require_confined", None)
    guest(snapshot, "spare").persistent_labels = [SecLabel("selinux", "none")]


_SPARE = f"image {IMAGES}/spare.qcow2"
_WEB = f"image {IMAGES}/web.qcow2"
_NO_CHOWN = ("chown",)

MORE: tuple[Situation, ...] = (
    Situation("shared folder, dynamic guest", "IMG-006", "folder /srv/share", lambda s: _folder(s, "web"),
              (("static label", "power cycle", "chcon -R"),), ("chcon", "shareable", "restorecon")),
    Situation("shared folder, static guest", "IMG-006", "folder /srv/share", lambda s: _folder(s, "db"),
              (("chcon -R",),), ("chcon", "shareable", "restorecon")),
    Situation("shared folder, guest that is off", "IMG-006", "folder /srv/share", lambda s: _folder(s, "spare"),
              (("static label", "power cycle", "chcon -R"),), ("chcon", "shareable", "restorecon")),
    Situation("shared folder of two guests", "IMG-006", "folder /srv/share", _folder_of_two,
              (("own folder",), ("own folder", "power cycle")), ("chcon", "chcon -R", "shareable", "restorecon")),
    Situation("disk with relabel='no', running", "IMG-006", _WEB, lambda s: _no_relabel(s, "web"),
              (("relabel", "power cycle"),), ("chcon", "restorecon")),
    Situation("disk with relabel='no', off", "IMG-006", _SPARE, lambda s: _no_relabel(s, "spare"),
              (("relabel", "power cycle"),), ("chcon", "restorecon")),
    Situation("label named by the XML, running", "IMG-006", _WEB, _named_label,
              (("no <label>", "power cycle"), ("shareable", "power cycle")), ("chcon", "restorecon")),
    Situation("label named by the XML, off", "IMG-006", _SPARE, _named_label_off,
              (("no <label>", "power cycle"), ("shareable",)), ("chcon", "restorecon")),
    Situation("disk of two running guests", "IMG-006", _WEB, _two_users,
              (("shareable", "power cycle"), ("own disk", "power cycle")), ("chcon", "restorecon")),
    Situation("kernel of two running guests", "IMG-006", f"image {IMAGES}/vmlinuz", _kernel_of_two, (("chcon",),)),
    Situation("folder of a TPM at rest", "IMG-006", "image /var/lib/libvirt/swtpm/spare",
              lambda s: _tpm_at_rest(s, SHARED), (("restorecon",),)),
    Situation("disk of a guest that runs unconfined", "IMG-006", _WEB, _unconfined_with_open_disk,
              (("power cycle",),), ("chcon", "restorecon", "relabel")),
    Situation("folder of a TPM left over", "IMG-001", "image /var/lib/libvirt/swtpm/spare",
              lambda s: _tpm_at_rest(s, image_label("s0:c7,c8")), (("restorecon",),)),
    Situation("no dynamic ownership", "IMG-007", _SPARE, _readable_and(_no_dynamic_ownership),
              (("fcontext", "restorecon"),), _NO_CHOWN),
    Situation("guests run as root", "IMG-007", _SPARE, _readable_and(_as_root),
              (("fcontext", "restorecon"),), _NO_CHOWN),
    Situation("image on a share", "IMG-007", f"image {factory.SHARE}/spare.raw", _readable_and(_on_share),
              (("fcontext", "restorecon"),), _NO_CHOWN),
    Situation("block device", "IMG-007", _SPARE, _readable_and(_device), (("udev",),), _NO_CHOWN),
    Situation("started with type='none'", "GST-010", "guest web", _started_with_none,
              (("power cycle",),), ("migration",)),
    Situation("static label for later", "GST-010", "guest web", _static_later, (("power cycle",),), ("migration",)),
    Situation("driver was off", "GST-002", "guest web", _driver_was_off,
              (("no seclabel", "power cycle"), ("no seclabel", "migration"))),
    Situation("type='none' where libvirt would start it", "GST-003", "guest spare", _none_without_require_confined,
              (("no seclabel",), ("no seclabel", "power cycle")), ("require_confined",)),
    Situation("transient guest", "GST-002", "guest web", _transient, (("no seclabel", "power cycle"),), ("migration",)),
)  # fmt: skip

TABLE: tuple[Situation, ...] = (
    *(Situation(str(case), case.rule, case.subject, case.fault, SMALLEST[str(case)]) for case in CASES),
    *MORE,
)
