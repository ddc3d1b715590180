# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Repairs of findings as they are printed, applied to a snapshot.

Each kind of repair is a phrase of the printed text and a function that does to the snapshot what the phrase says, with
libvirt's part after it: labels at a guest's start and stop, its owners, its daemon's restart.
"""

from __future__ import annotations

import itertools
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.finding import Finding
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts import images
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.file_labels import confinement, relabels
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.qemu_conf import setting
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.context import read_context
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Access,
    Assignment,
    Guest,
    Resource,
    SecLabel,
    SecurityModel,
    Snapshot,
)

from . import factory
from .factory import AT_REST, CONTENT, SHARED, image_label, process_label

#: A type that the fixture's policy keeps from guests.
PRIVATE = "system_u:object_r:virt_private_t:s0"
#: Pairs and static labels that no fixture has.
_DRAWN = (f"s0:c{number},c{number + 1}" for number in itertools.count(700, 2))
_STATIC = (f"s0:c60,c360,c660,c{number}" for number in itertools.count(930))

Applier = t.Callable[[Snapshot, Finding], None]


@dataclass(frozen=True)
class Kind:
    """A kind of repair: the words that name it, and what they do."""

    name: str
    phrase: str
    apply: Applier

    def is_in(self, fix: str) -> bool:
        return re.search(self.phrase, fix) is not None


def guest_of(snapshot: Snapshot, finding: Finding) -> Guest:
    """The guest that a finding is about."""
    name = finding.evidence.get("guest") or re.sub(r"^(interface \S+ of )?guest ", "", finding.subject)
    return next(guest for guest in snapshot.guests if name in (guest.name, guest.uuid))


def files_of(snapshot: Snapshot, finding: Finding) -> list[tuple[Guest, Resource]]:
    """The file that a finding is about, with each of its users."""
    path = finding.subject.partition(" ")[2]
    return [(guest, item) for guest in snapshot.guests for item in guest.resources if item.path == path]


def _label(snapshot: Snapshot, finding: Finding, label: str) -> None:
    for _guest, item in files_of(snapshot, finding):
        item.file.label = label
    snapshot.orphans = [item for item in snapshot.orphans if finding.subject != f"image {item.path}"]


# -- libvirt's part ----------------------------------------------------------------------------------------------------

_ROLES = {"disk": "image", "floppy": "image", "nvram": "image", "tpm": "image", "filesystem": "untouched"}


def power_cycle(snapshot: Snapshot, guest: Guest) -> None:
    """Stop and start the guest; a guest that is off is started and stopped."""
    was_active, guest.active = guest.active, True
    defined = confinement(guest.persistent_labels)
    if defined is not None and defined.type == "none":
        guest.context, guest.live = factory.DAEMON, [SecLabel("selinux", "none")]
    elif defined is not None and defined.type == "static":
        level = str(t.cast(t.Any, read_context(defined.label)).high)
        guest.context = defined.label
        guest.live = [replace(defined, imagelabel=image_label(level), relabel=relabels(defined))]
    else:
        level = next(_DRAWN)
        guest.context = process_label(level, _type_of(guest, defined))
        guest.live = [SecLabel("selinux", "dynamic", True, guest.context, image_label(level))]
    for item in guest.resources:
        _start_with(snapshot, guest, item)
    for process in snapshot.processes:
        if process.guest == guest.uuid:
            process.context = guest.context
    guest.active = was_active
    if not was_active:
        guest.context, guest.live = None, []
        for item in guest.resources:
            item.expected = None
            if item.role in ("image", "own"):
                item.file.label = AT_REST
                item.file.uid = item.file.gid = 0


def _type_of(guest: Guest, defined: SecLabel | None) -> str:
    base = read_context(defined.baselabel) if defined is not None and defined.baselabel else None
    return base.type if base is not None else "svirt_t"


def _start_with(snapshot: Snapshot, guest: Guest, item: Resource) -> None:
    seclabel = guest.live[0]
    if not seclabel.relabel:
        item.role, item.expected = "untouched", None
        return
    if item.role == "untouched" and not getattr(item, "kept", False):
        item.role = _ROLES.get(item.kind, "content")
    if item.shareable:
        item.role = "shared"
    gives = {"image": seclabel.imagelabel, "shared": SHARED, "content": CONTENT, "own": item.expected}
    item.expected = gives.get(item.role)
    if item.expected is not None:
        item.file.label = item.expected
        item.file.remembered = None
        if owners_given(snapshot, guest, item):
            item.file.uid = item.file.gid = factory.QEMU_UID


def migrate(snapshot: Snapshot, guest: Guest) -> None:
    """Move the guest to a host like its own. Its live XML travels, without the label of a dynamic guest."""
    kept = guest.persistent_labels
    live = confinement(guest.live)
    guest.persistent_labels = [replace(live, imagelabel=None)] if live and live.type in ("static", "none") else []
    power_cycle(snapshot, guest)
    guest.persistent_labels = kept


def restart_daemon(snapshot: Snapshot) -> None:
    """The daemon reads its files anew."""
    conf, daemon = snapshot.libvirt.conf, snapshot.libvirt.daemon
    driver = setting(conf, "security_driver") if conf else None
    selinux = driver in (None, "selinux") and snapshot.selinux.mode != "disabled"
    models = factory.libvirt().models or []
    snapshot.libvirt.models = models if selinux else [SecurityModel("none"), SecurityModel("dac")]
    if daemon is not None:
        daemon.started_at = snapshot.taken_at - 1


def owners_given(snapshot: Snapshot, guest: Guest, item: Resource) -> bool:
    """Whether libvirt sets the file's owner when the guest starts."""
    conf = snapshot.libvirt.conf
    storage = next((entry for entry in snapshot.storage if entry.mount == item.file.mount), None)
    squashed = storage is not None and storage.remote
    return (
        item.sets_owner
        and not squashed
        and not any(label.model == "dac" and not relabels(label) for label in guest.persistent_labels)
        and conf is not None
        and setting(conf, "dynamic_ownership") != 0
    )


