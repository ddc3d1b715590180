# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about SELinux on the host.

Precedence: SEL-001 and SEL-002 report the present mode; SEL-003 and SEL-004 only what a reboot would make worse.
Without SELinux, or without levels in its policy, the rules about types report nothing: there is one cause.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ...facts.guests import selinux_off
from ...facts.process_types import facts_of, given_types, guest_types, shipped_permissive
from ...facts.subjects import HOST
from ...result import Reason
from ...selinux.booleans import BOOLEAN_EFFECTS, BooleanEffect
from ...snapshot.model import NOT_APPLICABLE, OK, Boolean, Snapshot
from ...system import kernel_arguments
from ...words import some
from ..finding import Hit, Rule, Settings, Unsure
from ._common import NIST_AC3, NIST_AC4, NIST_AC6, NIST_CM6, NIST_CM7, NIST_SC39, off_is_unsure

Results = t.Iterable[t.Union[Hit, Unsure]]

#: Modes by strength.
_STRENGTH = {"disabled": 0, "permissive": 1, "enforcing": 2}


def _off(snapshot: Snapshot, _settings: Settings) -> Results:
    selinux = snapshot.selinux
    if snapshot.coverage["selinux"].status == NOT_APPLICABLE:
        yield from _without_apparmor_either(snapshot)
    elif selinux.mode == "disabled":
        yield Hit(
            HOST,
            HOST,
            {
                "mode": selinux.mode,
                "configured_mode": selinux.configured_mode,
                "cmdline": selinux.cmdline,
                "lsms": selinux.lsms,
            },
        )
    elif selinux.mode not in _STRENGTH:
        yield _no_mode(selinux.mode)


def _no_mode(mode: str) -> Unsure:
    return Unsure(HOST, Reason("mode_invalid", f"mode {mode[:40]!r} is not one that SELinux has"))


def _without_apparmor_either(snapshot: Snapshot) -> Results:
    """The kernel has AppArmor in the place of SELinux, but libvirt uses neither."""
    models = None if snapshot.libvirt.models is None else [model.model for model in snapshot.libvirt.models]
    if models is not None and not {"selinux", "apparmor"} & set(models):
        yield Hit(HOST, HOST, {"mode": snapshot.selinux.mode, "lsms": snapshot.selinux.lsms, "models": models})


def _permissive(snapshot: Snapshot, _settings: Settings) -> Results:
    selinux = snapshot.selinux
    if selinux.mode == "permissive":
        evidence = {"mode": selinux.mode, "configured_mode": selinux.configured_mode, "cmdline": selinux.cmdline}
        yield Hit(HOST, HOST, evidence)
    elif selinux.mode not in _STRENGTH:
        yield _no_mode(selinux.mode)


def _next_boot(snapshot: Snapshot, _settings: Settings) -> Results:
    selinux = snapshot.selinux
    if selinux.configured_mode is None:
        if not selinux_off(snapshot):
            yield Unsure(HOST, Reason("config_unread", "SELINUX= of /etc/selinux/config could not be read"))
        return
    # libselinux treats any unknown value as permissive.
    strength = _STRENGTH.get(selinux.configured_mode.strip().lower(), 1)
    if strength < _STRENGTH.get(selinux.mode, 2):
        yield Hit(HOST, HOST, {"mode": selinux.mode, "configured_mode": selinux.configured_mode})


_DECIDED_AT_BOOT = Reason(
    "decided_at_boot", "whether the entry weakens this host is not known, for a condition decides at boot"
)
_NO_DEFAULT = Reason(
    "security_module_unknown",
    "the entry's arguments name no security module, and whether this host's kernels start SELinux by themselves is not "
    f"known; name it: {kernel_arguments.CHOICE}",
)
_MAYBE_ANOTHER = Reason(
    "maybe_another_system", "whether the entry weakens this host is not known, for it may start another system"
)


