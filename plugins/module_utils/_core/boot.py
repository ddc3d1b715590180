# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the boot loader may start, and whether any of it weakens SELinux.

Formats: GRUB's shell-like grub.cfg as grub-mkconfig writes it, the GRUB environment block, and the Boot Loader
Specification's snippets as Fedora and EL use them. Kernel arguments as the kernel's own parser takes them.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

from .snapshot import BootEntry

#: Bound on the text that is looked at.
MAX_TEXT = 4 * 1024 * 1024

_ENTRY = re.compile(r"(?P<word>menuentry|submenu)\s+")
_LINUX = re.compile(r"(?:linux|linux16|linuxefi|linux_xen|module|module2|multiboot|multiboot2)(?=\s)")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


def parse_grub_cfg(text: str, source: str) -> list[BootEntry]:
    """Every entry of a grub.cfg with a Linux kernel; entries that blscfg adds are in snippets, not here."""
    found: list[BootEntry] = []
    titles: list[str | None] = []  # one for each open brace; None for a brace that is no menu
    for line in _lines(text[:MAX_TEXT]):
        match = _ENTRY.match(line)
        if match is not None and line.endswith("{"):
            titles.append(_first_word(line[match.end() :]))
        elif line == "}" or line.startswith("} "):
            del titles[-1:]
        elif line.endswith("{") and not line.startswith("#"):
            titles.append(None)
        elif any(title is not None for title in titles):
            arguments = _linux_arguments(line)
            if arguments is not None:
                title = ">".join(title for title in titles if title is not None)
                found.append(BootEntry(source, title, arguments))
    return found


def parse_bls(text: str, source: str, variables: dict[str, str]) -> BootEntry | None:
    """One Boot Loader Specification snippet; ``variables`` are those of grubenv. None: no Linux entry."""
    keys: dict[str, list[str]] = {}
    for line in text[:MAX_TEXT].splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            keys.setdefault(key, []).append(value.strip())
    if "linux" not in keys and "efi" not in keys:
        return None
    options = " ".join(keys.get("options", []))
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
    """Kernel arguments that switch SELinux off or make it permissive, as the kernel takes them: the last one counts.

    ``lsm=`` overrides ``security=``. A value that is no number leaves ``selinux=`` and ``enforcing=`` as they were.
    """
    last: dict[str, str] = {}
    for name, value in _parameters(arguments):
        if name in ("selinux", "enforcing"):
            number = _number(value)
            if number is not None:
                last[name] = number
        elif name in ("security", "lsm"):
            last[name] = value
    found = [f"{name}=0" for name in ("selinux", "enforcing") if last.get(name) == "0"]
    if "lsm" in last:
        if "selinux" not in last["lsm"].split(","):
            found.append(f"lsm={last['lsm']}")
    elif last.get("security", "selinux") != "selinux":
        found.append(f"security={last['security']}")
    return found


def _parameters(arguments: str) -> t.Iterator[tuple[str, str]]:
    """NAME and VALUE of each argument up to ``--``, where the arguments of init begin."""
    for word in re.findall(r'(?:"[^"]*"?|[^\s"])+', arguments[:65536]):
        plain = word.strip('"')
        if plain == "--":
            return
        name, equals, value = plain.partition("=")
        if equals:
            # The kernel takes a dash for an underscore in names.
            yield name.replace("-", "_"), value.strip('"')


def _number(text: str) -> str | None:
    """What kstrtoul(text, 0) makes of it: 0 or 1, None when it is no number."""
    try:
        return "1" if int(text, 0 if text.lower().startswith("0x") else 8 if text.startswith("0") else 10) else "0"
    except ValueError:
        return None


def _lines(text: str) -> t.Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped


def _linux_arguments(line: str) -> str | None:
    match = _LINUX.match(line)
    if match is None:
        return None
    words = line[match.end() :].split(None, 1)
    if not words or (line.startswith(("module", "multiboot")) and "vmlinu" not in words[0]):
        return None  # Xen's own line, or an initrd
    return words[1] if len(words) > 1 else ""


def _first_word(text: str) -> str:
    r"""The first word as GRUB's shell reads it: quotes of both kinds, backslashes, \' between quoted parts."""
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\" and quote != "'":
            position += 1
            word.append(text[position : position + 1])
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in "'\"":
            quote = character
        elif character.isspace():
            break
        else:
            word.append(character)
        position += 1
    return "".join(word)


def _expand(options: str, variables: dict[str, str]) -> str:
    expanded = _VARIABLE.sub(lambda match: variables.get(match.group(1) or match.group(2), ""), options)
    return " ".join(expanded.split())
