# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import (
    Access,
    Boolean,
    SELinux,
    TypeFacts,
)
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.loaded_policy import LoadedPolicy
from ansible_collections.svirt.fleet.plugins.module_utils._host.probe import selinux

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Policy, Tree

IMAGE = "object_r:svirt_image_t"
FACTS = SELinux("enforcing", image_types=["svirt_image_t"])
GUEST = "system_u:system_r:svirt_t:s0:c1022,c1023"


@pytest.fixture
def tree() -> Tree:
    made = Tree()
    hosts.selinux(made)
    return made


def loaded(tree: Tree, policy: Policy | None = None) -> LoadedPolicy:
    return LoadedPolicy(CapturedRoot(tree, policy or hosts.policy()))


def test_an_enforcing_host(tree: Tree) -> None:
    reading = selinux.read(CapturedRoot(tree, hosts.policy()))
    facts = reading.facts
    assert (facts.mode, facts.configured_mode, facts.policy) == ("enforcing", "enforcing", "targeted")
    assert (facts.mls, facts.policy_version, facts.autorelabel) == (True, 33, False)
    assert facts.guest_types == ["svirt_t", "svirt_tcg_t"]
    assert facts.image_types == ["svirt_image_t", "virt_content_t"]
    assert facts.booleans == [Boolean("virt_use_nfs", True, False), Boolean("virt_use_usb", True, True)]
    assert facts.lsms[-1] == "selinux"
    assert reading.missing == []


def test_modes(tree: Tree) -> None:
    tree.file("/sys/fs/selinux/enforce", "0")
    assert selinux.read(CapturedRoot(tree)).facts.mode == "permissive"
    del tree.entries["/sys/fs/selinux/class/file/index"]  # mounted, but no policy was loaded
    reading = selinux.read(CapturedRoot(tree))
    assert (reading.facts.mode, reading.policy) == ("disabled", None)
    assert selinux.read(CapturedRoot(Tree())).facts.mode == "disabled"


def test_security_modules_without_their_own_list(tree: Tree) -> None:
    del tree.entries["/sys/kernel/security/lsm"]
    assert selinux.read(CapturedRoot(tree)).facts.lsms == ["selinux"]
    tree.file("/sys/module/apparmor/parameters/enabled", "Y\n")
    assert selinux.read(CapturedRoot(tree)).facts.lsms == ["selinux", "apparmor"]


def test_what_cannot_be_read_is_missing_not_absent(tree: Tree) -> None:
    tree.entries["/etc/selinux/config"].errno = 13
    tree.entries["/sys/fs/selinux/booleans/virt_use_nfs"].errno = 5
    reading = selinux.read(CapturedRoot(tree))
    assert reading.facts.configured_mode is None
    assert [item.name for item in reading.facts.booleans] == ["virt_use_usb"]
    assert len(reading.missing) == 2


def test_a_policy_name_cannot_lead_elsewhere(tree: Tree) -> None:
    tree.file("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=../../tmp\n")
    assert selinux.read(CapturedRoot(tree)).facts.guest_types == []


def test_types_as_the_policy_has_them(tree: Tree) -> None:
    asked = loaded(tree, hosts.policy(permissive=("virtqemud_t",)))
    found = selinux.types(asked, ["virtqemud_t", "svirt_t", "container_t", "none_t", "swtpm_t"], FACTS)
    assert found == [
        TypeFacts("container_t", True, False, True, False),
        TypeFacts("none_t", False),
        TypeFacts("svirt_t", True, False, True, False),
        TypeFacts("swtpm_t", True, False, False, False),
        TypeFacts("virtqemud_t", True, True, False, True),
    ]


def test_a_type_without_constraint_is_found_out(tree: Tree) -> None:
    (facts,) = selinux.types(loaded(tree, hosts.policy(constrained=())), ["svirt_t"], FACTS)
    assert facts.constrained is False


def test_a_type_that_may_read_nothing_proves_nothing(tree: Tree) -> None:
    (facts,) = selinux.types(loaded(tree, lambda _question: "0 ffffffff 0 ffffffff 1 0"), ["x_t"], FACTS)
    assert facts == TypeFacts("x_t", True, False, None, False)