def _boot_entries(snapshot: Snapshot, _settings: Settings) -> Results:
    if selinux_off(snapshot):
        return  # nothing can be worse; SEL-001 shows the kernel's arguments
    if all(entry.own is False for entry in snapshot.selinux.boot_entries) and snapshot.coverage["boot"].status == OK:
        yield Unsure(HOST, Reason("no_boot_entry", "no boot entry of this host was found"))
    weak: list[str] = []
    doubts: dict[Reason, list[str]] = {}
    for entry in snapshot.selinux.boot_entries:
        if entry.own is False:
            continue  # another system, or a tool: it does not start this host's guests
        name = f"{entry.source}: {entry.title}"
        faults = [_boot_faults(snapshot, text) for text in (entry.arguments, *entry.alternatives)]
        if all(faults) and entry.own:
            weak.append(f"{name}: {' '.join(dict.fromkeys(fault for texts in faults for fault in texts))}")
        elif any(faults):
            doubts.setdefault(_DECIDED_AT_BOOT if entry.own else _MAYBE_ANOTHER, []).append(name)
        elif entry.own and any(_undecided(snapshot, text) for text in (entry.arguments, *entry.alternatives)):
            doubts.setdefault(_NO_DEFAULT, []).append(name)
        elif entry.unresolved:
            why = f"the entry's arguments are not known, for nothing that was read assigns {some(entry.unresolved)}"
            doubts.setdefault(Reason("arguments_unresolved", why), []).append(name)
    if weak:  # one line in /etc/default/grub weakens every entry, so all of them are one fault
        yield Hit(HOST, HOST, {"mode": snapshot.selinux.mode, "entries": weak})
    for doubt, names in doubts.items():
        yield Unsure(HOST, Reason(doubt.code, f"{doubt.text}: {some(names)}"))


def _boot_faults(snapshot: Snapshot, arguments: str) -> list[str]:
    """Arguments that start SELinux weaker than it is now."""
    now = _STRENGTH.get(snapshot.selinux.mode, 2)
    faults = kernel_arguments.weakness(arguments)
    if not faults and _must_choose(snapshot):
        faults = kernel_arguments.without_choice(arguments)
    return faults if any(_strength_with(fault) < now for fault in faults) else []


def _undecided(snapshot: Snapshot, arguments: str) -> bool:
    """Whether the kernel's default decides, and is not known."""
    return _must_choose(snapshot) is None and bool(kernel_arguments.without_choice(arguments))


def _must_choose(snapshot: Snapshot) -> bool | None:
    active = snapshot.selinux.lsms or [model.model for model in snapshot.libvirt.models or ()]
    default = kernel_arguments.default_module(snapshot.selinux.cmdline, active)
    return kernel_arguments.must_choose(snapshot.host.os_id, snapshot.host.os_like, default)


def _strength_with(argument: str) -> int:
    """Strongest mode of a kernel that is started with this argument."""
    return _STRENGTH["permissive" if argument == "enforcing=0" else "disabled"]


def _without_mcs(snapshot: Snapshot, _settings: Settings) -> Results:
    if selinux_off(snapshot):
        yield from off_is_unsure(snapshot)
    elif snapshot.selinux.mls is None:
        yield Unsure(HOST, Reason("categories_unread", "whether the loaded policy has categories could not be read"))
    elif not snapshot.selinux.mls:
        yield Hit(HOST, HOST, {"mls": False, "policy": snapshot.selinux.policy})


def _permissive_types(snapshot: Snapshot, settings: Settings) -> Results:
    if selinux_off(snapshot):
        yield from off_is_unsure(snapshot)
        return
    guests = guest_types(snapshot)
    allowed = frozenset(settings.permissive_allowed) - guests
    yield from _not_asked(snapshot)
    for facts in snapshot.selinux.types:
        if facts.known is False or facts.name in allowed:
            continue
        if facts.permissive is None:
            why = Reason("permissive_unread", "whether the type is permissive could not be read")
            yield Unsure(f"type {facts.name}", why)
        elif facts.permissive and facts.name not in guests and shipped_permissive(facts) is not False:
            if shipped_permissive(facts) is None:
                text = "whether the distribution ships it permissive could not be read"
                yield Unsure(f"type {facts.name}", Reason("shipped_permissive_unread", text))
        elif facts.permissive:
            severity = "critical" if facts.name in guests else None
            evidence = {"type": facts.name, "permissive": True, "guest_type": facts.name in guests}
            yield Hit(f"type {facts.name}", facts.name, evidence, severity=severity)


def _unconstrained(snapshot: Snapshot, _settings: Settings) -> Results:
    if selinux_off(snapshot) or snapshot.selinux.mls is False:
        yield Unsure(HOST, Reason("no_categories", "no policy with categories is in force"))
        return
    yield from _not_asked(snapshot)
    for name in sorted(given_types(snapshot)):
        facts = facts_of(snapshot, name)
        if facts.known is not False and facts.constrained is False:
            yield Hit(f"type {name}", name, {"type": name, "constrained": False})
        elif facts.known is not False and facts.constrained is None and facts in snapshot.selinux.types:
            why = Reason("constraint_unread", "whether categories bind the type could not be read")
            yield Unsure(f"type {name}", why)