def harmed(snapshot: Snapshot) -> list[str]:
    """Guests that lost a file: running ones now, those that are off at their next start."""
    lost = [f"{file.path} is lost" for file, found in images.judged(snapshot) if found.status == images.LOST]
    for guest in snapshot.guests:
        for item in guest.resources:
            closed = item.file.uid == 0 and (item.file.mode or 0) & 0o077 == 0
            own = item.kind in images.OWN_KINDS and item.role in ("image", "own", "untouched")
            if own and closed and not owners_given(snapshot, guest, item) and snapshot.libvirt.qemu_uid != 0:
                lost.append(f"{guest.name} cannot open {item.path} at its start")
            context = read_context(item.file.label)
            if item.role == "untouched" and not guest.active and own and context and context.type == "virt_image_t":
                lost.append(f"{guest.name} cannot write {item.path} at its start, for libvirt does not label it")
    return lost


# -- kinds of repair ---------------------------------------------------------------------------------------------------


def set_conf(key: str, value: t.Any) -> Applier:
    def apply(snapshot: Snapshot, _finding: Finding) -> None:
        conf = snapshot.libvirt.conf
        assert conf is not None
        conf.assignments = [item for item in conf.assignments if item.key != key] + [Assignment(key, value, 20)]
        conf.problems = [item for item in conf.problems if item.key != key]

    return apply


def _one_assignment(snapshot: Snapshot, finding: Finding) -> None:
    conf = snapshot.libvirt.conf
    assert conf is not None
    kept: dict[str, Assignment] = {}
    for item in conf.assignments:
        value = 1 if item.value == "1" else item.value
        kept.setdefault(item.key, replace(item, value=value))
    conf.assignments, conf.problems = list(kept.values()), []


def _without_weak_arguments(snapshot: Snapshot, _finding: Finding) -> None:
    for entry in snapshot.selinux.boot_entries:
        words = [word for word in entry.arguments.split() if word not in ("selinux=0", "enforcing=0")]
        entry.arguments = " ".join(words)


def _enforce(snapshot: Snapshot, _finding: Finding) -> None:
    snapshot.selinux.mode = snapshot.selinux.configured_mode = "enforcing"
    restart_daemon(snapshot)


def _of_type(snapshot: Snapshot, finding: Finding, **values: t.Any) -> None:
    for facts in snapshot.selinux.types:
        if facts.name == finding.evidence["type"]:
            for name, value in values.items():
                setattr(facts, name, value)


def _boolean_off(snapshot: Snapshot, finding: Finding) -> None:
    for boolean in snapshot.selinux.booleans:
        if boolean.name == finding.evidence["boolean"]:
            boolean.active = boolean.pending = False


def _range(snapshot: Snapshot, _finding: Finding) -> None:
    assert snapshot.libvirt.daemon is not None
    snapshot.libvirt.daemon.context = "system_u:system_r:virtd_t:s0-s0:c0.c1023"


def _all_power_cycled(snapshot: Snapshot, finding: Finding) -> None:
    if finding.scope in ("guest", "image") and (finding.scope == "guest" or finding.evidence.get("guest")):
        for guest in {guest.uuid: guest for guest, _file in files_of(snapshot, finding)}.values() or [
            guest_of(snapshot, finding)
        ]:
            power_cycle(snapshot, guest)
        return
    for guest in snapshot.guests:
        if guest.active:
            power_cycle(snapshot, guest)


