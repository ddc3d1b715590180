# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Denials that the collection's own programs caused on the lab's hosts: there are to be none.

Own programs are the guard, modules (the probe among them), and semodule as a module starts it. In the daemon's domain
the only Python is the guard's. What the lab itself does inside its hosts, in Python too, is held to the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.lab.lab import Lab
from tests.scenarios.node import Node

#: auditd's files where it runs, oldest first, else the journal of all boots.
_READ = (
    "if ls /var/log/audit/audit.log* >/dev/null 2>&1; then cat $(ls -rt /var/log/audit/audit.log*); "
    "else journalctl -q --no-pager -o short-unix _TRANSPORT=kernel + _TRANSPORT=audit; fi "
    "| grep -aE 'avc:|PROCTITLE|1327' || :"
)
_EVENT = re.compile(r"audit\((\d+\.\d+:\d+)\)")
_DENIED = re.compile(
    r"avc:\s+denied\s+\{([^}]*)\}.*?\bcomm=(\S+).*?\bscontext=\S+?:\S+?:([^\s:]+)\S*\s+tcontext=(\S+)\s+tclass=(\w+)"
)
#: Before it labels the store, libselinux looks once at each mounted file system, which Debian's policy denies to
#: semodule's domain. As many runs as a scenario has of it ask no more often than this.
_UNAVOIDABLE = ("semodule", "semanage_t", "getattr", "filesystem")
_MOST_UNAVOIDABLE = 50
_TITLE = re.compile(r"proctitle=(\S+)")
_GUESTS = ("svirt_t", "svirt_tcg_t")
_GUARD = re.compile(r"svirt-guard\Z")
_PYTHON = re.compile(r"(?:platform-)?python[0-9.]*\Z")
#: On the command line of what a module starts: its own folder for policy modules.
_OURS = ("svirt-fleet", "AnsiballZ_")


@dataclass(frozen=True)
class OwnDenial:
    """A denial of one of our programs."""

    program: str
    domain: str
    permissions: str
    target: str
    class_: str

    @property
    def unavoidable(self) -> bool:
        """One that the policy leaves no way around."""
        return (self.program, self.domain, self.permissions, self.class_) == _UNAVOIDABLE

    def __str__(self) -> str:
        return f"{self.program} ({self.domain}): {{{self.permissions}}} {self.target} {self.class_}"


def own_denials(lines: Iterable[str]) -> list[OwnDenial]:
    """The denials of our programs in lines of an audit log, in its order."""
    lines = list(lines)
    titles = {
        event[1]: _text(title[1]) for line in lines if (event := _EVENT.search(line)) if (title := _TITLE.search(line))
    }
    denials = []
    for line in lines:
        match = _DENIED.search(line)
        if match is None:
            continue
        event = _EVENT.search(line)
        program, domain = _text(match[2]), match[3]
        command = titles.get(event[1], "") if event else ""
        if domain not in _GUESTS and _is_ours(program, command):
            denials.append(OwnDenial(program, domain, match[1].strip(), match[4], match[5]))
    return denials


def _is_ours(program: str, command: str) -> bool:
    return bool(_GUARD.match(program) or _PYTHON.match(program)) or any(word in command for word in _OURS)


def _text(value: str) -> str:
    """A value of the audit log: quoted, or in hexadecimal."""
    if value.startswith('"'):
        return value.strip('"')
    try:
        return bytes.fromhex(value).replace(b"\0", b" ").decode("utf-8", "replace")
    except ValueError:
        return value


def denials_of(lab: Lab) -> dict[str, list[str]]:
    """By host, each kind of denial of our programs with its number; hosts without any are left out."""
    by_host = {}
    for name in lab.names():
        denials = own_denials(Node(lab, name).shell(_READ).splitlines())
        if sum(denial.unavoidable for denial in denials) <= _MOST_UNAVOIDABLE:
            denials = [denial for denial in denials if not denial.unavoidable]
        counts: dict[str, int] = {}
        for denial in denials:
            counts[str(denial)] = counts.get(str(denial), 0) + 1
        if counts:
            by_host[name] = [f"{count} x {text}" for text, count in sorted(counts.items())]
    return by_host


def test_no_program_of_ours_was_denied_anything(lab: Lab) -> None:
    """Imported by each scenario's last file of tests."""
    denied = denials_of(lab)
    assert not denied, denied
