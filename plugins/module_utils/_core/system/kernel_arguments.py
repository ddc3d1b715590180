# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel arguments: which of them weaken SELinux, and the arguments without the weakness.

Read as the kernel and libselinux read them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..errors import PlanError

#: The kernel's own bound on its command line is lower on every architecture.
MAX_ARGUMENTS = 65536

#: Distributions (ID or ID_LIKE of os-release) all of whose kernels run AppArmor unless their arguments name SELinux.
_APPARMOR_BY_DEFAULT = frozenset(("debian", "ubuntu"))
#: Those all of whose kernels run SELinux. The others, such as SUSE, changed their default, or let it be chosen.
_SELINUX_BY_DEFAULT = frozenset(("fedora", "rhel", "centos", "rocky", "almalinux", "ol", "scientific", "amzn"))
CHOICE = "security=selinux"
_NO_CHOICE = f"no {CHOICE}"

#: What a request says about enforcing=.
KEEP = "keep"
STRONG = "strong"  # arguments that make the host permissive are removed
NONE = "none"  # every enforcing= is removed: the next boot has to be permissive, by /etc/selinux/config

SELINUX = "selinux"
#: Security modules that cannot be active beside SELinux.
_OTHER_MODULES = frozenset(("apparmor", "smack", "tomoyo"))
#: One argument of the kernel; spaces inside double quotes belong to it.
ARGUMENT = re.compile(r'(?:"[^"]*"?|[^\s"])+')
_NUMBER = re.compile(r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]{1,16})|0(?P<octal>[0-7]{0,22})|(?P<decimal>[1-9][0-9]{0,19}))\Z")
_LEADING_NUMBER = re.compile(r"[+-]?0*(?P<rest>[0-9]?)")


@dataclass(frozen=True)
class BootRequest:
    """What the arguments of a boot entry should be."""

    enforcing: str = STRONG
    #: The host's kernels run another security module unless SELinux is named.
    choose: bool = False

    def faults(self, arguments: str) -> list[str]:
        """Faults in the arguments of a whole entry."""
        faults = [item for item in weakness(arguments) if item != "enforcing=0" or self.enforcing != KEEP]
        if self.enforcing == NONE and "enforcing=0" not in faults:
            names = [name_value and name_value[0] for name_value in map(parameter, _words(arguments))]
            faults += ["enforcing=1"] if "enforcing" in names else []
        return faults + (without_choice(arguments) if self.choose else [])


def weakness(arguments: str) -> list[str]:
    """Kernel arguments that switch SELinux off or make it permissive; empty when there are none.

    Of equal arguments the kernel uses the last, and ``lsm=`` overrides ``security=``. libselinux reads ``enforcing=``
    again when it loads the policy: older versions use the first, newer ones the last, and both read what is no number
    as 0. The host's version is not known here, so either counts.
    """
    last: dict[str, str] = {}
    enforcing: list[bool] = []
    for name, value in all_parameters(arguments):
        if name == "enforcing":
            enforcing.append(_is_zero(value))
        elif name == "selinux":
            last[name] = _kernel_number(value) or last.get(name, "1")
        elif name in ("security", "lsm"):
            last[name] = value
    weak = ["selinux=0"] if last.get("selinux") == "0" else []
    if enforcing and (enforcing[0] or enforcing[-1]):
        weak.append("enforcing=0")
    if "lsm" in last:
        if "selinux" not in last["lsm"].split(","):
            weak.append(f"lsm={last['lsm']}")
    elif last.get("security", "selinux") != "selinux":
        weak.append(f"security={last['security']}")
    return weak


def without_choice(arguments: str) -> list[str]:
    """The fault of arguments that name no security module, where the kernel's default is not SELinux.

    GRUB_CMDLINE_LINUX_DEFAULT does not reach recovery entries, so these are at fault most often.
    """
    return [] if names_a_module(arguments) else [_NO_CHOICE]


def default_module(cmdline: str | None, active: t.Collection[str]) -> str | None:
    """The security module that the running kernel has although its arguments name none; empty where it has none.

    ``active``: modules that are active in it; empty where they could not be read. None: not known.
    """
    if cmdline is None or not active or names_a_module(cmdline):
        return None
    if {name for name, _value in all_parameters(cmdline)} & {SELINUX, *_OTHER_MODULES}:
        return None  # one may have been switched off, and another one have taken its place
    return next((name for name in (SELINUX, *sorted(_OTHER_MODULES)) if name in active), "")


