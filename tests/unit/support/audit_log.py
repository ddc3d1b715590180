# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Records of the audit log as libvirt's src/conf/domain_audit.c and auditd write them."""

from __future__ import annotations

import string

BASE = "system_u:system_r:svirt_t"
#: Characters that audit_encode_nv_string leaves as they are, within quotes.
_PLAIN = frozenset(string.printable) - frozenset('"' + string.whitespace)


def uuid(number: int) -> str:
    """A guest's uuid."""
    return f"00000000-0000-4000-8000-{number:012}"


def encoded(name: str) -> str:
    """A name as audit_encode_nv_string writes it."""
    if set(name) <= _PLAIN:
        return f'"{name}"'
    return name.encode("utf-8", "surrogateescape").hex().upper()


def record(type_: str, at: float, text: str, serial: int = 100) -> str:
    """A line of auditd's log."""
    return f"type={type_} msg=audit({at:.3f}:{serial}): {text}"


def sent(type_: str, at: float, body: str, result: str = "success", serial: int = 100, uid: int = 0) -> str:
    """A record that libvirt's daemon sent."""
    subject = "subj=system_u:system_r:virtd_t:s0-s0:c0.c1023"
    tail = f'exe="/usr/sbin/libvirtd" hostname=? addr=? terminal=? res={result}'
    return record(type_, at, f"pid=712 uid={uid} auid=4294967295 ses=4294967295 {subject} msg='{body} {tail}'", serial)


def label(
    at: float, guest: int, level: str, name: str = "web", model: str = " model=selinux", result: str = "success"
) -> str:
    """libvirt chose a guest's label."""
    contexts = f"vm-ctx={BASE}:{level} img-ctx=system_u:object_r:svirt_image_t:{level}"
    return sent(
        "VIRT_MACHINE_ID", at, f"virt=kvm vm={encoded(name)} uuid={uuid(guest)} {contexts}{model}", result=result
    )


def start(at: float, guest: int, name: str = "web", pid: int = 4711, result: str = "success") -> str:
    """A guest started."""
    body = f"virt=kvm op=start reason=booted vm={encoded(name)} uuid={uuid(guest)} vm-pid={pid}"
    return sent("VIRT_CONTROL", at, body, result)


def stop(at: float, guest: int, name: str = "web", reason: str = "shutdown") -> str:
    """A guest stopped."""
    return sent("VIRT_CONTROL", at, f"virt=kvm op=stop reason={reason} vm={encoded(name)} uuid={uuid(guest)} vm-pid=0")
