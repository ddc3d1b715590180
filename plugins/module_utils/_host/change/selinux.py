# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux of one host: read, planned and changed. Policy, booleans, mode now, configuration, boot entries.

Changes that are easiest to revert come first: the policy, then the mode of the kernel, which a reboot would undo, and
last the files that the next boot reads.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import time
import typing as t

from ..._core.errors import HostReadError, HostWriteError, PlanError
from ..._core.harden import boot_entries
from ..._core.harden import selinux as selinux_plan
from ..._core.harden.selinux import BooleanPlan, ModeFacts, PolicyPlan, SoakVerdict, TypeAccess
from ..._core.harden.selinux_state import AUTORELABEL, SelinuxPlan, SelinuxRequest, SelinuxState
from ..._core.selinux import config as selinux_conf
from ..._core.selinux.context import type_of
from ..._core.selinux.denials import Soak, soak
from ..._core.selinux.policy_access import Check
from ..._core.selinux.shipped_types import SHIPPED_PERMISSIVE
from ..._core.system.kernel_arguments import BootRequest, default_module, must_choose
from ..base import file_write
from ..base.journal import Entry, Journal
from ..base.loaded_policy import FS, LoadedPolicy
from ..base.root import Root, reason
from ..base.tools import HostTools
from ..probe import processes, selinux, system
from . import audit_log, policy_store
from .boolean_users import BooleanUsers
from .boot_loader import BootLoaders
from .policy_store import BOOLEAN_KIND, MODULES_KIND, PERMISSIVE_KIND, PolicyStore

MODE_KIND = "selinux_mode"
KINDS = (MODULES_KIND, PERMISSIVE_KIND, MODE_KIND, BOOLEAN_KIND)


