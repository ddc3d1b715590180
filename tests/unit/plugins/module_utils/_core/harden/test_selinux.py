# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From each state of a host to each other: one safe step, and never to less."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.selinux import (
    BooleanFacts,
    ModeFacts,
    ModePlan,
    PolicyModule,
    PolicyModuleRequest,
    PolicyPlan,
    SoakVerdict,
    TypeAccess,
    defaults_of,
    judge,
    local_booleans,
    plan_booleans,
    plan_mode,
    plan_modules,
    plan_permissive,
    wanted_booleans,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Pending, Reason, Refusal
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.denials import Denial, Soak
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.policy_modules import permissive_types
from ansible_collections.svirt.fleet.plugins.module_utils._core.system import kernel_arguments
from hypothesis import given
from hypothesis import strategies as st

MODES = ("disabled", "permissive", "enforcing")
STRENGTH = {mode: number for number, mode in enumerate(MODES)}
GREEN = SoakVerdict(green=True)
WAIT = SoakVerdict(pending=Pending("SELinux", "operator", Reason("soak_running", "the soak")))
DENIED = SoakVerdict(refused=Reason("denials", "denials"))


IN_USE = Reason("boolean_in_use", "a guest")


def raised(code: str) -> t.ContextManager[pytest.ExceptionInfo[PlanError]]:
    return pytest.raises(PlanError, check=lambda error: error.code == code)


def step(now: str, wanted: str, configured: str | None = None, verdict: SoakVerdict = GREEN) -> ModePlan:
    return plan_mode(ModeFacts(now, configured or now), wanted, verdict)


def test_disabled_to_disabled() -> None:
    with raised("state_invalid"):
        step("disabled", "disabled")


@pytest.mark.parametrize("wanted", ["permissive", "enforcing"])
def test_disabled_goes_to_permissive_first(wanted: str) -> None:
    plan = step("disabled", wanted)
    assert (plan.runtime, plan.configured, plan.autorelabel) == (None, "permissive", True)
    assert plan.enforcing_argument == kernel_arguments.NONE
    assert [(entry.needs, entry.reason.code) for entry in plan.pending] == [("reboot", "selinux_off")]


@pytest.mark.parametrize("wanted", ["permissive", "enforcing"])
def test_disabled_with_a_configuration_of_enforcing_boots_permissive(wanted: str) -> None:
    assert step("disabled", wanted, "enforcing").configured == "permissive"


def test_disabled_and_prepared_waits_for_the_reboot_only() -> None:
    plan = plan_mode(ModeFacts("disabled", "permissive", autorelabel=True), "enforcing", SoakVerdict())
    assert (plan.runtime, plan.configured, plan.autorelabel) == (None, None, False)
    assert plan.pending[0].needs == "reboot"


@pytest.mark.parametrize("now", ["permissive", "enforcing"])
def test_nothing_goes_to_disabled(now: str) -> None:
    with raised("state_invalid"):
        step(now, "disabled")


def test_permissive_to_permissive() -> None:
    assert step("permissive", "permissive") == ModePlan()


def test_permissive_to_enforcing_when_nothing_would_break() -> None:
    assert step("permissive", "enforcing") == ModePlan("enforcing", "enforcing", False, kernel_arguments.STRONG)


@pytest.mark.parametrize("verdict", [WAIT, DENIED, SoakVerdict()])
def test_permissive_to_enforcing_not_yet(verdict: SoakVerdict) -> None:
    plan = step("permissive", "enforcing", verdict=verdict)
    assert (plan.runtime, plan.configured, plan.enforcing_argument) == (None, None, kernel_arguments.KEEP)
    assert plan.pending == ((verdict.pending,) if verdict.pending else ())
    assert [item.reason for item in plan.refused] == ([verdict.refused] if verdict.refused else [])


def test_enforcing_to_permissive() -> None:
    for configured in MODES:
        with raised("would_weaken"):
            step("enforcing", "permissive", configured)


def test_enforcing_to_enforcing() -> None:
    assert step("enforcing", "enforcing") == ModePlan(enforcing_argument=kernel_arguments.STRONG)


@pytest.mark.parametrize("configured", ["permissive", "disabled", None])
def test_enforcing_now_but_not_at_the_next_boot(configured: str | None) -> None:
    plan = plan_mode(ModeFacts("enforcing", configured), "enforcing", SoakVerdict())
    assert (plan.runtime, plan.configured) == (None, "enforcing")


def test_permissive_now_with_a_configuration_of_enforcing() -> None:
    assert step("permissive", "enforcing", "enforcing") == ModePlan("enforcing", None, False, kernel_arguments.STRONG)
    assert step("permissive", "enforcing", "enforcing", WAIT).configured is None
    with raised("would_weaken"):
        step("permissive", "permissive", "enforcing")


