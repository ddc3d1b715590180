# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""File contexts: the policy's labels of paths, and the administrator's persistent rules.

Both use the C libraries directly: every host with SELinux has them, while Python's bindings may be missing. They run in
a child with a deadline, so that a fault inside them does not end the module.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import typing as t

from ..._core.errors import HostReadError, HostWriteError, PlanError
from ..._core.selinux import file_contexts as core
from ..._core.selinux.file_contexts import ContextRule
from ..._core.words import some
from ..base.deadline import Job
from ..base.journal import Entry, Journal
from ..base.root import Root, reason, text_of

KIND = "fcontext"
#: Seconds that a transaction may take: an emulated host compiles its file contexts for a minute.
TIMEOUT = 600.0

_LIBSELINUX = "libselinux.so.1"
_LIBSEMANAGE = ("libsemanage.so.2", "libsemanage.so.1")
_CTX_FILE, _OPT_PATH = 0, 3
_FORMATS = {
    "file": 0o100000,
    "dir": 0o040000,
    "block": 0o060000,
    "char": 0o020000,
    "socket": 0o140000,
    "fifo": 0o010000,
}
#: Numbers of libsemanage's semanage_fcontext_set_type.
_TYPES = {"a": 0, "f": 1, "d": 2, "c": 3, "b": 4, "s": 5, "l": 6, "p": 7}
_MAX_MESSAGE = 1000


