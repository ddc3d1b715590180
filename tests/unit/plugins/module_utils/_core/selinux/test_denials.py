# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What logs prove about denials."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.result import Reason
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.denials import (
    Denial,
    DenialLog,
    Soak,
    counts,
    soak,
)
from hypothesis import given
from hypothesis import strategies as st

BOOT = 1_700_000_000.0
CONTEXTS = "scontext=system_u:system_r:{}:s0:c1,c2 tcontext=system_u:object_r:{}:s0 tclass={} permissive={}"


def avc(at: float, source: str = "svirt_t", permissive: int = 1, comm: str = '"qemu"', target: str = "proc_t") -> str:
    contexts = CONTEXTS.format(source, target, "file", permissive)
    return f'type=AVC msg=audit({at:.3f}:7): avc:  denied  {{ read open }} for  pid=1 comm={comm} dev="x" {contexts}'


def loaded(at: float) -> str:
    return f"type=MAC_POLICY_LOAD msg=audit({at:.3f}:3): auid=0 ses=1 lsm=selinux res=1"


def read(*lines: str, booted_at: float | None = BOOT, types: tuple[str, ...] = ()) -> Soak:
    log = DenialLog()
    log.take(lines)
    return soak(log, booted_at, types)


def start(at: float = BOOT - 5) -> str:
    return f"type=DAEMON_START msg=audit({at:.3f}:1): op=start"


def test_a_denial_since_the_boot_counts() -> None:
    soaked = read(start(), avc(BOOT - 1), avc(BOOT + 10), avc(BOOT + 20))
    assert soaked == Soak(BOOT, (Denial("svirt_t", "open read", "file", "proc_t", 2, BOOT + 20),))
    assert soaked.denials[0].document()["permissions"] == ["open", "read"]


def test_what_was_stopped_already_is_not_lost() -> None:
    assert read(start(), avc(BOOT + 10, permissive=0)).denials == ()


def test_a_policy_that_is_loaded_anew_begins_a_new_soak() -> None:
    assert read(start(), avc(BOOT + 10), loaded(BOOT + 20)) == Soak(BOOT + 20)
    assert len(read(start(), loaded(BOOT + 20), avc(BOOT + 30)).denials) == 1


@pytest.mark.parametrize(
    "line",
    [
        "type=MAC_STATUS msg=audit(1700000050.000:4): enforcing=0 old_enforcing=1 auid=0 ses=1 enabled=1",
        "type=MAC_CONFIG_CHANGE msg=audit(1700000050.000:4): bool=virt_use_nfs val=0 old_val=1 auid=0",
        "node=kvm1 type=MAC_POLICY_LOAD msg=audit(1700000050.000:4): auid=0",
        "[    50.000000] audit: type=1403 audit(1700000050.000:2): auid=4294967295 lsm=selinux res=1",
        "1700000050.123456 kvm1 kernel: audit: type=1404 audit(1700000050.000:2): enforcing=0 old_enforcing=1 auid=0",
        "1700000050.000000 kvm1 audit: MAC_POLICY_LOAD auid=0 ses=1 lsm=selinux res=1",
        "1700000050.000000 kvm1 audit[312]: MAC_POLICY_LOAD auid=0 ses=1 lsm=selinux res=1",
    ],
)
def test_what_makes_the_kernel_forget(line: str) -> None:
    assert read(start(), avc(BOOT + 10), line) == Soak(BOOT + 50)


@pytest.mark.parametrize(
    "line",
    [
        "type=MAC_STATUS msg=audit(1700000050.000:4): enforcing=1 old_enforcing=0 auid=0 ses=1",
        avc(BOOT + 50, comm='"type=1403"'),
        avc(BOOT + 50, comm='"type=MAC_POLICY_LOAD"'),
        avc(BOOT + 50, comm='"MAC_STATUS"'),
        "type=USER_CMD msg=audit(1700000050.000:4): pid=1 cmd=747970653D31343033",
    ],
)
def test_what_only_looks_like_it(line: str) -> None:
    soaked = read(start(), avc(BOOT + 10), line)
    assert soaked.since == BOOT
    assert soaked.denials


def test_denials_of_a_domain_that_stays_permissive_are_others() -> None:
    log = DenialLog()
    log.take([start(), avc(BOOT + 10, "virtqemud_t"), avc(BOOT + 20, "virtd_t"), avc(BOOT + 30, "virtqemud_t")])
    result = soak(log, BOOT, (), lambda type_: type_ == "virtqemud_t")
    assert [denial.source for denial in result.denials] == ["virtd_t"]
    assert [(denial.source, denial.count) for denial in result.others] == [("virtqemud_t", 2)]
    assert [denial.source for denial in result.of("virtqemud_t")] == ["virtqemud_t"]


def test_a_denial_without_a_valid_label_counts_whatever_stays_permissive() -> None:
    assert counts("?", (), lambda _type: True)
    assert not counts("svirt_t", ("svirt_t",), lambda _type: True)


SCRIPT = b"/usr/bin/python3\0-ISB\0/usr/local/lib/svirt-fleet/guard.py\0web\0start\0begin\0-".hex().upper()