@pytest.mark.parametrize("wanted", ["permissive", "enforcing"])
def test_permissive_that_would_be_off_after_the_next_boot(wanted: str) -> None:
    assert step("permissive", wanted, "disabled", WAIT).configured == "permissive"


def test_a_mode_that_selinux_has_not_is_refused() -> None:
    with raised("mode_invalid"):
        step("odd", "enforcing")


@pytest.mark.parametrize(
    ("now", "configured", "wanted", "verdict", "autorelabel"),
    [*itertools.product(MODES, (*MODES, None), ("permissive", "enforcing"), (GREEN, WAIT, DENIED), (True, False))],
)
def test_no_step_weakens_or_leaps(
    now: str, configured: str | None, wanted: str, verdict: SoakVerdict, autorelabel: bool
) -> None:
    facts = ModeFacts(now, configured, autorelabel)
    try:
        plan = plan_mode(facts, wanted, verdict)
    except PlanError:
        assert wanted == "permissive"
        assert "enforcing" in (now, configured)
        return
    runtime = plan.runtime or now
    then = plan.configured or configured or "permissive"
    assert STRENGTH[runtime] >= STRENGTH[now]
    assert STRENGTH[then] >= STRENGTH[now]
    if now == "disabled":
        assert (runtime, then, plan.enforcing_argument) == ("disabled", "permissive", kernel_arguments.NONE)
        assert plan.autorelabel or autorelabel
    if now == "permissive" and not verdict.green:
        assert runtime == "permissive"
        assert then == "enforcing" if configured == "enforcing" else then == "permissive"
    # What was done once is done: the same again has nothing to do.
    again = plan_mode(ModeFacts(runtime, then, autorelabel or plan.autorelabel), wanted, verdict)
    assert (again.runtime, again.configured, again.autorelabel) == (None, None, False)


NOW = 10_000.0
DENIAL = Denial("svirt_t", "read", "file", "proc_t")


@pytest.mark.parametrize(
    ("soak", "seconds", "relabel", "code"),
    [
        (Soak(NOW - 3600), 3600, False, ""),
        (Soak(NOW - 3599), 3600, False, "soak_running"),
        (Soak(NOW), 0, False, ""),
        (Soak(NOW - 9000, (DENIAL,)), 3600, False, "denials"),
        (Soak(NOW - 9000, (DENIAL,)), 0, False, "denials"),
        (Soak(NOW - 9000, (DENIAL,) * 7), 0, False, "denials"),
        (Soak(NOW - 9000, (), (DENIAL,)), 3600, False, ""),
        (Soak(None, problem=Reason("log_unread", "no log")), 0, False, "denials_unknown"),
        (Soak(NOW - 9000, problem=Reason("log_unread", "dropped")), 0, False, "denials_unknown"),
        (Soak(NOW - 9000), 3600, True, "relabel_pending"),
    ],
)
def test_the_soak(soak: Soak, seconds: int, relabel: bool, code: str) -> None:
    verdict = judge(soak, seconds, NOW, relabel)
    assert verdict.green is (code == "")
    assert [item.code for item in (verdict.pending and verdict.pending.reason, verdict.refused) if item] == (
        [code] if code else []
    )


def test_the_words_of_reasons() -> None:
    """The one place that holds sentences."""
    reasons = [
        judge(Soak(NOW - 9000, (DENIAL,) * 7), 0, NOW, False).refused,
        judge(Soak(None, problem=Reason("log_unread", "no log")), 0, NOW, False).refused,
        permissive([PolicyModule(400, "x", b"(typepermissive a_t)(allow a b (file (read)))")]).refused[0].reason,
        permissive([ADDED], soak=Soak(NOW, (DENIAL,))).refused[0].reason,
        plan_booleans({"b": True}, {}, ("b",), lambda name: None).refused[0].reason,
    ]
    pending = [
        judge(Soak(NOW - 3599), 3600, NOW, False).pending,
        judge(Soak(NOW - 9000), 3600, NOW, True).pending,
        *step("disabled", "enforcing").pending,
    ]
    kind = "svirt_t {read} proc_t:file"
    repair = "Repair the cause, then load the policy anew (load_policy)"
    assert [str(item) for item in reasons] == [
        f"enforcing would deny: {'; '.join([kind] * 5)} and 2 more. {repair}",
        "whether anything would be denied is not known: no log",
        "it makes a_t permissive and does more than that; remove those lines by hand",
        f"it would then be denied: {kind}. {repair}",
        "the loaded policy has no such boolean",
    ]
    assert [str(item.reason) for item in pending if item] == [
        "no denial so far; run again in 2 s, when the soak of 3600 s ends",
        "/.autorelabel asks for a relabel, and files may lack labels until then",
        "SELinux is off; the next boot is permissive and relabels the files; enforcing follows after the soak",
    ]


