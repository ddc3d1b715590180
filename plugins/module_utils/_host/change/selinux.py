# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux on one host, brought to what was asked for: policy, booleans, mode now, configuration, boot entries.

The order is that of what can be taken back most easily: the policy first, then the mode in the kernel, which a reboot
would undo, and last what the next boot reads.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import hashlib
import time
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError, HostWriteError, PlanError
from ..._core.harden import selinux as selinux_plan
from ..._core.harden.boot_entries import BootPlan, Wish
from ..._core.harden.selinux import BooleanFacts, BooleanPlan, ModeFacts, ModePlan, Module, PolicyPlan, Verdict, Wanted
from ..._core.selinux import config as selinux_conf
from ..._core.selinux.context import type_of
from ..._core.selinux.denials import MAX_SHOWN, Soak, soak
from ..._core.system import boot_entries
from ..base import file_write
from ..base.journal import Entry, Journal
from ..base.root import Root, reason
from ..probe import processes, selinux, system
from ..probe.loaded_policy import FS, LoadedPolicy
from . import audit_log, policy_store
from .boolean_users import DoorUse
from .boot_loader import Loader, Tools
from .policy_store import BOOLEAN_KIND, MODULES_KIND, PERMISSIVE_KIND, Store

MODE_KIND = "selinux_mode"
KINDS = (MODULES_KIND, PERMISSIVE_KIND, MODE_KIND, BOOLEAN_KIND)
AUTORELABEL = "/.autorelabel"

_ON = {True: "on", False: "off"}


@dataclass(frozen=True)
class Request:
    """What the host should be like."""

    state: str = "enforcing"
    soak_seconds: int = 3600
    #: Process types whose denials count, beside those of guests and of libvirt.
    soak_types: tuple[str, ...] = ()
    remove_permissive: bool = True
    modules: tuple[Wanted, ...] = ()
    #: None: booleans are left alone, but for those asked for.
    profile: str | None = None
    booleans: dict[str, bool] = field(default_factory=dict)


@dataclass(repr=False, eq=False)
class Look:
    """The host as it is."""

    mode: ModeFacts
    config: str
    #: ``path: title: faults`` of the boot entries that are not as the plan wants them.
    boot_faults: list[str]
    modules: list[Module]
    permissive: list[str]
    booleans: dict[str, BooleanFacts]

    def document(self, wanted: t.Collection[str]) -> dict[str, t.Any]:
        """As plain data; of the modules those that were asked for, and those that make a domain permissive."""
        shown = {}
        for module in self.modules:
            if module.name in wanted or (module.cil and selinux_plan.permissive_types(module.cil)[0]):
                shown[module.subject] = digest(module.cil)
        return {
            "mode": self.mode.now,
            "configured_mode": self.mode.configured,
            "autorelabel": self.mode.autorelabel,
            "boot_faults": self.boot_faults,
            "policy_modules": shown,
            "permissive_types": self.permissive,
            "booleans": {
                name: {"active": seen.active, "persistent": seen.persistent} for name, seen in self.booleans.items()
            },
        }


@dataclass(repr=False, eq=False)
class Plan:
    """All that has to be done."""

    mode: ModePlan
    wish: Wish
    boot: BootPlan
    policy: PolicyPlan
    booleans: BooleanPlan

    @property
    def empty(self) -> bool:
        """Whether the host is as it should be, or may not be changed now."""
        return not (
            self.policy_changes
            or (self.mode.runtime or self.mode.configured or self.mode.autorelabel)
            or (self.boot.edits or self.boot.regenerate)
        )

    @property
    def policy_changes(self) -> bool:
        """Whether the kernel decides by another policy afterwards."""
        policy, booleans = self.policy, self.booleans
        return bool(policy.install or policy.remove or policy.reload or booleans.runtime or booleans.persistent)


