# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the rules: references, and results of rules that cannot judge.

Keys, from which fingerprints are made, hold what is stable between runs: a uuid, a path, the name of a type.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

from ...facts.guests import selinux_off
from ...facts.subjects import CONF, HOST, conf_key, guest_name
from ...libvirt import qemu_conf
from ...result import Reason
from ...snapshot.model import Guest, QemuConf, Snapshot
from ..finding import Unsure

SELINUX_OFF = Unsure(HOST, Reason("selinux_off", "SELinux is off, so labels mean nothing now"))
CONF_UNREAD = Unsure(CONF, qemu_conf.UNREAD)

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
    return (SELINUX_OFF,) if selinux_off(snapshot) else ()


def guest_unread(guest: Guest) -> Unsure:
    """Result of a rule about a guest whose definition was not read wholly."""
    return Unsure(guest_name(guest), Reason("guest_unread", guest.error))


def conf_for(snapshot: Snapshot, key: str) -> QemuConf | Unsure:
    """qemu.conf for a rule about a key of it, or why that key cannot be judged."""
    conf = snapshot.libvirt.conf
    doubt = qemu_conf.doubt_of(conf, key)
    if conf is None:
        return CONF_UNREAD
    return conf if doubt is None else Unsure(CONF if doubt.key is None else conf_key(doubt.key), doubt.reason)
