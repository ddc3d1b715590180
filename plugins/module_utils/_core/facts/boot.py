# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot entries of a snapshot: the host sends the texts of its boot loaders, the controller lists the entries.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from dataclasses import replace

from ..libvirt.secrets import blanked_arguments
from ..result import UNEXPECTED, Reason
from ..snapshot.coverage import coverage_of
from ..snapshot.model import BootEntry, Coverage, Snapshot
from ..system.boot_loaders.files import BootFiles
from ..system.boot_loaders.kinds import listed


def boot_area(files: BootFiles) -> tuple[list[BootEntry], Coverage]:
    """The boot entries and the coverage of area ``boot``. Never raises for what the texts hold."""
    try:
        entries, reasons = listed(files)
        entries = [
            replace(
                entry,
                arguments=blanked_arguments(entry.arguments),
                alternatives=[blanked_arguments(text) for text in entry.alternatives],
            )
            for entry in entries
        ]
    except Exception as error:  # whatever the texts hold, the host's other areas are judged
        entries, reasons = [], [Reason(UNEXPECTED, f"{type(error).__name__}: {str(error)[:500]}")]
    return entries, coverage_of(reasons)


def complete(snapshot: Snapshot, files: BootFiles | None) -> Snapshot:
    """The snapshot of a probe with its boot entries; without the texts it stays as it is."""
    if files is not None:
        snapshot.selinux.boot_entries, snapshot.coverage["boot"] = boot_area(files)
    return snapshot
