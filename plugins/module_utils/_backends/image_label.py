# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of images set right.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import PlanError
from .._core.harden import images
from .._core.harden.shared_use import Elsewhere
from .._core.selinux import file_contexts as context_rules
from .._core.selinux.context import parse_context
from .._core.snapshot.model import Snapshot
from .._host.base.journal import Journal
from .._host.base.root import Root
from .._host.change import file_contexts
from .._host.change import images as image_label
from .._host.probe.loaded_policy import LoadedPolicy
from .._host.probe.probe import Options, Probe, Tools
from .._module import Call


def _lists(elements: str, **more: t.Any) -> dict[str, t.Any]:
    return {"type": "list", "elements": elements, "default": [], **more}


ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "repair": _lists("str", choices=list(images.REPAIRS)),
    "labels": _lists("dict", options={"path": {"type": "str", "required": True}, "label": {"type": "str"}}),
    "folders": _lists("path"),
    "fcontexts": _lists(
        "dict",
        options={
            "target": {"type": "str", "required": True},
            "setype": {"type": "str"},
            "ftype": {"type": "str", "choices": list(context_rules.FTYPES), "default": "a"},
            "seuser": {"type": "str", "default": "system_u"},
            "selevel": {"type": "str", "default": "s0"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    ),
    "within": _lists("path"),
    "fallback": {"type": "str", "default": images.FALLBACK},
    "elsewhere": _lists(
        "dict",
        options={
            "folder": {"type": "str", "required": True},
            "complete": {"type": "bool", "required": True},
            "why": {"type": "str"},
            "in_use": _lists(
                "dict", options={"inode": {"type": "int"}, "path": {"type": "str"}, "by": {"type": "str"}}
            ),
            "levels": _lists("str"),
        },
    ),
    "strict": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 30},
    "orphan_search": _lists("path"),
}


def run(call: Call) -> dict[str, t.Any]:
    """Read the host, plan, act unless in check mode. Raises SvirtError."""
    params, root = call.params, Root()
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second")
    timeout, within = float(params["timeout"]), tuple(params["within"])
    rules = [context_rules.of_folder(folder) for folder in params["folders"]]
    rules += [context_rules.wanted(item) for item in params["fcontexts"]]
    wishes = _wishes(params, tuple(rules))
    snapshot = Probe(root, Options(timeout, tuple(params["orphan_search"])), Tools(run_command=call.run_command)).take()
    _known(root, snapshot, wishes)
    policy = snapshot.selinux.policy or ""
    contexts = context_rules.changes(file_contexts.local_rules(root, policy), rules) if rules else []
    targets, plan = images.candidates(snapshot, wishes)
    settled = images.settle(snapshot, wishes, targets, image_label.Survey(root, within, timeout).take(targets))
    plan.changes, plan.refused = settled.changes, plan.refused + settled.refused
    not_made: dict[tuple[int | None, str], str] = {}
    if (contexts or plan.changes) and not call.check_mode:
        with Journal("image_label") as journal:
            file_contexts.apply(root, policy, contexts, journal)
            not_made = image_label.apply(plan.changes, within, journal, root)
    result = images.result(plan, contexts, not_made)
    if call.diff:
        result["diff"] = images.diff(result)
    return result


def _wishes(params: dict[str, t.Any], rules: tuple[context_rules.ContextRule, ...]) -> images.Wishes:
    wishes = [images.Wish(folder) for folder in params["folders"]]
    wishes += [images.Wish(item["path"], item["label"]) for item in params["labels"]]
    parse_context(params["fallback"])
    return images.Wishes(
        repair=frozenset(params["repair"]),
        labels=tuple(images.checked(wish) for wish in wishes),
        within=tuple(params["within"]),
        fallback=params["fallback"],
        elsewhere=tuple(Elsewhere.of(item) for item in params["elsewhere"]),
        rules=rules,
    )


def _known(root: Root, snapshot: Snapshot, wishes: images.Wishes) -> None:
    """Raises PlanError for a label that the kernel would not take."""
    if snapshot.selinux.mode == "disabled":
        return
    unknown = images.unknown_labels(wishes, LoadedPolicy(root).lacks)
    if unknown:
        raise PlanError(f"the loaded policy does not know the label {unknown[0]}; name one that it knows")
