# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about guests' files and the storage that they lie on.

Which of IMG-001, IMG-002 and IMG-006 a file's label falls under is decided once, in ``facts/images.py``. Devices in a
guest's own /dev are IMG-010. A file that still carries a guest's label is not also reported as readable (IMG-007) or
as remembered (IMG-009): one repair covers all three.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ...facts import images, orphans
from ...facts.guests import draws_categories, selinux_off
from ...facts.subjects import guest_name, image_name
from ...libvirt.qemu_conf import setting
from ...libvirt.qemu_conf_keys import ignores
from ...paths import below, below_any
from ...result import Reason
from ...snapshot.model import Orphan, Snapshot, Storage
from ..finding import Hit, Rule, Settings, Unsure
from . import image_repairs
from ._common import NIST_AC3, NIST_AC4, NIST_AC6, NIST_CM6, NIST_SC4, conf_for, off_is_unsure

Results = t.Iterable[t.Union[Hit, Unsure]]

#: So many paths are shown where a finding is about many.
_SHOWN = 10
_AS_OWNER = "The running guests in the evidence (run_as_owner) run as the file's owner."
#: Types of storage that a fleet with this profile has chosen for its guests.
_CHOSEN = {"nfs": ("nfs",), "ovirt": ("nfs", "cifs", "smb", "fuse")}


def _files(snapshot: Snapshot, settings: Settings) -> list[images.File]:
    return settings.once("files", lambda: images.files(snapshot))


def _judged(snapshot: Snapshot, settings: Settings) -> list[tuple[images.File, images.FileStatus]]:
    return settings.once("judged_files", lambda: list(images.judged(snapshot, _files(snapshot, settings))))


def _unsure(file: images.File, status: images.FileStatus) -> Unsure:
    return Unsure(image_name(file.path), t.cast(Reason, status.reason))  # UNSURE never comes without one


def _evidence(file: images.File, status: images.FileStatus, **more: t.Any) -> dict[str, t.Any]:
    guest = status.use.guest
    return {
        "label": file.facts.label,
        "expected": status.use.resource.expected,
        "guest": guest.name,
        "uuid": guest.uuid,
        "running": guest.active,
        "kind": status.use.resource.kind,
        **more,
    }


def _wrong_label(snapshot: Snapshot, settings: Settings) -> Results:
    yield from off_is_unsure(snapshot)
    running = images.RunningGuests(snapshot)
    for file, status in _judged(snapshot, settings):
        if status.status == images.UNSURE:
            yield _unsure(file, status)
        elif status.status == images.LEFT:
            compared = file.storage is not None and file.facts.kind not in images.SPECIAL
            if not (compared and running.reach(file.facts.label)):  # else reported across guests, as CAT-002
                yield _left(running, file, status)
        elif status.status == images.WRONG and not file.in_namespace:
            yield Hit(image_name(file.path), file.path, _evidence(file, status))


def _left(running: images.RunningGuests, file: images.File, status: images.FileStatus) -> Hit:
    """No running guest uses the file, so its label can be repaired at once."""
    remembered = file.facts.remembered
    more: dict[str, t.Any] = {"remembered": remembered.label if remembered else None}
    held_by = [guest_name(guest) for guest in running.holders(file.facts.label)]
    if held_by:
        more["held_by"] = held_by[:_SHOWN]
    return Hit(
        image_name(file.path),
        file.path,
        _evidence(file, status, **more),
        severity="medium",
        **image_repairs.left_over(file).values(),
    )


def _lost(snapshot: Snapshot, settings: Settings) -> Results:
    yield from off_is_unsure(snapshot)
    for file, status in _judged(snapshot, settings):
        if status.status == images.LOST and not file.in_namespace:
            yield Hit(image_name(file.path), file.path, _evidence(file, status, process=status.use.guest.context))
        elif status.status == images.UNSURE and status.use.guest.active:
            yield _unsure(file, status)


