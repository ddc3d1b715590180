# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that no single host shows, and the documented faults of a lab as ``make audit`` finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.lab import faults
from tests.lab.host.domains import static_level
from tests.lab.lab import Lab
from tests.scenarios.playbooks import audit

#: Faults that show only when both hosts are looked at, by the host that has them.
APART = {
    "kvm1": ["static-twin", "label-by-chance", "guest-on-two-hosts"],
    "kvm2": [
        "static-twin",
        "label-by-chance",
        "guest-on-two-hosts",
        "image-off-label-of-other-host",
        "range-overlaps",
    ],
}
#: The guests of ``label-by-chance`` are equal by chance where nothing brings them together, and wait to meet in a pool.
CHANCE, POOL = ("CAT-004", "", "fleet"), ("CAT-003", "", static_level(250))
ALWAYS = {
    ("CAT-001", "", "s0:c33,c287,c528,c976"),
    ("CAT-001", "", "s0:c33,c287,c528,c789"),
    ("CAT-005", "", "c0.c1023"),
    ("CAT-010", "", "guest double"),
}
CLASSES = {"CAT-001": "E2", "CAT-003": "E3", "CAT-004": "E4"}
ACROSS = {*ALWAYS, CHANCE, POOL}

#: What a first ``make audit`` shows: rule, host, and what the finding is about.
DOCUMENTED = {
    ("CAT-001", "", "s0:c33,c287,c528,c976"),
    ("GST-001", "kvm1", "handmade"),
    ("GST-002", "kvm2", "guest stray"),
    ("IMG-003", "kvm1", "folder /srv/vms"),
    ("IMG-005", "kvm2", "image /var/lib/libvirt/images/orphan.raw"),
    ("LIB-002", "kvm2", "qemu.conf security_driver"),
}


@contextmanager
def injected(lab: Lab, names: dict[str, list[str]]) -> Iterator[None]:
    """These faults in these hosts, both at once, for as long as the block lasts."""

    def each(act: Callable[..., object]) -> None:
        with ThreadPoolExecutor(len(names)) as pool:
            for future in [pool.submit(act, host, *wanted, lab=lab.folder) for host, wanted in names.items()]:
                future.result()

    try:
        each(faults.inject)
        yield
    finally:
        each(faults.undo)


def test_faults_between_two_hosts_with_a_migration_pool_and_without(lab: Lab) -> None:
    with injected(lab, APART):
        domain = {"name": "lab", "hosts": lab.names()}
        apart, pooled = audit(lab.inventory), audit(lab.inventory, svirt_label_domains=[domain])
    assert apart.found == {*ALWAYS, CHANCE}, apart.output
    assert pooled.found == {*ALWAYS, POOL}, pooled.output
    for seen in (apart, pooled):
        classes = {item["rule"]: item["class"] for item in seen.report["findings"] if item.get("class")}
        assert classes == {rule: CLASSES[rule] for rule, _host, _subject in seen.found if rule in CLASSES}
        assert seen.status != 0


def test_documented_faults_and_nothing_else(lab: Lab) -> None:
    with injected(lab, {host: faults.default_faults(host) for host in lab.names()}):
        seen = audit(lab.inventory)
    named = {
        (rule, host, subject.rpartition(" ")[2] if rule == "GST-001" else subject) for rule, host, subject in seen.found
    }
    assert named == DOCUMENTED, seen.output
    assert seen.report["verdict"] == "fail"
    assert seen.status != 0
    for rule, _host, subject in DOCUMENTED:
        assert rule in seen.output
        assert subject.rpartition(" ")[2] in seen.output.replace("\n", " "), "the summary names every subject"