class Host:
    """One run over one host: look, plan, apply."""

    def __init__(self, root: Root, tools: Tools, request: Request, now: t.Callable[[], float] = time.time) -> None:
        """Raises PlanError for a host that has no SELinux to set, and for what must not be asked for."""
        self.root, self.tools, self.request, self._now = root, tools, request, now
        self._soak: Soak | None = None
        if not root.privileged:
            raise PlanError("only root may set SELinux; run the task with become")
        self.table = processes.ProcessTable()
        self.look = self._look()
        self.plan = self._plan()

    @property
    def guests(self) -> list[int]:
        """The process ids of running guests."""
        return [seen.process.pid for seen in self.table.guests if seen.process.role == processes.QEMU]

    def soak(self) -> Soak:
        """What the logs say of denials; they are read once, and only when it matters."""
        if self._soak is None:
            booted_at = self.table.booted_at
            log = audit_log.read(self.root, self.tools, booted_at)
            self._soak = soak(log, booted_at, {*self._guest_types, *self.request.soak_types})
        return self._soak

    def apply(self, journal: Journal) -> None:
        """Do what the plan says. Raises SvirtError; what was done by then is in the journal."""
        plan = self.plan
        policy = bool(plan.policy.install or plan.policy.remove)
        if plan.booleans.runtime or plan.booleans.persistent:
            self.store.set_booleans(plan.booleans.runtime, plan.booleans.persistent, journal, reload=not policy)
        if policy:
            install = [(item.name, item.cil) for item in plan.policy.install]
            self.store.change(install, [(item.priority, item.name) for item in plan.policy.remove], journal)
            # What was loaded with the policy is as the kernel had it.
            policy_store.activate(self.tools, plan.booleans.persistent)
        elif plan.policy.reload:
            self.store.load(plan.policy.reload, journal)
        if plan.mode.autorelabel:
            file_write.change_file(self.tools.at(AUTORELABEL), b"", journal)
        if plan.mode.runtime:
            journal.record([Entry(MODE_KIND, "runtime", {"enforcing": self.look.mode.now == "enforcing"})])
            set_enforcing(self.tools, True)
        if plan.mode.configured:
            text = selinux_conf.with_mode(self.look.config, plan.mode.configured)
            content = text.encode("utf-8", "surrogateescape")
            file_write.change_file(self.tools.at(selinux.CONFIG), content, journal)
        if plan.boot.edits or plan.boot.regenerate:
            self.loader.apply(plan.boot, self.boot_files, plan.wish, journal)

    def again(self) -> Look:
        """The host after the changes."""
        look = self._look()
        look.boot_faults = self._boot_faults(self.plan.wish)
        return look

    def _boot_faults(self, wish: Wish) -> list[str]:
        faults = self.boot_files.faults(wish)
        return [f"{path}: {text}" for path, texts in sorted(faults.items()) for text in texts]

    def _look(self) -> Look:
        reading = selinux.read(self.root)
        facts = self.facts = reading.facts
        self.config = self._configuration()
        self._guest_types = {*selinux.GUEST_TYPES, *facts.guest_types}
        self.table = processes.read(self.root, self._guest_types)
        self.os_id = system.host(self.root, self.table.booted_at).os_id
        self.policy = facts.policy or "targeted"  # libselinux's own default
        if "/" in self.policy:
            raise PlanError(f"{selinux.CONFIG}: SELINUXTYPE={self.policy[:80]!r} is no name of a policy")
        self.store = Store(self.root, self.tools, self.policy)
        self.loader = Loader(self.root, self.tools)
        self.boot_files = self.loader.read()
        mode = ModeFacts(facts.mode, facts.configured_mode, facts.autorelabel)
        if mode.now == "disabled":
            self._can_start()
        try:
            modules = self.store.modules()
            booleans = {} if mode.now == "disabled" else self.store.booleans(sorted(self._booleans_wanted()))
        except (OSError, HostReadError) as error:
            raise PlanError(f"the policy store cannot be read: {reason(error)}") from error
        return Look(
            mode=mode,
            config=self.config,
            boot_faults=[],
            modules=modules,
            permissive=self._permissive(reading.policy),
            booleans=booleans,
        )

    def _configuration(self) -> str:
        try:
            return self.root.read_text(selinux.CONFIG, 65536)
        except FileNotFoundError as error:
            raise PlanError(
                f"{selinux.CONFIG} does not exist, so no SELinux policy is installed. Install one first: "
                f"selinux-policy-default and selinux-basics on Debian, selinux-policy-targeted on EL and Fedora"
            ) from error
        except (OSError, HostReadError) as error:
            raise PlanError(f"SELinux's configuration cannot be read: {reason(error)}") from error

    def _can_start(self) -> None:
        """A host that is told to start SELinux and cannot, may not come up."""
        folder = f"/etc/selinux/{self.policy}/policy"
        if not any(name.startswith("policy.") for name in self.root.names(folder)):
            raise PlanError(f"{folder} holds no policy; install the one that {selinux.CONFIG} names, or name another")
        release = self.root.line("/proc/sys/kernel/osrelease") or ""
        config = system.read_or_none(self.root, f"/boot/config-{release}", []) if "/" not in release else None
        if config is not None and "CONFIG_SECURITY_SELINUX=y" not in config.split("\n"):
            raise PlanError(f"the kernel {release} was built without SELinux; install one that has it")

    def _permissive(self, policy: LoadedPolicy | None) -> list[str]:
        seen = [item.process.context for item in self.table.guests] + [item.context for item in self.table.daemons]
        names = self._guest_types | {type_ for type_ in (type_of(text) for text in seen if text) if type_}
        return sorted(item.name for item in selinux.types(policy, names, ()) if item.permissive)

    def _booleans_wanted(self) -> dict[str, bool]:
        return selinux_plan.wanted_booleans(self.request.profile, self.request.booleans)

    def _plan(self) -> Plan:
        mode = self.look.mode
        verdict = Verdict()
        if mode.now == "permissive" and self.request.state == "enforcing":
            verdict = selinux_plan.judge(self.soak(), self.request.soak_seconds, self._now(), mode.autorelabel)
        mode_plan = selinux_plan.plan_mode(mode, self.request.state, verdict)
        wish = Wish(mode_plan.enforcing_argument, choose=self.os_id in boot_entries.APPARMOR_BY_DEFAULT)
        self.look.boot_faults = self._boot_faults(wish)
        plan = Plan(
            mode=mode_plan,
            wish=wish,
            boot=self.loader.plan(self.boot_files, wish),
            policy=self._plan_policy("enforcing" in (mode.now, mode_plan.runtime)),
            booleans=self._plan_booleans(),
        )
        self._check_programs(plan)
        return plan

    def _plan_policy(self, enforces: bool) -> PolicyPlan:
        plan = selinux_plan.plan_modules(self.request.modules, self.look.modules, self.os_id)
        if self.request.remove_permissive:
            try:
                selinux_plan.plan_permissive(
                    plan,
                    self.look.modules,
                    self.look.permissive,
                    self.store.shipped_permissive,
                    self.soak if enforces else None,
                )
            except (OSError, HostReadError) as error:
                raise PlanError(f"the policy store cannot be read: {reason(error)}") from error
        return plan

    def _plan_booleans(self) -> BooleanPlan:
        if self.look.mode.now == "disabled":
            return BooleanPlan()  # the loaded policy is what says which there are
        use = DoorUse(self.root, self.table, self.facts)
        return selinux_plan.plan_booleans(self._booleans_wanted(), self.look.booleans, self.request.booleans, use.of)

    def _check_programs(self, plan: Plan) -> None:
        needed = {
            "semodule": plan.policy.install or plan.policy.remove,
            "load_policy": plan.policy.reload,
            "setsebool": plan.booleans.persistent,
        }
        for program, why in needed.items():
            if why and self.tools.find(program) is None:
                raise PlanError(f"{program} is needed on this host and not installed; install package policycoreutils")