def _migrated(snapshot: Snapshot, finding: Finding) -> None:
    if finding.scope == "host":
        for guest in snapshot.guests:
            if guest.active:
                migrate(snapshot, guest)
    else:
        migrate(snapshot, guest_of(snapshot, finding))


def _no_seclabel(snapshot: Snapshot, finding: Finding) -> None:
    guest_of(snapshot, finding).persistent_labels = []


def _static_label(snapshot: Snapshot, finding: Finding) -> None:
    guest = guest_of(snapshot, finding)
    guest.persistent_labels = [SecLabel("selinux", "static", True, process_label(next(_STATIC)))]


def _libvirts_type(snapshot: Snapshot, finding: Finding) -> None:
    for label in guest_of(snapshot, finding).persistent_labels:
        for name in ("label", "baselabel"):
            context = read_context(getattr(label, name))
            if context is not None:
                setattr(label, name, process_label(str(context.high)))


def _relabel_yes(snapshot: Snapshot, finding: Finding) -> None:
    files = files_of(snapshot, finding)
    for guest in [guest for guest, _item in files] or [guest_of(snapshot, finding)]:
        for label in guest.persistent_labels:
            label.relabel = True
    for _guest, item in files:
        item.role = _ROLES.get(item.kind, "content")


def _name_no_label(snapshot: Snapshot, finding: Finding) -> None:
    for _guest, item in files_of(snapshot, finding):
        item.role = _ROLES.get(item.kind, "content")


def _shareable(snapshot: Snapshot, finding: Finding) -> None:
    for _guest, item in files_of(snapshot, finding):
        item.shareable = True


def _expected(snapshot: Snapshot, finding: Finding) -> None:
    assert finding.evidence["expected"]
    _label(snapshot, finding, finding.evidence["expected"])


def _level_of_guest(snapshot: Snapshot, finding: Finding) -> None:
    for guest, _item in files_of(snapshot, finding):
        label = t.cast(SecLabel, confinement(guest.persistent_labels)).label
        _label(snapshot, finding, image_label(str(t.cast(t.Any, read_context(label)).high)))


def _private_type(snapshot: Snapshot, finding: Finding) -> None:
    for type_ in ("svirt_t", "svirt_tcg_t"):
        source = process_label("s0:c1022,c1023", type_)
        snapshot.selinux.access.append(Access(source, PRIVATE, read=False, write=False))
    _label(snapshot, finding, PRIVATE)


def _close(snapshot: Snapshot, finding: Finding) -> None:
    for _guest, item in files_of(snapshot, finding):
        item.file.uid, item.file.gid, item.file.mode = 0, 0, 0o600


def _forget(snapshot: Snapshot, finding: Finding) -> None:
    for _guest, item in files_of(snapshot, finding):
        item.file.remembered = None


def _own_folder(snapshot: Snapshot, finding: Finding) -> None:
    """Each guest has another folder, with the label that its path gives."""
    for guest, item in files_of(snapshot, finding):
        guest.resources.remove(item)


def _own_disk(snapshot: Snapshot, finding: Finding) -> None:
    """All but the first get another disk."""
    for guest, item in files_of(snapshot, finding)[1:]:
        guest.resources.remove(item)


def _other_storage(snapshot: Snapshot, finding: Finding) -> None:
    mount = finding.subject.partition(" ")[2]
    for storage in snapshot.storage:
        if storage.mount == mount:
            storage.labelled, storage.context = True, None
    for guest in snapshot.guests:
        if any(item.file.mount == mount for item in guest.resources):
            guest.persistent_labels = [SecLabel("selinux", "static", True, process_label(next(_STATIC)))]
            power_cycle(snapshot, guest)


def _clean_traffic(snapshot: Snapshot, finding: Finding) -> None:
    guest = guest_of(snapshot, finding)
    for interface in (*guest.interfaces, *guest.persistent_interfaces):
        interface.filter, interface.parameters = "clean-traffic", ["IP=192.0.2.10"]


def _shipped_filters(snapshot: Snapshot, _finding: Finding) -> None:
    snapshot.libvirt.filters = factory.filters()


def _end_process(snapshot: Snapshot, finding: Finding) -> None:
    snapshot.processes = [item for item in snapshot.processes if item.pid != finding.evidence["pid"]]


def _no_risk(snapshot: Snapshot, finding: Finding) -> None:
    guest_of(snapshot, finding).risks = []


