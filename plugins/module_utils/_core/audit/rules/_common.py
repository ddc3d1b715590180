# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the rules: references, and results of rules that cannot judge.

Keys, from which fingerprints are made, hold what is stable between runs: a uuid, a path, the name of a type.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from ...facts.guests import selinux_off
from ...facts.subjects import CONF, HOST, conf_key
from ...libvirt.qemu_conf import doubt_of
from ...snapshot.model import QemuConf, Snapshot
from ..finding import Unsure

NIST_AC3 = "NIST SP 800-53 AC-3"  # access enforcement
NIST_AC4 = "NIST SP 800-53 AC-4"  # information flow enforcement
NIST_AC6 = "NIST SP 800-53 AC-6"  # least privilege
NIST_CM3 = "NIST SP 800-53 CM-3"  # configuration change control
NIST_CM6 = "NIST SP 800-53 CM-6"  # configuration settings
NIST_CM7 = "NIST SP 800-53 CM-7"  # least functionality
NIST_SC4 = "NIST SP 800-53 SC-4"  # information in shared system resources
NIST_SC7 = "NIST SP 800-53 SC-7"  # boundary protection
NIST_SC39 = "NIST SP 800-53 SC-39"  # process isolation
NIST_SI2 = "NIST SP 800-53 SI-2"  # flaw remediation


def off_is_unsure(snapshot: Snapshot) -> tuple[Unsure, ...]:
    """Result of a rule about labels while SELinux is off."""
    return (Unsure(HOST, "SELinux is off, so labels mean nothing now"),) if selinux_off(snapshot) else ()


def conf_doubt(conf: QemuConf | None, key: str) -> Unsure | None:
    """Why a key of the file cannot be judged; None when it can."""
    doubt = doubt_of(conf, key)
    if doubt is None:
        return None
    return Unsure(CONF if doubt.key is None else conf_key(doubt.key), doubt.why)
