# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Plans of image_label over a snapshot, with a survey that sees the files as the snapshot has them."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.candidates import candidates
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import (
    REMEMBERED,
    REPAIRS,
    ImageKey,
    ImagePlan,
    ImageTarget,
    SurveyedFile,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.requested import ImageRequests
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.settle import settle
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Pending, Refusal
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import FileFacts, Orphan, Snapshot

from tests.unit.support.factory import AT_REST, CONTENT, IMAGES, image_label

ALL = frozenset(REPAIRS)
OTHERS = image_label("s0:c7,c8")
WEB = image_label("s0:c17,c42")


def surveyed(facts: FileFacts, **more: t.Any) -> SurveyedFile:
    """The file as it was when the host was read."""
    memory = {}
    if facts.remembered is not None:
        values = {"selinux": facts.remembered.label, "ref_selinux": facts.remembered.references}
        values["timestamp_selinux"] = facts.remembered.timestamp
        memory = {REMEMBERED + name: str(value) for name, value in values.items() if value is not None}
    base = SurveyedFile("", facts.kind, facts.device, facts.inode, 1, facts.label, facts.uid or 0, facts.gid or 0)
    return replace(base, **{"mode": facts.mode or 0, "memory": memory, "default": AT_REST, **more})


def survey(snapshot: Snapshot, targets: t.Iterable[ImageTarget], **more: t.Any) -> dict[ImageKey, SurveyedFile]:
    """The survey when nothing happened since the snapshot."""
    by_path = {item.file.resolved or item.path: item.file for guest in snapshot.guests for item in guest.resources}
    for orphan in snapshot.orphans:
        by_path[orphan.path] = FileFacts(True, "", "file", orphan.label, 107, 107, 0o600, orphan.device, orphan.inode)
    other = FileFacts(True, "", "file", CONTENT, 0, 0, 0o644, "253:1", 77)
    return {target.key: surveyed(by_path.get(target.path) or other, **more) for target in targets}


def plan(
    snapshot: Snapshot, repair: t.Collection[str] = ALL, see: dict[str, t.Any] | None = None, **more: t.Any
) -> ImagePlan:
    """The whole plan, as the module makes it."""
    requests = ImageRequests(frozenset(repair), **more)
    targets, first = candidates(snapshot, requests)
    second = settle(snapshot, requests, targets, survey(snapshot, targets, **(see or {})))
    return ImagePlan(second.changes, first.refused + second.refused, first.pending + second.pending)


def lines(plan: ImagePlan) -> list[tuple[str, str, t.Any]]:
    """Its steps as (action, subject, after)."""
    return [(step.action, step.subject, step.after) for change in plan.changes for step in change.steps()]


def codes(plan: ImagePlan) -> dict[str, str]:
    """Codes of the reasons by subject, of what is refused and of what is pending."""
    return {entry.subject: entry.reason.code for entry in left(plan)}


def left(plan: ImagePlan) -> list[Refusal | Pending]:
    """All that the plan leaves alone."""
    return [*plan.refused, *plan.pending]


def with_orphan(
    snapshot: Snapshot, path: str = f"{IMAGES}/gone.raw", label: str = OTHERS, mount: str = "/"
) -> Snapshot:
    """The host with a file that no guest owns."""
    snapshot.orphans.append(Orphan(path, label, mount, "253:1", 99))
    return snapshot