OURS = PolicyModuleRequest("svirt_fleet", b"(allow a b (file (read)))\n", ("debian",))


@pytest.mark.parametrize(
    ("store", "os_id", "installs"),
    [
        ([], "debian", True),
        ([], "fedora", False),
        ([], None, False),
        ([PolicyModule(400, "svirt_fleet", b"(allow a b (file (read)))")], "debian", False),
        ([PolicyModule(400, "svirt_fleet", b"(allow a b (file (write)))")], "debian", True),
        ([PolicyModule(400, "svirt_fleet", None)], "debian", True),
        ([PolicyModule(300, "svirt_fleet", OURS.cil)], "debian", True),
    ],
)
def test_modules(store: list[PolicyModule], os_id: str | None, installs: bool) -> None:
    assert plan_modules([OURS], store, os_id).install == ([OURS] if installs else [])


def test_modules_for_all_distributions() -> None:
    assert len(plan_modules([PolicyModuleRequest("x", b"")], [], None).install) == 1


def test_a_module_for_what_the_policy_denies_is_installed_there_only_and_then_kept_up_to_date() -> None:
    access = TypeAccess("virtqemud_t", "svirt_tcg_t", "process", ("getattr",))
    request = PolicyModuleRequest("svirt_fleet_guard", b"(allow a b (file (read)))", if_denied=(access,))
    asked: list[TypeAccess] = []

    def denied(access: TypeAccess) -> bool:
        asked.append(access)
        return True

    assert plan_modules([request], [], None, denied).install == [request]
    assert asked == [access]
    assert plan_modules([request], [], None).install == []
    there = [PolicyModule(400, request.name, request.cil)]
    assert plan_modules([request], there, None).install == []
    assert plan_modules([request], [PolicyModule(400, request.name, b"(old)")], None).install == [request]


@pytest.mark.parametrize("name", ["", "-X", "a/b", "a b", "1a", "x" * 65])
def test_a_name_that_no_module_can_have(name: str) -> None:
    with raised("module_name_invalid"):
        plan_modules([PolicyModuleRequest(name, b"")], [], "debian")


def test_modules_that_weaken_or_come_twice() -> None:
    with raised("would_weaken"):
        plan_modules([PolicyModuleRequest("x", b"(typepermissive svirt_t)")], [], "debian")
    with raised("module_name_invalid"):
        plan_modules([OURS, OURS], [], "debian")


@pytest.mark.parametrize(
    ("cil", "types", "only"),
    [
        (b"(typepermissive svirt_t)", ["svirt_t"], True),
        (b"; why\n( typepermissive  svirt_t )\n(typepermissive x_t)\n", ["svirt_t", "x_t"], True),
        (b"(typepermissive svirt_t)(allow a b (file (read)))", ["svirt_t"], False),
        (b"; (typepermissive svirt_t)\n", [], True),
        (b"(allow a b (file (read)))", [], False),
    ],
)
def test_what_a_module_makes_permissive(cil: bytes, types: list[str], only: bool) -> None:
    assert permissive_types(cil) == (types, only)


ADDED = PolicyModule(400, "permissive_svirt_t", b"(typepermissive svirt_t)\n")
CLEAN = Soak(NOW)
SHIPPED = PolicyModule(100, "virt", b"(typepermissive virtqemud_t)")


def permissive(
    store: list[PolicyModule], kernel: tuple[str, ...] = (), shipped: tuple[str, ...] = (), soak: Soak | None = CLEAN
) -> PolicyPlan:
    plan = PolicyPlan()
    plan_permissive(plan, store, kernel, lambda _wanted: shipped, (lambda: soak) if soak else None)
    return plan


def test_a_permissive_domain_of_the_administrator_goes() -> None:
    plan = permissive([ADDED, SHIPPED], ("svirt_t",))
    assert (plan.remove, plan.reload, plan.refused) == ([ADDED], [], [])


def test_one_of_the_distribution_stays() -> None:
    assert permissive([SHIPPED], ("virtqemud_t",), shipped=("virtqemud_t",)).remove == []
    plan = permissive([], ("virtlogd_t",), shipped=("virtlogd_t",))
    assert (plan.remove, plan.reload, plan.refused) == ([], [], [])


def test_one_that_no_module_has_goes_with_the_stores_policy() -> None:
    assert permissive([], ("svirt_t", "virtqemud_t"), shipped=("virtqemud_t",)).reload == ["svirt_t"]


def test_a_name_that_a_distribution_ships_permissive_counts_only_where_its_modules_do_so() -> None:
    assert permissive([], ("virtqemud_t",)).reload == ["virtqemud_t"]