def test_denials_of_the_guard_do_not_count_and_are_listed() -> None:
    by_name = avc(BOOT + 10, "virtd_t", comm='"svirt-guard"')
    by_script = avc(BOOT + 20, "virtd_t", comm='"python3"').replace(":7)", ":8)")
    title = f"type=PROCTITLE msg=audit({BOOT + 20:.3f}:8): proctitle={SCRIPT}"
    others = avc(BOOT + 20, "virtd_t", comm='"python3"', target="etc_t").replace(":7)", ":9)")
    soaked = read(start(), by_name, by_script, title, others)
    assert [(denial.target, denial.count) for denial in soaked.own] == [("proc_t", 2)]
    assert [denial.target for denial in soaked.denials] == ["etc_t"]
    assert [denial.target for denial in soaked.of("virtd_t")] == ["etc_t"]


def test_a_guest_that_calls_itself_as_the_guard_is_none_of_ours() -> None:
    title = f"type=PROCTITLE msg=audit({BOOT + 10:.3f}:7): proctitle={SCRIPT}"
    soaked = read(start(), avc(BOOT + 10, "svirt_t", comm='"svirt-guard"'), title, types=("svirt_t",))
    assert (len(soaked.denials), soaked.own) == (1, ())


def test_a_process_cannot_lie_about_its_label() -> None:
    soaked = read(start(), avc(BOOT + 10, comm='"scontext=a:b:user_t:s0"'), avc(BOOT + 11, comm='"permissive=0"'))
    assert [(denial.source, denial.count) for denial in soaked.denials] == [("svirt_t", 2)]


def test_other_domains_are_listed_apart() -> None:
    soaked = read(
        start(), avc(BOOT + 1, "sshd_t"), avc(BOOT + 2, "virtqemud_t"), avc(BOOT + 3, "mine_t"), types=("mine_t",)
    )
    assert [denial.source for denial in soaked.denials] == ["mine_t", "virtqemud_t"]
    assert [denial.source for denial in soaked.others] == ["sshd_t"]
    assert [denial.source for denial in soaked.of("sshd_t")] == ["sshd_t"]


def test_lines_of_the_kernel_and_of_the_journal() -> None:
    contexts = CONTEXTS.format("svirt_t", "proc_t", "dir", 1)
    soaked = read(
        "1700000000.000001 kvm1 kernel: Linux version 6.12",
        f"1700000010.5 kvm1 kernel: audit: type=1400 audit(1700000010.000:3): avc:  denied  {{ search }} {contexts}",
        f"1700000011.500000 kvm1 audit[9]: AVC avc:  denied  {{ write }} for pid=1 {contexts}",
    )
    assert [(denial.permissions, denial.last) for denial in soaked.denials] == [
        ("search", BOOT + 10),
        ("write", BOOT + 11.5),
    ]


def test_a_denial_without_a_sound_label_counts() -> None:
    line = f"type=AVC msg=audit({BOOT + 1}:7): avc:  denied  {{ read }} for  pid=1"
    assert [denial.source for denial in read(start(), line).denials] == ["?"]


def code(soaked: Soak) -> str:
    return soaked.problem.code if soaked.problem else ""


def test_a_log_that_is_no_evidence() -> None:
    assert code(read(start(BOOT + 1000))) == "log_begins_late"
    assert code(read()) == "no_record"
    assert code(read(start())) == "no_record"
    assert code(read(start(), avc(BOOT + 1), booted_at=None)) == "boot_time_unknown"
    suppressed = "1700000005.1 kvm1 kernel: kauditd_printk_skb: 20 callbacks suppressed"
    assert code(read(start(), suppressed, avc(BOOT + 10))) == "messages_dropped"
    assert code(read(start(), suppressed, loaded(BOOT + 10))) == ""
    assert code(soak(DenialLog(problem=Reason("audit_off", "no log")), BOOT, ())) == "audit_off"


def test_words() -> None:
    """The one test of wording: all other tests assert codes."""
    dropped = "1700000005.1 kvm1 kernel: kauditd_printk_skb: 20 callbacks suppressed"
    soaks = [
        read(booted_at=None),
        read(),
        read(start(BOOT + 1000)),
        read(start(), dropped, avc(BOOT + 10)),
    ]
    assert [str(soaked.problem) for soaked in soaks] == [
        "when the host booted could not be read",
        "the log has no record since the host booted",
        "the log begins after the host booted; load the policy anew (load_policy), so that it is complete",
        "the kernel dropped messages; run auditd, then load the policy anew (load_policy)",
    ]


def test_a_log_that_begins_late_is_whole_since_a_policy_was_loaded() -> None:
    soaked = read(start(BOOT + 1000), loaded(BOOT + 2000), avc(BOOT + 2100))
    assert (soaked.since, len(soaked.denials)) == (BOOT + 2000, 1)


@pytest.mark.parametrize(
    ("type_", "expected"), [("svirt_t", True), ("virtlogd_t", True), ("sshd_t", False), ("?", True)]
)
def test_whose_denials_count(type_: str, expected: bool) -> None:
    assert counts(type_, ()) is expected


_LINES = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from([start(), avc(BOOT + 1), loaded(BOOT + 2), "type=AVC audit(1.1:1): avc:  denied {"]),
    ),
    max_size=6,
)


@given(_LINES)
def test_any_text_is_read_and_no_line_is_more_than_one_denial(lines: list[str]) -> None:
    soaked = read(*lines)
    assert sum(denial.count for denial in (*soaked.denials, *soaked.others)) <= len(lines)