def _read_guests(snapshot: Snapshot, finding: Finding) -> None:
    """Allow the daemon what it lacks, and have the guard ask anew."""
    assert snapshot.libvirt.guard is not None
    readable = snapshot.libvirt.guard.readable or []
    snapshot.libvirt.guard.readable = [*readable, finding.subject.partition(" ")[2]]


def _upgrade(snapshot: Snapshot, _finding: Finding) -> None:
    snapshot.libvirt.version = "11.3.0"


def _name_folder(snapshot: Snapshot, finding: Finding) -> None:
    set_conf("shared_filesystems", [finding.subject.partition(" ")[2]])(snapshot, finding)


def _nothing(_snapshot: Snapshot, _finding: Finding) -> None:
    """A look, or a condition, which changes nothing."""


def _setattr(target: str, name: str, value: t.Any) -> Applier:
    return lambda snapshot, _finding: setattr(getattr(snapshot, target), name, value)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("enforcing at boot", r"Remove selinux=0 from the kernel's arguments", _enforce),
        Kind("setenforce", r"setenforce 1", _setattr("selinux", "mode", "enforcing")),
        Kind("SELINUX=", r"SELINUX=enforcing", _setattr("selinux", "configured_mode", "enforcing")),
        Kind("boot arguments", r"Remove the argument", _without_weak_arguments),
        Kind("policy with MCS", r"policy with MCS", _setattr("selinux", "mls", True)),
        Kind("semanage permissive", r"semanage permissive -d", lambda s, f: _of_type(s, f, permissive=False)),
        Kind(
            "shipped policy", r"Restore contexts/virtual_domain_context", lambda s, f: _of_type(s, f, constrained=True)
        ),
        Kind("setsebool", r"setsebool -P", _boolean_off),
        Kind("flask", r"flask=enforcing", _setattr("xen", "flask", "enforcing")),
        Kind("driver", r'security_driver = "selinux"', set_conf("security_driver", "selinux")),
        Kind("default_confined", r"security_default_confined = 1", set_conf("security_default_confined", 1)),
        Kind("require_confined", r"security_require_confined = 1", set_conf("security_require_confined", 1)),
        Kind("one assignment", r"one assignment of each key", _one_assignment),
        Kind("range", r"SELinuxContext=, give it", _range),
        Kind(
            "restart",
            r"(?i)restart (the|libvirt's) daemon(?! first)|daemon's next (re)?start",
            lambda s, _f: restart_daemon(s),
        ),
        Kind("upgrade", r"Upgrade libvirt", _upgrade),
        Kind("guard's view", r"policy module svirt_fleet_guard", _read_guests),
        Kind("end process", r"end this process|shut it down in its own|anybody stops it", _end_process),
        Kind("no seclabel", r"Remove (the )?<seclabel|[Rr]emove the static label|or remove it", _no_seclabel),
        Kind(
            "static label",
            r"write one with two to four|static label of (its|her) own|static label of its own",
            _static_label,
        ),
        Kind("libvirt's type", r"type that libvirt's capabilities name", _libvirts_type),
        Kind("relabel", r"Set relabel='yes'", _relabel_yes),
        Kind("no <label>", r"Remove the <label>", _name_no_label),
        Kind("shareable", r"say <shareable/>", _shareable),
        Kind("power cycle", r"(?i)power[- ]cycle|stop and start the guest", _all_power_cycled),
        Kind(
            "migration",
            r"[Mm]igrate the guest|[Mm]igrate or|or migrate|[Aa] migration (gives|confines)",
            _migrated,
        ),
        Kind("device", r"Take the device or argument", _no_risk),
        Kind("waiver", r"waive this finding", _nothing),
        Kind("chcon", r"chcon LABEL (PATH|DEVICE)", _expected),
        Kind("chcon -R", r"chcon -R -l LEVEL PATH", _level_of_guest),
        Kind("fcontext", r"rule of file contexts", _private_type),
        Kind(
            "restorecon",
            r"restorecon -R?F PATH",
            lambda s, f: _label(s, f, PRIVATE if "rule of file contexts" in f.fix else AT_REST),
        ),
        Kind("chown", r"\bchown\b|\bchmod\b", _close),
        Kind("udev", r"udev rule that gives", _close),
        Kind("setfattr", r"setfattr -x", _forget),
        Kind("own folder", r"a folder of its own", _own_folder),
        Kind("own disk", r"a disk of its own", _own_disk),
        Kind("shared_filesystems", r"shared_filesystems", _name_folder),
        Kind("storage", r"Use storage that keeps labels", _other_storage),
        Kind("clean-traffic", r"the filter clean-traffic|parameter IP", _clean_traffic),
        Kind("shipped filters", r"define it again as libvirt ships it", _shipped_filters),
    )
}
