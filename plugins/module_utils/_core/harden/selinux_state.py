# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of module selinux_state: the host's state, the steps of a plan, the state that they lead to, and diffs.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field

from ..libvirt.secrets import blanked
from ..result import Reason, Refusal, Result, Step
from ..selinux import config
from ..selinux.denials import MAX_SHOWN, Soak
from ..selinux.policy_modules import permissive_types
from ..system.boot_loaders.loader import SUBJECT as BOOT
from ..system.boot_loaders.loader import BootPlan
from ..system.kernel_arguments import BootRequest
from .selinux import (
    ADMIN_PRIORITY,
    BooleanFacts,
    BooleanPlan,
    ModeFacts,
    ModePlan,
    PolicyModule,
    PolicyModuleRequest,
    PolicyPlan,
)

CONFIG = "/etc/selinux/config"
AUTORELABEL = "/.autorelabel"

_ON = {True: "on", False: "off"}
#: Bound on an old or new text in a step.
_SHOWN = 1000


@dataclass(frozen=True)
class SelinuxRequest:
    """What the host should be like."""

    state: str = "enforcing"
    soak_seconds: int = 3600
    #: Process types whose denials count, beside those of guests and of libvirt.
    soak_types: tuple[str, ...] = ()
    remove_permissive: bool = True
    modules: tuple[PolicyModuleRequest, ...] = ()
    #: None: booleans are left alone, but for those asked for.
    profile: str | None = None
    booleans: dict[str, bool] = field(default_factory=dict)


@dataclass(repr=False, eq=False)
class SelinuxState:
    """The host as it is."""

    mode: ModeFacts
    #: Text of /etc/selinux/config.
    config: str
    #: ``path: title: faults`` of the boot entries that are not as the plan wants them.
    boot_faults: list[str]
    modules: list[PolicyModule]
    permissive: list[str]
    booleans: dict[str, BooleanFacts]

    def document(self, wanted: t.Collection[str]) -> dict[str, t.Any]:
        """As plain data; of the modules those that were asked for, and those that make a domain permissive."""
        shown = {}
        for module in self.modules:
            if module.name in wanted or (module.cil and permissive_types(module.cil)[0]):
                shown[module.subject] = digest(module.cil)
        return {
            "mode": self.mode.now,
            "configured_mode": self.mode.configured,
            "autorelabel": self.mode.autorelabel,
            "boot_faults": self.boot_faults,
            "policy_modules": shown,
            "permissive_types": self.permissive,
            "booleans": {
                name: {"active": facts.active, "persistent": facts.persistent} for name, facts in self.booleans.items()
            },
        }


@dataclass(repr=False, eq=False)
class SelinuxPlan:
    """All changes of one run."""

    mode: ModePlan
    boot_request: BootRequest
    boot: BootPlan
    policy: PolicyPlan
    booleans: BooleanPlan
    #: Faults of boot entries that are left once the plan is carried out.
    boot_faults_after: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether the host is as it should be, or may not be changed now."""
        mode = self.mode
        return not (self.policy_changes or mode.runtime or mode.configured or mode.autorelabel) and self.boot.empty

    @property
    def policy_changes(self) -> bool:
        """Whether the kernel decides by another policy afterwards."""
        policy, booleans = self.policy, self.booleans
        return bool(policy.install or policy.remove or policy.reload or booleans.runtime or booleans.persistent)


def digest(content: bytes | None) -> str | None:
    """A module's content in results."""
    return None if content is None else f"sha256:{hashlib.sha256(content.strip()).hexdigest()[:16]}"


def result_of(
    request: SelinuxRequest, state: SelinuxState, plan: SelinuxPlan, after: SelinuxState | None, soak: Soak | None
) -> Result:
    """The module's result; ``after`` is None when nothing was changed, or could be."""
    names = [item.name for item in request.modules]
    before = state.document(names)
    result = Result(
        before=before,
        after=after.document(names) if after else _predicted(plan, before),
        plan=list(_steps(state, plan)),
        pending=list(plan.mode.pending),
        refused=list(_refusals(plan, after)),
        extra={
            "policy_changes": plan.policy_changes,
            "reboot_needed": any(entry.needs == "reboot" for entry in plan.mode.pending),
        },
    )
    if soak is not None:
        result.extra["soak"] = {
            "since": soak.since,
            "problem": str(soak.problem or ""),
            "denials": [denial.document() for denial in soak.denials[:MAX_SHOWN]],
            "other_denials": [denial.document() for denial in soak.others[:MAX_SHOWN]],
            "own_denials": [denial.document() for denial in soak.own[:MAX_SHOWN]],
        }
    return result