def must_choose(os_id: str | None, os_like: t.Iterable[str], default: str | None) -> bool | None:
    """Whether a host's kernels need SELinux named in their arguments; None: not known.

    ``default``: ``default_module`` of the running kernel. Where it is hidden by a choice, the distribution decides, or
    what it descends from, as far as all its releases have one default.
    """
    if default is not None:
        return default != SELINUX
    names = {name for item in (os_id or "", *os_like) for name in (item, item.partition("-")[0])}
    if names & _APPARMOR_BY_DEFAULT:
        return True
    return False if names & _SELINUX_BY_DEFAULT else None


def names_a_module(arguments: str) -> bool:
    """Whether the arguments choose a security module."""
    return any(name in ("security", "lsm") for name, _value in all_parameters(arguments))


def parameter(word: str) -> tuple[str, str] | None:
    """NAME and VALUE of one argument as the kernel reads them; None for one without a value."""
    return next(all_parameters(word), None)


def strengthen(arguments: str, request: BootRequest, choose: bool | None = None) -> str:
    """The arguments as they should be; the same text where they have no fault. Raises PlanError."""
    parts: list[str] = []
    rest = 0
    for start, end, word in spans(arguments):
        fresh = strong_word(word, request)
        if fresh is None:
            parts.append(arguments[rest:start].rstrip(" \t"))
        elif fresh != word:
            parts += [arguments[rest:start], fresh]
        else:
            continue
        rest = end
    edited = "".join(parts) + arguments[rest:]
    if parts and not arguments[:1].isspace():
        edited = edited.lstrip(" \t")
    if (request.choose if choose is None else choose) and not names_a_module(edited):
        edited = with_choice(edited)
        if not names_a_module(edited):
            raise PlanError(f"a quote does not end in {arguments[:200]!r}; edit it by hand", "open_quote")
    return edited


def with_choice(arguments: str) -> str:
    """SELinux named, before the arguments of init."""
    for start, _end, word in all_spans(arguments):
        if word == "--":
            return f"{arguments[:start]}{CHOICE} {arguments[start:]}"
    return f"{arguments.rstrip()} {CHOICE}" if arguments.strip() else CHOICE


def strong_word(word: str, request: BootRequest) -> str | None:
    """One argument as it should be; None when it should go."""
    name_value = parameter(word)
    if name_value is None:
        return word
    name, value = name_value
    if name == "enforcing" and (request.enforcing == NONE or (request.enforcing == STRONG and weakness(word))):
        return None
    if name in ("selinux", "security") and weakness(word):
        return None
    if name == "lsm" and weakness(word):
        return f"lsm={_with_selinux(value)}"
    return word


def all_spans(arguments: str) -> t.Iterator[tuple[int, int, str]]:
    """Place and text of each argument, those of init too. Raises PlanError for a text beyond the bound."""
    if len(arguments) > MAX_ARGUMENTS:
        raise PlanError(
            f"a kernel command line of {len(arguments)} characters is too long; edit it by hand", "arguments_too_long"
        )
    for match in ARGUMENT.finditer(arguments):
        yield match.start(), match.end(), match.group()


def spans(arguments: str) -> t.Iterator[tuple[int, int, str]]:
    """Place and text of each argument of the kernel, up to those of init."""
    for span in all_spans(arguments):
        if span[2] == "--":
            return
        yield span


def _words(arguments: str) -> list[str]:
    return [word for _start, _end, word in spans(arguments)]


def _with_selinux(modules: str) -> str:
    """The list of security modules with SELinux in the place of the one that excludes it, or at its end."""
    names = [name for name in modules.split(",") if name]
    places = [place for place, name in enumerate(names) if name in _OTHER_MODULES]
    if places:
        names[places[0]] = "selinux"
    else:
        names.append("selinux")
    return ",".join(name for name in names if name not in _OTHER_MODULES)


def all_parameters(arguments: str) -> t.Iterator[tuple[str, str]]:
    """NAME and VALUE of each argument up to ``--``, where the arguments of init begin."""
    for word in ARGUMENT.findall(arguments[:MAX_ARGUMENTS]):
        if word == "--":
            return
        name, equals, value = word.strip('"').partition("=")
        if equals:
            # The kernel reads a dash in a name as an underscore.
            yield name.replace("-", "_"), value.strip('"')


def _kernel_number(text: str) -> str | None:
    """0 or 1 as the kernel reads it; None, which changes nothing, for what is no number."""
    match = _NUMBER.match(text)
    if match is None:
        return None
    digits = match["hex"] or match["octal"] or match["decimal"] or "0"
    return "1" if digits.strip("0") else "0"


def _is_zero(text: str) -> bool:
    """Whether libselinux reads 0: it reads a number at the start, and anything else is 0 too."""
    if text[:2] in ("0x", "0X"):
        return _kernel_number(text) != "1"
    match = _LEADING_NUMBER.match(text)
    return match is None or match["rest"] in ("", "0")
