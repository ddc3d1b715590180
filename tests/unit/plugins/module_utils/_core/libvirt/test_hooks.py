# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hooks a daemon calls, and what it needs to run one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.hooks import (
    Hook,
    is_unseen,
    objections,
    questions,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.policy_access import AccessVerdict, Check

DOMAIN = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
LABEL = "system_u:object_r:virt_hook_t:s0"
OURS, OTHER = Hook("ours", 1000.5), Hook("other", 900.0)


@pytest.mark.parametrize(
    ("hooks", "started_at", "unseen"),
    [
        ([OURS], 1000.4, True),
        ([OURS], 1000.6, False),
        ([OURS], None, True),
        ([], None, False),
        ([OTHER], 100.0, False),
        ([OURS, OTHER], 950.0, False),  # it started with the other hook, and looks anew at each call
        ([OURS, OTHER], 800.0, True),
    ],
)
def test_a_daemon_calls_the_hook_of_its_start(hooks: list[Hook], started_at: float | None, unseen: bool) -> None:
    assert is_unseen("ours", hooks, started_at) is unseen


def test_a_hook_runs_in_the_daemons_domain_or_in_one_of_its_own() -> None:
    same = [*questions(DOMAIN, LABEL, None), *questions(DOMAIN, LABEL, "system_u:system_r:virtd_t:s0")]
    assert [(check.tclass, check.permissions) for check in same] == [
        ("file", ("read", "open", "execute")),
        ("file", ("execute_no_trans",)),
    ] * 2
    own = "system_u:system_r:virt_hook_unconfined_t:s0"
    assert questions(DOMAIN, LABEL, own)[1:] == [
        Check(DOMAIN, own, "process", ("transition",)),
        Check(own, LABEL, "file", ("entrypoint",)),
    ]


CHECK = Check(DOMAIN, LABEL, "file", ("read", "execute"))
DENIED = AccessVerdict(CHECK, ("read",), ("execute",), permissive=False)
UNANSWERED = AccessVerdict(CHECK, problem=Reason("label_unknown", "no such label"))


def test_objections() -> None:
    assert [reason.code for reason in objections([DENIED, UNANSWERED])] == ["denied", "label_unknown"]
    assert objections([replace(DENIED, permissive=True)]) == []
    assert objections([AccessVerdict(CHECK, ("read", "execute"), (), permissive=False)]) == []


def test_words() -> None:
    """The one test of wording: all other tests assert codes."""
    assert [reason.text for reason in objections([DENIED, UNANSWERED])] == [
        f"the loaded policy does not let {DOMAIN} do this to {LABEL}: execute (file)",
        f"whether the daemon may use {LABEL} is not known: no such label",
    ]
