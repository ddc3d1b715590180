# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import ctypes
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import HostReadError
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.file_contexts import ContextRule
from ansible_collections.svirt.fleet.plugins.module_utils._host.base.journal import Entry, Journal, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._host.change import file_contexts

from tests.unit.support.captured import CapturedRoot, Tree
from tests.unit.support.errors import raised

IMAGE = "system_u:object_r:virt_image_t:s0"
TABLE = f"""/srv(/.*)?  system_u:object_r:var_t:s0
/srv/vms(/.*)?  {IMAGE}
/srv/vms/none  <<none>>
/srv/vms/d -d  system_u:object_r:d_t:s0
"""


def has_libselinux() -> bool:
    try:
        ctypes.CDLL("libselinux.so.1")
    except OSError:
        return False
    return True


needs_libselinux = pytest.mark.skipif(not has_libselinux(), reason="libselinux is not installed here")


@needs_libselinux
def test_what_the_policy_gives_a_path(tmp_path: Path) -> None:
    table = tmp_path / "file_contexts"
    table.write_text(TABLE)
    wanted = [("/srv/vms/a.raw", "file"), ("/srv/vms/d", "dir"), ("/srv/vms/d", "file"), ("/srv/vms/none", "file")]
    labels = file_contexts.defaults([*wanted, ("/other", "file")], 30, str(table))
    assert labels == {
        wanted[0]: IMAGE,
        wanted[1]: "system_u:object_r:d_t:s0",
        wanted[2]: IMAGE,
        wanted[3]: None,
        ("/other", "file"): None,
    }
    assert file_contexts.defaults([], 30, str(table)) == {}


@needs_libselinux
def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(HostReadError, match="file contexts: No such file"):
        file_contexts.defaults([("/a", "file")], 30, str(tmp_path / "none"))


def test_without_the_library_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_contexts, "_LIBSELINUX", "libnone.so.9")
    monkeypatch.setattr(file_contexts, "_LIBSEMANAGE", ("libnone.so.9", "libnone.so.8"))
    with raised("contexts_unread", "libnone.so.9"):
        file_contexts.defaults([("/a", "file")], 30)
    with raised("contexts_not_written", "libnone.so.9"):
        file_contexts.commit([ContextRule("/a", "a", IMAGE)])


def test_the_rules_of_the_administrator() -> None:
    tree = Tree()
    assert file_contexts.local_rules(CapturedRoot(tree), "targeted") == []
    tree.file("/etc/selinux/targeted/contexts/files/file_contexts.local", f"/srv/vms(/.*)?  {IMAGE}\n")
    assert file_contexts.local_rules(CapturedRoot(tree), "targeted") == [ContextRule("/srv/vms(/.*)?", "a", IMAGE)]
    for policy in (None, "", "a/../b"):
        with pytest.raises(HostReadError):
            file_contexts.local_rules(CapturedRoot(tree), policy)
    tree.file("/etc/selinux/targeted/contexts/files/file_contexts.local", errno=5)
    with pytest.raises(HostReadError, match="Input/output error"):
        file_contexts.local_rules(CapturedRoot(tree), "targeted")


class Store:
    """The policy store: what commit would have it keep."""

    def __init__(self, tree: Tree, forgets: bool = False) -> None:
        self.tree = tree
        self.forgets = forgets
        self.commits: list[list[ContextRule]] = []

    def commit(self, rules: t.Sequence[ContextRule], timeout: float = 0) -> None:
        self.commits.append(list(rules))
        text = "".join(f"{rule.target} {rule.context}\n" for rule in rules if rule.context)
        self.tree.file("/etc/selinux/t/contexts/files/file_contexts.local", "" if self.forgets else text)


CHANGES = [
    (ContextRule("/a", "a", None), ContextRule("/a", "a", IMAGE)),
    (ContextRule("/b", "a", IMAGE), ContextRule("/b", "a", None)),
]


def test_one_transaction_for_all_rules_after_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree()
    store = Store(tree)
    monkeypatch.setattr(file_contexts, "commit", store.commit)
    with Journal("image_label", str(tmp_path)) as journal:
        file_contexts.apply(CapturedRoot(tree), "t", [], journal)
        assert (store.commits, journal.path) == ([], None)
        file_contexts.apply(CapturedRoot(tree), "t", CHANGES, journal)
        assert journal.path is not None
        entries = entries_of(journal.path)
    assert store.commits == [[new for _old, new in CHANGES]]
    (entry,) = entries
    assert entry.subject == "file context /a (a) and 1 more"
    file_contexts.restore(entry)
    assert store.commits[1:] == [[old for old, _new in CHANGES]]


def test_what_the_library_did_not_keep_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tree := Tree(), forgets=True)
    monkeypatch.setattr(file_contexts, "commit", store.commit)
    with (
        Journal("image_label", str(tmp_path)) as journal,
        raised("rule_not_kept", "file context /a (a)"),
    ):
        file_contexts.apply(CapturedRoot(tree), "t", CHANGES, journal)


@pytest.mark.parametrize("before", [{}, {"rules": 5}, {"rules": [{"target": "/a", "ftype": "z", "context": None}]}])
def test_an_entry_that_is_none(before: dict[str, t.Any]) -> None:
    with raised("bad_journal_entry"):
        file_contexts.restore(Entry("fcontext", "file context /a (a)", before))
