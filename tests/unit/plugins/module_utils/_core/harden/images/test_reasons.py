# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
# ruff: noqa: E501
"""The wording of each reason, once. All other tests compare codes."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import FileHolder
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.requested import ImageRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.shared_use import FileUse, FolderUse
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    UNKNOWN,
    Assignment,
    Coverage,
    Remembered,
    Snapshot,
)

from tests.unit.support import factory
from tests.unit.support.factory import AT_REST, BOOTED, IMAGES, image_label
from tests.unit.support.faults.case import file_of, guest, set_key
from tests.unit.support.image_plans import OTHERS, WEB, left, plan, with_orphan

Fault = t.Callable[[Snapshot], t.Any]


def _left_over(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.label = OTHERS


def _lost(snapshot: Snapshot) -> None:
    file_of(snapshot, "web").file.label = OTHERS


def _open_mode(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").file.mode = 0o644


def _two_users(snapshot: Snapshot) -> None:
    _lost(snapshot)
    disk = file_of(snapshot, "web")
    guest(snapshot, "db").resources.append(replace(disk, target="vdz", expected=image_label("s0:c40,c300,c600,c900")))


def _backing(snapshot: Snapshot) -> None:
    file_of(snapshot, "web", "backing").file.label = OTHERS


def _other_level(snapshot: Snapshot) -> None:
    _lost(snapshot)
    guest(snapshot, "web").context = factory.process_label("s0:c1,c2")


def _no_level(snapshot: Snapshot) -> None:
    _lost(snapshot)
    guest(snapshot, "web").context = "nonsense"


def _folder(snapshot: Snapshot) -> None:
    _left_over(snapshot)
    file_of(snapshot, "spare").file.kind = "dir"


def _counted(snapshot: Snapshot) -> None:
    _left_over(snapshot)
    file_of(snapshot, "spare").file.remembered = Remembered(AT_REST, 1, str(BOOTED))


def _no_owners(snapshot: Snapshot) -> None:
    _open_mode(snapshot)
    set_key(snapshot, "security_driver", "selinux")
    assert snapshot.libvirt.conf is not None
    snapshot.libvirt.conf.assignments.append(Assignment("dynamic_ownership", 0, 9))


def _on_share(snapshot: Snapshot) -> None:
    _open_mode(snapshot)
    snapshot.storage[0].remote = True


def _untouched(snapshot: Snapshot) -> None:
    file_of(snapshot, "spare").role = "untouched"
    file_of(snapshot, "spare").file.label = image_label("s0")


def _no_conf(snapshot: Snapshot) -> None:
    _open_mode(snapshot)
    snapshot.libvirt.conf = None


def _as_root(snapshot: Snapshot) -> None:
    _open_mode(snapshot)
    snapshot.libvirt.qemu_uid = 0


def _orphan_of_running(snapshot: Snapshot) -> None:
    with_orphan(snapshot, label=image_label("s0:c42,c17"))


def _unread_guests(snapshot: Snapshot) -> None:
    snapshot.coverage["guests"] = Coverage(UNKNOWN, "no answer")


def _off(snapshot: Snapshot) -> None:
    with_orphan(snapshot)
    snapshot.selinux.mode = "disabled"


def _nothing(_snapshot: Snapshot) -> None:
    pass


USED = FolderUse(IMAGES, True, in_use=(FileUse(99, "", "guest x on kvm2"),))
GOLDEN: list[tuple[Fault, dict[str, t.Any], dict[str, t.Any], str, str]] = [
    (
        _unread_guests,
        {},
        {},
        "guests_unknown",
        "not all guests could be read (no answer), and any of them may use the file",
    ),
    (_off, {}, {}, "selinux_off", "SELinux is off, so labels mean nothing now"),
    (_two_users, {}, {}, "used_by_several_guests", "guest web, guest db use it at once"),
    (
        _backing,
        {},
        {},
        "not_its_own_image",
        "it is no image of its own to guest web; libvirt sets its label when the guest starts",
    ),
    (
        _other_level,
        {},
        {},
        "guest_runs_at_other_level",
        "guest web runs at s0:c1,c2, but its XML gives its images s0:c17,c42",
    ),
    (
        _no_level,
        {},
        {},
        "label_of_guest_unreadable",
        "the label of guest web: label 'nonsense' has no level; expected user:role:type:level, so the policy may lack MCS",
    ),
    (
        _folder,
        {},
        {},
        "folder_of_guest",
        "it is a folder, and what lies in it has the label too: restorecon -RF while its guest is off",
    ),
    (
        _no_conf,
        {},
        {},
        "owners_unknown",
        "qemu.conf does not tell whether libvirt sets owners: the file could not be read",
    ),
    (
        _no_owners,
        {},
        {},
        "no_dynamic_ownership",
        "libvirt sets no owners here (dynamic_ownership = 0), so its guest could not start",
    ),
    (_as_root, {}, {}, "guests_run_as_root", "guests run as root here, whom owner and mode do not hold back"),
    (
        _orphan_of_running,
        {},
        {},
        "categories_in_use",
        "guest web runs with these categories: find out first what the file is to it",
    ),
    (_left_over, {"error": "gone"}, {}, "not_readable", "gone"),
    (_left_over, {"kind": "socket"}, {}, "not_a_plain_file", "it is no plain file but a socket"),
    (_left_over, {"inode": 5}, {}, "another_file", "there is another file now than when the host was read"),
    (
        _left_over,
        {"label": WEB},
        {},
        "label_changed",
        f"its label is {WEB} now, and was {OTHERS} when the host was read",
    ),
    (_left_over, {"links": 2}, {}, "hard_links", "it has 2 names (hard links), and the others would change with it"),
    (_left_over, {}, {"within": ("/a", "/b", "/c", "/d")}, "out_of_bounds", "it does not lie in /a, /b, /c and 1 more"),
    (_left_over, {"labelled": False}, {}, "storage_without_labels", "its storage keeps no labels of its own"),
    (
        _nothing,
        {},
        {"labels": (ImageRequest(f"{IMAGES}/web.qcow2", AT_REST),)},
        "guest_runs",
        "guest web runs and uses it; power-cycle the guest when its owner agrees",
    ),
    (_left_over, {"blind": "no answer"}, {}, "holders_unknown", "it is not known who has it open: no answer"),
    (
        _left_over,
        {"holders": [FileHolder(7, "a"), FileHolder(0, "device loop3")]},
        {},
        "open",
        "in use: open by process 7 a, device loop3",
    ),
    (
        _counted,
        {},
        {},
        "counted_by_libvirt",
        (
            "in use: libvirt counts 1 users of it since the host booted (trusted.libvirt.security.ref_selinux); when no "
            "guest has it, start and stop its guest once"
        ),
    ),
    (
        _left_over,
        {"remote": True},
        {},
        "use_elsewhere_unknown",
        "other hosts share its storage, and what they use of it is not known: say it by elsewhere",
    ),
    (
        _left_over,
        {"remote": True},
        {"elsewhere": (FolderUse(IMAGES, False, "kvm9 could not be read"),)},
        "use_elsewhere_unknown",
        f"other hosts share {IMAGES}: kvm9 could not be read",
    ),
    (
        with_orphan,
        {"remote": True},
        {"elsewhere": (USED,)},
        "in_use_elsewhere",
        "in use on another host: guest x on kvm2",
    ),
    (
        _left_over,
        {"remote": True},
        {"elsewhere": (FolderUse(IMAGES, True, levels=("s0:c7,c8",)),)},
        "readable_elsewhere",
        f"a guest on another host that shares {IMAGES} runs at s0:c7,c8, which opens it",
    ),
]


@pytest.mark.parametrize(("fault", "see", "more", "code", "text"), GOLDEN, ids=[row[3] for row in GOLDEN])
def test_wording(fault: Fault, see: dict[str, t.Any], more: dict[str, t.Any], code: str, text: str) -> None:
    snapshot = factory.host()
    fault(snapshot)
    reason = left(plan(snapshot, see=see, **more))[0].reason
    assert (reason.code, reason.text) == (code, text)
