# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are down, stuck or only half there: the report says so, other hosts go on, the exit status shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.network import free_port
from tests.scenarios.playbooks import Audit, audit

#: Seconds that libvirt or a storage may take in these tests, and what the whole audit may then take at the most.
DEADLINE = 30
BOUND = 300


@contextmanager
def spoilt(lab: Lab, host: str, spoil: str, mend: str) -> Iterator[None]:
    """Something in a host is broken by one shell command, and mended by another whatever happens."""
    try:
        lab.remote(host).call(spoil)
        yield
    finally:
        lab.remote(host).call(mend)


def unknown_areas(run: Audit, host: str) -> dict[str, list[str]]:
    """The areas of a host that could not be read, each with the codes of why."""
    areas = run.host(host)["coverage"]
    return {name: area["codes"] for name, area in areas.items() if area["status"] == "unknown"}


def read_whole(run: Audit, host: str) -> bool:
    """Whether a host was read in all its parts, and nothing is wrong there.

    Its verdict may still be unknown: the owners of files on the share are known from both hosts together only.
    """
    return run.host(host)["verdict"] in ("pass", "unknown") and not unknown_areas(run, host)


def test_host_that_is_down_is_unknown_and_the_other_is_judged(lab: Lab, tmp_path: Path) -> None:
    port = lab.remote("kvm2").port
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(lab.inventory.read_text().replace(f"ansible_port: {port}", f"ansible_port: {free_port()}"))
    run = audit(inventory)
    assert run.status != 0
    assert run.host("kvm2")["verdict"] == "unknown"
    assert "refused" in run.host("kvm2")["why"]
    assert read_whole(run, "kvm1")
    assert run.report["verdict"] == "unknown"


def test_libvirt_that_does_not_answer_is_unknown_and_guests_are_still_seen(lab: Lab) -> None:
    pid = lab.remote("kvm1").call("pidof libvirtd").stdout.decode().strip()
    with spoilt(lab, "kvm1", f"kill -STOP {pid}", f"kill -CONT {pid}"):
        run = audit(lab.inventory, limit="kvm1", svirt_timeout=DEADLINE)
    assert run.status != 0
    assert run.host("kvm1")["verdict"] == "unknown"
    assert {"libvirt", "guests"} <= unknown_areas(run, "kvm1").keys()
    assert "timed_out" in unknown_areas(run, "kvm1")["libvirt"]
    assert run.found == set(), "a guest known from libvirt's files must not be taken for a QEMU outside libvirt"


def test_libvirt_that_is_stopped_and_broken_xml(lab: Lab) -> None:
    units = "libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket"
    broken = "/etc/libvirt/qemu/broken.xml"
    spoil = f"echo '<domain><name>broken' > {broken}; systemctl stop {units}"
    mend = f"rm -f {broken}; systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service"
    with spoilt(lab, "kvm1", spoil, mend):
        run = audit(lab.inventory, limit="kvm1", svirt_timeout=DEADLINE)
    assert run.status != 0
    assert run.host("kvm1")["verdict"] == "unknown"
    assert "broken" in run.host("kvm1")["coverage"]["guests"]["why"]
    assert run.found == set()


def test_storage_that_hangs_costs_no_more_than_its_deadline(lab: Lab) -> None:
    cut = "nft add table inet cut; nft 'add chain inet cut in { type filter hook input priority 0; }'"
    drop = "nft add rule inet cut in tcp dport 2049 drop; nft add rule inet cut in tcp sport 2049 drop"
    started = time.monotonic()
    with spoilt(lab, "kvm2", f"echo 3 > /proc/sys/vm/drop_caches; {cut}; {drop}", "nft delete table inet cut"):
        run = audit(lab.inventory, svirt_timeout=DEADLINE)
    seconds = time.monotonic() - started
    assert run.status != 0
    assert run.host("kvm2")["verdict"] == "unknown"
    assert "timed_out" in unknown_areas(run, "kvm2")["images"]
    assert "/srv/vms" in run.host("kvm2")["coverage"]["images"]["why"]
    assert read_whole(run, "kvm1")
    assert seconds < BOUND, "the audit must not wait for the storage"
    lab.remote("kvm2").call("ls -l /srv/vms", timeout=120)  # the mount came back


@pytest.fixture
def account(lab: Lab) -> Iterator[str]:
    """An account on kvm1 that is not root."""
    with spoilt(lab, "kvm1", "useradd -m looker", "userdel -rf looker"):
        yield "looker"


def test_account_that_is_not_root_reads_less_and_says_so(lab: Lab, account: str) -> None:
    run = audit(lab.inventory, limit="kvm1", ansible_user=account)
    assert run.status != 0
    assert run.host("kvm1")["verdict"] == "unknown"
    assert run.found == set(), "what may not be read is not taken for absent"
    assert any("not_root" in codes for codes in unknown_areas(run, "kvm1").values())


def test_host_without_space_is_unknown_with_the_reason(lab: Lab) -> None:
    spoil = "mkdir -p /run/full; mount -t tmpfs -o size=8k tmpfs /run/full; dd if=/dev/zero of=/run/full/x bs=1k || :"
    with spoilt(lab, "kvm2", spoil, "umount /run/full; rmdir /run/full"):
        run = audit(lab.inventory, limit="kvm2", ansible_remote_tmp="/run/full", ansible_pipelining=False)
    assert run.status != 0
    assert run.host("kvm2")["verdict"] == "unknown"
    assert run.host("kvm2")["why"]


def test_image_of_a_running_guest_that_vanished_is_unknown(lab: Lab) -> None:
    path = "/var/lib/libvirt/images/web1.raw"
    with spoilt(lab, "kvm1", f"mv {path} /root/", f"mv /root/web1.raw {path}"):
        run = audit(lab.inventory, limit="kvm1")
    assert run.status != 0
    assert run.host("kvm1")["verdict"] == "unknown"
    assert run.found == set()
    assert path in run.host("kvm1")["why"]
