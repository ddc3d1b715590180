# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import errno
import os

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.policy_access import AccessVerdict, Check
from ansible_collections.svirt.fleet.plugins.module_utils._host.base import loaded_policy
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.loaded_policy import LoadedPolicy

from tests.unit.support import hosts
from tests.unit.support.captured import CapturedRoot, Tree

GUEST = "system_u:system_r:svirt_t:s0:c1,c2"
OWN = "system_u:object_r:svirt_image_t:s0:c1,c2"
OTHER = "system_u:object_r:svirt_image_t:s0:c3,c4"


def tree(enforce: str = "1") -> Tree:
    host = Tree()
    host.file("/sys/fs/selinux/enforce", enforce)
    for number, (tclass, permissions) in enumerate((("file", ("ioctl", "read", "write")), ("dir", ("search",))), 6):
        host.file(f"/sys/fs/selinux/class/{tclass}/index", str(number))
        for bit, name in enumerate(permissions, 1):
            host.file(f"/sys/fs/selinux/class/{tclass}/perms/{name}", str(bit))
    return host


def code(verdict: AccessVerdict) -> str:
    assert verdict.problem is not None
    return verdict.problem.code


class Counting(CapturedRoot):
    """Keeps what was asked."""

    def __init__(self, files: Tree, error: int = 0) -> None:
        super().__init__(files, hosts.policy(permissive=("container_t",)))
        self.questions: list[str] = []
        self.error = error

    def transact(self, path: str, request: bytes) -> bytes:
        self.questions.append(request.decode())
        if self.error:
            raise OSError(self.error, os.strerror(self.error), path)
        return super().transact(path, request)


def test_the_policy_is_asked_in_the_kernels_words_and_once_for_each_pair() -> None:
    root = Counting(tree())
    checks = [Check(GUEST, OWN), Check(GUEST, OTHER), Check(GUEST, OWN, "file", ("read",))]
    result = LoadedPolicy(root).verdicts(checks)
    assert [item.status for item in result] == ["allowed", "denied", "allowed"]
    assert root.questions == [f"{GUEST} {OWN} 6", f"{GUEST} {OTHER} 6"]


def test_another_class_has_its_own_number_and_bits() -> None:
    root = Counting(tree())
    verdict = LoadedPolicy(root).verdict(Check(GUEST, OWN, "dir", ("search",)))
    assert root.questions == [f"{GUEST} {OWN} 7"]
    assert verdict.denied == ("search",)


def test_a_permissive_domain_is_reported() -> None:
    container = "system_u:system_r:container_t:s0:c1,c2"
    assert LoadedPolicy(Counting(tree())).verdict(Check(container, OWN)).permissive is True
    assert LoadedPolicy(Counting(tree())).verdict(Check(GUEST, OWN)).permissive is False


def test_what_the_policy_does_not_know_is_unknown() -> None:
    policy = LoadedPolicy(Counting(tree()))
    assert code(policy.verdict(Check("system_u:system_r:nobody_t:s0", OWN))) == "label_unknown"
    assert code(policy.verdict(Check(GUEST, OWN, "spaceship"))) == "class_unknown"
    assert code(policy.verdict(Check(GUEST, OWN, "file", ("fly",)))) == "permission_unknown"
    assert policy.problem is None  # it answers other queries
    assert policy.lacks("system_u:system_r:nobody_t:s0")
    assert not policy.lacks(OWN)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(errno.EACCES, "asking_denied"), (errno.EPERM, "asking_denied"), (errno.EIO, "no_answer")],
)
def test_a_query_that_fails_is_unknown(error: int, expected: str) -> None:
    policy = LoadedPolicy(Counting(tree(), error))
    verdict = policy.verdict(Check(GUEST, OWN))
    assert (verdict.status, code(verdict), policy.lacks(OWN)) == ("unknown", expected, False)
    assert policy.problem == verdict.problem


def test_a_class_that_cannot_be_read_is_unknown() -> None:
    files = tree()
    files.entries["/sys/fs/selinux/class/dir/index"].content = b"many"
    files.entries["/sys/fs/selinux/class/file/perms/write"].errno = errno.EACCES
    policy = LoadedPolicy(Counting(files))
    assert code(policy.verdict(Check(GUEST, OWN, "dir", ("search",)))) == "class_unreadable"
    assert code(policy.verdict(Check(GUEST, OWN))) == "class_unreadable"


def test_without_selinux_nothing_is_known() -> None:
    policy = LoadedPolicy(CapturedRoot(Tree()))
    assert (policy.loaded, policy.enforcing) == (False, False)
    assert policy.verdict(Check(GUEST, OWN)).problem == loaded_policy.OFF


def test_selinuxfs_without_a_policy_knows_nothing() -> None:
    files = Tree()
    files.file("/sys/fs/selinux/enforce", "0")
    assert LoadedPolicy(CapturedRoot(files)).verdict(Check(GUEST, OWN)).problem == loaded_policy.OFF


def test_a_permissive_host_has_a_policy_and_does_not_enforce_it() -> None:
    policy = LoadedPolicy(Counting(tree(enforce="0")))
    assert (policy.loaded, policy.enforcing) == (True, False)