def set_enforcing(tools: Tools, on: bool) -> None:
    """Set the mode of the running kernel."""
    policy_store.write(tools, f"{FS}/enforce", "1" if on else "0")


def digest(content: bytes | None) -> str | None:
    """What stands for a module's content in results."""
    return None if content is None else f"sha256:{hashlib.sha256(content.strip()).hexdigest()[:16]}"


def restore(entry: Entry, tools: Tools) -> None:
    """Put back what the journal has."""
    if entry.kind == MODE_KIND:
        set_enforcing(tools, bool(entry.before["enforcing"]))
    elif entry.kind in KINDS:
        policy_store.restore(entry, tools)
    else:
        raise HostWriteError(f"an entry of kind {entry.kind!r} is not of SELinux's state; it was left alone")


def restorers(tools: Tools) -> dict[str, t.Callable[[Entry], None]]:
    """Who puts back what, by the kind of an entry."""
    return dict.fromkeys(KINDS, lambda entry: restore(entry, tools))


def result(host: Host, after: Look | None) -> dict[str, t.Any]:
    """The module's result; ``after`` is None when nothing was changed, or nothing could be."""
    plan = host.plan
    wanted = [item.name for item in host.request.modules]
    before = host.look.document(wanted)
    told: dict[str, t.Any] = {
        "changed": not plan.empty,
        "before": before,
        "after": after.document(wanted) if after else _predicted(host, before),
        "plan": list(_steps(host)),
        "pending": [{"subject": "SELinux", "needs": needs, "why": why} for needs, why in plan.mode.pending],
        "refused": [{"subject": subject, "why": why} for subject, why in _refusals(plan, after)],
        "policy_changes": plan.policy_changes,
        "reboot_needed": any(needs == "reboot" for needs, _why in plan.mode.pending),
        "guests_running": len(host.guests),
    }
    seen = host._soak
    if seen is not None:
        told["soak"] = {
            "since": seen.since,
            "problem": seen.problem,
            "denials": [denial.document() for denial in seen.denials[:MAX_SHOWN]],
            "other_denials": [denial.document() for denial in seen.others[:MAX_SHOWN]],
        }
    return told