def test_a_type_for_which_the_role_does_not_fit_is_still_known(tree: Tree) -> None:
    rules = hosts.policy()

    def only_objects(question: str) -> str | None:
        return rules(question) if ":object_r:" in question.split(" ", maxsplit=1)[0] else None

    (facts,) = selinux.types(loaded(tree, only_objects), ["svirt_t"], FACTS)
    assert facts == TypeFacts("svirt_t", True, False, True, False)


def test_without_mls_no_type_is_constrained(tree: Tree) -> None:
    asked: list[str] = []

    def remember(question: str) -> str:
        asked.append(question)
        return "6 ffffffff 0 ffffffff 1 0"

    tree.file("/sys/fs/selinux/mls", "0")
    (facts,) = selinux.types(loaded(tree, remember), ["svirt_t"], FACTS)
    assert facts.constrained is False
    assert asked == [f"system_u:system_r:svirt_t system_u:{target} 6" for target in ("system_r:svirt_t", IMAGE)]


def test_access_is_asked_for_a_guest_that_owns_nothing(tree: Tree) -> None:
    labels = [hosts.IMAGE_LABEL, hosts.REST_LABEL, "system_u:object_r:svirt_image_t:s0", "nonsense"]
    found, why = selinux.access(loaded(tree), ["svirt_t"], labels)
    assert found == [
        Access(GUEST, "system_u:object_r:svirt_image_t:s0", read=True, write=True),
        Access(GUEST, hosts.IMAGE_LABEL, read=False, write=False),
        Access(GUEST, hosts.REST_LABEL, read=True, write=False),
    ]
    assert why is None


@pytest.mark.parametrize(
    ("used", "level"), [("c1023", "c1021,c1022"), ("c1022,c1023", "c1020,c1021"), ("c0.c1023", "c1022,c1023")]
)
def test_the_asking_guests_categories_are_nobodys(tree: Tree, used: str, level: str) -> None:
    found, _why = selinux.access(loaded(tree), ["svirt_t"], [f"system_u:object_r:svirt_image_t:s0:{used}"])
    assert [item.source for item in found] == [f"system_u:system_r:svirt_t:s0:{level}"]


def test_a_great_many_labels_are_asked_in_part_and_open_ones_first(tree: Tree) -> None:
    labels = [f"system_u:object_r:svirt_image_t:s0:c{low},c{low + 1}" for low in range(800)] + [hosts.REST_LABEL]
    found, why = selinux.access(loaded(tree), ["svirt_t", "svirt_tcg_t"], labels)
    assert len(found) == 600
    assert hosts.REST_LABEL in {item.target for item in found}
    assert why is not None
    assert why.code == "too_many_labels"


def refused(_question: str) -> str | None:
    raise PermissionError(13, "Permission denied")


def broken(_question: str) -> str | None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("answer", "code"),
    [(refused, "asking_denied"), (broken, "no_answer"), (lambda _question: "what", "answer_malformed")],
)
def test_a_policy_that_does_not_answer_is_unknown_and_says_why(tree: Tree, answer: Policy, code: str) -> None:
    policy = loaded(tree, answer)
    assert selinux.types(policy, ["svirt_t"], FACTS) == [TypeFacts("svirt_t")]
    assert selinux.access(policy, ["svirt_t"], [hosts.REST_LABEL]) == ([], None)
    assert policy.problem is not None
    assert policy.problem.code == code


def test_only_root_asks(tree: Tree) -> None:
    reading = selinux.read(CapturedRoot(tree, hosts.policy(), root=False))
    assert reading.policy is None
    assert [why.code for why in reading.missing] == ["not_root"]


def test_without_a_policy_nothing_is_known() -> None:
    assert selinux.types(None, ["svirt_t"], FACTS) == [TypeFacts("svirt_t")]
    assert selinux.access(None, ["svirt_t"], [hosts.REST_LABEL]) == ([], None)
