# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes and wording of what the comparison of hosts cannot judge, in one place. Other tests assert codes."""

from __future__ import annotations

import typing as t

from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import (
    analysis,
    comparison,
    labelled,
    orphans,
    reach_open,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot import model as s

from tests.unit.support.fleets import disk, guest, host, nfs
from tests.unit.support.sources import reason_codes

LABEL = "system_u:object_r:svirt_image_t:s0:c7,c8"
FILER = "nfs:filer:/vol"
ORPHAN = "1 with a guest's label on shared storage, such as '/share/old.qcow2': "
SETTLE = "name in svirt_storage which mounts are one storage and which are not"

#: By the code of the only doubt of a fleet: the fleet, and the words.
WORDS = {
    "label_unreadable": "guest 'guest-a' could not be compared: its process's label was not read",
    "too_many_wide_labels": "more than 32 labels here have more than 8 categories, so not all could be compared",
    "too_many_labels": (
        "guests here have labels of so many categories, or so many alike, that not all could be compared"
    ),
    "storage_unsettled": (
        "2 hosts have guests whose labels reach guests elsewhere, and it is not known whether their storage is "
        f"shared, such as filer:/vol on kvm1 and 10.0.0.1:/vol on kvm2; {SETTLE}"
    ),
}
#: Doubts about a file without an owner.
ORPHANS = {
    "hosts_unread": "kvm3 could not be read",
    "label_unreadable": "not all labels on kvm2 could be read",
    "sharers_not_audited": "no other host that uses the storage was audited",
    "guest_may_own_it": "'guest-a' on kvm2 runs with its categories, and not all its files are known",
    "storage_unsettled": (
        "it is not known whether other hosts have its storage, such as filer:/vol on kvm1 and 10.0.0.1:/vol on kvm3; "
        f"{SETTLE}"
    ),
}


def seeing(name: str, *guests: s.Guest, orphan: bool = True, identity: str = FILER) -> s.Snapshot:
    """A host that mounts a share, and sees a file there that carries the label of no guest."""
    result = [s.Orphan("/share/old.qcow2", LABEL, "/share", "0:50", 77)] if orphan else []
    return host(name, guests, storage=[nfs("/share", identity)], orphans=result)


def on_share(uuid: str, level: str) -> s.Guest:
    return guest(uuid, level, f"/share/{uuid}.qcow2", mount="/share")


def doubts(rule: str, *hosts: s.Snapshot, unread: t.Sequence[str] = ()) -> tuple[tuple[str, ...], str]:
    """Codes and words of what a rule cannot judge on the first host."""
    result = analysis.judge([analysis.compared_host(snapshot.host.name, snapshot) for snapshot in hosts], unread)
    (outcome,) = (item for item in result.outcomes[hosts[0].host.name] if item.rule == rule)
    return outcome.codes, outcome.why


def wide(number: int) -> s.Guest:
    return guest(f"g{number}", f"s0:c{number}.c{number + 8}")


def test_doubts_about_guests_read_so() -> None:
    elsewhere = seeing("kvm2", on_share("b", "s0:c1,c2"), orphan=False, identity="nfs:10.0.0.1:/vol")
    result = [
        doubts("CAT-001", host("kvm1", [guest("a", None)])),
        doubts("CAT-001", host("kvm1", [wide(10 * number) for number in range(labelled.MAX_WIDE + 1)])),
        doubts("CAT-001", seeing("kvm1", on_share("a", "s0:c1,c2"), orphan=False), elsewhere),
    ]
    read = {codes[0]: why for codes, why in result if len(codes) == 1}
    assert {**read, comparison._TOO_MANY.code: comparison._TOO_MANY.text} == WORDS


def test_doubts_about_files_read_so() -> None:
    unknown_files = guest("a", "s0:c7,c8", resources=[disk("/elsewhere/a", None)])
    other = seeing("kvm3", orphan=False, identity="nfs:10.0.0.1:/vol")
    result = [
        doubts("IMG-005", seeing("kvm1"), seeing("kvm2"), unread=["kvm3"]),
        doubts("IMG-005", seeing("kvm1"), seeing("kvm2", guest("a", None), orphan=False)),
        doubts("IMG-005", seeing("kvm1")),
        doubts("IMG-005", seeing("kvm1"), seeing("kvm2", unknown_files, orphan=False)),
        doubts("IMG-005", seeing("kvm1"), seeing("kvm2", orphan=False), other),
    ]
    assert [why for _codes, why in result] == [ORPHAN + text for text in ORPHANS.values()]
    assert [codes for codes, _why in result] == [(code,) for code in ORPHANS]


def test_a_file_of_another_host_that_a_guest_reaches_is_left_alone() -> None:
    runner = guest("a", "s0:c7,c8", "/share/own.qcow2", mount="/share")
    claim = guest("x", "s0:c3,c4", resources=[disk("/share/old.qcow2", "/share", 77)])
    hosts = (seeing("kvm1"), seeing("kvm2", runner), seeing("kvm3", claim, orphan=False))
    (found,) = analysis.judge([analysis.compared_host(snapshot.host.name, snapshot) for snapshot in hosts]).findings
    assert found.fix == "Leave the file as it is until its owner is known: a guest on kvm3 uses it."


def test_no_reason_is_left_out() -> None:
    codes = reason_codes(comparison, labelled, orphans, reach_open)
    assert codes - {*WORDS, *ORPHANS} == {"has_owner"}  # no doubt of a rule, but a condition of its repair


def test_an_outcome_words_five_doubts_and_names_all_codes() -> None:
    outcome = finding.unknown("IMG-005", [Reason(f"code{number // 2}", str(number)) for number in range(7)])
    assert (outcome.why, outcome.codes) == ("0; 1; 2; 3; 4", ("code0", "code1", "code2", "code3"))
