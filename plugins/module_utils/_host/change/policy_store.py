# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of policy modules and booleans, and the transactions that change it.

Each transaction builds and loads the policy once: that takes seconds, and half a minute on a slow host.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
import typing as t
import zlib
from dataclasses import dataclass

from ..._core.errors import HostReadError, HostWriteError, PlanError
from ..._core.harden import selinux
from ..._core.harden.selinux import ADMIN_PRIORITY, BooleanFacts, PolicyModule
from ..._core.harden.store_context import StoreRun, label_to_run_with
from ..._core.selinux.policy_modules import SHIPPED_PRIORITIES
from ..base import policy_modules
from ..base.file_write import LABEL
from ..base.journal import Entry, Journal
from ..base.loaded_policy import FS, LoadedPolicy
from ..base.policy_modules import MAX_MODULE, OF_GUESTS, STORE, plain
from ..base.root import Root, label_of, reason
from ..base.tools import HostTools

MODULES_KIND = "policy_module"
PERMISSIVE_KIND = "permissive"
BOOLEAN_KIND = "boolean"

_MAX_POLICY = 64 * 1024 * 1024
#: coreutils' program that starts another with a label.
_RUNCON = "runcon"


@dataclass(repr=False, eq=False)
class PolicyStore:
    """The store of one policy of a host."""

    root: Root
    tools: HostTools
    policy: str

    def modules(self) -> list[PolicyModule]:
        """Modules that the administrator added. Raises OSError and HostReadError."""
        modules = []
        for priority in self._priorities():
            if priority not in SHIPPED_PRIORITIES:
                folder = f"{self._folder}/modules/{priority}"
                names = self.root.names(folder)
                modules += [PolicyModule(priority, name, self._content(f"{folder}/{name}/cil")) for name in names]
        return modules

    def shipped_permissive(self, types: t.Collection[str]) -> set[str]:
        """Those of these types that the distribution's modules make permissive. Raises OSError and HostReadError."""
        return policy_modules.shipped_permissive(self.root, self.policy, types) or set()

    def booleans(self, names: t.Iterable[str]) -> dict[str, BooleanFacts]:
        """Those of these booleans that the loaded policy has. Raises OSError and HostReadError."""
        active: dict[str, bool] = {}
        for name in names:
            words = (self.root.line(f"{FS}/booleans/{name}") or "").split()
            if len(words) == 2:
                active[name] = words[0] == "1"
        local = self._local()
        declared: dict[str, bool] | None = None
        facts = {}
        for name, value in active.items():
            if name not in local and declared is None:
                declared = self._declared()
            facts[name] = BooleanFacts(value, local.get(name, (declared or {}).get(name)))
        return facts

    def change(
        self, install: t.Sequence[tuple[str, bytes]], remove: t.Sequence[tuple[int, str]], journal: Journal
    ) -> None:
        """Install and remove modules (name and CIL; priority and name), all of them or none."""
        touched = [*((ADMIN_PRIORITY, name) for name, _cil in install), *remove]
        before = [self._state(priority, name) for priority, name in touched]
        subject = " ".join(f"{priority}/{name}" for priority, name in touched)
        fresh = {(ADMIN_PRIORITY, name): digest(cil) for name, cil in install}
        after = [
            {"priority": priority, "name": name, "sha256": fresh.get((priority, name))} for priority, name in touched
        ]
        entry = Entry(MODULES_KIND, subject, {"policy": self.policy, "modules": before}, {"modules": after})
        journal.record([entry])
        modules = [(ADMIN_PRIORITY, name, "cil", cil) for name, cil in install]
        _semodule(self.tools, self.policy, modules, remove, self.root)

    def load(self, types: t.Sequence[str], journal: Journal) -> None:
        """Load the store's policy into the kernel, which has another one, with these types permissive."""
        try:
            policy = self.root.read_bytes(f"{FS}/policy", _MAX_POLICY)
        except (OSError, HostReadError) as error:
            raise HostWriteError(
                f"the loaded policy cannot be kept for a rollback: {reason(error)}; it stays", "policy_unread"
            ) from error
        subject = " ".join(types)
        journal.record([Entry(PERMISSIVE_KIND, subject, {"policy": _text(zlib.compress(policy))})])
        _run(self.tools, ["load_policy"], "the policy that was loaded stays")
        # What was loaded is known only now. This entry restores nothing: it identifies the loaded policy.
        loaded = _loaded(self.tools)
        if loaded is not None:
            journal.record([Entry(PERMISSIVE_KIND, subject, {"policy": None}, {"sha256": digest(loaded)})])

    def set_booleans(
        self, runtime: dict[str, bool], persistent: dict[str, bool], journal: Journal, reload: bool
    ) -> None:
        """Set booleans. Without ``reload`` the persistent ones are stored, and loaded with what follows."""
        facts = self.booleans([*runtime, *persistent])
        before = {
            name: {"active": current.active, "persistent": current.persistent, "stored": name in persistent}
            for name, current in facts.items()
        }
        journal.record([Entry(BOOLEAN_KIND, " ".join(sorted(before)), {"booleans": before})])
        _store_booleans(self.tools, persistent, reload, self.policy, self.root)
        activate(self.tools, {**runtime, **persistent})

    @property
    def _folder(self) -> str:
        return f"{STORE}/{self.policy}/active"

    def _priorities(self) -> list[int]:
        return policy_modules.priorities(self.root, self.policy)

    def _content(self, path: str) -> bytes | None:
        return policy_modules.content(self.root, path)

    def _local(self) -> dict[str, bool]:
        try:
            return selinux.local_booleans(self.root.read_text(f"{self._folder}/booleans.local"))
        except FileNotFoundError:
            return {}

    def _declared(self) -> dict[str, bool]:
        values: dict[str, bool] = {}
        for priority in self._priorities():  # the highest counts
            cil = self._content(f"{self._folder}/modules/{priority}/{OF_GUESTS}/cil")
            values.update(selinux.defaults_of(cil) if cil else {})
        return values

    def _state(self, priority: int, name: str) -> dict[str, t.Any]:
        """A module as it is, for the journal: in the language that it was installed in."""
        folder = f"{self._folder}/modules/{priority}/{name}"
        try:
            language = (self.root.line(f"{folder}/lang_ext") or "cil")[:16]
            content = self._content(f"{folder}/{'cil' if language == 'cil' else 'hll'}")
        except (OSError, HostReadError) as error:
            raise HostWriteError(
                f"{folder} cannot be read: {reason(error)}; nothing was changed", "module_unread"
            ) from error
        kept = None if content is None else _text(content)
        return {"priority": priority, "name": name, "language": language, "content": kept}


