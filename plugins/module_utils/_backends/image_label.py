# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of module image_label: read the host, plan, survey the files, change them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from .._core.errors import PlanError
from .._core.harden.images.candidates import candidates
from .._core.harden.images.model import REPAIRS, ImageKey
from .._core.harden.images.outcome import diff, result
from .._core.harden.images.requested import FALLBACK, ImageRequest, ImageRequests, checked, unknown_labels
from .._core.harden.images.settle import not_foreseen, settle
from .._core.harden.shared_use import FolderUse
from .._core.result import Reason
from .._core.selinux import file_contexts as context_rules
from .._core.selinux.context import parse_context
from .._core.snapshot.model import Snapshot
from .._host.base.journal import Journals
from .._host.base.loaded_policy import LoadedPolicy
from .._host.base.root import Root
from .._host.change import file_contexts
from .._host.change import images as image_files
from .._host.probe.probe import Options, Probe, Tools
from .._module import Call


def _lists(elements: str, **more: t.Any) -> dict[str, t.Any]:
    return {"type": "list", "elements": elements, "default": [], **more}


ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "repair": _lists("str", choices=list(REPAIRS)),
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
    "fallback": {"type": "str", "default": FALLBACK},
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
    "foreseen_repaired": _lists("str"),
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read the host, plan, and change the files unless in check mode. Raises SvirtError."""
    params, root = call.params, call.root
    if params["timeout"] < 1:
        raise PlanError(f"timeout is {params['timeout']}; give at least 1 second", "bad_timeout")
    timeout, within = float(params["timeout"]), tuple(params["within"])
    at_rest = label_at_rest(LoadedPolicy(root), timeout)
    rules = [context_rules.of_folder(folder, at_rest) for folder in params["folders"]]
    rules += [context_rules.wanted(item) for item in params["fcontexts"]]
    requests = _requests(params, tuple(rules), at_rest)
    snapshot = Probe(root, Options(timeout, tuple(params["orphan_search"])), Tools(run_command=call.run_command)).take()
    _check_labels(root, snapshot, requests)
    policy = snapshot.selinux.policy or ""
    contexts = context_rules.changes(file_contexts.local_rules(root, policy), rules) if rules else []
    targets, plan = candidates(snapshot, requests)
    settled = settle(snapshot, requests, targets, image_files.ImageSurvey(root, within, timeout).take(targets))
    foreseen = params["foreseen_repaired"] if call.check_mode else ()
    plan.changes, plan.refused = not_foreseen(settled.changes, foreseen), plan.refused + settled.refused
    not_made: dict[ImageKey, Reason] = {}
    if (contexts or plan.changes) and not call.check_mode:
        with journals.open("image_label") as journal:
            file_contexts.apply(root, policy, contexts, journal)
            not_made = image_files.apply(plan.changes, within, journal, root)
    values = result(plan, contexts, not_made)
    if call.diff:
        values["diff"] = diff(values)
    return values


def label_at_rest(policy: LoadedPolicy, timeout: float) -> str:
    """The label of images at rest: the shipped policies' own, or what this policy gives to libvirt's own folder."""
    if not policy.loaded or not policy.lacks(context_rules.AT_REST):
        return context_rules.AT_REST
    labels = file_contexts.defaults([(context_rules.PATH_AT_REST, "file")], timeout)
    return next(iter(labels.values())) or context_rules.AT_REST


def _requests(params: dict[str, t.Any], rules: tuple[context_rules.ContextRule, ...], at_rest: str) -> ImageRequests:
    requests = [ImageRequest(folder) for folder in params["folders"]]
    requests += [ImageRequest(item["path"], item["label"]) for item in params["labels"]]
    parse_context(params["fallback"])
    return ImageRequests(
        repair=frozenset(params["repair"]),
        labels=tuple(checked(request) for request in requests),
        within=tuple(params["within"]),
        fallback=at_rest if params["fallback"] == FALLBACK else params["fallback"],
        elsewhere=tuple(FolderUse.of(item) for item in params["elsewhere"]),
        rules=rules,
    )


def _check_labels(root: Root, snapshot: Snapshot, requests: ImageRequests) -> None:
    """Raises PlanError for a label that the loaded policy does not know."""
    if snapshot.selinux.mode == "disabled":
        return
    unknown = unknown_labels(requests, LoadedPolicy(root).lacks)
    if unknown:
        text = f"the loaded policy does not know the label {unknown[0]}; name one that it knows"
        raise PlanError(text, "label_unknown_to_policy")
