# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in configuration files: passwords are blanked before a line is shown in a diff, a result or a log.

Guests' XML has secrets in many places (passwords of graphics, cookies, keys, arguments and environment of QEMU,
firmware configuration, metadata of tenants), so no XML is shown at all: diffs of guests show labels and filters.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

BLANK = "********"

_WORDS = r"(?:passw|passphrase|secret|token|credential|private_?key)"
#: A key whose value is secret. A uuid only names a secret.
_KEY = re.compile(rf"(?i)(?![\w.-]*uuid\b)[\w.-]*{_WORDS}[\w.-]*")
#: ``vnc_password = "..."`` of qemu.conf, also where it is commented out.
_SETTING = re.compile(
    rf"(?im)^([ \t]*#?[ \t]*(?![\w.-]*uuid\b)[\w.-]*{_WORDS}[\w.-]*[ \t]*=[ \t]*)(\"\"\".*?(?:\"\"\"|\Z)|[^\n]*)", re.S
)
#: ``password USER TEXT`` and ``password_pbkdf2 USER HASH`` of GRUB.
_GRUB = re.compile(r"(?m)^([ \t]*password(?:_pbkdf2)?[ \t]+\S+[ \t]+)\S[^\n]*")
_NAME = rf"(?:(?![\w.-]*uuid=)[\w.-]*(?:{_WORDS}|rootpw|psk)[\w.-]*|pass)="
#: ``name_of_a_password=TEXT`` among the arguments of a kernel, or within one; TEXT may be quoted.
_ARGUMENT = re.compile(rf"(?i)((?<=[\s\"',;:=&?]){_NAME})" r"(\\?\"[^\"\n]*\"?|\\?'[^'\n]*'?|[^\s\"']+)")
#: One argument of the kernel, in which double quotes keep spaces, and such a name in it.
_WORD = re.compile(r'(?:"[^"]*"?|[^\s"])+')
_IN_WORD = re.compile(rf"(?i)(?:\A|(?<=[\s\"',;:=&?])){_NAME}")
#: ``netroot=iscsi:USER:TEXT@HOST`` and ``scheme://USER:TEXT@HOST`` among the arguments of a kernel.
_ADDRESS = re.compile(r"((?<![\w.-])(?:iscsi:|[A-Za-z][\w+.-]*://)[^\s/@:\"']*:)[^\s/@\"']+(?=@)")


def blanked(text: str) -> str:
    """The text of a configuration file without the secrets in it."""
    text = _SETTING.sub(rf"\g<1>{BLANK}", text)
    text = _GRUB.sub(rf"\g<1>{BLANK}", text)
    text = _ADDRESS.sub(rf"\g<1>{BLANK}", text)
    return _ARGUMENT.sub(rf"\g<1>{BLANK}", text)


def blanked_arguments(text: str) -> str:
    """The arguments of a kernel without the secrets in them; every other argument stays as the kernel reads it."""
    return _WORD.sub(_blanked_word, text)


def _blanked_word(match: re.Match[str]) -> str:
    word = _ADDRESS.sub(rf"\g<1>{BLANK}", match.group())
    name = _IN_WORD.search(word)
    if name is None:
        return word
    kept = word[: name.end()]
    return f'{kept}{BLANK}"' if kept.count('"') % 2 else f"{kept}{BLANK}"


def blanked_value(key: str, value: t.Any) -> t.Any:
    """The value of a key of qemu.conf as it may be shown; None stays."""
    return BLANK if value is not None and _KEY.fullmatch(key) else value
