# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host gets to the SELinux that it should have, one safe step at a time, and never to less.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ..errors import PlanError
from ..selinux.booleans import BOOLEAN_EFFECTS, closed
from ..selinux.denials import Soak
from ..selinux.shipped_types import SHIPPED_PERMISSIVE
from ..words import some
from . import boot_entries

#: Gives what is known of denials; it is asked only where it matters.
Asked = t.Callable[[], Soak]

HOST = "host"
STATES = ("enforcing", "permissive")
#: Modules of the administrator, as semodule and semanage install them; distributions ship theirs below.
ADMIN_PRIORITY = 400
SHIPPED_PRIORITIES = (100, 200)

_STRENGTH = {"disabled": 0, "permissive": 1, "enforcing": 2}
_PERMISSIVE = re.compile(r"\(\s*typepermissive\s+([\w.$@+-]+)\s*\)")
_COMMENT = re.compile(r";[^\n]*")
_MODULE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_BOOLEAN_NAME = re.compile(r"[A-Za-z0-9_]{1,100}\Z")
_BOOLEAN = re.compile(r"\(\s*(?:boolean|tunable)\s+(\w+)\s+(true|false)\s*\)")


@dataclass(frozen=True)
class Verdict:
    """Whether the host may become enforcing, and if not yet, what it takes."""

    green: bool = False
    #: (needs, why) of what time or a reboot settles.
    pending: tuple[str, str] | None = None
    #: Why it must not.
    refused: str = ""


@dataclass(frozen=True)
class ModeFacts:
    """The host's mode now and as configured."""

    now: str
    configured: str | None
    #: /.autorelabel: the next boot relabels.
    autorelabel: bool = False


@dataclass(frozen=True)
class ModePlan:
    """What to do about the mode; None: leave it."""

    runtime: str | None = None
    configured: str | None = None
    autorelabel: bool = False
    #: What boot entries should do with enforcing=.
    enforcing_argument: str = boot_entries.KEEP
    pending: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()


def judge(soak: Soak, soak_seconds: int, now: float, autorelabel: bool) -> Verdict:
    """Whether a permissive host has shown that nothing breaks when it enforces.

    ``soak_seconds`` is how long it has to have been permissive under the policy that is loaded now. Denials count
    however long it was, also when it is 0.
    """
    if autorelabel:
        return Verdict(pending=("reboot", "/.autorelabel asks for a relabel, and files may lack labels until then"))
    if soak.problem or soak.since is None:
        return Verdict(refused=f"whether anything would be denied is not known: {soak.problem}")
    if soak.denials:
        kinds = [f"{item.source} {{{item.permissions}}} {item.target}:{item.class_}" for item in soak.denials]
        told = some(kinds, 5, "; ")
        return Verdict(
            refused=f"enforcing would deny: {told}. Repair the cause, then load the policy anew (load_policy)"
        )
    left = soak.since + soak_seconds - now
    if left > 0:
        return Verdict(
            pending=(
                "operator",
                f"no denial so far; run again in {int(left) + 1} s, when the soak of {soak_seconds} s ends",
            )
        )
    return Verdict(green=True)


def plan_mode(facts: ModeFacts, wanted: str, verdict: Verdict) -> ModePlan:
    """The next step from what the host is to what it should be. Raises PlanError for a step that weakens it."""
    if wanted not in STATES:
        raise PlanError(f"state is {wanted!r}: SELinux is never switched off here; it is enforcing or permissive")
    if facts.now not in _STRENGTH:
        raise PlanError(f"the host's mode {facts.now[:40]!r} is not one that SELinux has")
    if wanted == "permissive" and facts.now != "disabled" and "enforcing" in (facts.now, facts.configured):
        raise PlanError(
            f"SELinux is {facts.now} now and {facts.configured} in its configuration; state=permissive would weaken "
            f"that, which is refused. Use setenforce by hand if you must"
        )
    if facts.now == "disabled":
        return _from_disabled(facts, wanted)
    if facts.now == "enforcing":
        return ModePlan(configured=_unless(facts.configured, "enforcing"), enforcing_argument=boot_entries.STRONG)
    if wanted == "enforcing" and verdict.green:
        return ModePlan("enforcing", _unless(facts.configured, "enforcing"), False, boot_entries.STRONG)
    # A configuration of enforcing is left: it is not this module that weakens it.
    configured = None if facts.configured == "enforcing" else _unless(facts.configured, "permissive")
    if wanted == "permissive":
        return ModePlan(configured=configured)
    return ModePlan(
        configured=configured,
        pending=(verdict.pending,) if verdict.pending else (),
        refused=(verdict.refused,) if verdict.refused else (),
    )


def _from_disabled(facts: ModeFacts, wanted: str) -> ModePlan:
    """The next boot is permissive whatever was configured: files lack labels, and an enforcing host may not come up."""
    then = "; enforcing follows after the soak" if wanted == "enforcing" else ""
    return ModePlan(
        configured=_unless(facts.configured, "permissive"),
        autorelabel=not facts.autorelabel,
        enforcing_argument=boot_entries.NONE,
        pending=(("reboot", f"SELinux is off; the next boot is permissive and relabels the files{then}"),),
    )


def _unless(seen: str | None, wanted: str) -> str | None:
    return None if seen == wanted else wanted


@dataclass(frozen=True)
class Module:
    """A policy module in the store."""

    priority: int
    name: str
    #: Its CIL; None when it could not be read.
    cil: bytes | None

    @property
    def subject(self) -> str:
        """How plans and the journal name it."""
        return f"{self.priority}/{self.name}"


@dataclass(frozen=True)
class Wanted:
    """A policy module that should be there, at the administrator's priority."""

    name: str
    cil: bytes
    #: Distributions (ID of os-release) that need it; empty: all.
    only_on: tuple[str, ...] = ()


