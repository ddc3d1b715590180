# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""With which label a program that writes the policy store leaves no denial."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.store_context import StoreRun, label_to_run_with
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.policy_access import AccessVerdict, Check

OWN = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"
DOMAIN = "unconfined_u:unconfined_r:semanage_t:s0-s0:c0.c1023"
WANTED = "system_u:system_r:semanage_t:s0-s0:c0.c1023"
STORE = "system_u:object_r:semanage_store_t:s0"
RUN = StoreRun(OWN, "system_u:object_r:semanage_exec_t:s0", DOMAIN, STORE)


def answers(checks: list[Check], allowed: bool) -> list[AccessVerdict]:
    return [
        AccessVerdict(check, check.permissions if allowed else (), () if allowed else check.permissions)
        for check in checks
    ]


def test_files_that_it_creates_have_its_own_user_until_they_are_relabelled() -> None:
    assert {(check.source, check.target, check.permissions[0]) for check in RUN.relabel_questions()} == {
        (DOMAIN, "unconfined_u:object_r:semanage_store_t:s0", "relabelfrom"),
        (DOMAIN, STORE, "relabelto"),
    }
    assert {check.tclass for check in RUN.relabel_questions()} == {"file", "dir"}


@pytest.mark.parametrize(
    ("relabels", "enters", "label"),
    [(False, True, WANTED), (False, False, None), (True, True, None), (True, False, None)],
)
def test_it_runs_with_the_stores_user_where_it_may_and_would_else_be_denied(
    relabels: bool, enters: bool, label: str | None
) -> None:
    verdicts = answers(RUN.relabel_questions(), relabels), answers(RUN.entering_questions(), enters)
    assert label_to_run_with(RUN, *verdicts) == label


def test_what_the_policy_does_not_answer_is_not_tried() -> None:
    unknown = [AccessVerdict(check, problem=Reason("label_unknown", "")) for check in RUN.entering_questions()]
    assert label_to_run_with(RUN, answers(RUN.relabel_questions(), False), unknown) is None


@pytest.mark.parametrize(
    ("domain", "store"), [(WANTED, STORE), ("kernel", STORE), (DOMAIN, "none"), (DOMAIN, DOMAIN.replace("_r:", "_x:"))]
)
def test_with_the_stores_user_already_or_without_labels_nothing_changes(domain: str, store: str) -> None:
    run = StoreRun(OWN, "x", domain, store)
    assert run.wanted is None
    assert run.entering_questions() == []
