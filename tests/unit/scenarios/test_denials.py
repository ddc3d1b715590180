# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Which denials in an audit log are of our own programs."""

from __future__ import annotations

import pytest

from tests.scenarios.denials import OwnDenial, own_denials


def avc(comm: str, domain: str = "virtd_t", serial: int = 7) -> str:
    return (
        f"type=AVC msg=audit(1700000000.123:{serial}): avc:  denied  {{ read open }} for  pid=9 comm={comm} "
        f'name="x" dev="proc" ino=1 scontext=system_u:system_r:{domain}:s0-s0:c0.c1023 '
        "tcontext=system_u:system_r:init_t:s0 tclass=file permissive=1"
    )


def title(*words: str, serial: int = 7) -> str:
    text = "\0".join(words).encode().hex().upper()
    return f"type=PROCTITLE msg=audit(1700000000.123:{serial}): proctitle={text}"


SEMODULE = ("/usr/sbin/semodule", "-s", "default", "-X", "400", "-i", "/root/svirt-fleet-x1/400/svirt_fleet.cil")


@pytest.mark.parametrize(
    ("lines", "program"),
    [
        ((avc('"svirt-guard"'),), "svirt-guard"),
        ((avc('"python3"'),), "python3"),
        ((avc('"platform-python3.9"', "unconfined_t"),), "platform-python3.9"),
        ((avc(b"python3 x".hex(), "virtd_t"), title("python3", "/root/.ansible/AnsiballZ_svirt_info.py")), "python3 x"),
        ((avc('"semodule"', "semanage_t"), title(*SEMODULE)), "semodule"),
    ],
)
def test_a_denial_of_our_own(lines: tuple[str, ...], program: str) -> None:
    (denial,) = own_denials(lines)
    assert denial.program == program
    assert (denial.permissions, denial.target) == ("read open", "system_u:system_r:init_t:s0")


@pytest.mark.parametrize(
    "lines",
    [
        (avc('"qemu-system-x86"', "svirt_t"),),
        (avc('"svirt-guard"', "svirt_t"),),  # a guest may call itself what it likes
        (avc('"semodule"', "semanage_t"), title("semodule", "-i", "/root/mine.pp")),
        (avc('"semodule"', "semanage_t", serial=8), title(*SEMODULE, serial=7)),
        (avc('"rpc-libvirtd"'),),
        ("type=USER_AVC msg=audit(1700000000.123:7): pid=1 uid=0 msg='avc:  received policyload notice (seqno=5)'",),
        ("nothing of the kind",),
    ],
)
def test_what_others_did_does_not_count(lines: tuple[str, ...]) -> None:
    assert own_denials(lines) == []


def test_a_denial_is_told_in_one_line() -> None:
    denial = OwnDenial("python3", "virtd_t", "getattr", "system_u:system_r:init_t:s0", "file")
    assert str(denial) == "python3 (virtd_t): {getattr} system_u:system_r:init_t:s0 file"


def test_lines_of_the_kernels_own_log_count_too() -> None:
    line = f"1700000000.500000 kvm1 kernel: audit: {avc(chr(34) + 'python3' + chr(34))[len('type=AVC msg=') :]}"
    assert [denial.program for denial in own_denials([line])] == ["python3"]


@pytest.mark.parametrize(
    ("denial", "expected"),
    [
        (OwnDenial("semodule", "semanage_t", "getattr", "system_u:object_r:fs_t:s0", "filesystem"), True),
        (OwnDenial("semodule", "semanage_t", "getattr", "system_u:object_r:fs_t:s0", "file"), False),
        (OwnDenial("semodule", "semanage_t", "relabelfrom", "system_u:object_r:fs_t:s0", "filesystem"), False),
        (OwnDenial("svirt-guard", "virtd_t", "getattr", "system_u:object_r:fs_t:s0", "filesystem"), False),
    ],
)
def test_only_semodules_look_at_file_systems_is_unavoidable(denial: OwnDenial, expected: bool) -> None:
    assert denial.unavoidable is expected
