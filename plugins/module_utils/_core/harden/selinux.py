# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux of a host: mode, policy modules and booleans, changed one safe step at a time and never weakened.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..result import Pending, Reason, Refusal
from ..selinux.booleans import BOOLEAN_EFFECTS, closed
from ..selinux.denials import Denial, Soak
from ..selinux.policy_modules import SHIPPED_PRIORITIES, permissive_types
from ..system import kernel_arguments
from ..words import some

#: Reads the denials; it is called only where they matter.
SoakReader = t.Callable[[], Soak]

SUBJECT = "SELinux"
STATES = ("enforcing", "permissive")
#: Priority of the administrator's modules, as semodule and semanage install them; distributions use lower ones.
ADMIN_PRIORITY = 400

_STRENGTH = {"disabled": 0, "permissive": 1, "enforcing": 2}
_MODULE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_BOOLEAN_NAME = re.compile(r"[A-Za-z0-9_]{1,100}\Z")
_BOOLEAN = re.compile(r"\(\s*(?:boolean|tunable)\s+(\w+)\s+(true|false)\s*\)")


@dataclass(frozen=True)
class SoakVerdict:
    """Whether the host may become enforcing, and why not."""

    green: bool = False
    #: What time or a reboot settles.
    pending: Pending | None = None
    #: Why it must not.
    refused: Reason | None = None


@dataclass(frozen=True)
class ModeFacts:
    """The host's mode now and as configured."""

    now: str
    configured: str | None
    #: /.autorelabel: the next boot relabels.
    autorelabel: bool = False


@dataclass(frozen=True)
class ModePlan:
    """Changes of the mode; None: leave it."""

    runtime: str | None = None
    configured: str | None = None
    autorelabel: bool = False
    #: Request of boot entries about enforcing=.
    enforcing_argument: str = kernel_arguments.KEEP
    pending: tuple[Pending, ...] = ()
    refused: tuple[Refusal, ...] = ()


def judge(soak: Soak, soak_seconds: int, now: float, autorelabel: bool) -> SoakVerdict:
    """Whether a permissive host may enforce: nothing would have been denied for long enough.

    ``soak_seconds`` is how long it has to have been permissive under the policy that is loaded now. Denials count
    however long it was, also when it is 0.
    """
    if autorelabel:
        why = "/.autorelabel asks for a relabel, and files may lack labels until then"
        return SoakVerdict(pending=_pending("reboot", "relabel_pending", why))
    if soak.problem or soak.since is None:
        why = f"whether anything would be denied is not known: {soak.problem}"
        return SoakVerdict(refused=Reason("denials_unknown", why))
    if soak.denials:
        kinds = some([_kind_of(denial) for denial in soak.denials], 5, "; ")
        why = f"enforcing would deny: {kinds}. Repair the cause, then load the policy anew (load_policy)"
        return SoakVerdict(refused=Reason("denials", why))
    left = soak.since + soak_seconds - now
    if left > 0:
        why = f"no denial so far; run again in {int(left) + 1} s, when the soak of {soak_seconds} s ends"
        return SoakVerdict(pending=_pending("operator", "soak_running", why))
    return SoakVerdict(green=True)


def _kind_of(denial: Denial) -> str:
    return f"{denial.source} {{{denial.permissions}}} {denial.target}:{denial.class_}"


def _pending(needs: str, code: str, why: str) -> Pending:
    return Pending(SUBJECT, needs, Reason(code, why))


def plan_mode(facts: ModeFacts, wanted: str, verdict: SoakVerdict) -> ModePlan:
    """The next step from the present to the requested mode. Raises PlanError for a step that weakens the host."""
    if wanted not in STATES:
        raise PlanError(
            f"state is {wanted!r}: SELinux is never switched off here; it is enforcing or permissive", "state_invalid"
        )
    if facts.now not in _STRENGTH:
        raise PlanError(f"the host's mode {facts.now[:40]!r} is not a mode of SELinux", "mode_invalid")
    if wanted == "permissive" and facts.now != "disabled" and "enforcing" in (facts.now, facts.configured):
        raise PlanError(
            f"SELinux is {facts.now} now and {facts.configured} in its configuration; state=permissive would weaken "
            f"that, which is refused. Use setenforce by hand if you must",
            "would_weaken",
        )
    if facts.now == "disabled":
        return _from_disabled(facts, wanted)
    if facts.now == "enforcing":
        return ModePlan(configured=_unless(facts.configured, "enforcing"), enforcing_argument=kernel_arguments.STRONG)
    if wanted == "enforcing" and verdict.green:
        return ModePlan("enforcing", _unless(facts.configured, "enforcing"), False, kernel_arguments.STRONG)
    # A configuration of enforcing is left: it is not this module that weakens it.
    configured = None if facts.configured == "enforcing" else _unless(facts.configured, "permissive")
    if wanted == "permissive":
        return ModePlan(configured=configured)
    return ModePlan(
        configured=configured,
        pending=(verdict.pending,) if verdict.pending else (),
        refused=(Refusal(SUBJECT, verdict.refused),) if verdict.refused else (),
    )