@dataclass(repr=False, eq=False)
class PolicyPlan:
    """What to do about the policy, in one transaction."""

    install: list[Wanted] = field(default_factory=list)
    remove: list[Module] = field(default_factory=list)
    #: Types that are permissive in the kernel and in no installed module: the store's policy is to be loaded.
    reload: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def permissive_types(cil: bytes) -> tuple[list[str], bool]:
    """Types that a module makes permissive, and whether it does nothing else."""
    text = _COMMENT.sub("", cil.decode("utf-8", "replace"))
    return _PERMISSIVE.findall(text), not _PERMISSIVE.sub("", text).strip()


def plan_modules(wanted: t.Iterable[Wanted], store: t.Sequence[Module], os_id: str | None) -> PolicyPlan:
    """Modules that have to be installed: those that this host needs and that are not there with just this content."""
    plan = PolicyPlan()
    there = {module.name: module for module in store if module.priority == ADMIN_PRIORITY}
    seen: set[str] = set()
    for item in wanted:
        if not _MODULE_NAME.match(item.name) or item.name in seen:
            raise PlanError(
                f"policy_modules: the name {item.name[:80]!r} is used twice, or not one that a module can have"
            )
        seen.add(item.name)
        types, _only = permissive_types(item.cil)
        if types:
            raise PlanError(
                f"policy_modules: {item.name} makes {', '.join(types)[:200]} permissive; that would weaken it"
            )
        if item.only_on and os_id not in item.only_on:
            continue
        present = there.get(item.name)
        if present is None or present.cil is None or present.cil.strip() != item.cil.strip():
            plan.install.append(item)
    return plan


def plan_permissive(
    plan: PolicyPlan,
    store: t.Sequence[Module],
    permissive: t.Collection[str],
    shipped: t.Callable[[], t.Collection[str]],
    soak: Asked | None,
) -> None:
    """Add the removal of permissive domains that the administrator added.

    ``permissive`` are the types that the kernel has permissive now; ``shipped`` gives those of the distribution's
    modules. ``soak`` is None where the host does not enforce: nothing is
    lost then.
    """
    known: set[str] = set()
    for module in store:
        if module.priority in SHIPPED_PRIORITIES or module.cil is None:
            continue
        types, only = permissive_types(module.cil)
        known.update(types)
        why = _not_removable(types, only, soak) if types else ""
        if why:
            plan.refused.append((f"policy module {module.subject}", why))
        elif types:
            plan.remove.append(module)
    loose = sorted(set(permissive) - known - SHIPPED_PERMISSIVE)
    for type_ in sorted(set(loose) - set(shipped())) if loose else ():
        why = _would_break([type_], soak)
        if why:
            plan.refused.append((f"type {type_}", why))
        else:
            plan.reload.append(type_)


def _not_removable(types: list[str], only: bool, soak: Asked | None) -> str:
    if not only:
        return f"it makes {', '.join(types)} permissive and does more than that; remove those lines by hand"
    return _would_break(types, soak)


def _would_break(types: t.Iterable[str], soak: Asked | None) -> str:
    if soak is None:
        return ""
    seen = soak()
    if seen.problem:
        return f"what it would then be denied is not known: {seen.problem}"
    found = [denial for type_ in types for denial in seen.of(type_)]
    kinds = "; ".join(f"{item.source} {{{item.permissions}}} {item.target}:{item.class_}" for item in found[:5])
    return (
        f"it would then be denied: {kinds}. Repair the cause, then load the policy anew (load_policy)" if found else ""
    )


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
    refused: list[tuple[str, str]] = field(default_factory=list)


def wanted_booleans(profile: str | None, own: dict[str, bool]) -> dict[str, bool]:
    """What booleans should be. Raises PlanError for one that opens a door which the profile keeps closed.

    Without a profile, doors are left as they are, and none may be opened.
    """
    doors = closed(profile or "")
    for name, value in sorted(own.items()):
        if not _BOOLEAN_NAME.match(name):
            raise PlanError(f"booleans: {name[:80]!r} is no name of a boolean")
        if value and name in doors:
            raise PlanError(
                f"booleans: {name} on means that {BOOLEAN_EFFECTS[name].opens}, and profile {profile} has no use for "
                f"that; choose one that has (see the documentation of profile), or leave it out"
            )
    return {**dict.fromkeys(doors if profile else (), False), **own}


def plan_booleans(
    wanted: dict[str, bool],
    facts: dict[str, BooleanFacts],
    own: t.Collection[str],
    in_use: t.Callable[[str], str],
) -> BooleanPlan:
    """``own`` are those that were asked for by name; ``in_use`` says why one must not be switched off, if so."""
    plan = BooleanPlan()
    for name, value in sorted(wanted.items()):
        seen = facts.get(name)
        if seen is None:
            if name in own:
                plan.refused.append((f"boolean {name}", "the loaded policy has no such boolean"))
            continue
        if seen.active == value and seen.persistent in (value, None if name not in own else value):
            continue
        why = "" if value or name in own else in_use(name)
        if why:
            plan.refused.append((f"boolean {name}", why))
            continue
        (plan.runtime if seen.persistent == value else plan.persistent)[name] = value
    return plan


def defaults_of(cil: bytes) -> dict[str, bool]:
    """Values that a module gives to the booleans that it declares."""
    return {name: value == "true" for name, value in _BOOLEAN.findall(cil.decode("utf-8", "replace"))}


def local_booleans(text: str) -> dict[str, bool]:
    """The store's booleans.local."""
    pairs = (line.partition("=") for line in text.split("\n") if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() in ("1", "true", "on") for name, _equals, value in pairs}
