# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where denials are read, and when the place proves nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.denials import DenialLog
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import audit_log

from tests.unit.support.selinux_host import BOOT, LOG, START, SelinuxHost, denial

KERNEL = f"{BOOT}.000001 node1 kernel: Linux version 6.12\n"


@pytest.fixture
def host(tmp_path: Path) -> SelinuxHost:
    return SelinuxHost(tmp_path)


def read(host: SelinuxHost) -> DenialLog:
    return audit_log.read(host.root, host.tools, BOOT)


def problem(host: SelinuxHost) -> tuple[str, str]:
    """Code of why the log is no evidence, and the end of the reason, which names what was seen."""
    result = read(host).problem
    assert result is not None
    return result.code, result.text.rpartition(": ")[2]


def stop_auditd(host: SelinuxHost) -> None:
    host.write("/proc/600/comm", "bash\n")


def test_auditds_log(host: SelinuxHost) -> None:
    host.write(LOG, START + denial(BOOT + 20) + denial(BOOT + 30, permissive=0))
    log = read(host)
    assert [denied[:2] for denied in log.denied] == [(BOOT + 20, "svirt_t")]
    assert (log.earliest, log.latest, log.problem) == (BOOT - 10, BOOT + 30, None)
    assert host.calls == []


def test_the_guards_command_line_is_read_with_its_denials(host: SelinuxHost) -> None:
    title = b"/usr/bin/python3\0/usr/local/lib/svirt-fleet/guard.py".hex().upper()
    own = f"type=PROCTITLE msg=audit({BOOT + 20}.000:9): proctitle={title}\n"
    other = f"type=PROCTITLE msg=audit({BOOT + 30}.000:10): proctitle=2F\n"
    host.write(LOG, START + denial(BOOT + 20) + own + other + denial(BOOT + 40))
    log = read(host)
    assert log.by_guard == {f"{BOOT + 20}.000:9"}


def test_rotated_files_as_far_back_as_the_boot(host: SelinuxHost) -> None:
    host.write(LOG, denial(BOOT + 300))
    host.write(f"{LOG}.1", denial(BOOT + 200))
    host.write(f"{LOG}.2", denial(BOOT - 100) + denial(BOOT + 100))
    host.write(f"{LOG}.3", denial(BOOT - 5000))
    assert sorted(moment - BOOT for moment, *_rest in read(host).denied) == [-100, 100, 200, 300]


def test_a_log_elsewhere(host: SelinuxHost) -> None:
    host.write("/etc/audit/auditd.conf", "log_format = ENRICHED\nlog_file = /srv/audit.log\n")
    code, text = problem(host)
    assert code == "log_empty"
    assert "/srv/audit.log" in text
    host.write("/srv/audit.log", START + denial(BOOT + 1))
    assert len(read(host).denied) == 1


def test_a_log_that_cannot_be_read(host: SelinuxHost) -> None:
    Path(host.root.at(LOG)).unlink()
    Path(host.root.at(LOG)).mkdir()
    assert problem(host) == ("log_unreadable", os.strerror(errno.EISDIR))


@pytest.mark.parametrize("word", ["audit=0", "audit=1 audit=off"])
def test_a_kernel_that_writes_nothing_down(host: SelinuxHost, word: str) -> None:
    host.write("/proc/cmdline", f"ro {word}\n")
    code, text = problem(host)
    assert code == "audit_off"
    assert word.rsplit(maxsplit=1)[-1] in text


def test_what_auditd_left_behind_does_not_count(host: SelinuxHost) -> None:
    stop_auditd(host)
    host.journal_text = (
        KERNEL + f"{BOOT + 5}.0 node1 kernel: audit: {denial(BOOT + 5).replace('type=AVC msg=', 'type=1400 ')}"
    )
    log = read(host)
    assert [moment for moment, *_rest in log.denied] == [BOOT + 5]
    assert host.names_run() == ["journalctl"]


def test_the_kernels_buffer_where_there_is_no_journal(host: SelinuxHost) -> None:
    stop_auditd(host)
    host.buffer_text = "[    0.000000] Linux version 6.12\n"
    log = read(host)
    assert (log.earliest, log.latest, log.problem, log.denied) == (BOOT, BOOT, None, [])
    host.buffer_text = "[  900.000000] something\n"
    assert problem(host)[0] == "buffer_overrun"
    host.buffer_text = ""
    assert problem(host) == ("log_unreadable", os.strerror(errno.EPERM))
    host.missing |= {"dmesg", "journalctl"}
    assert problem(host) == ("log_unreadable", "there is no dmesg")


def test_words(host: SelinuxHost) -> None:
    """The one test of wording: all other tests assert codes."""
    host.write(LOG, "")
    assert str(read(host).problem) == f"auditd runs, but {LOG} has no record"
    stop_auditd(host)
    host.buffer_text = ""
    assert str(read(host).problem) == (
        "auditd does not run, and neither the journal nor the kernel's buffer can be read: "
        "dmesg: Operation not permitted"
    )
    host.buffer_text = "[  900.000000] something\n"
    assert str(read(host).problem) == (
        "auditd does not run, the journal cannot be read, and the kernel's buffer has lost its beginning"
    )
    host.write("/proc/cmdline", "ro audit=0\n")
    assert str(read(host).problem) == "the kernel was started with audit=0 and records no denial"