def _not_named(snapshot: Snapshot, settings: Settings) -> Results:
    folders = _exported_images(snapshot, settings)
    if not folders:
        return
    conf = conf_for(snapshot, "shared_filesystems")
    if isinstance(conf, Unsure):
        yield conf
        return
    value = setting(conf, "shared_filesystems")
    named = [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
    labelled = {folder for storage in snapshot.storage for folder in storage.labelled_exports}
    version = snapshot.libvirt.version
    old = ignores("shared_filesystems", version)
    for folder, paths in sorted(folders.items()):
        unnamed = sorted(path for path in paths if not below_any(path, named))
        if not unnamed and old:
            yield Unsure(f"folder {folder}", Reason("key_ignored", _WITHOUT_KEY.format(version=version)))
        elif unnamed:
            evidence = {"shared_filesystems": named, "labelled_export": folder in labelled, **_some(unnamed)}
            # Clients of an export without labels see none, so only owner and mode are set back under them.
            severity = None if folder in labelled else "medium"
            if old:
                evidence["libvirt"] = version
                fix = f"{_WITHOUT_KEY.format(version=version)} {_INSTEAD}"
                yield Hit(f"folder {folder}", folder, evidence, "operator", fix, severity)
            else:
                yield Hit(f"folder {folder}", folder, evidence, severity=severity)


_WITHOUT_KEY = "libvirt {version} as released ignores shared_filesystems, which libvirt 10.8 and later read."
_INSTEAD = (
    "Until it is upgraded, migrate no guest away from this host while its images lie in the exported folder. Or mount "
    "the export on this host itself, over NFS, and give the guests paths below that mount point: libvirt knows such a "
    "file system as a shared one by its type. It counts for a guest from its next power cycle."
)


def _exported_images(snapshot: Snapshot, settings: Settings) -> dict[str, set[str]]:
    """Images that libvirt labels and takes for local ones, by the exported folder that they lie in."""
    by_folder: dict[str, set[str]] = {}
    for file in _files(snapshot, settings):
        if file.in_namespace or file.storage is None or not any(use.own for use in file.uses):
            continue
        if file.storage.remote:
            continue  # exported once more, but libvirt knows such a file system for a shared one by itself
        over = [folder for folder in file.storage.exports if below(file.real_path, folder)]
        if over:
            by_folder.setdefault(max(over, key=len), set()).add(file.real_path)
    return by_folder


def _some(paths: t.Iterable[str]) -> dict[str, t.Any]:
    ordered = sorted(paths)
    return {"images": len(ordered), "examples": ordered[:_SHOWN]}


def _dynamic_on_shared(snapshot: Snapshot, settings: Settings) -> Results:
    yield from off_is_unsure(snapshot)
    by_guest: dict[str, tuple[str, set[str], set[str]]] = {}
    for file in [] if selinux_off(snapshot) else _files(snapshot, settings):
        storage = file.storage
        if storage is None or file.in_namespace or not _seen_by_others(storage, file.real_path):
            continue
        for use in file.uses:
            if use.own and draws_categories(use.guest):
                _name, paths, mounts = by_guest.setdefault(use.guest.uuid, (guest_name(use.guest), set(), set()))
                paths.add(file.path)
                mounts.add(storage.identity or storage.mount)
    for uuid, (name, paths, mounts) in sorted(by_guest.items()):
        yield Hit(name, uuid, {"storage": sorted(mounts), **_some(paths)})


def _seen_by_others(storage: Storage, path: str) -> bool:
    """Whether another host sees the label that this host sets."""
    if images.not_real(storage) or storage.type == images.BLOCK:
        return False
    return storage.remote or below_any(path, storage.labelled_exports)


def orphan_hit(orphan: Orphan) -> Hit:
    """Hit for a file that carries the label of no guest."""
    return Hit(image_name(orphan.path), orphan.path, {"label": orphan.label, "mount": orphan.mount})


def _orphans(snapshot: Snapshot, _settings: Settings) -> Results:
    running = images.RunningGuests(snapshot)
    for orphan in orphans.by_reporter(snapshot).alone:
        held_by = [guest_name(guest) for guest in running.holders(orphan.label)]
        hit = orphan_hit(orphan)
        yield replace(hit, evidence={**hit.evidence, "held_by": held_by[:_SHOWN]}) if held_by else hit


def _open_to_all(snapshot: Snapshot, settings: Settings) -> Results:
    yield from off_is_unsure(snapshot)
    for file, status in _judged(snapshot, settings):
        if status.status == images.OPEN:
            evidence = _evidence(file, status, mode=_octal(file.facts.mode))
            yield Hit(_subject(file), file.path, evidence, **image_repairs.open_to_all(file).values())
        elif status.status == images.UNSURE and not file.facts.label:
            yield _unsure(file, status)


def _subject(file: images.File) -> str:
    """A shared folder is no image."""
    shared = any(use.resource.kind == image_repairs.FILESYSTEM for use in file.uses)
    return f"folder {file.path}" if shared else image_name(file.path)


def _octal(mode: int | None) -> str | None:
    return None if mode is None else f"{mode & 0o7777:04o}"


def _readable_at_rest(snapshot: Snapshot, settings: Settings) -> Results:
    yield from off_is_unsure(snapshot)
    for file, status in _judged(snapshot, settings):
        if status.status == images.UNSURE and not file.active and not file.facts.label:
            yield _unsure(file, status)
        readable = images.guests_may_read(snapshot, file, status)
        if isinstance(readable, Reason):
            yield Unsure(image_name(file.path), readable)
        elif readable:
            facts = file.facts
            more: dict[str, t.Any] = {"owner": facts.uid, "group": facts.gid, "mode": _octal(facts.mode)}
            readers = images.guests_as_owner(snapshot, facts)
            if readers:
                more["run_as_owner"] = readers[:_SHOWN]
            evidence = _evidence(file, status, **more)
            repair = image_repairs.readable(snapshot, file).values()
            note = _AS_OWNER if readers else ""
            yield Hit(image_name(file.path), file.path, evidence, **repair, note=note)


def _unreal(snapshot: Snapshot, settings: Settings) -> Results:
    if selinux_off(snapshot):
        yield from off_is_unsure(snapshot)  # mounts do not show then whether they keep labels
        return
    by_mount: dict[str, tuple[Storage, set[str]]] = {}
    for file in _files(snapshot, settings):
        if file.in_namespace or not any(use.resource.kind in images.OWN_KINDS for use in file.uses):
            continue
        if file.storage is not None and images.not_real(file.storage):
            by_mount.setdefault(file.storage.mount, (file.storage, set()))[1].add(file.path)
        elif file.storage is None and file.facts.exists and file.facts.kind != "char":
            why = Reason("storage_unknown", "the storage that it lies on could not be read")
            yield Unsure(image_name(file.path), why)
    for mount, (storage, paths) in sorted(by_mount.items()):
        evidence = {"type": storage.type, "source": storage.source, "context": storage.context, **_some(paths)}
        # The profile states that the fleet chose such storage; owner and mode alone protect it.
        chosen = storage.type.startswith(_CHOSEN.get(settings.profile, ()))
        severity = "low" if chosen else None if settings.profile == "local" else "medium"
        yield Hit(f"storage {mount}", mount, evidence, severity=severity)


def _stale_owner(snapshot: Snapshot, settings: Settings) -> Results:
    for file in _files(snapshot, settings):
        remembered, stale = file.facts.remembered, images.owner_is_stale(snapshot, file)
        if stale is None:
            why = Reason("references_unread", "the count of its remembered users could not be read")
            yield Unsure(image_name(file.path), why)
        elif stale and remembered is not None:
            evidence = {
                "remembered_label": remembered.label,
                "references": remembered.references,
                "timestamp": remembered.timestamp,
                "booted_at": snapshot.host.booted_at,
                "label": file.facts.label,
            }
            yield Hit(image_name(file.path), file.path, evidence)


def _in_namespace(snapshot: Snapshot, settings: Settings) -> Results:
    yield from off_is_unsure(snapshot)
    for file, status in _judged(snapshot, settings):
        if not file.in_namespace:
            continue
        if status.status in (images.LOST, images.WRONG):
            severity = "critical" if status.status == images.LOST else None
            evidence = _evidence(file, status, pid=status.use.guest.pid)
            key = f"{status.use.guest.uuid}\0{file.path}"  # each guest has a /dev of its own
            yield Hit(image_name(file.path), key, evidence, severity=severity)
        elif status.status == images.UNSURE:
            yield _unsure(file, status)


_BACK = (
    "It is safe while the guest runs, provided that no other guest uses the file. Never run restorecon on an image "
    "in use."
)

#: The fleet analysis judges orphans on shared storage by this rule.
ORPHAN = Rule(
    id="IMG-005",
    title="A file carries a guest's label and belongs to no guest",
    severity="medium",
    scope="image",
    why=(
        "The file still carries a guest's categories, but no guest here owns it: no definition, backing chain, "
        "snapshot, save, block job or backup names it, and no QEMU has it open. libvirt may give the same pair to "
        "another guest, which can then read and write this file. Files on storage that other hosts use too are judged "
        "across hosts."
    ),
    fix=(
        "Make sure that no process has the file open, here or on another host that sees it. Then set the label that "
        "its folder gives: restorecon -F PATH, on this file only. "
        f"{image_repairs.NO_LABEL_BY_PATH} Keep the file: an image may be built on it."
    ),
    cost="none",
    needs=("selinux", "orphans"),
    check=_orphans,
    references=(NIST_SC4, NIST_AC3),
)

RULES: tuple[Rule, ...] = (
    Rule(
        id="IMG-001",
        title="A guest's file carries a wrong label",
        severity="high",
        scope="image",
        why=(
            "The label is not the one that libvirt gives this file: the guest cannot use it, or guests that should "
            "not can. On the file of a guest that is off, it is left over, and the next guest with the same "
            "categories can open it."
        ),
        fix=(
            "Do not relabel a file in use. libvirt sets every label of a guest when it starts: power-cycle or migrate "
            "the guest when its owner agrees, and look for what relabelled the file (restorecon, udev, another host)."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "guests", "images"),
        check=_wrong_label,
        references=(NIST_AC3, NIST_SC4),
    ),
    Rule(
        id="IMG-002",
        title="A running guest has lost its own image",
        severity="critical",
        scope="image",
        why=(
            "The image no longer carries the guest's label, so the guest's reads and writes are denied: it stops or "
            "loses data. It happens after migrations, and whoever holds the new label may now have the disk."
        ),
        fix=(
            f"Set the image back to the label in the evidence (expected) at once: chcon LABEL PATH. {_BACK} Then find "
            "out what relabelled it: another host's start or stop, restorecon, a udev rule."
        ),
        cost="none",
        needs=("selinux", "guests", "images"),
        check=_lost,
        references=(NIST_AC3, NIST_SC4),
    ),
    Rule(
        id="IMG-003",
        title="libvirt does not know that a folder with images is exported",
        severity="high",
        scope="image",
        why=(
            "This host sees the exported folder as a local one. When a guest migrates away, libvirt here sets its "
            "image's label back under the running guest, and the guest loses its disk on the other host."
        ),
        fix=(
            "Name the exported folder in shared_filesystems of qemu.conf, which libvirt 10.8 and later read, and "
            "restart the daemon; until then migrate no guest away from this host. Before the restart make sure that no "
            "two dynamic guests share their categories: libvirt would kill one of them."
        ),
        cost="daemon_restart",
        needs=("selinux", "libvirt", "guests", "storage"),
        check=_not_named,
        references=(NIST_CM6,),
    ),
    Rule(
        id="IMG-004",
        title="A guest with drawn categories keeps its images on labelled shared storage",
        severity="high",
        scope="image",
        why=(
            "Every start and every migration draws new categories and writes them to the shared image. A failed "
            "migration leaves the image with the other host's draw, and the running guest loses its disk; a guest on "
            "another host may draw the same pair and reach it."
        ),
        fix=(
            "Give the guest a static label of its own (type and two to four categories that no other guest has, "
            "relabel='yes') in its persistent XML, and power-cycle it when its owner agrees. Until then do not "
            "migrate it."
        ),
        cost="guest_power_cycle",
        needs=("selinux", "guests", "storage"),
        check=_dynamic_on_shared,
        references=(NIST_AC4, NIST_SC4),
    ),
    ORPHAN,
    Rule(
        id="IMG-006",
        title="A guest's image or shared folder can be written by every guest",
        severity="critical",
        scope="image",
        why=(
            "The file has the guests' image type without categories, and is no disk that is marked shareable. Whoever "
            "breaks out of any guest on a host that sees it may read and change it."
        ),
        fix=(
            f"Guest off: {image_repairs.REST.fix} Guest running: {image_repairs.BACK.fix} The finding names the repair "
            "for disks that guests share, for folders of a <filesystem>, and for files that libvirt does not label."
        ),
        cost="none",
        needs=("selinux", "guests", "images"),
        check=_open_to_all,
        references=(NIST_AC3, NIST_AC6, NIST_SC4),
    ),
    Rule(
        id="IMG-007",
        title="Every guest can read the image of a guest that is off",
        severity="high",
        scope="image",
        why=(
            "The loaded policy lets guests read images at rest, as on EL and Fedora, and owner and mode let the "
            "user in that guests run as. Whoever breaks out of any guest can copy this disk. Disks whose XML says "
            "<seclabel model='dac' relabel='no'/> are left out: their owner and mode are the operator's own choice."
        ),
        fix=f"{image_repairs.CLOSE.fix} Where libvirt would not, the finding names another repair.",
        cost="none",
        needs=("selinux", "guests", "images"),
        check=_readable_at_rest,
        references=(NIST_AC3, NIST_AC6, NIST_SC4),
    ),
    Rule(
        id="IMG-008",
        title="Images lie on storage without labels of their own",
        severity="high",
        scope="image",
        why=(
            "All files there have one label, so categories keep no guest from another's images: whoever breaks out of "
            "one guest has what owner and mode allow, and guests run as one user."
        ),
        fix=(
            "Use storage that keeps labels: a local file system, a labelled NFS 4.2 export (security_label), or block "
            "devices; drop a context= mount option. Move guests there one by one, with static labels where hosts "
            "share the storage."
        ),
        cost="operator",
        needs=("selinux", "guests", "storage"),
        check=_unreal,
        references=(NIST_AC3, NIST_AC4, NIST_SC4),
    ),
    Rule(
        id="IMG-009",
        title="libvirt remembers an owner of a file that nobody uses",
        severity="low",
        scope="image",
        why=(
            "After a crash libvirt's note of the file's former label and of its users stays behind. It may refuse to "
            "start a guest with the file (already in use), or give it a wrong label back later."
        ),
        fix=(
            "Make sure that no process has the file open, then remove its attributes trusted.libvirt.security.* "
            "(setfattr -x). Nothing restarts."
        ),
        cost="none",
        needs=("selinux", "guests", "images"),
        check=_stale_owner,
        references=(NIST_CM6,),
    ),
    Rule(
        id="IMG-010",
        title="A device in a guest's own /dev carries a wrong label",
        severity="high",
        scope="image",
        why=(
            "libvirt labels devices in the private /dev that it makes for each guest, not on the host. With another "
            "label there the guest loses the device, which is critical for a disk, or other guests' labels fit it."
        ),
        fix=(
            "Set the label in the evidence (expected) inside that guest's mount namespace: nsenter -m -t PID chcon "
            "LABEL DEVICE. It does not disturb the guest; the node on the host is another one and stays as it is."
        ),
        cost="none",
        needs=("selinux", "guests", "images"),
        check=_in_namespace,
        references=(NIST_AC3, NIST_SC4),
    ),
)
