# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux as the kernel has it, and what the loaded policy answers. No libselinux: selinuxfs says it all.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field

from ..._core.errors import HostReadError
from ..._core.selinux import config as selinux_conf
from ..._core.selinux.context import CategorySet, parse_context
from ..._core.snapshot.model import Access, Boolean, SELinux, TypeFacts
from ..base.root import Root, reason, text_of

FS = "/sys/fs/selinux"
CONFIG = "/etc/selinux/config"
#: What policies ship where the contexts file is missing or not yet read.
GUEST_TYPES = ("svirt_t", "svirt_tcg_t")
IMAGE_TYPES = ("svirt_image_t", "virt_content_t")
#: File types that some process type may read when their categories are equal.
_PROOF_TYPES = ("svirt_image_t", "container_file_t", "svirt_home_t", "virt_image_t", "tmp_t")

#: Booleans that bear on guests and on containers, which share the guests' categories.
_BOOLEANS = (
    *("virt", "svirt", "qemu", "sanlock", "wdmd", "container", "xen", "glusterd", "nfs_export", "ksmtuned", "swtpm"),
    *("deny_execmem", "deny_ptrace", "mmap_low_allowed", "secure_mode"),
)
_MAX_PAIRS = 600
_PERMISSIVE = 1


@dataclass(repr=False, eq=False)
class Oracle:
    """Asks the loaded policy. ``problem`` says why it cannot."""

    root: Root
    mls: bool
    problem: str = ""
    _class: bytes = b""
    _bits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.root.privileged:
            self.problem = "only root may ask the loaded policy"
            return
        try:
            self._class = self.root.peek(f"{FS}/class/file/index").strip()
            for name in ("read", "write"):
                self._bits[name] = 1 << (int(self.root.peek(f"{FS}/class/file/perms/{name}")) - 1)
        except (OSError, ValueError) as error:
            self.problem = f"the policy's class file cannot be read: {reason(error)}"

    def context(self, type_: str, level: str, role: str = "system_r") -> str:
        """A label of that type; without a level where the policy has none."""
        return f"system_u:{role}:{type_}:{level}" if self.mls else f"system_u:{role}:{type_}"

    def ask(self, source: str, target: str) -> tuple[int, int] | None:
        """The allowed permissions and the flags for class file; None for a label that the policy does not know."""
        question = b" ".join((source.encode("utf-8", "surrogateescape"), target.encode("utf-8", "surrogateescape")))
        try:
            fields = self.root.transact(f"{FS}/access", question + b" " + self._class).split()
        except OSError as error:
            if isinstance(error, PermissionError):
                self.problem = "the policy does not let this process ask for access decisions"
            return None
        try:
            return int(fields[0], 16), int(fields[5], 16)
        except (IndexError, ValueError):
            self.problem = "the kernel's answer on access decisions has an unknown form"
            return None

    def may(self, source: str, target: str, permission: str) -> bool | None:
        """Whether the policy allows it; None when it does not know a label."""
        answer = self.ask(source, target)
        return None if answer is None else bool(answer[0] & self._bits[permission])


@dataclass(repr=False, eq=False)
class Reading:
    """What was read, and what could not be."""

    facts: SELinux
    #: Why the area is not wholly read; empty when it is.
    missing: list[str] = field(default_factory=list)
    oracle: Oracle | None = None


def read(root: Root) -> Reading:
    """The host's SELinux state; types and access come later, when it is known which ones matter."""
    enforce = root.line(f"{FS}/enforce")
    # Without a policy the file system may be mounted, but nothing is decided.
    loaded = enforce is not None and root.line(f"{FS}/class/file/index") is not None
    mode = "disabled" if not loaded else "enforcing" if enforce == "1" else "permissive"
    reading = Reading(SELinux(mode=mode, lsms=_lsms(root, loaded), autorelabel=root.exists("/.autorelabel")))
    facts = reading.facts
    facts.cmdline = root.line("/proc/cmdline")
    _configuration(root, reading)
    if loaded:
        mls = root.line(f"{FS}/mls")
        facts.mls = None if mls is None else mls == "1"
        version = root.line(f"{FS}/policyvers")
        facts.policy_version = int(version) if version and version.isdigit() else None
        facts.booleans = _booleans(root, reading.missing)
        reading.oracle = Oracle(root, mls=facts.mls is not False)
        if reading.oracle.problem:
            reading.missing.append(reading.oracle.problem)
    return reading


def _lsms(root: Root, selinux: bool) -> list[str]:
    listed = root.line("/sys/kernel/security/lsm")
    if listed:
        return listed.split(",")
    apparmor = root.line("/sys/module/apparmor/parameters/enabled") == "Y"
    return [name for name, active in (("selinux", selinux), ("apparmor", apparmor)) if active]