def _not_asked(snapshot: Snapshot) -> t.Iterator[Unsure]:
    """Types of guests about which the loaded policy was not asked."""
    answered = {facts.name for facts in snapshot.selinux.types}
    for name in sorted(given_types(snapshot) - answered):
        yield Unsure(f"type {name}", Reason("type_not_asked", "the loaded policy was not asked about this type"))


def _booleans(snapshot: Snapshot, settings: Settings) -> Results:
    if selinux_off(snapshot):
        yield from off_is_unsure(snapshot)
        return
    if not snapshot.selinux.booleans:
        yield Unsure(HOST, Reason("booleans_unread", "no SELinux boolean could be read"))
    for boolean in snapshot.selinux.booleans:
        effect = BOOLEAN_EFFECTS.get(boolean.name)
        if effect is None or not (boolean.active or boolean.pending) or settings.profile in effect.profiles:
            continue
        if boolean.name == "virt_use_execmem":
            yield from _execmem(snapshot, boolean, effect)
        else:
            yield _boolean_hit(boolean, effect)


def _execmem(snapshot: Snapshot, boolean: Boolean, effect: BooleanEffect) -> Results:
    """Emulation needs executable memory. Where the policy has a separate type for it, no other guest needs it."""
    subject = f"boolean {boolean.name}"
    types = snapshot.selinux.guest_types
    if len(set(types)) > 1:
        yield _boolean_hit(boolean, effect)
    elif not types:
        why = "the policy's guest types could not be read, so emulated guests may need it"
        yield Unsure(subject, Reason("guest_types_unread", why))
    elif any(guest.kind == "qemu" for guest in snapshot.guests):
        return
    elif snapshot.coverage["guests"].status == OK:
        yield _boolean_hit(boolean, effect)
    else:
        why = "the guests could not be read, so some of them may be emulated and need it"
        yield Unsure(subject, Reason("guests_unread", why))


def _boolean_hit(boolean: Boolean, effect: BooleanEffect) -> Hit:
    evidence = {"boolean": boolean.name, "active": boolean.active, "pending": boolean.pending, "opens": effect.opens}
    return Hit(f"boolean {boolean.name}", boolean.name, evidence, severity=effect.severity)


def _flask(snapshot: Snapshot, _settings: Settings) -> Results:
    flask = snapshot.xen.flask if snapshot.xen else None
    if flask is None:
        yield Unsure(HOST, Reason("flask_unread", "the state of XSM/FLASK could not be read"))
    elif flask != "enforcing":
        yield Hit(HOST, HOST, {"flask": flask})


