# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of guest_history_info: libvirt's records in the audit log of a host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t
from collections import Counter

from .._core.audit.history import transfer
from .._core.errors import HostReadError
from .._host.base.tools import HostTools
from .._host.probe.document import pack
from .._host.probe.virt_audit import read
from .._module import Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {"dest": {"type": "path"}}


def run(call: Call) -> dict[str, t.Any]:
    """Read the host's audit log and return its records about guests. Raises HostReadError where there is none."""
    records = read(call.root, HostTools(run_command=call.run_command, find=call.find))
    if records.problem is not None or records.since is None:
        why = records.problem.text if records.problem is not None else "the audit log has no record"
        code = records.problem.code if records.problem is not None else "log_empty"
        raise HostReadError(f"the history of guests cannot be read: {why}", code)
    document = transfer.encoded(records.events, records.since, time.time(), records.source)
    counts = Counter(event.kind for event in records.events)
    summary = {"since": records.since, "source": records.source, "counts": dict(sorted(counts.items()))}
    # With dest, the action plugin takes the records out of the result: see pack.
    whole = {"packed": pack(document)} if call.params["dest"] else {"records": document}
    return {"changed": False, "summary": summary, **whole}