def _refusals(plan: Plan, after: Look | None) -> t.Iterator[tuple[str, str]]:
    yield from (("SELinux", why) for why in plan.mode.refused)
    yield from plan.boot.refused
    yield from plan.policy.refused
    yield from plan.booleans.refused
    told = [subject for subject, _why in plan.boot.refused]
    for fault in after.boot_faults if after else ():
        if fault.partition(": ")[0] not in told:
            yield "boot entries", f"{fault}: it is still there; look for the arguments in /etc/grub.d"


def _steps(host: Host) -> t.Iterator[dict[str, t.Any]]:
    """What is done, in order, as plain data."""
    plan, look = host.plan, host.look
    stored = {module.subject: digest(module.cil) for module in look.modules}
    for name, value in sorted({**plan.booleans.runtime, **plan.booleans.persistent}.items()):
        seen = look.booleans[name]
        was = _ON[seen.active] if seen.persistent in (seen.active, None) else f"{_ON[seen.active]} until the next boot"
        yield _step("set", f"boolean {name}", was, _ON[value])
    for item in plan.policy.install:
        subject = f"{selinux_plan.ADMIN_PRIORITY}/{item.name}"
        yield _step("install", f"policy module {subject}", stored.get(subject), digest(item.cil))
    for module in plan.policy.remove:
        yield _step("remove", f"policy module {module.subject}", stored[module.subject], None)
    for type_ in plan.policy.reload:
        yield _step("load_policy", f"type {type_}", "permissive", "as the installed policy has it")
    if plan.mode.autorelabel:
        yield _step("create", AUTORELABEL, None, "empty")
    if plan.mode.runtime:
        yield _step("set", "mode", look.mode.now, plan.mode.runtime)
    if plan.mode.configured:
        yield _step("edit", selinux.CONFIG, look.mode.configured, plan.mode.configured)
    for path, (old, fresh) in plan.boot.edits.items():
        gone, new = _lines(old, fresh)
        yield _step("edit", path, gone, new)
    if plan.boot.regenerate:
        yield _step("make", plan.boot.regenerate, "; ".join(plan.boot.wrong)[:1000] or None, "by grub-mkconfig")


def _lines(old: str, fresh: str) -> tuple[str, str]:
    """The lines that differ, bounded."""
    before, after = old.split("\n"), fresh.split("\n")
    gone = [line for line in before if line not in after]
    new = [line for line in after if line not in before]
    return "\n".join(gone)[:1000], "\n".join(new)[:1000]


def _step(action: str, subject: str, before: t.Any, after: t.Any) -> dict[str, t.Any]:
    return {"action": action, "subject": subject, "from": before, "to": after}


def _predicted(host: Host, before: dict[str, t.Any]) -> dict[str, t.Any]:
    """What the host will be like when the plan is done."""
    plan = host.plan
    after = dict(before)
    after["mode"] = plan.mode.runtime or before["mode"]
    after["configured_mode"] = plan.mode.configured or before["configured_mode"]
    after["autorelabel"] = plan.mode.autorelabel or before["autorelabel"]
    repaired = {*plan.boot.edits, plan.boot.regenerate}
    if repaired & set(host.boot_files.grubenvs):  # snippets take arguments from there
        repaired |= set(host.boot_files.snippets)
    after["boot_faults"] = [text for text in before["boot_faults"] if text.partition(": ")[0] not in repaired]
    modules = dict(before["policy_modules"])
    for module in plan.policy.remove:
        modules.pop(module.subject, None)
    for item in plan.policy.install:
        modules[f"{selinux_plan.ADMIN_PRIORITY}/{item.name}"] = digest(item.cil)
    after["policy_modules"] = dict(sorted(modules.items()))
    gone = {type_ for module in plan.policy.remove for type_ in selinux_plan.permissive_types(module.cil or b"")[0]}
    gone.update(plan.policy.reload)
    after["permissive_types"] = [type_ for type_ in before["permissive_types"] if type_ not in gone]
    after["booleans"] = {name: dict(seen) for name, seen in before["booleans"].items()}
    for name, value in {**plan.booleans.runtime, **plan.booleans.persistent}.items():
        after["booleans"][name] = {"active": value, "persistent": value}
    return after


def diffs(host: Host, told: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Each file that is edited, and what else changes as one document."""
    plan = host.plan
    found = [
        {"before_header": path, "after_header": path, "before": old, "after": fresh}
        for path, (old, fresh) in plan.boot.edits.items()
    ]
    if plan.mode.configured:
        fresh = selinux_conf.with_mode(host.look.config, plan.mode.configured)
        header = {"before_header": selinux.CONFIG, "after_header": selinux.CONFIG}
        found.append({**header, "before": host.look.config, "after": fresh})
    if told["before"] != told["after"]:
        header = {"before_header": "SELinux", "after_header": "SELinux"}
        found.append({**header, "before": told["before"], "after": told["after"]})
    return found
