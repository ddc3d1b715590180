# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""What all parts of the collection that compare hosts say of a fleet of snapshots."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate import operations
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.label_domains import by_host, derive
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.labels_in_use import label_use
from ansible_collections.svirt.fleet.plugins.module_utils._core.allocate.static_labels import LabelRequest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.finding import Finding
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage import all_storage, host_storage
from ansible_collections.svirt.fleet.plugins.module_utils._core.facts.storage_statements import (
    StorageStatements,
    parse_storage,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import shared_use
from ansible_collections.svirt.fleet.plugins.module_utils._core.migrate import check
from ansible_collections.svirt.fleet.plugins.module_utils._core.migrate.move import MoveFleet
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.mounts import parse_mountinfo
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.paths import MountTable
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import storage

from tests.unit.support.captured import CapturedRoot, Tree

BASE = "system_u:system_r:svirt_t:s0"
PAIR = "s0:c41,c264"


def uuid(number: int) -> str:
    """A guest's uuid."""
    return f"00000000-0000-4000-8000-{number:012}"


def mounted(line: str) -> s.Storage:
    """The storage that the probe reads from a line of a mount table."""
    mounts = parse_mountinfo(line)
    (entry,) = storage.describe(CapturedRoot(Tree()), MountTable(mounts), mounts, [])
    return entry


def lines(path: Path) -> list[str]:
    """Lines of a file of mounts."""
    return path.read_text(encoding="utf-8").splitlines()


def host(name: str, *guests: s.Guest, storage: t.Sequence[s.Storage] = (), **parts: t.Any) -> s.Snapshot:
    """An enforcing host that was read wholly, with libvirt's labels. ``name`` is its name in the inventory too."""
    models = [s.SecurityModel("selinux", "0", {"kvm": BASE}), s.SecurityModel("dac")]
    daemon = s.Daemon("libvirtd", 900, "system_u:system_r:virtd_t:s0-s0:c0.c1023", started_at=2000.0)
    values: dict[str, t.Any] = {
        "host": s.Host(name=name, root=True),
        "selinux": s.SELinux(mode="enforcing", mls=True, types=[s.TypeFacts("svirt_t", True, False, True)]),
        "libvirt": s.Libvirt(True, daemon, True, "QEMU", "11.3.0", None, models),
        "coverage": {area: s.Coverage(s.OK) for area in s.AREAS},
        "taken_at": 1_700_000_000.0,
        "guests": list(guests),
        "storage": list(storage),
    }
    return s.Snapshot(**{**values, **parts})


def guest(number: int, level: str = PAIR, static: bool = False, **parts: t.Any) -> s.Guest:
    """A guest that runs, with a disk on /share."""
    label = s.SecLabel("selinux", "static" if static else "dynamic", True, BASE.replace("s0", level))
    values: dict[str, t.Any] = {
        "uuid": uuid(number),
        "name": f"guest{number}",
        "state": "running",
        "active": True,
        "context": BASE.replace("s0", level),
        "live": [label],
        "persistent_labels": [label] if static else [],
        "resources": [disk(f"/share/guest{number}.qcow2", number)],
    }
    return s.Guest(**{**values, **parts})


def disk(path: str, inode: int | None, mount: str = "/share", label: str | None = None) -> s.Resource:
    """A writable image."""
    facts = s.FileFacts(exists=True, kind="file", mount=mount, inode=inode, label=label)
    return s.Resource(kind="disk", target="vda", path=path, role="image", file=facts)


def label(level: str = PAIR) -> str:
    """Label of a guest's image."""
    return f"system_u:object_r:svirt_image_t:{level}"


@dataclass
class Judged:
    """What is said of a fleet. Hosts are known by their names in the inventory."""

    fleet: analysis.Fleet
    operation: operations.Operation
    domains: dict[str, str]
    elsewhere: dict[str, dict[str, dict[str, t.Any]]]

    @property
    def rules(self) -> set[str]:
        """Rules with a finding."""
        return {finding.rule for finding in self.fleet.findings}

    def unknown(self, rule: str) -> set[str]:
        """Hosts for which a rule is unknown."""
        return {
            name
            for name, outcomes in self.fleet.outcomes.items()
            if any(outcome.rule == rule and outcome.status == "unknown" for outcome in outcomes)
        }

    @property
    def labels(self) -> dict[str, str]:
        """Labels that were reserved, by uuid."""
        return {row.uuid: row.level for row in self.operation.update.rows}


def judged(hosts: t.Mapping[str, s.Snapshot], stated: t.Sequence[dict[str, t.Any]] = ()) -> Judged:
    """All of it, with the operator's statements about storage."""
    statements = parse_storage(list(stated))
    storages = [host_storage(name, snapshot) for name, snapshot in hosts.items()]
    read = operations.FleetRead(
        list(hosts), [label_use(*item) for item in hosts.items()], storages, statements=statements
    )
    usages = [shared_use.usage(*item) for item in hosts.items()]
    documents = shared_use.documents(usages, (), statements)
    return Judged(
        analysis.judge([analysis.compared_host(*item) for item in hosts.items()], storage=statements),
        operations.reserve(operations.LedgerState(), read, LabelRequest()),
        {name: domain.name for name, domain in by_host(derive(storages, statements=statements)).items()},
        {name: {entry["folder"]: entry for entry in entries} for name, entries in documents.items()},
    )


def move(hosts: t.Mapping[str, s.Snapshot], who: str, target: str, stated: StorageStatements | None = None) -> str:
    """The verdict of the migration check."""
    fleet = MoveFleet(
        target,
        {name: one for name, one in hosts.items() if name == target or check.has_any(one, [who])},
        [analysis.compared_host(*item) for item in hosts.items()],
        [all_storage(*item) for item in hosts.items()],
        statements=stated or parse_storage([]),
    )
    (answer,) = check.check([who], fleet)
    return answer.verdict


def involved(finding: Finding) -> set[tuple[str, str]]:
    """Host and guest of all that a finding names."""
    evidence = finding.evidence
    keys = ("guests", "reaches", "reached_by")
    return {
        (entry["host"], entry["guest"]) for key in keys for entry in evidence.get(key, ()) if isinstance(entry, dict)
    }