def activate(tools: HostTools, values: dict[str, bool]) -> None:
    """Set booleans in the kernel, all at once, until the next boot."""
    for name, value in sorted(values.items()):
        write(tools, f"{FS}/booleans/{name}", "1" if value else "0")
    if values:
        write(tools, f"{FS}/commit_pending_bools", "1")


def write(tools: HostTools, path: str, text: str | bytes) -> None:
    """Write to one of the kernel's files, in one write. Raises HostWriteError."""
    content = text.encode("ascii") if isinstance(text, str) else text
    try:
        handle = os.open(tools.at(path), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, content)
        finally:
            os.close(handle)
    except OSError as error:
        raise HostWriteError(f"{path} refuses the value: {reason(error)}; it is as it was", "kernel_refuses") from error


def restore(entry: Entry, tools: HostTools) -> None:
    """Restore modules, the loaded policy or booleans, while they are still as this collection left them.

    Raises PlanError where they are not, and HostWriteError.
    """
    if entry.kind == MODULES_KIND:
        modules = entry.before["modules"]
        _refuse_changed(entry, tools)
        install = [
            (item["priority"], item["name"], item["language"], base64.b64decode(item["content"]))
            for item in modules
            if item["content"] is not None
        ]
        absent = [(item["priority"], item["name"]) for item in modules if item["content"] is None]
        policy = entry.before["policy"]
        # A run that was killed may not have installed them, and semodule removes nothing that is not there.
        remove = sorted(set(absent) & _installed(tools, policy)) if absent else []
        if install or remove:
            _semodule(tools, policy, install, remove)
    elif entry.kind == PERMISSIVE_KIND and entry.before["policy"] is None:
        loaded = _loaded(tools)
        if entry.after and loaded is not None and digest(loaded) != entry.after["sha256"]:
            text = "another policy was loaded since, which the old one would replace; it was left alone"
            raise PlanError(text, "changed_since")
    elif entry.kind == PERMISSIVE_KIND:
        write(tools, f"{FS}/load", zlib.decompress(base64.b64decode(entry.before["policy"])))
    else:
        booleans = entry.before["booleans"]
        stored = {
            name: bool(state["active"] if state["persistent"] is None else state["persistent"])
            for name, state in booleans.items()
            if state["stored"]
        }
        _store_booleans(tools, stored, reload=True)
        activate(tools, {name: bool(state["active"]) for name, state in booleans.items()})


