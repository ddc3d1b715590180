# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host with AppArmor needs to change over to SELinux.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t

from ..result import Reason

#: Packages with a policy, by the ID of os-release or one of its ID_LIKE.
_POLICY = {
    "debian": "selinux-policy-default and selinux-basics",
    "ubuntu": "selinux-policy-default and selinux-basics",
    "suse": "selinux-policy-targeted and policycoreutils",
    "opensuse": "selinux-policy-targeted and policycoreutils",
}


def from_apparmor(os_id: str | None, os_like: t.Iterable[str]) -> Reason:
    """Why sVirt's rules do not apply to the host, and the way to SELinux, in one line."""
    names = (os_id, *os_like)
    packages = next((_POLICY[name] for name in names if name in _POLICY), "its policy with categories (targeted)")
    return Reason(
        "apparmor",
        "AppArmor is in force here, not SELinux. To change over, evacuate the guests, install "
        f"{packages}, and run svirt.fleet.harden",
    )
