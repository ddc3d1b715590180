# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the boot loader may start, and whether any of it weakens SELinux.

Formats: GRUB's shell-like grub.cfg, the GRUB environment block, and the Boot Loader Specification's snippets as
Fedora and EL use them. Kernel arguments as the kernel and libselinux take them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from ..snapshot.model import BootEntry

#: Bound on the text that is looked at.
MAX_TEXT = 4 * 1024 * 1024
#: The kernel's own bound on its command line is lower on every architecture.
MAX_ARGUMENTS = 65536

#: Distributions (ID of os-release) whose kernels run AppArmor unless their arguments name SELinux.
APPARMOR_BY_DEFAULT = frozenset(("debian", "ubuntu"))

_MENUS = ("menuentry", "submenu")
_LINUX = frozenset(("linux", "linux16", "linuxefi", "linux_xen"))
#: Under Xen the kernel is a module of the hypervisor, as its initrd is.
_MODULES = frozenset(("module", "module2"))
#: A token of GRUB's shell: a comment, an end of command, or one piece of a word.
_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r]|\\\r?\n)+)
      | (?P<end>[\n;])
      | (?P<single>'[^']*'?)
      | (?P<double>"(?:[^"\\]|\\.)*"?)
      | (?P<escape>\\.?)
      | (?P<plain>[^ \t\r\n;'"\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
#: One argument of the kernel; spaces inside double quotes belong to it.
ARGUMENT = re.compile(r'(?:"[^"]*"?|[^\s"])+')
_NUMBER = re.compile(r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]{1,16})|0(?P<octal>[0-7]{0,22})|(?P<decimal>[1-9][0-9]{0,19}))\Z")
_LEADING_NUMBER = re.compile(r"[+-]?0*(?P<rest>[0-9]?)")


def parse_grub_cfg(text: str, source: str) -> list[BootEntry]:
    """Every entry of a grub.cfg with a Linux kernel; entries that blscfg adds are in snippets, not here."""
    found: list[BootEntry] = []
    titles: list[str | None] = []  # one for each open brace; None for a brace that is no menu
    for words, brace in _commands(text[:MAX_TEXT]):
        arguments = _linux_arguments(words)
        if arguments is not None:
            title = ">".join(title for title in titles if title is not None)
            found.append(BootEntry(source, title, arguments))
        if brace == "{":
            titles.append(words[1] if len(words) > 1 and words[0] in _MENUS else None)
        elif brace == "}":
            del titles[-1:]
    return found


def parse_bls(text: str, source: str, variables: dict[str, str]) -> BootEntry | None:
    """One Boot Loader Specification snippet; ``variables`` are those of grubenv. None: no Linux entry."""
    keys: dict[str, list[str]] = {}
    for line in text[:MAX_TEXT].split("\n"):
        key, value = [*line.strip().split(None, 1), "", ""][:2]
        if key and not key.startswith("#"):
            keys.setdefault(key, []).append(value)
    if "linux" not in keys and "efi" not in keys:
        return None
    # Without options GRUB's blscfg falls back to this variable.
    options = " ".join(keys["options"]) if "options" in keys else variables.get("default_kernelopts", "")
    title = next(iter(keys.get("title", [])), "") or next(iter(keys.get("version", [])), "")
    return BootEntry(source, title, _expand(options, variables))


def parse_grubenv(text: str) -> dict[str, str]:
    """Variables of a GRUB environment block; a backslash escapes the character after it."""
    variables: dict[str, str] = {}
    for line in re.sub(r"\\\n", "", text[:MAX_TEXT]).split("\n"):
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            variables[name] = re.sub(r"\\(.)", r"\1", value)
    return variables