class SelinuxHost:
    """One run over one host: read, plan, apply."""

    def __init__(
        self, root: Root, tools: HostTools, request: SelinuxRequest, now: t.Callable[[], float] = time.time
    ) -> None:
        """Raises PlanError for a host without SELinux, and for a request that must not be carried out."""
        self.root, self.tools, self.request, self._now = root, tools, request, now
        #: The denials; None until they mattered.
        self.soak: Soak | None = None
        if not root.privileged:
            raise PlanError("only root may set SELinux; run the task with become", "not_root")
        self.table = processes.ProcessTable()
        self.state = self._read()
        self.plan = self._plan()

    @property
    def guests(self) -> list[int]:
        """The process ids of running guests."""
        return [guest.process.pid for guest in self.table.guests if guest.process.role == processes.QEMU]

    def read_soak(self) -> Soak:
        """Denials in the logs; these are read once, and only when they matter."""
        if self.soak is None:
            booted_at = self.table.booted_at
            log = audit_log.read(self.root, self.tools, booted_at)
            types = {*self._guest_types, *self.request.soak_types}
            self.soak = soak(log, booted_at, types, self._stays_permissive)
        return self.soak

    def _stays_permissive(self, type_: str) -> bool:
        """Whether a domain is permissive in the loaded policy, and this run leaves it so."""
        policy = self._loaded
        if policy is None or not policy.permissive(policy.label(type_, "s0")).permissive:
            return False
        return not self.request.remove_permissive or type_ in SHIPPED_PERMISSIVE or self._ships_permissive(type_)

    def _ships_permissive(self, type_: str) -> bool:
        try:
            return type_ in self.store.shipped_permissive([type_])
        except (OSError, HostReadError):
            return False

    def apply(self, journal: Journal) -> None:
        """Carry the plan out. Raises SvirtError; changes up to then are in the journal."""
        plan = self.plan
        policy = bool(plan.policy.install or plan.policy.remove)
        if plan.booleans.runtime or plan.booleans.persistent:
            self.store.set_booleans(plan.booleans.runtime, plan.booleans.persistent, journal, reload=not policy)
        if policy:
            install = [(item.name, item.cil) for item in plan.policy.install]
            self.store.change(install, [(item.priority, item.name) for item in plan.policy.remove], journal)
            # The new policy was loaded with the values that the kernel had.
            policy_store.activate(self.tools, plan.booleans.persistent)
        elif plan.policy.reload:
            self.store.load(plan.policy.reload, journal)
        if plan.mode.autorelabel:
            file_write.change_file(self.tools.at(AUTORELABEL), b"", journal)
        if plan.mode.runtime:
            journal.record([Entry(MODE_KIND, "runtime", {"enforcing": self.state.mode.now == "enforcing"})])
            set_enforcing(self.tools, True)
        if plan.mode.configured:
            file_write.change_file(self.tools.at(selinux.CONFIG), self._with_mode(plan.mode.configured), journal)
        if not plan.boot.empty:
            self.loaders.apply(plan.boot, self.boot_files, plan.boot_request, journal)

    @staticmethod
    def _with_mode(mode: str) -> t.Callable[[bytes | None], bytes]:
        """The edit of the configuration, for the text that it has when it is written."""

        def edited(content: bytes | None) -> bytes:
            text = (content or b"").decode("utf-8", "surrogateescape")
            return selinux_conf.with_mode(text, mode).encode("utf-8", "surrogateescape")

        return edited

    def again(self) -> SelinuxState:
        """The host after the changes."""
        state = self._read()
        state.boot_faults = boot_entries.boot_faults(self.boot_files, self.plan.boot_request)
        return state

    def _read(self) -> SelinuxState:
        reading = selinux.read(self.root)
        facts = self.facts = reading.facts
        self._loaded = reading.policy
        self.config = self._configuration()
        self._guest_types = selinux.guest_types(reading.policy, facts)
        self.table = processes.read(self.root, self._guest_types, facts.container_types)
        self.host = system.host(self.root, self.table.booted_at)
        self.policy = facts.policy or "targeted"  # libselinux's own default
        if "/" in self.policy:
            raise PlanError(
                f"{selinux.CONFIG}: SELINUXTYPE={self.policy[:80]!r} is no name of a policy", "policy_name_invalid"
            )
        self.store = PolicyStore(self.root, self.tools, self.policy)
        self.loaders = BootLoaders(self.root, self.tools)
        self.boot_files = self.loaders.read()
        mode = ModeFacts(facts.mode, facts.configured_mode, facts.autorelabel)
        if mode.now == "disabled":
            self._can_start()
        try:
            modules = self.store.modules()
            booleans = {} if mode.now == "disabled" else self.store.booleans(sorted(self._booleans_wanted()))
        except (OSError, HostReadError) as error:
            raise PlanError(f"the policy store cannot be read: {reason(error)}", "policy_store_unread") from error
        return SelinuxState(
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
                f"selinux-policy-default and selinux-basics on Debian, selinux-policy-targeted on EL and Fedora",
                "no_policy",
            ) from error
        except (OSError, HostReadError) as error:
            raise PlanError(f"SELinux's configuration cannot be read: {reason(error)}", "config_unread") from error

    def _can_start(self) -> None:
        """Refuse a host that cannot start SELinux: it may not come up."""
        folder = f"/etc/selinux/{self.policy}/policy"
        if not any(name.startswith("policy.") for name in self.root.names(folder)):
            raise PlanError(
                f"{folder} holds no policy; install the policy that {selinux.CONFIG} names, or name another",
                "no_policy",
            )
        release = self.root.line("/proc/sys/kernel/osrelease") or ""
        config = system.read_or_none(self.root, f"/boot/config-{release}", []) if "/" not in release else None
        if config is not None and "CONFIG_SECURITY_SELINUX=y" not in config.split("\n"):
            raise PlanError(
                f"the kernel {release} was built without SELinux; install a kernel that has it",
                "kernel_without_selinux",
            )

    def _permissive(self, policy: LoadedPolicy | None) -> list[str]:
        contexts = [guest.process.context for guest in self.table.guests]
        contexts += [daemon.context for daemon in self.table.daemons]
        names = self._guest_types | {type_ for type_ in (type_of(text) for text in contexts if text) if type_}
        return sorted(item.name for item in selinux.types(policy, names, self.facts) if item.permissive)

    def _booleans_wanted(self) -> dict[str, bool]:
        return selinux_plan.wanted_booleans(self.request.profile, self.request.booleans)

    def _plan(self) -> SelinuxPlan:
        mode = self.state.mode
        verdict = SoakVerdict()
        if mode.now == "permissive" and self.request.state == "enforcing":
            verdict = selinux_plan.judge(self.read_soak(), self.request.soak_seconds, self._now(), mode.autorelabel)
        mode_plan = selinux_plan.plan_mode(mode, self.request.state, verdict)
        default = default_module(self.facts.cmdline, self.facts.lsms)
        choose = must_choose(self.host.os_id, self.host.os_like, default)
        # Where the kernels' default is not known, SELinux is named: that is right for either default.
        boot_request = BootRequest(mode_plan.enforcing_argument, choose=choose is not False)
        self.state.boot_faults = boot_entries.boot_faults(self.boot_files, boot_request)
        boot_plan = self.loaders.plan(self.boot_files, boot_request)
        plan = SelinuxPlan(
            mode=mode_plan,
            boot_request=boot_request,
            boot=boot_plan,
            policy=self._plan_policy("enforcing" in (mode.now, mode_plan.runtime)),
            booleans=self._plan_booleans(),
            boot_faults_after=boot_entries.faults_after(self.boot_files, boot_plan, boot_request),
        )
        self._check_programs(plan)
        return plan

    def _plan_policy(self, enforces: bool) -> PolicyPlan:
        plan = selinux_plan.plan_modules(self.request.modules, self.state.modules, self.host.os_id, self._denied)
        if self.request.remove_permissive:
            try:
                selinux_plan.plan_permissive(
                    plan,
                    self.state.modules,
                    self.state.permissive,
                    self.store.shipped_permissive,
                    self.read_soak if enforces else None,
                )
            except (OSError, HostReadError) as error:
                raise PlanError(f"the policy store cannot be read: {reason(error)}", "policy_store_unread") from error
        return plan

    def _denied(self, access: TypeAccess) -> bool:
        """Whether the loaded policy denies an access; False where it lacks one of the types, or cannot be asked."""
        policy = self._loaded
        if policy is None:
            return False
        source, target = (self._label(policy, name) for name in (access.source, access.target))
        verdict = policy.verdict(Check(source, target, access.tclass, access.permissions))
        return verdict.problem is None and bool(verdict.denied)

    @staticmethod
    def _label(policy: LoadedPolicy, type_: str) -> str:
        """A label of a type, which may be one of processes or of files."""
        label = policy.label(type_, "s0")
        return policy.label(type_, "s0", "object_r") if policy.lacks(label) else label

    def _plan_booleans(self) -> BooleanPlan:
        if self.state.mode.now == "disabled":
            return BooleanPlan()  # which booleans there are is known from the loaded policy only
        users = BooleanUsers(self.root, self.table, self.facts)
        return selinux_plan.plan_booleans(self._booleans_wanted(), self.state.booleans, self.request.booleans, users.of)

    def _check_programs(self, plan: SelinuxPlan) -> None:
        needed = {
            "semodule": plan.policy.install or plan.policy.remove,
            "load_policy": plan.policy.reload,
            "setsebool": plan.booleans.persistent,
        }
        for program, why in needed.items():
            if why and self.tools.find(program) is None:
                raise PlanError(
                    f"{program} is needed on this host and not installed; install package policycoreutils",
                    "program_missing",
                )


def set_enforcing(tools: HostTools, on: bool) -> None:
    """Set the mode of the running kernel."""
    policy_store.write(tools, f"{FS}/enforce", "1" if on else "0")


def restore(entry: Entry, tools: HostTools) -> None:
    """Restore what the journal has."""
    if entry.kind == MODE_KIND:
        set_enforcing(tools, bool(entry.before["enforcing"]))
    elif entry.kind in KINDS:
        policy_store.restore(entry, tools)
    else:
        raise HostWriteError(
            f"an entry of kind {entry.kind!r} is not of SELinux's state; it was left alone", "kind_unknown"
        )


def restorers(tools: HostTools) -> dict[str, t.Callable[[Entry], None]]:
    """How entries are restored, by their kind."""
    return dict.fromkeys(KINDS, lambda entry: restore(entry, tools))
