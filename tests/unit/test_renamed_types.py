# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Policies are many: whatever names a policy gives to its types, every verdict is the same.

All types of captured and built hosts are renamed (svirt_t to my_svirt_t, virtd_t to my_virtd_t, and the others), with
the contexts files saying the new names. No rule, planner or reader may then need the old ones.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._backends import image_label
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit import finding as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.fleet import analysis
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.rules.catalogue import judge
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import category_range as ranges
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.candidates import candidates
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.model import REPAIRS
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.images.requested import ImageRequests
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.category_range import DaemonRange
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import encode
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Snapshot
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.loaded_policy import LoadedPolicy
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import file_contexts
from ansible_collections.svirt.fleet.plugins.module_utils._host.change.category_range import CategoryRange
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe.probe import Tools

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Policy, Tree
from tests.unit.support.renamed import ciphered, prefixed
from tests.unit.support.stacks import STACKS, Stack

KVM1 = Path(__file__).parent / "plugins/module_utils/_host/probe/fixtures/kvm1"
QEMU = "/usr/bin/qemu-system-x86_64"
LINE = (QEMU, "-name", "guest=x", "-machine", "q35,accel=kvm", "-smp", "2", "-nodefaults")

RENAMINGS = {"prefixed": prefixed, "ciphered": ciphered}


def kvm1() -> Tree:
    return Tree().load(KVM1)


def made_permissive() -> Tree:
    """A daemon's domain that an administrator made permissive, not the distribution."""
    tree = hosts.fedora()
    tree.file(f"{hosts.STORE}/100/virt/cil", "(type svirt_t)\n")
    tree.file(f"{hosts.STORE}/400/permissive_virtqemud_t/cil", "(typepermissive virtqemud_t)\n")
    return tree


def outside(label: str, cgroup: str = "/user.slice/x", uid: int = 0) -> t.Callable[[], Tree]:
    """A host with a QEMU that is no guest."""

    def make() -> Tree:
        tree = hosts.el9()
        hosts.process(tree, 50, QEMU, label, LINE, uid, cgroup)
        return tree

    return make


def guest_as(label: str) -> t.Callable[[], Tree]:
    """A host whose guest runs with another label."""

    def make() -> Tree:
        tree = hosts.el9()
        scope = "/machine.slice/machine-qemu\\x2d3\\x2dweb.scope/libvirt/emulator"
        hosts.process(tree, hosts.PID, "/usr/libexec/qemu-kvm", label, LINE, hosts.QEMU_UID, scope)
        return tree

    return make


def wrong_daemon() -> Tree:
    """A daemon that somebody started by hand."""
    tree = hosts.el9()
    hosts.process(tree, 900, "/usr/sbin/libvirtd", "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023")
    return tree


def static_of(label: str) -> t.Callable[[], Tree]:
    """A host whose guest has a static label in its definition."""

    def make() -> Tree:
        tree = hosts.el9()
        seclabel = f"<seclabel type='static' model='selinux' relabel='yes'><label>{label}</label></seclabel>"
        tree.libvirt[1]["inactive"] = hosts.domain().replace("</domain>", f"{seclabel}</domain>")
        return tree

    return make


def orphan() -> Tree:
    tree = hosts.el9()
    tree.file("/var/lib/libvirt/images/old.qcow2", label="system_u:object_r:svirt_image_t:s0:c5,c6")
    return tree


def broken(stack: Stack) -> t.Callable[[], Tree]:
    """A host of a stack, with its typical fault."""

    def make() -> Tree:
        tree = stack.make()
        stack.fault(tree)
        return tree

    return make


KUBEPODS = "/kubepods.slice/kubepods-burstable.slice/crio-0123.scope"
UNCONFINED = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"
DAEMON = "system_u:system_r:virtd_t:s0-s0:c0.c1023"
#: Hosts, each with a finding that shows its own situation; None: none beside those of its plain configuration.
HOSTS: dict[str, tuple[t.Callable[[], Tree], tuple[str, str] | None]] = {
    "captured Debian": (kvm1, ("GST-001", "critical")),
    "el9": (hosts.el9, None),
    "fedora": (hosts.fedora, None),
    "made permissive": (made_permissive, ("SEL-006", "high")),
    "unconfined QEMU": (outside(UNCONFINED), ("GST-001", "critical")),
    "QEMU in the daemon's domain": (outside(DAEMON), ("GST-001", "critical")),
    "QEMU of a container": (outside("system_u:system_r:container_t:s0:c7,c8", KUBEPODS), ("GST-001", "info")),
    "QEMU of Kata": (outside("system_u:system_r:container_kvm_t:s0:c7,c8", KUBEPODS), ("GST-001", "info")),
    "QEMU of a session": (outside("unconfined_u:unconfined_r:svirt_t:s0:c7,c8", uid=1000), ("GST-001", "medium")),
    "open container": (outside("system_u:system_r:spc_t:s0", KUBEPODS), ("GST-001", "critical")),
    "guest unconfined": (guest_as(UNCONFINED), ("GST-010", "critical")),
    "guest in the daemon's domain": (guest_as(DAEMON), ("GST-010", "critical")),
    "guest of a foreign type": (guest_as("system_u:system_r:swtpm_t:s0:c100,c200"), ("GST-004", "high")),
    "guest of a container's type": (guest_as("system_u:system_r:container_t:s0:c100,c200"), ("GST-004", "medium")),
    "daemon by hand": (wrong_daemon, ("LIB-007", "medium")),
    "static label": (static_of("system_u:system_r:svirt_t:s0:c40,c300"), ("GST-010", "low")),
    "static label, foreign": (static_of("system_u:system_r:container_t:s0:c40,c300"), ("GST-004", "high")),
    "static label, open": (static_of("system_u:system_r:unconfined_t:s0:c40,c300"), ("GST-004", "high")),
    "orphan": (orphan, ("IMG-005", "medium")),
}
HOSTS |= {f"{name}, clean": (stack.make, None) for name, stack in STACKS.items()}
HOSTS |= {name: (broken(stack), None if stack.across else stack.shows) for name, stack in STACKS.items()}
#: What a host with libvirt's own configuration shows.
QUIET = {("GST-001", "info"), ("IMG-008", "high"), ("SEL-008", "low")}
PLAIN = {("GST-009", "high"), ("LIB-002", "medium"), ("LIB-005", "low"), ("NET-001", "medium"), ("SEL-008", "medium")}