def weakness(arguments: str) -> list[str]:
    """Kernel arguments that switch SELinux off or make it permissive; empty when there are none.

    The kernel lets the last of equal arguments count, and ``lsm=`` override ``security=``. ``enforcing=`` is read
    again by libselinux when it loads the policy: older ones take the first, newer ones the last, and both take what
    is no number for 0. Which one a host has is not known here, so either counts.
    """
    last: dict[str, str] = {}
    enforcing: list[bool] = []
    for name, value in _parameters(arguments):
        if name == "enforcing":
            enforcing.append(_is_zero(value))
        elif name == "selinux":
            last[name] = _kernel_number(value) or last.get(name, "1")
        elif name in ("security", "lsm"):
            last[name] = value
    found = ["selinux=0"] if last.get("selinux") == "0" else []
    if enforcing and (enforcing[0] or enforcing[-1]):
        found.append("enforcing=0")
    if "lsm" in last:
        if "selinux" not in last["lsm"].split(","):
            found.append(f"lsm={last['lsm']}")
    elif last.get("security", "selinux") != "selinux":
        found.append(f"security={last['security']}")
    return found


def not_chosen(arguments: str, os_id: str | None) -> list[str]:
    """Debian's kernels take AppArmor unless they are told; GRUB_CMDLINE_LINUX_DEFAULT leaves recovery entries out."""
    chosen = any(name in ("security", "lsm") for name, _value in _parameters(arguments))
    return [] if chosen or os_id not in APPARMOR_BY_DEFAULT else ["no security=selinux"]


def parameter(word: str) -> tuple[str, str] | None:
    """NAME and VALUE of one argument as the kernel takes them; None for one that has no value."""
    return next(_parameters(word), None)


def _parameters(arguments: str) -> t.Iterator[tuple[str, str]]:
    """NAME and VALUE of each argument up to ``--``, where the arguments of init begin."""
    for word in ARGUMENT.findall(arguments[:MAX_ARGUMENTS]):
        if word == "--":
            return
        name, equals, value = word.strip('"').partition("=")
        if equals:
            # The kernel takes a dash for an underscore in names.
            yield name.replace("-", "_"), value.strip('"')


def _kernel_number(text: str) -> str | None:
    """What the kernel makes of it: 0 or 1; None, so nothing changes, when it is no number."""
    match = _NUMBER.match(text)
    if match is None:
        return None
    digits = match["hex"] or match["octal"] or match["decimal"] or "0"
    return "1" if digits.strip("0") else "0"


def _is_zero(text: str) -> bool:
    """Whether libselinux takes it for 0: it reads a number at the start, and nothing else is 0 too."""
    if text[:2] in ("0x", "0X"):
        return _kernel_number(text) != "1"
    match = _LEADING_NUMBER.match(text)
    return match is None or match["rest"] in ("", "0")


def _commands(text: str) -> t.Iterator[tuple[list[str], str]]:
    """Commands of GRUB's shell as words without their quotes, each with the brace that ends it, if one does."""
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    for kind, piece in _tokens(text):
        if kind not in ("space", "end"):
            word = [*(word or ()), _unquoted(kind, piece)]
            quoted = quoted or kind != "plain"
            continue
        brace = "".join(word or ()) if not quoted else ""
        if brace in ("{", "}"):
            yield words or [""], brace
            words = []
        elif word is not None:
            words.append("".join(word))
        word, quoted = None, False
        if kind == "end" and words:
            yield words, ""
            words = []


def _tokens(text: str) -> t.Iterator[tuple[str, str]]:
    position = 0
    in_word = False
    while position < len(text):
        match = _TOKEN.match(text, position)
        kind, piece = (str(match.lastgroup), match.group()) if match else ("plain", text[position])
        if not in_word and piece.startswith("#") and kind == "plain":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
            continue
        yield kind, piece
        in_word = kind not in ("space", "end")
        position += len(piece)
    yield "end", "\n"


def _unquoted(kind: str, piece: str) -> str:
    if kind == "single":
        return piece[1:].rstrip("'")
    if kind == "double":
        return re.sub(r"\\([\"$\\])", r"\1", piece[1:-1] if len(piece) > 1 and piece.endswith('"') else piece[1:])
    return piece[1:] if kind == "escape" else piece


def _linux_arguments(words: list[str]) -> str | None:
    starts = words[0] in _LINUX or (words[0] in _MODULES and "vmlinu" in "".join(words[1:2]))
    if not starts or len(words) < 2:
        return None
    return " ".join(f'"{word}"' if " " in word else word for word in words[2:])


def _expand(options: str, variables: dict[str, str]) -> str:
    expanded = _VARIABLE.sub(lambda match: variables.get(match.group(1) or match.group(2), ""), options)
    return " ".join(expanded.split())