def _refuse_changed(entry: Entry, tools: HostTools) -> None:
    """A module that is neither as it was nor as it was set belongs to somebody else by now. Raises PlanError."""
    for old, new in zip(entry.before["modules"], (entry.after or {}).get("modules", [])):
        folder = f"{STORE}/{entry.before['policy']}/active/modules/{new['priority']}/{new['name']}"
        now = [digest(content) for name in ("cil", "hll") if (content := _file(tools, f"{folder}/{name}")) is not None]
        was = None if old["content"] is None else digest(base64.b64decode(old["content"]))
        ours = [state for state in (was, new["sha256"]) if state is not None]
        absent = was is None or new["sha256"] is None
        if (now and not set(now) & set(ours)) or (not now and not absent):
            text = f"policy module {new['priority']}/{new['name']} was changed since; it was left alone"
            raise PlanError(text, "changed_since")


def _file(tools: HostTools, path: str) -> bytes | None:
    try:
        with open(tools.at(path), "rb") as file:
            return plain(file.read(MAX_MODULE))
    except FileNotFoundError:
        return None
    except (OSError, HostReadError) as error:
        raise HostWriteError(f"{path} cannot be read: {reason(error)}; it was left alone", "store_unread") from error


def _loaded(tools: HostTools) -> bytes | None:
    """The policy in the kernel; None where it cannot be read."""
    try:
        with open(tools.at(f"{FS}/policy"), "rb") as file:
            return file.read(_MAX_POLICY)
    except OSError:
        return None


def digest(content: bytes) -> str:
    """Digest that identifies a module or policy."""
    return hashlib.sha256(content.strip()).hexdigest()


def _store_booleans(
    tools: HostTools, values: dict[str, bool], reload: bool, policy: str = "", root: Root | None = None
) -> None:
    if values:
        words = [f"{name}={int(value)}" for name, value in sorted(values.items())]
        words = ["setsebool", *([] if reload else ["-N"]), "-P", *words]
        _run_writer(tools, words, "the booleans are as they were", policy, root)


def _semodule(
    tools: HostTools,
    policy: str,
    install: t.Sequence[tuple[int, str, str, bytes]],
    remove: t.Sequence[tuple[int, str]],
    root: Root | None = None,
) -> None:
    """One transaction. The modules' sources are handed over as files, which go again whatever happens."""
    folder = tempfile.mkdtemp(prefix="svirt-fleet-")
    try:
        words = ["semodule", "-s", policy]
        for priority, name, language, content in install:
            path = os.path.join(folder, f"{priority}", f"{name}.{language}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
            words += ["-X", str(priority), "-i", path]
        for priority, name in remove:
            words += ["-X", str(priority), "-r", name]
        _run_writer(tools, words, "the policy is as it was", policy, root)
    except OSError as error:
        raise HostWriteError(
            f"policy modules cannot be handed over: {reason(error)}; the policy is as it was", "modules_not_written"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _installed(tools: HostTools, policy: str) -> set[tuple[int, str]]:
    """Priority and name of every module in the store."""
    lines = _run(tools, ["semodule", "-s", policy, "-lfull"], "the policy is as it was").splitlines()
    return {(int(words[0]), words[1]) for words in map(str.split, lines) if len(words) > 1 and words[0].isdigit()}


def _run_writer(tools: HostTools, words: list[str], then: str, policy: str, root: Root | None) -> None:
    """Run a program that writes the store, with the store's own SELinux user where the policy would deny it more."""
    runcon, program = tools.find(_RUNCON), tools.find(words[0])
    label = _label_to_run_with(root or Root(), program, policy) if runcon and program else None
    if runcon and program and label:
        status, _out, _err = tools.run_command([runcon, label, program, *words[1:]])
        if status == 0:
            return
        # It did not start, or it failed and changed nothing: the ordinary run reports the reason.
    _run(tools, words, then)


def _label_to_run_with(root: Root, program: str, policy: str) -> str | None:
    loaded = LoadedPolicy(root)
    own = root.line("/proc/self/attr/current")
    try:
        file, store = (label_of(root.getxattr(path, LABEL)) for path in (program, f"{STORE}/{policy}/active"))
    except OSError:
        return None
    if not loaded.loaded or not own or not file or not store:
        return None
    own = own.rstrip("\0")
    run = StoreRun(own, file, loaded.created(own, file, "process") or own, store)
    if run.wanted is None:
        return None
    relabels, entering = (
        loaded.verdicts(questions) for questions in (run.relabel_questions(), run.entering_questions())
    )
    return label_to_run_with(run, relabels, entering)


def _run(tools: HostTools, words: list[str], then: str) -> str:
    program = tools.find(words[0])
    if program is None:
        raise HostWriteError(f"{words[0]} is not installed (package policycoreutils); {then}", "program_missing")
    status, out, err = tools.run_command([program, *words[1:]])
    if status:
        raise HostWriteError(
            f"{words[0]} failed with status {status}: {(err or out).strip()[-1000:]}; {then}", "program_failed"
        )
    return out


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
