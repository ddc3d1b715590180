# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux on the host: mode, configuration, booleans, and the loaded policy's answers about types and files.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError
from ..._core.libvirt.secrets import blanked_arguments
from ..._core.result import Reason
from ..._core.selinux import config as selinux_conf
from ..._core.selinux.context import CategorySet, parse_context, type_of
from ..._core.selinux.policy_access import Check
from ..._core.selinux.shipped_types import (
    SHIPPED_CONTAINER_FILE,
    SHIPPED_DAEMON_TYPES,
    SHIPPED_GUEST_TYPES,
    SHIPPED_IMAGE_TYPES,
)
from ..._core.snapshot.model import Access, Boolean, SELinux, TypeFacts
from ..base import policy_modules
from ..base.loaded_policy import FS, LoadedPolicy
from ..base.root import Root, text_of, trouble

CONFIG = "/etc/selinux/config"
#: Container engines prefer this file to the policy's lxc_contexts.
ENGINES_CONTEXTS = "/usr/share/containers/selinux/contexts"
#: File types that some process type may read when their categories are equal; the policy may lack any of them.
_PROOF_TYPES = (SHIPPED_IMAGE_TYPES[0], SHIPPED_CONTAINER_FILE, "svirt_home_t", "virt_image_t", "tmp_t")

#: Booleans that bear on guests and on containers, which share the guests' categories.
_BOOLEANS = (
    *("virt", "svirt", "qemu", "sanlock", "wdmd", "container", "xen", "glusterd", "nfs_export", "ksmtuned", "swtpm"),
    *("deny_execmem", "deny_ptrace", "mmap_low_allowed", "secure_mode"),
)
_MAX_PAIRS = 600


@dataclass(repr=False, eq=False)
class SELinuxReading:
    """Facts, the gaps in them, and the loaded policy."""

    facts: SELinux
    #: Why the area is not wholly read; empty when it is.
    missing: list[Reason] = field(default_factory=list)
    #: None where it may not be asked: SELinux is off, or the process is not root.
    policy: LoadedPolicy | None = None


def read(root: Root) -> SELinuxReading:
    """The host's SELinux state; types and access come later, when it is known which ones matter."""
    policy = LoadedPolicy(root)
    mode = "disabled" if not policy.loaded else "enforcing" if policy.enforcing else "permissive"
    reading = SELinuxReading(
        SELinux(mode=mode, lsms=_lsms(root, policy.loaded), autorelabel=root.exists("/.autorelabel"))
    )
    facts = reading.facts
    cmdline = root.line("/proc/cmdline")
    facts.cmdline = None if cmdline is None else blanked_arguments(cmdline)
    _configuration(root, reading)
    if policy.loaded:
        facts.mls = policy.mls
        version = root.line(f"{FS}/policyvers")
        facts.policy_version = int(version) if version and version.isdigit() else None
        facts.booleans = _booleans(root, reading.missing)
        if root.privileged:
            reading.policy = policy
        else:
            reading.missing.append(Reason("not_root", "only root may ask the loaded policy"))
    return reading


def _lsms(root: Root, selinux: bool) -> list[str]:
    listed = root.line("/sys/kernel/security/lsm")
    if listed:
        return listed.split(",")
    apparmor = root.line("/sys/module/apparmor/parameters/enabled") == "Y"
    return [name for name, active in (("selinux", selinux), ("apparmor", apparmor)) if active]


def _configuration(root: Root, reading: SELinuxReading) -> None:
    facts = reading.facts
    try:
        config = selinux_conf.parse_config(root.read_text(CONFIG, 65536))
    except FileNotFoundError:
        return
    except (OSError, HostReadError) as error:
        reading.missing.append(trouble(error))
        return
    facts.configured_mode, facts.policy = config.mode_at_boot, config.policy
    facts.guest_types = _contexts(root, reading, "virtual_domain_context")
    facts.image_types = _contexts(root, reading, "virtual_image_context")
    types_, file = selinux_conf.parse_lxc_contexts(_contexts_text(root, reading, "lxc_contexts"))
    engines_types, engines_file = selinux_conf.parse_lxc_contexts(_text(root, reading, ENGINES_CONTEXTS))
    facts.container_types, facts.container_file = sorted({*types_, *engines_types}), engines_file or file