def _configuration(root: Root, reading: Reading) -> None:
    facts = reading.facts
    try:
        config = selinux_conf.parse_config(root.read_text(CONFIG, 65536))
    except FileNotFoundError:
        return
    except (OSError, HostReadError) as error:
        reading.missing.append(reason(error))
        return
    facts.configured_mode, facts.policy = config.mode, config.policy
    facts.guest_types = _contexts(root, reading, "virtual_domain_context")
    facts.image_types = _contexts(root, reading, "virtual_image_context")


def _contexts(root: Root, reading: Reading, name: str) -> list[str]:
    policy = reading.facts.policy
    if not policy or "/" in policy:
        return []
    path = f"/etc/selinux/{policy}/contexts/{name}"
    try:
        return selinux_conf.parse_contexts(root.read_text(path, 65536))
    except FileNotFoundError:
        return []
    except (OSError, HostReadError) as error:
        reading.missing.append(reason(error))
        return []


def _booleans(root: Root, missing: list[str]) -> list[Boolean]:
    found = []
    try:
        names = [name for name in root.listdir(f"{FS}/booleans") if name.startswith(_BOOLEANS)]
    except OSError as error:
        missing.append(reason(error))
        return []
    for name in names:
        values = (root.line(f"{FS}/booleans/{name}") or "").split()
        if len(values) == 2:
            found.append(Boolean(name, values[0] == "1", values[1] == "1"))
        else:
            missing.append(f"boolean {name} cannot be read")
    return found


def types(oracle: Oracle | None, names: t.Iterable[str], image_types: t.Iterable[str]) -> list[TypeFacts]:
    """What the loaded policy says of process types; nothing is known of them without an oracle."""
    wanted = sorted(set(names))
    if oracle is None or oracle.problem:
        return [TypeFacts(name) for name in wanted]
    proofs = list(dict.fromkeys((*image_types, *_PROOF_TYPES)))
    return [_type(oracle, name, proofs) for name in wanted]


def _type(oracle: Oracle, name: str, proofs: list[str]) -> TypeFacts:
    own = oracle.context(name, "s0:c1,c2")
    # A role that the type is not allowed for makes the label invalid; object_r always fits.
    for process in (own, oracle.context(name, "s0:c1,c2", "object_r")):
        answer = oracle.ask(process, process)
        if answer is not None:
            permissive = bool(answer[1] & _PERMISSIVE)
            return TypeFacts(name, True, permissive, _constrained(oracle, process, proofs))
    return TypeFacts(name, None if oracle.problem else False)


def _constrained(oracle: Oracle, process: str, proofs: list[str]) -> bool | None:
    """Find a file that the type may read with its own categories, and see whether others' keep it off.

    A type that may read no file proves nothing: None.
    """
    if not oracle.mls:
        return False
    for proof in proofs:
        if oracle.may(process, oracle.context(proof, "s0:c1,c2", "object_r"), "read"):
            return not oracle.may(process, oracle.context(proof, "s0:c3,c4", "object_r"), "read")
    return None


def access(oracle: Oracle | None, guest_types: t.Iterable[str], labels: t.Iterable[str]) -> tuple[list[Access], str]:
    """What a guest of each type may do to each label, when the file is not its own; and what was left out, if any."""
    targets = sorted(set(labels), key=lambda text: (text.count(":") > 3 and "c" in text.split(":", 4)[4], text))
    sources = sorted(set(guest_types))
    if oracle is None or oracle.problem or not targets or not sources:
        return [], ""
    level = f"s0:{_foreign(targets)}"
    room = _MAX_PAIRS // len(sources)
    found = []
    for source in (oracle.context(name, level) for name in sources):
        for target in targets[:room]:
            answers = [oracle.may(source, target, permission) for permission in ("read", "write")]
            if None not in answers:
                found.append(Access(source, target, read=bool(answers[0]), write=bool(answers[1])))
    left = len(targets) - room
    why = f"the policy was asked for {room} of {len(targets)} labels" if left > 0 else ""
    return sorted(found, key=lambda item: (item.source, item.target)), why


def _foreign(targets: list[str]) -> CategorySet:
    """Two categories that no file here carries: those of a guest that owns none of the files."""
    used = 0
    for target in targets:
        with contextlib.suppress(Exception):
            used |= parse_context(target).categories.mask
    free = [number for number in range(1023, 1, -1) if not used >> number & 1]
    return CategorySet.of(sorted((free or [1023, 1022])[:2]))


def type_labels(labels: t.Iterable[str | None]) -> list[str]:
    """The distinct labels of a list that may hold None, sorted."""
    return sorted({text for text in labels if text})


def current(root: Root, pid: int | str) -> str | None:
    """The label of a process, or None when it cannot be read."""
    try:
        return text_of(root.peek(f"/proc/{pid}/attr/current")).rstrip("\0\n") or None
    except OSError:
        return None