def _from_disabled(facts: ModeFacts, wanted: str) -> ModePlan:
    """The next boot is permissive whatever was configured: files lack labels, and an enforcing host may not come up."""
    then = "; enforcing follows after the soak" if wanted == "enforcing" else ""
    why = f"SELinux is off; the next boot is permissive and relabels the files{then}"
    return ModePlan(
        configured=_unless(facts.configured, "permissive"),
        autorelabel=not facts.autorelabel,
        enforcing_argument=kernel_arguments.NONE,
        pending=(_pending("reboot", "selinux_off", why),),
    )


def _unless(current: str | None, wanted: str) -> str | None:
    return None if current == wanted else wanted


@dataclass(frozen=True)
class PolicyModule:
    """A policy module in the store."""

    priority: int
    name: str
    #: Its CIL; None when it could not be read.
    cil: bytes | None

    @property
    def subject(self) -> str:
        """Its name in plans and in the journal."""
        return f"{self.priority}/{self.name}"


@dataclass(frozen=True)
class TypeAccess:
    """Access of processes of one type to objects of another."""

    source: str
    target: str
    tclass: str
    permissions: tuple[str, ...]


@dataclass(frozen=True)
class PolicyModuleRequest:
    """A policy module that should be there, at the administrator's priority."""

    name: str
    cil: bytes
    #: Distributions (ID of os-release) that need it; empty: all.
    only_on: tuple[str, ...] = ()
    #: It is needed where the loaded policy denies one of these; empty: everywhere.
    if_denied: tuple[TypeAccess, ...] = ()


@dataclass(repr=False, eq=False)
class PolicyPlan:
    """Changes of the policy, in one transaction."""

    install: list[PolicyModuleRequest] = field(default_factory=list)
    remove: list[PolicyModule] = field(default_factory=list)
    #: Types that are permissive in the kernel and in no installed module: the store's policy is to be loaded.
    reload: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def plan_modules(
    wanted: t.Iterable[PolicyModuleRequest],
    store: t.Sequence[PolicyModule],
    os_id: str | None,
    denied: t.Callable[[TypeAccess], bool] = lambda _access: False,
) -> PolicyPlan:
    """Modules that have to be installed: those that this host needs and that are not there with just this content.

    ``denied`` tells whether the loaded policy denies an access.
    """
    plan = PolicyPlan()
    there = {module.name: module for module in store if module.priority == ADMIN_PRIORITY}
    names: set[str] = set()
    for item in wanted:
        if not _MODULE_NAME.match(item.name) or item.name in names:
            raise PlanError(
                f"policy_modules: the name {item.name[:80]!r} is used twice, or is no valid name of a module",
                "module_name_invalid",
            )
        names.add(item.name)
        types, _only = permissive_types(item.cil)
        if types:
            raise PlanError(
                f"policy_modules: {item.name} makes {', '.join(types)[:200]} permissive; that would weaken it",
                "would_weaken",
            )
        if item.only_on and os_id not in item.only_on:
            continue
        present = there.get(item.name)
        if present is None and item.if_denied and not any(map(denied, item.if_denied)):
            continue
        if present is None or present.cil is None or present.cil.strip() != item.cil.strip():
            plan.install.append(item)
    return plan