def test_a_module_that_does_more_stays() -> None:
    plan = permissive([PolicyModule(400, "mine", b"(typepermissive svirt_t)(allow a b (file (read)))")], ("svirt_t",))
    assert (plan.remove, plan.reload) == ([], [])
    assert plan.refused[0].reason.code == "module_does_more"


def test_what_would_be_denied_keeps_a_domain_permissive() -> None:
    for kernel, store in (((), [ADDED]), (("svirt_t",), [])):
        plan = permissive(store, kernel, soak=Soak(NOW, (DENIAL,)))
        assert (plan.remove, plan.reload) == ([], [])
        assert plan.refused[0].reason.code == "denials"
    assert permissive([ADDED], soak=Soak(NOW, (Denial("other_t", "read", "file", "proc_t"),))).remove == [ADDED]
    unread = permissive([ADDED], soak=Soak(None, problem=Reason("log_unread", "no log")))
    assert unread.refused[0].reason.code == "denials_unknown"


def test_on_a_host_that_does_not_enforce_nothing_is_lost() -> None:
    assert permissive([ADDED], soak=None).remove == [ADDED]


def test_logs_and_shipped_modules_are_read_only_when_it_matters() -> None:
    plan = PolicyPlan()
    plan_permissive(plan, [SHIPPED, PolicyModule(400, "x", b"(allow a b (file (read)))")], [], _unasked, _never)
    assert (plan.remove, plan.reload, plan.refused) == ([], [], [])


def _unasked(_wanted: t.Collection[str]) -> list[str]:
    raise AssertionError("asked for nothing")


def _never() -> Soak:
    raise AssertionError("asked for nothing")


def test_doors_by_profile() -> None:
    local = wanted_booleans("local", {})
    assert set(local.values()) == {False}
    assert "virt_use_nfs" in local
    assert "virt_use_nfs" not in wanted_booleans("nfs", {})
    assert "virt_use_sanlock" not in wanted_booleans("ovirt", {})
    assert wanted_booleans(None, {"x": True}) == {"x": True}
    assert wanted_booleans("nfs", {"virt_use_nfs": True})["virt_use_nfs"] is True
    assert wanted_booleans("local", {"virt_use_usb": False})["virt_use_usb"] is False


@pytest.mark.parametrize("profile", ["local", None])
def test_a_door_is_opened_only_under_a_profile_that_wants_it(profile: str | None) -> None:
    with raised("boolean_opens_door"):
        wanted_booleans(profile, {"virt_use_nfs": True})


@pytest.mark.parametrize("name", ["-P", "a b", "a=1", ""])
def test_a_name_that_no_boolean_can_have(name: str) -> None:
    with raised("boolean_name_invalid"):
        wanted_booleans("local", {name: True})


@pytest.mark.parametrize(
    ("active", "persistent", "runtime", "stored"),
    [
        (False, False, {}, {}),
        (False, None, {}, {}),
        (True, False, {"b": False}, {}),  # somebody set it without -P
        (True, None, {}, {"b": False}),
        (True, True, {}, {"b": False}),
        (False, True, {}, {"b": False}),
    ],
)
def test_booleans(active: bool, persistent: bool | None, runtime: dict[str, bool], stored: dict[str, bool]) -> None:
    plan = plan_booleans({"b": False}, {"b": BooleanFacts(active, persistent)}, (), lambda name: None)
    assert (plan.runtime, plan.persistent, plan.refused) == (runtime, stored, [])


def test_a_boolean_in_use_stays_unless_it_is_asked_for_by_name() -> None:
    facts = {"b": BooleanFacts(True, True)}
    assert plan_booleans({"b": False}, facts, (), lambda name: IN_USE).refused == [Refusal("boolean b", IN_USE)]
    assert plan_booleans({"b": False}, facts, ("b",), lambda name: IN_USE).persistent == {"b": False}


def test_booleans_that_the_policy_lacks() -> None:
    plan = plan_booleans({"a": False, "b": True}, {}, ("b",), lambda name: None)
    assert [(item.subject, item.reason.code) for item in plan.refused] == [("boolean b", "boolean_missing")]


def test_one_asked_for_by_name_has_to_be_known_to_last() -> None:
    plan = plan_booleans({"b": True}, {"b": BooleanFacts(True, None)}, ("b",), lambda name: None)
    assert plan.persistent == {"b": True}


def test_where_booleans_are_written_down() -> None:
    assert local_booleans("# x=1\n\nvirt_use_nfs=1\nb = 0\n") == {"virt_use_nfs": True, "b": False}
    assert defaults_of(b"(boolean a false)\n( tunable b true )(booleanif a)") == {"a": False, "b": True}


@given(st.binary(max_size=200))
def test_any_module_is_read_and_names_only_what_stands_in_it(cil: bytes) -> None:
    names = [*permissive_types(cil)[0], *defaults_of(cil)]
    assert all(name in cil.decode("utf-8", "replace") for name in names)
