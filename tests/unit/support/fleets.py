# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Small fleets for tests: hosts, guests and findings with everything that a test does not care about filled in."""

from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

PROCESS = "system_u:system_r:svirt_t:"


def host(name: str, guests: t.Sequence[s.Guest] = (), **parts: t.Any) -> s.Snapshot:
    """An enforcing host that was read wholly."""
    values: dict[str, t.Any] = {
        "host": s.Host(name=name, root=True),
        "selinux": s.SELinux(mode="enforcing", types=[s.TypeFacts("svirt_t", True, False, True)]),
        "libvirt": s.Libvirt(installed=True),
        "coverage": {area: s.Coverage(s.OK) for area in s.AREAS},
        "taken_at": 1_700_000_000.0,
        "guests": list(guests),
    }
    return s.Snapshot(**{**values, **parts})


def guest(uuid: str, level: str | None, *files: str, mount: str = "/", **parts: t.Any) -> s.Guest:
    """A running guest of a constrained type, with its files on one mount."""
    values: dict[str, t.Any] = {
        "uuid": uuid,
        "name": f"guest-{uuid}",
        "state": "running",
        "active": True,
        "context": None if level is None else PROCESS + level,
        "resources": [disk(path, mount) for path in files],
    }
    return s.Guest(**{**values, **parts})


def disk(path: str, mount: str | None, inode: int | None = None, kind: str = "file") -> s.Resource:
    """A writable image."""
    facts = s.FileFacts(exists=True, kind=kind, mount=mount, inode=inode)
    return s.Resource(kind="disk", target="vda", path=path, role="image", file=facts)


def nfs(mount: str, identity: str, labelled: bool = True) -> s.Storage:
    """An NFS mount."""
    return s.Storage(mount, "nfs4", identity.partition(":")[2], labelled, identity=identity, remote=True)


def rule(id_: str = "TST-001", **parts: t.Any) -> f.Rule:
    """A rule that finds nothing unless the test says so."""
    values: dict[str, t.Any] = {
        "id": id_,
        "title": f"Title of {id_}",
        "severity": "high",
        "scope": "guest",
        "why": "It matters.",
        "fix": "Repair it.",
        "cost": "none",
        "needs": (),
        "check": lambda _snapshot, _settings: (),
    }
    return f.Rule(**{**values, **parts})


def finding(host_name: str = "kvm1", subject: str = "web", evidence: t.Any = None, **parts: t.Any) -> f.Finding:
    """A finding of a test's rule."""
    return f.finding_of(rule(**parts), host_name, f.Hit(subject, subject, evidence or {}))