def plan_permissive(
    plan: PolicyPlan,
    store: t.Sequence[PolicyModule],
    permissive: t.Collection[str],
    shipped: t.Callable[[t.Collection[str]], t.Collection[str]],
    soak: SoakReader | None,
) -> None:
    """Add the removal of permissive domains that the administrator added.

    ``permissive`` are the types that the kernel has permissive now; ``shipped`` gives those of them that the
    distribution's modules make so. ``soak`` is None where the host does not enforce: nothing is
    lost then.
    """
    known: set[str] = set()
    for module in store:
        if module.priority in SHIPPED_PRIORITIES or module.cil is None:
            continue
        types, only = permissive_types(module.cil)
        known.update(types)
        why = _not_removable(types, only, soak) if types else None
        if why:
            plan.refused.append(Refusal(f"policy module {module.subject}", why))
        elif types:
            plan.remove.append(module)
    loose = sorted(set(permissive) - known)
    for type_ in sorted(set(loose) - set(shipped(loose))) if loose else ():
        why = _would_break([type_], soak)
        if why:
            plan.refused.append(Refusal(f"type {type_}", why))
        else:
            plan.reload.append(type_)


def _not_removable(types: list[str], only: bool, soak: SoakReader | None) -> Reason | None:
    if not only:
        why = f"it makes {', '.join(types)} permissive and does more than that; remove those lines by hand"
        return Reason("module_does_more", why)
    return _would_break(types, soak)


def _would_break(types: t.Iterable[str], soak: SoakReader | None) -> Reason | None:
    """Denials that a type would get once it is no longer permissive."""
    if soak is None:
        return None
    log = soak()
    if log.problem:
        return Reason("denials_unknown", f"what it would then be denied is not known: {log.problem}")
    kinds = [_kind_of(denial) for type_ in types for denial in log.of(type_)]
    if not kinds:
        return None
    why = f"it would then be denied: {some(kinds, 5, '; ')}. Repair the cause, then load the policy anew (load_policy)"
    return Reason("denials", why)


@dataclass(frozen=True)
class BooleanFacts:
    """A boolean of the loaded policy."""

    active: bool
    #: Its value after the next boot; None when that is not known.
    persistent: bool | None


@dataclass(repr=False, eq=False)
class BooleanPlan:
    """Booleans to set: until the next boot where that is enough, else for good, all in one transaction."""

    runtime: dict[str, bool] = field(default_factory=dict)
    persistent: dict[str, bool] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)


def wanted_booleans(profile: str | None, own: dict[str, bool]) -> dict[str, bool]:
    """Values that booleans should have. Raises PlanError for a value that grants what the profile denies.

    Without a profile, doors are left as they are, and none may be opened.
    """
    doors = closed(profile or "")
    for name, value in sorted(own.items()):
        if not _BOOLEAN_NAME.match(name):
            raise PlanError(f"booleans: {name[:80]!r} is no name of a boolean", "boolean_name_invalid")
        if value and name in doors:
            raise PlanError(
                f"booleans: {name} on means that {BOOLEAN_EFFECTS[name].opens}, and profile {profile} has no use for "
                f"that; choose a profile that has (see the documentation of profile), or leave it out",
                "boolean_opens_door",
            )
    return {**dict.fromkeys(doors if profile else (), False), **own}


def plan_booleans(
    wanted: dict[str, bool],
    facts: dict[str, BooleanFacts],
    own: t.Collection[str],
    in_use: t.Callable[[str], Reason | None],
) -> BooleanPlan:
    """``own`` are those that were asked for by name; ``in_use`` gives the reason not to switch one off."""
    plan = BooleanPlan()
    for name, value in sorted(wanted.items()):
        current = facts.get(name)
        if current is None:
            if name in own:
                reason = Reason("boolean_missing", "the loaded policy has no such boolean")
                plan.refused.append(Refusal(f"boolean {name}", reason))
            continue
        if current.active == value and current.persistent in (value, None if name not in own else value):
            continue
        why = None if value or name in own else in_use(name)
        if why:
            plan.refused.append(Refusal(f"boolean {name}", why))
            continue
        (plan.runtime if current.persistent == value else plan.persistent)[name] = value
    return plan


def defaults_of(cil: bytes) -> dict[str, bool]:
    """Values that a module gives to the booleans that it declares."""
    return {name: value == "true" for name, value in _BOOLEAN.findall(cil.decode("utf-8", "replace"))}


def local_booleans(text: str) -> dict[str, bool]:
    """The store's booleans.local."""
    pairs = (line.partition("=") for line in text.split("\n") if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() in ("1", "true", "on") for name, _equals, value in pairs}
