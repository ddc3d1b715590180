# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold after everything that goes wrong: guests run on, no file is half-written, the journal can be read."""

from __future__ import annotations

import json
import os
from typing import Any

from tests.lab.lab import Lab
from tests.scenarios.lab import state_of

HOST = "kvm1"
Files = dict[str, dict[str, Any]]
_LABEL = "security.selinux"
#: What semodule writes: the content comes back, and the number of its transactions only grows.
_POLICY = ("/var/lib/selinux/", "/etc/selinux/default/")
_COMMITS = {"/var/lib/selinux/default/active/commit_num"}
#: A file that is being written beside the file that it is to replace.
_FRESH = ".svirt-fleet-new"
#: Prints the number of entries of each run in the journal; a line that is no entry is an error.
_JOURNAL = """
import json, pathlib
found = {}
for path in sorted(pathlib.Path("/var/lib/svirt-fleet/journal").glob("*.jsonl")):
    number, module = path.stem.split("-")
    found[f"{module} {number}"] = [json.loads(line)["kind"] for line in path.read_bytes().split(b"\\n")[:-1]]
print(json.dumps(found))
"""


class Host:
    """The host that things go wrong on, as it was when the tests began."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.remote = lab.remote(HOST)
        state = state_of(lab, HOST)
        self.guests = _guests(state)
        assert self.guests, "no guest runs, so that none could be hurt"

    def files(self) -> Files:
        """All files that anybody here may change; the same guests run, and SELinux enforces."""
        state = state_of(self.lab, HOST)
        assert _guests(state) == self.guests
        assert state["selinux"]["enforce"] == "1"
        assert len(state["files"]) > 1000, "the comparison must have looked at the host"
        return {path: _lasting(path, facts) for path, facts in state["files"].items() if path not in _COMMITS}

    def journal(self) -> dict[str, list[str]]:
        """Kinds of the entries by run, such as ``image_label 000003``; every line can be read."""
        found: dict[str, list[str]] = json.loads(self.remote.call("python3 -", stdin=_JOURNAL).stdout)
        return found

    def daemon(self) -> str:
        """The number of libvirt's daemon; empty where it does not run."""
        return self.remote.call("pidof libvirtd", check=False).stdout.decode().strip()


def _lasting(path: str, facts: dict[str, Any]) -> dict[str, Any]:
    """What a rollback brings back of a file. semodule writes its store anew, under the SELinux user who runs it."""
    lasting = {key: value for key, value in facts.items() if key != "ctime"}
    label = facts["xattrs"].get(_LABEL)
    if label and path.startswith(_POLICY):
        anybody = bytes.fromhex(label).partition(b":")[2].hex()
        lasting["xattrs"] = {**facts["xattrs"], _LABEL: anybody}
    return lasting


def _guests(state: dict[str, Any]) -> dict[str, list[str]]:
    """Name, start time and label of each guest's process, by its number."""
    return {pid: facts for pid, facts in state["processes"].items() if facts[0].startswith("qemu-")}


def differences(old: Files, new: Files) -> dict[str, tuple[Any, Any]]:
    """What differs, with what it was and what it is."""
    paths = sorted(old.keys() | new.keys())
    return {path: (old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)}


def half_written(old: Files, new: Files, now: Files) -> dict[str, Any]:
    """Files that are neither as they were before a run nor as they are after a whole one."""
    found = {}
    for path in sorted(old.keys() | new.keys() | now.keys()):
        seen = now.get(path)
        if seen in (old.get(path), new.get(path)) or is_fresh(path) or _between(old.get(path), new.get(path), seen):
            continue
        found[path] = (old.get(path), new.get(path), seen)
    return found


def is_fresh(path: str) -> bool:
    """Whether a run that was killed left the file, which nobody reads and the next run removes."""
    name = os.path.basename(path)
    return name.startswith(".") and name.endswith(_FRESH)


def _between(old: Any, new: Any, now: Any) -> bool:
    """A file of which only owner, mode or labels change: these change one by one, and each is the old or the new."""
    if not (old and new and now) or not old["sha256"] == new["sha256"] == now["sha256"]:
        return False
    owner = all(part in parts for part, *parts in zip(now["owner"], old["owner"], new["owner"], strict=True))
    names = old["xattrs"].keys() | new["xattrs"].keys() | now["xattrs"].keys()
    return owner and all(
        now["xattrs"].get(name) in (old["xattrs"].get(name), new["xattrs"].get(name)) for name in names
    )