RULES: tuple[Rule, ...] = (
    Rule(
        id="SEL-001",
        title="SELinux is off",
        severity="critical",
        scope="host",
        why=(
            "No guest is confined. Whoever breaks out of one guest's QEMU has all that its user may reach: as a rule "
            "the disks and memory of every other guest on the host."
        ),
        fix=(
            "Remove selinux=0 from the kernel's arguments (Debian also needs security=selinux), set "
            "SELINUX=permissive, let the next boot relabel the file systems, watch for denials, and only then set "
            "enforcing. Never go from off to enforcing in one step: the host may not come up. Evacuate guests first."
        ),
        cost="reboot",
        needs=("selinux",),
        regardless=("selinux",),
        check=_off,
        references=(NIST_AC3, NIST_SC39, NIST_CM6, "STIG RHEL-09-431010"),
    ),
    Rule(
        id="SEL-002",
        title="SELinux is permissive now",
        severity="critical",
        scope="host",
        why=(
            "SELinux writes down what it would forbid and then allows it, so guests are not held apart. A guest may "
            "even have started without its label, since libvirt passes over failures while the host is permissive."
        ),
        fix=(
            "Look for recent denials of guests and daemons (ausearch -m avc -ts recent). If there are none, run "
            "setenforce 1; else repair their cause first, or guests will lose what was denied. Also set "
            "SELINUX=enforcing and remove enforcing=0 from the kernel's arguments, so that it lasts."
        ),
        cost="operator",
        needs=("selinux",),
        check=_permissive,
        references=(NIST_AC3, NIST_SC39, NIST_CM6, "STIG RHEL-09-431010"),
    ),
    Rule(
        id="SEL-003",
        title="SELinux is weaker after the next boot",
        severity="high",
        scope="host",
        why=(
            "/etc/selinux/config makes the next boot permissive or off. The host then starts its guests unconfined, "
            "and nobody touched libvirt."
        ),
        fix="Set SELINUX=enforcing in /etc/selinux/config. Nothing restarts.",
        cost="none",
        needs=("selinux",),
        check=_next_boot,
        references=(NIST_AC3, NIST_CM6, "STIG RHEL-09-431010"),
    ),
    Rule(
        id="SEL-004",
        title="A boot entry weakens SELinux",
        severity="high",
        scope="host",
        why=(
            "Whoever boots this entry, by the menu, by an update that makes it the default, or by a fallback, gets a "
            "host that does not confine guests. An argument of the kernel wins over /etc/selinux/config."
        ),
        fix=(
            "Remove the argument: grubby --update-kernel=ALL --remove-args='selinux enforcing' on EL and Fedora, and "
            "where a variable of grub.cfg has it, GRUB_CMDLINE_LINUX and grub2-mkconfig -o /boot/grub2/grub.cfg; on "
            "Debian edit GRUB_CMDLINE_LINUX (security=selinux belongs there) and run update-grub. Nothing restarts."
        ),
        cost="none",
        needs=("selinux", "boot"),
        check=_boot_entries,
        references=(NIST_AC3, NIST_CM6),
    ),
    Rule(
        id="SEL-005",
        title="The policy has no categories",
        severity="critical",
        scope="host",
        why=(
            "All guests run with one and the same label, so each may open every other's disks. Categories are what "
            "keeps guests apart, and this policy was built without them."
        ),
        fix=(
            "Install a policy with MCS (targeted on EL and Fedora, default on Debian), set SELINUXTYPE= to it, and "
            "boot with a relabel. Evacuate guests first."
        ),
        cost="reboot",
        needs=("selinux",),
        check=_without_mcs,
        references=(NIST_AC3, NIST_AC4, NIST_SC39, "STIG RHEL-09-431015"),
        unproved="no distribution that the lab runs ships a policy without categories",
    ),
    Rule(
        id="SEL-006",
        title="A domain of guests or daemons is permissive",
        severity="high",
        scope="host",
        why=(
            "The host says enforcing, yet nothing is denied to this type. For a guest type that means no confinement "
            "at all; getenforce and virsh dominfo do not show it."
        ),
        fix=(
            "Look for denials of the type (ausearch -m avc), repair their cause, then semanage permissive -d TYPE. It "
            "takes effect at once; running guests go on, and lose only what was denied before."
        ),
        cost="operator",
        needs=("selinux",),
        check=_permissive_types,
        references=(NIST_AC3, NIST_SC39, NIST_CM6),
    ),
    Rule(
        id="SEL-007",
        title="Categories do not bind a guest type",
        severity="critical",
        scope="host",
        why=(
            "Guests of this type carry categories, but the loaded policy does not compare them: each guest may open "
            "every other's disks."
        ),
        fix=(
            "Restore contexts/virtual_domain_context and the policy as the distribution ships them; a type of your "
            "own needs the attribute mcs_constrained_type. Restart libvirt's daemon, then power-cycle the guests."
        ),
        cost="guest_power_cycle",
        needs=("selinux",),
        check=_unconstrained,
        references=(NIST_AC3, NIST_AC4, NIST_SC39),
    ),
    Rule(
        id="SEL-008",
        title="A boolean opens storage or memory protection to guests",
        severity="medium",
        scope="host",
        why=(
            "The boolean loosens the policy for every guest on the host at once. The storage ones open files without "
            "categories: there, guests are not kept apart. The profile says which booleans this fleet needs."
        ),
        fix=(
            "Make sure that no guest uses it (its disks on that storage, emulation without a type of its own), then "
            "setsebool -P BOOLEAN off: it takes effect at once. If guests need it, choose the profile that says so."
        ),
        cost="operator",
        needs=("selinux",),
        check=_booleans,
        references=(NIST_AC6, NIST_CM6, NIST_CM7),
    ),
    Rule(
        id="SEL-009",
        title="Xen does not enforce XSM/FLASK",
        severity="high",
        scope="host",
        why=(
            "Under Xen, guests are not processes of the host: sVirt does not hold them. FLASK is what would, and "
            "without it only Xen's built-in rules stand between guests."
        ),
        fix="Boot Xen with flask=enforcing, with a FLASK policy tried in permissive mode. Evacuate guests first.",
        cost="reboot",
        needs=("xen",),
        check=_flask,
        references=(NIST_AC3, NIST_SC39),
        unproved="the lab runs KVM hosts only",
    ),
)