def local_rules(root: Root, policy: str | None) -> list[ContextRule]:
    """The administrator's rules. Raises HostReadError."""
    if not policy or "/" in policy:
        raise HostReadError("/etc/selinux/config names no policy, so there is no place for file contexts", "no_policy")
    path = f"/etc/selinux/{policy}/contexts/files/file_contexts.local"
    try:
        return core.parse(root.read_text(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HostReadError(f"{path} cannot be read: {reason(error)}") from error


def apply(root: Root, policy: str, changes: t.Sequence[tuple[ContextRule, ContextRule]], journal: Journal) -> None:
    """Change the rules, all or none, without loading the policy: only labelling reads them.

    Raises JournalError and HostWriteError; the rules are then unchanged.
    """
    if not changes:
        return
    journal.record([entry([old for old, _new in changes], [new for _old, new in changes], policy)])
    commit([new for _old, new in changes])
    present = {rule.key: rule.context for rule in local_rules(root, policy)}
    missing = [new.subject for _old, new in changes if present.get(new.key) != new.context]
    if missing:
        text = f"{missing[0]}: libsemanage did not keep it; look at semanage fcontext -l -C"
        raise HostWriteError(text, "rule_not_kept")


def entry(rules: t.Sequence[ContextRule], set_to: t.Sequence[ContextRule] = (), policy: str = "") -> Entry:
    """Rules before a change and what it sets: one entry, for they are restored in one transaction too."""
    after = {"rules": _plain(set_to), "policy": policy} if set_to else None
    return Entry(KIND, some([rule.subject for rule in rules], 1), {"rules": _plain(rules)}, after)


def _plain(rules: t.Sequence[ContextRule]) -> list[dict[str, str | None]]:
    return [{"target": rule.target, "ftype": rule.ftype, "context": rule.context} for rule in rules]


def _rules(document: t.Mapping[str, t.Any]) -> list[ContextRule]:
    return [ContextRule(item["target"], item["ftype"], item["context"]) for item in document["rules"]]


def restore(entry: Entry, root: Root | None = None, dry: bool = False) -> None:
    """Restore rules from the journal, unless they were changed since; ``dry``: only check.

    Raises PlanError and HostWriteError.
    """
    try:
        rules = _rules(entry.before)
        known = all(rule.ftype in _TYPES for rule in rules)
        changed = _changed(entry, rules, root or Root()) if known else ""
    except (KeyError, TypeError):
        known = False
    if not known:
        text = f"{entry.subject}: the journal's entry is none of file contexts; it was left alone"
        raise PlanError(text, "bad_journal_entry")
    if changed:
        text = f"{changed}: somebody changed the rule after this collection set it; it was left alone"
        raise PlanError(text, "changed_since")
    if not dry:
        commit(rules)


def _changed(entry: Entry, before: t.Sequence[ContextRule], root: Root) -> str:
    """A rule that is neither as it was nor as it was set; empty when there is none."""
    if entry.after is None:
        return ""
    now = {rule.key: rule.context for rule in local_rules(root, entry.after["policy"])}
    for old, new in zip(before, _rules(entry.after)):
        if now.get(new.key) not in (old.context, new.context):
            return new.subject
    return ""


def commit(rules: t.Sequence[ContextRule], timeout: float = TIMEOUT) -> None:
    """Set these rules, or remove those without a context, in one transaction. Raises HostWriteError."""

    def work() -> t.Iterator[t.Any]:
        messages = os.memfd_create("messages")
        os.dup2(messages, 2)  # the library and its helpers write their errors there
        problem = ""
        try:
            _Transaction().run(rules)
        except OSError as error:
            problem = reason(error)
        if problem:
            size = os.fstat(messages).st_size
            tail = text_of(os.pread(messages, _MAX_MESSAGE, max(0, size - _MAX_MESSAGE))).strip()
            yield f"{problem}: {tail}" if tail else problem

    try:
        job = Job(work, timeout)
        problem = "; ".join(job.items()) or str(job.problem or "")
    except OSError as error:
        problem = reason(error)
    if problem:
        raise HostWriteError(f"file contexts cannot be changed ({problem}); none of them was", "contexts_not_written")


class _Transaction:
    """A libsemanage transaction, by ctypes. Raises OSError."""

    def __init__(self) -> None:
        self._library = _load(*_LIBSEMANAGE)
        self._library.semanage_handle_create.restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._call("semanage_handle_create"))
        if not self._handle.value:
            raise OSError(errno.ENOMEM, "libsemanage gives no handle")

    def run(self, rules: t.Iterable[ContextRule]) -> None:
        self._call("semanage_set_reload", self._handle, 0)
        self._must("semanage_connect", self._handle)
        try:
            self._must("semanage_begin_transaction", self._handle)
            for rule in rules:
                self._put(rule)
            self._must("semanage_commit", self._handle)
        finally:
            self._call("semanage_disconnect", self._handle)

    def _put(self, rule: ContextRule) -> None:
        target = ctypes.c_char_p(rule.target.encode("utf-8", "surrogateescape"))
        number = _TYPES[rule.ftype]
        key = ctypes.c_void_p()
        self._must("semanage_fcontext_key_create", self._handle, target, number, ctypes.byref(key))
        if rule.context is None:
            exists = ctypes.c_int()
            self._must("semanage_fcontext_exists_local", self._handle, key, ctypes.byref(exists))
            if exists.value:
                self._must("semanage_fcontext_del_local", self._handle, key)
            return
        fcontext = ctypes.c_void_p()
        self._must("semanage_fcontext_create", self._handle, ctypes.byref(fcontext))
        self._must("semanage_fcontext_set_expr", self._handle, fcontext, target)
        self._call("semanage_fcontext_set_type", fcontext, number)
        if rule.context != core.NONE:  # a rule without a label says <<none>>
            context = ctypes.c_void_p()
            text = ctypes.c_char_p(rule.context.encode())
            self._must("semanage_context_from_string", self._handle, text, ctypes.byref(context))
            self._must("semanage_fcontext_set_con", self._handle, fcontext, context)
        self._must("semanage_fcontext_modify_local", self._handle, key, fcontext)

    def _must(self, name: str, *arguments: t.Any) -> None:
        if self._call(name, *arguments) < 0:
            raise OSError(ctypes.get_errno(), f"{name} failed")

    def _call(self, name: str, *arguments: t.Any) -> int:
        return t.cast(int, getattr(self._library, name)(*arguments))


def defaults(
    wanted: t.Sequence[tuple[str, str]], timeout: float, file_contexts: str | None = None
) -> dict[tuple[str, str], str | None]:
    """Labels that the policy gives these (path, kind) files; None where it gives none. Raises HostReadError."""

    def work() -> t.Iterator[t.Any]:
        lookup = _Lookup(file_contexts)
        for path, kind in wanted:
            yield lookup.label(path, _FORMATS.get(kind, 0))

    if not wanted:
        return {}
    try:
        job = Job(work, timeout)
        labels = list(job.items())
    except OSError as error:
        raise HostReadError(
            f"the policy's labels of paths cannot be read: {reason(error)}", "contexts_unread"
        ) from error
    if job.problem:
        raise HostReadError(f"the policy's labels of paths cannot be read: {job.problem}", "contexts_unread")
    return dict(zip(wanted, labels))


class _Option(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("value", ctypes.c_char_p))


class _Lookup:
    """libselinux's table of file contexts. Raises OSError."""

    def __init__(self, file_contexts: str | None) -> None:
        self._library = _load(_LIBSELINUX)
        self._library.selabel_open.restype = ctypes.c_void_p
        options = (_Option * 1)(_Option(_OPT_PATH, os.fsencode(file_contexts) if file_contexts else None))
        count = 1 if file_contexts else 0
        handle = self._library.selabel_open(_CTX_FILE, ctypes.byref(options) if count else None, count)
        if not handle:
            raise OSError(ctypes.get_errno(), f"file contexts: {os.strerror(ctypes.get_errno())}")
        self._handle = ctypes.c_void_p(handle)

    def label(self, path: str, mode: int) -> str | None:
        """The raw label, not translated by mcstransd."""
        label = ctypes.c_char_p()
        code = self._library.selabel_lookup_raw(self._handle, ctypes.byref(label), os.fsencode(path), mode)
        if code == 0:
            return text_of(label.value or b"") or None
        if ctypes.get_errno() == errno.ENOENT:
            return None
        raise OSError(ctypes.get_errno(), f"{path}: {os.strerror(ctypes.get_errno())}")


def _load(*names: str) -> ctypes.CDLL:
    for name in names:
        try:
            return ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
    raise OSError(errno.ENOENT, f"{names[0]} is not installed")