def _refusals(plan: SelinuxPlan, after: SelinuxState | None) -> t.Iterator[Refusal]:
    yield from (*plan.mode.refused, *plan.boot.refused, *plan.policy.refused, *plan.booleans.refused)
    named = [refusal.subject for refusal in plan.boot.refused]
    for fault in after.boot_faults if after else ():
        if fault.partition(": ")[0] not in named:
            why = f"{fault}: it is still there; look for the arguments in /etc/grub.d"
            yield Refusal(BOOT, Reason("boot_fault_remains", why))


def _steps(state: SelinuxState, plan: SelinuxPlan) -> t.Iterator[Step]:
    """The changes in their order."""
    stored = {module.subject: digest(module.cil) for module in state.modules}
    for name, value in sorted({**plan.booleans.runtime, **plan.booleans.persistent}.items()):
        facts = state.booleans[name]
        lasting = facts.persistent in (facts.active, None)
        was = _ON[facts.active] if lasting else f"{_ON[facts.active]} until the next boot"
        yield Step("set", f"boolean {name}", was, _ON[value])
    for item in plan.policy.install:
        subject = f"{ADMIN_PRIORITY}/{item.name}"
        yield Step("install", f"policy module {subject}", stored.get(subject), digest(item.cil))
    for module in plan.policy.remove:
        yield Step("remove", f"policy module {module.subject}", stored[module.subject], None)
    for type_ in plan.policy.reload:
        yield Step("load_policy", f"type {type_}", "permissive", "as the installed policy has it")
    if plan.mode.autorelabel:
        yield Step("create", AUTORELABEL, None, "empty")
    if plan.mode.runtime:
        yield Step("set", "mode", state.mode.now, plan.mode.runtime)
    if plan.mode.configured:
        yield Step("edit", CONFIG, state.mode.configured, plan.mode.configured)
    for path, (old, fresh) in plan.boot.edits.items():
        yield Step("edit", path, *_lines(blanked(old), blanked(fresh)))
    for make in plan.boot.makes:
        yield Step("make", make.path, "; ".join(make.wrong)[:_SHOWN] or None, f"by {make.program}")


def _lines(old: str, fresh: str) -> tuple[str, str]:
    """The lines that differ, bounded."""
    before, after = old.split("\n"), fresh.split("\n")
    removed = [line for line in before if line not in after]
    added = [line for line in after if line not in before]
    return "\n".join(removed)[:_SHOWN], "\n".join(added)[:_SHOWN]


def _predicted(plan: SelinuxPlan, before: dict[str, t.Any]) -> dict[str, t.Any]:
    """The host's state once the plan is carried out."""
    after = dict(before)
    after["mode"] = plan.mode.runtime or before["mode"]
    after["configured_mode"] = plan.mode.configured or before["configured_mode"]
    after["autorelabel"] = plan.mode.autorelabel or before["autorelabel"]
    after["boot_faults"] = plan.boot_faults_after
    modules = dict(before["policy_modules"])
    for module in plan.policy.remove:
        modules.pop(module.subject, None)
    for item in plan.policy.install:
        modules[f"{ADMIN_PRIORITY}/{item.name}"] = digest(item.cil)
    after["policy_modules"] = dict(sorted(modules.items()))
    repaired = {type_ for module in plan.policy.remove for type_ in permissive_types(module.cil or b"")[0]}
    repaired.update(plan.policy.reload)
    after["permissive_types"] = [type_ for type_ in before["permissive_types"] if type_ not in repaired]
    after["booleans"] = {name: dict(facts) for name, facts in before["booleans"].items()}
    for name, value in {**plan.booleans.runtime, **plan.booleans.persistent}.items():
        after["booleans"][name] = {"active": value, "persistent": value}
    return after


def diffs(state: SelinuxState, plan: SelinuxPlan, result: Result) -> list[dict[str, t.Any]]:
    """Each file that is edited, and all other changes as one document."""
    texts = dict(plan.boot.edits)
    if plan.mode.configured:
        texts[CONFIG] = (state.config, config.with_mode(state.config, plan.mode.configured))
    pairs: list[tuple[str, t.Any, t.Any]] = [
        (path, blanked(old), blanked(fresh)) for path, (old, fresh) in texts.items()
    ]
    if result.before != result.after:
        pairs.append(("SELinux", result.before, result.after))
    return [
        {"before_header": header, "after_header": header, "before": before, "after": after}
        for header, before, after in pairs
    ]
