# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The return values of image_label, and its differences for --diff.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ...result import Pending, Reason, Refusal, Result, Step
from ...selinux.file_contexts import ContextRule
from .model import ImageKey, ImagePlan


def result(
    plan: ImagePlan, contexts: t.Sequence[tuple[ContextRule, ContextRule]], not_made: t.Mapping[ImageKey, Reason]
) -> dict[str, t.Any]:
    """The return values. ``not_made`` are changes that could not be made, with the reason: they count as refused."""
    steps = [Step("fcontext", new.subject, old.context, new.context) for old, new in contexts]
    before: dict[str, t.Any] = {"fcontexts": {old.subject: old.context for old, _new in contexts}, "files": {}}
    after: dict[str, t.Any] = {"fcontexts": {new.subject: new.context for _old, new in contexts}, "files": {}}
    refused = list(plan.refused)
    done = len(contexts)
    for change in plan.changes:
        target, (was, will_be) = change.target, change.states()
        name = target.path if target.pid is None else f"{target.path} of process {target.pid}"
        steps += change.steps()
        before["files"][name] = was
        after["files"][name] = was if target.key in not_made else will_be
        if target.key in not_made:
            refused.append(Refusal(target.subject, not_made[target.key]))
        else:
            done += 1
    outcome = Result(before, after, steps, sorted(plan.pending, key=_by_subject), sorted(refused, key=_by_subject))
    outcome.extra["changed"] = done > 0  # a plan of which nothing could be done changes nothing
    return outcome.as_dict()


def diff(values: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    """The result's before and after as Ansible shows differences."""
    entries = []
    for part in ("fcontexts", "files"):
        for name, was in values["before"][part].items():
            now = values["after"][part][name]
            header = f"{name} (label)" if part == "files" else name
            texts = {"before": _lines(was), "after": _lines(now)}
            entries.append({"before_header": header, "after_header": header, **texts})
    return entries


def _lines(state: t.Any) -> str:
    if state is None:
        return ""
    if isinstance(state, str):
        return f"{state}\n"
    remembered = "".join(f"remembered: {name}\n" for name in state["remembered"])
    return f"label: {state['label']}\nowner: {state['owner']}\n{remembered}"


def _by_subject(item: Refusal | Pending) -> tuple[str, str]:
    return item.subject, item.reason.text