def rules_of(tree: Tree) -> Policy:
    """The policy of a host: its captured answers, or Fedora's in little."""
    return tree.answers.get if tree.answers else hosts.policy(permissive=("virtqemud_t",))


def verdicts(tree: Tree, policy: Policy) -> dict[str, t.Any]:
    """All that the product makes of a host."""
    snapshot = hosts.look(tree, rules=policy)
    host = judge("kvm1", snapshot, f.Settings())
    fleet = analysis.judge([analysis.compared_host("kvm1", snapshot), analysis.compared_host("kvm2", snapshot)])
    targets, plan = candidates(snapshot, ImageRequests(repair=frozenset(REPAIRS)))
    return {
        "outcomes": encode(host.outcomes),
        "findings": [_without_key(item) for item in host.findings],
        "fleet": [_without_key(item) for item in fleet.findings],
        "images": [(item.path, item.repair, item.label) for item in targets],
        "kept": [(item.subject, item.reason.code) for item in plan.refused],
        "range": _range(tree, policy),
        "types": _types(snapshot),
    }


def _range(tree: Tree, policy: Policy) -> tuple[t.Any, ...]:
    """The plan of a range for the daemon."""
    actor = CategoryRange(CapturedRoot(tree, policy), Tools(ask=lambda _uri, _known: tree.libvirt), top="/nowhere")
    plan = ranges.plan(actor.look(guests=True), ranges.RangeRequest(ranges.PRESENT, DaemonRange(0, 31)))
    return plan.context, plan.refused.code if plan.refused else None


def _types(snapshot: Snapshot) -> list[t.Any]:
    return [encode(item) for item in snapshot.selinux.types if item.known]


def _without_key(finding: f.Finding) -> dict[str, t.Any]:
    """A finding but for its fingerprint, which is made from names."""
    return {name: value for name, value in encode(finding).items() if name != "fingerprint"}


@pytest.fixture(scope="module")
def usual() -> t.Callable[[str], dict[str, t.Any]]:
    """The verdicts with the policy's own names, each worked out once."""
    known: dict[str, dict[str, t.Any]] = {}

    def of(name: str) -> dict[str, t.Any]:
        if name not in known:
            tree = HOSTS[name][0]()
            known[name] = verdicts(tree, rules_of(tree))
        return known[name]

    return of


@pytest.mark.parametrize("name", HOSTS)
def test_each_host_shows_its_situation(name: str, usual: t.Callable[[str], dict[str, t.Any]]) -> None:
    result = {(item["rule"], item["severity"]) for item in usual(name)["findings"]}
    expected = HOSTS[name][1]
    assert not {rule for rule, _severity in result - PLAIN - QUIET} if expected is None else expected in result


@pytest.mark.parametrize("renaming", RENAMINGS)
@pytest.mark.parametrize("name", HOSTS)
def test_all_verdicts_stay(name: str, renaming: str, usual: t.Callable[[str], dict[str, t.Any]]) -> None:
    tree, names = HOSTS[name][0](), RENAMINGS[renaming]()
    renamed = names.tree(tree)
    other = verdicts(renamed, names.policy(rules_of(tree)))
    assert set(names.old) & {"svirt_t", "virtd_t", "svirt_image_t"} == set()
    assert names.restored(other) == names.restored(usual(name))


def test_images_at_rest_get_the_label_that_the_policy_has_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, names = hosts.el9(), prefixed()
    names.tree(tree)
    asked: list[t.Any] = []

    def defaults(wanted: t.Sequence[tuple[str, str]], _timeout: float) -> dict[tuple[str, str], str | None]:
        asked.extend(wanted)
        return dict.fromkeys(wanted, names.text(hosts.REST_LABEL))

    monkeypatch.setattr(file_contexts, "defaults", defaults)
    shipped = LoadedPolicy(CapturedRoot(tree, hosts.policy()))
    assert image_label.label_at_rest(shipped, 5.0) == hosts.REST_LABEL
    assert asked == []
    renamed = LoadedPolicy(CapturedRoot(tree, names.policy(hosts.policy())))
    assert image_label.label_at_rest(renamed, 5.0) == "system_u:object_r:my_virt_image_t:s0"
    assert asked == [("/var/lib/libvirt/images/disk", "file")]