def _contexts(root: Root, reading: SELinuxReading, name: str) -> list[str]:
    return selinux_conf.parse_contexts(_contexts_text(root, reading, name))


def _contexts_text(root: Root, reading: SELinuxReading, name: str) -> str:
    """A contexts file of the policy; empty where there is none."""
    policy = reading.facts.policy
    if not policy or "/" in policy:
        return ""
    return _text(root, reading, f"/etc/selinux/{policy}/contexts/{name}")


def _text(root: Root, reading: SELinuxReading, path: str) -> str:
    try:
        return root.read_text(path, 65536)
    except FileNotFoundError:
        return ""
    except (OSError, HostReadError) as error:
        reading.missing.append(trouble(error))
        return ""


def image_type(facts: SELinux) -> str:
    """The type of guests' own files, by the contexts file."""
    return (*facts.image_types, SHIPPED_IMAGE_TYPES[0])[0]


def guest_types(policy: LoadedPolicy | None, facts: SELinux) -> frozenset[str]:
    """Types meant for guests: of the contexts file, and the shipped ones, unless the policy does not know them."""
    shipped = (
        name for name in SHIPPED_GUEST_TYPES if policy is None or not policy.lacks(policy.label(name, "s0:c1,c2"))
    )
    return frozenset((*facts.guest_types, *shipped))


def was_chosen(root: Root, facts: SELinux) -> bool:
    """SELinux is configured to run, and has a policy: a configuration alone comes with some distributions' packages."""
    if facts.configured_mode in (None, "disabled") or not facts.policy or "/" in facts.policy:
        return False
    try:
        names = root.names(f"/etc/selinux/{facts.policy}/policy")
    except OSError:
        return True
    return any(name.startswith("policy.") for name in names)


def _booleans(root: Root, missing: list[Reason]) -> list[Boolean]:
    found = []
    try:
        names = [name for name in root.listdir(f"{FS}/booleans") if name.startswith(_BOOLEANS)]
    except OSError as error:
        missing.append(trouble(error))
        return []
    for name in names:
        values = (root.line(f"{FS}/booleans/{name}") or "").split()
        if len(values) == 2:
            found.append(Boolean(name, values[0] == "1", values[1] == "1"))
        else:
            missing.append(Reason("boolean_unread", f"boolean {name} cannot be read"))
    return found


def types(policy: LoadedPolicy | None, names: t.Iterable[str], facts: SELinux) -> list[TypeFacts]:
    """The loaded policy's facts about process types; unknown where it may not be asked."""
    wanted = sorted(set(names))
    if policy is None:
        return [TypeFacts(name) for name in wanted]
    containers = [facts.container_file] if facts.container_file else []
    proofs = list(dict.fromkeys((*facts.image_types, *containers, *_PROOF_TYPES)))
    return [_type(policy, name, proofs, image_type(facts)) for name in wanted]


def note_shipped(root: Root, facts: SELinux, missing: list[Reason]) -> None:
    """Say of each permissive type whether the distribution's modules make it so."""
    permissive = [item for item in facts.types if item.permissive]
    if not permissive or not facts.policy or "/" in facts.policy:
        return
    try:
        shipped = policy_modules.shipped_permissive(root, facts.policy, {item.name for item in permissive})
    except (OSError, HostReadError) as error:
        missing.append(trouble(error).about("which types the distribution ships permissive"))
        return
    for item in permissive if shipped is not None else ():
        item.shipped = item.name in (shipped or ())


