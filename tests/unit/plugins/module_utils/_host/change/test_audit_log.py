# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where denials are read, and when the place proves nothing."""

from __future__ import annotations

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


def stop_auditd(host: SelinuxHost) -> None:
    host.write("/proc/600/comm", "bash\n")


def test_auditds_log(host: SelinuxHost) -> None:
    host.write(LOG, START + denial(BOOT + 20) + denial(BOOT + 30, permissive=0))
    log = read(host)
    assert [denied[:2] for denied in log.denied] == [(BOOT + 20, "svirt_t")]
    assert (log.earliest, log.latest, log.problem) == (BOOT - 10, BOOT + 30, "")
    assert host.calls == []


def test_rotated_files_as_far_back_as_the_boot(host: SelinuxHost) -> None:
    host.write(LOG, denial(BOOT + 300))
    host.write(f"{LOG}.1", denial(BOOT + 200))
    host.write(f"{LOG}.2", denial(BOOT - 100) + denial(BOOT + 100))
    host.write(f"{LOG}.3", denial(BOOT - 5000))
    assert sorted(moment - BOOT for moment, *_rest in read(host).denied) == [-100, 100, 200, 300]


def test_a_log_elsewhere(host: SelinuxHost) -> None:
    host.write("/etc/audit/auditd.conf", "log_format = ENRICHED\nlog_file = /srv/audit.log\n")
    assert "/srv/audit.log has no record" in read(host).problem
    host.write("/srv/audit.log", START + denial(BOOT + 1))
    assert len(read(host).denied) == 1


def test_a_log_that_cannot_be_read(host: SelinuxHost) -> None:
    Path(host.root.at(LOG)).unlink()
    Path(host.root.at(LOG)).mkdir()
    assert "Is a directory" in read(host).problem


@pytest.mark.parametrize("word", ["audit=0", "audit=1 audit=off"])
def test_a_kernel_that_writes_nothing_down(host: SelinuxHost, word: str) -> None:
    host.write("/proc/cmdline", f"ro {word}\n")
    assert word.rsplit(maxsplit=1)[-1] in read(host).problem


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
    assert (log.earliest, log.latest, log.problem, log.denied) == (BOOT, BOOT, "", [])
    host.buffer_text = "[  900.000000] something\n"
    assert "lost its beginning" in read(host).problem
    host.buffer_text = ""
    assert "Operation not permitted" in read(host).problem
    host.missing |= {"dmesg", "journalctl"}
    assert "no dmesg" in read(host).problem
