# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of images on a real host: what image_label repairs, what it leaves alone and why, and the rollback.

All faults are there at once, for one run to repair: those of the lab, and three powered-off guests of this test's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.host.domains import LOCAL, SHARE, Disk, Guest
from tests.lab.host.images import AT_REST, CONTENT, RUNNING_TYPE
from tests.lab.lab import Lab
from tests.scenarios.node import Node
from tests.scenarios.playbooks import audit

pytestmark = pytest.mark.soak  # in the short form, the story's faults stand for these

REPAIRS = ["in_use", "at_rest", "readable", "orphans", "stale_owners"]
FAULTS = (
    "image-wrong-categories",
    "image-lost-label",
    "image-orphan",
    "image-stale-owner",
    "image-crashed-guest",
    "device-namespace-label",
    "image-backing-wrong",
)
WRITABLE, READABLE, TYPE = (f"{LOCAL}/rest-{name}.raw" for name in ("writable", "readable", "type"))
GUESTS = tuple(Guest(Path(path).stem, (Disk(path),), running=False) for path in (WRITABLE, READABLE, TYPE))
WEB, BASE, SPARE = f"{LOCAL}/web1.raw", f"{LOCAL}/base1.qcow2", f"{LOCAL}/spare1.raw"
CRASHED, ORPHAN, SHARED, NODE = f"{LOCAL}/crashed.raw", f"{LOCAL}/orphan.raw", f"{SHARE}/app1.raw", "/dev/loop5"

#: What the audit finds, by what becomes of it. A running guest's image is not taken away from it by rollback either.
AT_REST_FOUND = {
    ("IMG-001", CRASHED),
    ("IMG-005", ORPHAN),
    ("IMG-006", WRITABLE),
    ("IMG-007", READABLE),
    ("IMG-009", SPARE),
}
IN_USE_FOUND = {("IMG-002", WEB), ("IMG-010", NODE)}
PENDING = {("IMG-001", BASE)}
ELSEWHERE = {("IMG-002", SHARED)}


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    """A host with all of the faults."""
    found = Node(lab, "kvm1")
    journal = found.journal()
    faults.undo(found.name, *FAULTS, lab=lab.folder)  # of another test, which is over
    with found.guests(*GUESTS):
        try:
            faults.inject(found.name, *FAULTS, lab=lab.folder)
            found.shell(f"setfattr -n security.selinux -v {RUNNING_TYPE}:s0 {WRITABLE}")
            found.shell(f"setfattr -n security.selinux -v {CONTENT} {READABLE} && chmod 0644 {READABLE}")
            found.shell(f"setfattr -n security.selinux -v system_u:object_r:var_t:s0 {TYPE}")
            yield found
        finally:
            found.forget(journal)
            faults.undo(found.name, *FAULTS, lab=lab.folder)


def findings(node: Node) -> set[tuple[str, str]]:
    """Rule and path of what the audit says of images."""
    seen = audit(node.lab.inventory, limit=node.name).found
    return {(rule, subject.removeprefix("image ")) for rule, _host, subject in seen if rule.startswith("IMG")}


def states(node: Node) -> dict[str, Any]:
    """Owner, mode and all attributes of the images at rest."""
    program = (
        "import json, os, sys\n"
        "def state(path):\n"
        "    facts = os.stat(path)\n"
        "    attributes = {name: os.getxattr(path, name).hex() for name in sorted(os.listxattr(path))}\n"
        "    return [facts.st_uid, facts.st_gid, facts.st_mode, attributes]\n"
        "print(json.dumps({path: state(path) for path in sys.argv[1:]}))\n"
    )
    paths = [path for _rule, path in sorted(AT_REST_FOUND)]
    done = node.lab.remote(node.name).call(f"python3 - {' '.join([*paths, TYPE])}", stdin=program)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def by_path(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["subject"].removeprefix("image "): item for item in items}


def test_what_can_be_repaired_is_and_what_cannot_is_named(node: Node) -> None:
    everything = AT_REST_FOUND | IN_USE_FOUND | PENDING | ELSEWHERE
    assert everything <= findings(node)
    before, pids = states(node), {name: node.pid(name) for name in ("web1", "app1", "db1", "blockdev")}
    journal = node.journal()

    wanted: dict[str, Any] = {"repair": REPAIRS, "labels": [{"path": TYPE}]}
    foretold = node.module("image_label", check=True, **wanted)
    assert states(node) == before
    done = node.module("image_label", **wanted)
    assert done["changed"], done
    assert foretold["plan"] == done["plan"]
    assert foretold["changed"]
    repaired = {path for _rule, path in AT_REST_FOUND | IN_USE_FOUND} | {TYPE}
    assert repaired <= by_path(done["plan"]).keys()
    assert by_path(done["pending"])[BASE]["needs"] == "guest_power_cycle", done["pending"]
    assert "elsewhere" in by_path(done["refused"])[SHARED]["why"], done["refused"]
    after = states(node)
    assert {after[path][3]["security.selinux"] for path in (WRITABLE, TYPE, ORPHAN, CRASHED)} == {
        (AT_REST + "\0").encode().hex()
    }
    assert after[READABLE][:3] == [0, 0, 0o100600]
    assert not [name for name in after[SPARE][3] if name.startswith("trusted.libvirt")]

    # The operator's word, that no other host uses it, is what the last one takes.
    word = [{"folder": SHARE, "complete": True}]
    last = node.module("image_label", repair=["in_use"], elsewhere=word, within=[SHARE])
    assert [line["subject"] for line in last["plan"]] == [f"image {SHARED}"], last
    assert findings(node) & everything == PENDING
    assert not node.module("image_label", **wanted)["changed"]

    back = node.put_back(journal)
    assert back is not None
    assert states(node) == before, "byte for byte"
    left = {item["subject"] for item in back["refused"]}
    assert left == {path for _rule, path in IN_USE_FOUND | ELSEWHERE}, back
    assert findings(node) & everything == AT_REST_FOUND | PENDING, "guests keep the disks that they got back"
    assert {name: node.pid(name) for name in pids} == pids


def test_file_contexts_change_in_one_transaction_and_go_back(lab: Lab) -> None:
    node = Node(lab, "kvm1")
    journal = node.journal()
    rules = [{"target": f"/srv/more{number}(/.*)?", "setype": "virt_image_t"} for number in range(3)]

    def local() -> list[str]:
        return node.shell("semanage fcontext --list --locallist --noheading").splitlines()

    before = local()
    node.shell("mkdir -p /srv/images")
    try:
        done = node.module("image_label", folders=["/srv/images"], fcontexts=rules)
        assert done["changed"], done
        assert len(local()) == len(before) + 4
        assert node.shell("matchpathcon -n /srv/images/a.raw /srv/more1").split() == [AT_REST, AT_REST]
        assert node.shell("getfattr --only-values -n security.selinux /srv/images").rstrip("\0") == AT_REST
        assert not node.module("image_label", folders=["/srv/images"], fcontexts=rules)["changed"]
    finally:
        node.put_back(journal)
        node.shell("rmdir /srv/images")
    assert local() == before