def _type(policy: LoadedPolicy, name: str, proofs: list[str], image: str) -> TypeFacts:
    known = None
    # A role that the type is not allowed for makes the label invalid; object_r always fits.
    for process in (policy.label(name, "s0:c1,c2"), policy.label(name, "s0:c1,c2", "object_r")):
        answer = policy.permissive(process)
        if answer.problem is None:
            others = policy.label(image, "s0:c3,c4", "object_r")
            relabels = policy.may(process, others, "relabelto")
            return TypeFacts(name, True, answer.permissive, _constrained(policy, process, proofs), relabels)
        known = False if answer.problem.code == "label_unknown" else None
    return TypeFacts(name, known)


def _constrained(policy: LoadedPolicy, process: str, proofs: list[str]) -> bool | None:
    """Whether categories bind the type: of a file that it may read with equal categories, it may not with others.

    None: unknown, as the type may read no file at all.
    """
    if policy.mls is False:
        return False
    for proof in proofs:
        if policy.may(process, policy.label(proof, "s0:c1,c2", "object_r"), "read"):
            other = policy.may(process, policy.label(proof, "s0:c3,c4", "object_r"), "read")
            return None if other is None else not other
    return None


def daemon_types(policy: LoadedPolicy | None, given: str | None, facts: SELinux) -> list[str] | None:
    """Types that the policy has for libvirt's daemon; None where it may not be asked.

    ``given`` is the label that it gives the daemon's program. Such a process may start guests: that keeps apart the
    type of a program with a wrong label.
    """
    if policy is None or policy.problem or not policy.loaded:
        return None
    guests = [policy.label(name, "s0:c1,c2") for name in sorted(guest_types(policy, facts))]
    candidates = dict.fromkeys(name for name in (type_of(given or ""), *SHIPPED_DAEMON_TYPES) if name)
    types_, answers = [], 0
    for name in candidates:
        label = policy.label(name, "s0-s0:c0.c1023")
        verdicts = [policy.verdict(Check(label, guest, "process", ("transition",))) for guest in guests]
        answers += sum(item.problem is None or item.problem.code == "label_unknown" for item in verdicts)
        if any(item.allowed for item in verdicts):
            types_.append(name)
    return sorted(types_) if answers else None


def access(
    policy: LoadedPolicy | None, guest_types: t.Iterable[str], labels: t.Iterable[str]
) -> tuple[list[Access], Reason | None]:
    """What a guest of each type may do to a file of each label that is not its own; and what was not asked, if any."""
    targets = sorted(set(labels), key=lambda text: (text.count(":") > 3 and "c" in text.split(":", 4)[4], text))
    sources = sorted(set(guest_types))
    if policy is None or policy.problem or not targets or not sources:
        return [], None
    level = f"s0:{_foreign(targets)}"
    room = _MAX_PAIRS // len(sources)
    answers = []
    for source in (policy.label(name, level) for name in sources):
        for target in targets[:room]:
            verdict = policy.verdict(Check(source, target))
            if verdict.problem is None:
                answers.append(Access(source, target, "read" in verdict.allowed, "write" in verdict.allowed))
    left = len(targets) - room
    why = Reason("too_many_labels", f"the policy was asked for {room} of {len(targets)} labels")
    return sorted(answers, key=lambda item: (item.source, item.target)), why if left > 0 else None


def _foreign(targets: list[str]) -> CategorySet:
    """Two categories that no file here has, as a guest that owns none of the files would have."""
    used = 0
    for target in targets:
        with contextlib.suppress(Exception):
            used |= parse_context(target).categories.mask
    free = [number for number in range(1023, 1, -1) if not used >> number & 1]
    return CategorySet.of(sorted((free or [1023, 1022])[:2]))


def type_labels(labels: t.Iterable[str | None]) -> list[str]:
    """The distinct labels, sorted, without None."""
    return sorted({text for text in labels if text})


def current(root: Root, pid: int | str) -> str | None:
    """The label of a process, or None when it cannot be read."""
    try:
        return text_of(root.peek(f"/proc/{pid}/attr/current")).rstrip("\0\n") or None
    except OSError:
        return None
