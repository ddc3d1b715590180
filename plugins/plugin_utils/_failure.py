# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cause of a module's failure on a host, in words: what to do first, then everything that the host printed.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t

#: What a host prints, and what the operator can do. The first that matches counts.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        (
            r"password is required|(missing|incorrect) (sudo|become) password|a terminal is required"
            r"|not in the sudoers|may not run sudo|not allowed to execute|timeout .*waiting for privilege escalation"
        ),
        "let the user that Ansible connects as become root (sudoers, ansible_become_password or --ask-become-pass)",
    ),
    (
        (r"sudo: (command )?not found|sudo.* no such file"),
        "install sudo on the host, set ansible_become_method, or connect as root",
    ),
    (
        (
            r"interpreter .*(not found|no such file)|no python interpreters found"
            r"|python[\d.]*: (not found|no such file|command not found)|/python[\d.]*: .*(not found|no such file)"
            r"|(not found|no such file or directory).{0,40}python"
        ),
        "set ansible_python_interpreter to a Python 3.9 or later that the host has",
    ),
    (
        (r"SyntaxError|requires a minimum of Python|does not support Python|future feature annotations"),
        "set ansible_python_interpreter to a Python 3.9 or later; the host's is older",
    ),
    (r"no space left on device|disk quota exceeded", "free space where ansible_remote_tmp points to on the host"),
    (
        (
            r"read-only file system|failed to (create|set permissions on) (the )?temporary|could not create.*tmp"
            r"|authentication or permission failure"
        ),
        "set ansible_remote_tmp to a folder on the host that its user may write and execute from",
    ),
    (r"permission denied \(|host key verification failed", "correct the SSH key or the known host key of the host"),
    (
        (r"connection (refused|timed out)|no route to host|could not resolve|network is unreachable"),
        "check that the host is up and that ansible_host and ansible_port are right",
    ),
)
#: Messages of ansible-core that only report that the output was no result.
_NO_RESULT = re.compile(r"MODULE FAILURE|no start of json char found|result deserialization failed", re.IGNORECASE)
#: Keys of a result that hold what a host printed, most telling first.
_PRINTED = ("module_stderr", "module_stdout", "stderr", "stdout")


def cause(answer: t.Mapping[str, t.Any]) -> str:
    """Remedy, message and everything printed, of a result with ``failed`` or ``unreachable``."""
    message = str(answer.get("msg") or "").strip() or "the module failed without a message"
    texts = dict.fromkeys(str(answer.get(key) or "").strip() for key in _PRINTED)
    printed = [text for text in texts if text and text not in message]
    if printed and _NO_RESULT.search(message):
        message = f"the module ended with status {answer.get('rc', 'unknown')} and no result"
    return explained(": ".join([message, *printed]))


def explained(text: str) -> str:
    """A failure's text with what to do in front of it, where that is known."""
    words = " ".join(text.split())
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, words, re.IGNORECASE):
            return f"{remedy}. {words}"
    return words
