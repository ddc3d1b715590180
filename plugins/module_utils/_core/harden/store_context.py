# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label with which programs that write the policy store run, so that the policy denies them nothing.

From its release 3.8 on, libsemanage gives each file that it writes the label that file_contexts has for it, the SELinux
user included. A new file has the user of the process that creates it. So when an administrator with another user
(unconfined_u) runs semodule, each of the store's two or three thousand files is relabelled, and where the policy does
not let semodule's domain do that, each leaves a denial, without any other effect. With the store's own user (system_u)
there is nothing to relabel.

Sources: semanage_setfiles in libsemanage/src/semanage_store.c; the constraint on relabelfrom and relabelto (u1 == u2,
or can_change_object_identity) in refpolicy's policy/constraints; the kernel checks roles with process transition.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..selinux.context import read_context
from ..selinux.policy_access import AccessVerdict, Check

#: Role of the system's own processes.
_SYSTEM_ROLE = "system_r"


@dataclass(frozen=True)
class StoreRun:
    """Labels that bear on the run of a program that writes the store."""

    #: Of the process that starts it.
    own: str
    #: Of the program's file.
    program: str
    #: Of the process that it would be.
    domain: str
    #: Of the store's files.
    store: str

    @property
    def wanted(self) -> str | None:
        """The label with the store's user; None where it would run with that user anyway, or a label has no form."""
        domain, store = read_context(self.domain), read_context(self.store)
        if domain is None or store is None or domain.user == store.user:
            return None
        return _with_user(self.domain, store.user)

    def relabel_questions(self) -> list[Check]:
        """What the program would have to do to each file that it creates."""
        domain, store = read_context(self.domain), read_context(self.store)
        if domain is None or store is None:
            return []
        created = ":".join((domain.user, *self.store.split(":")[1:]))
        return [
            check
            for tclass in ("file", "dir")
            for check in (
                Check(self.domain, created, tclass, ("relabelfrom",)),
                Check(self.domain, self.store, tclass, ("relabelto",)),
            )
        ]

    def entering_questions(self) -> list[Check]:
        """What starting it with the wanted label takes."""
        wanted = self.wanted
        if wanted is None:
            return []
        return [
            Check(self.own, self.own, "process", ("setexec",)),
            Check(self.own, wanted, "process", ("transition",)),
            Check(wanted, self.program, "file", ("entrypoint",)),
        ]


def label_to_run_with(
    run: StoreRun, relabels: t.Sequence[AccessVerdict], entering: t.Sequence[AccessVerdict]
) -> str | None:
    """The label to start the program with; None: start it as it is, where that leaves no denial or cannot be helped."""
    if all(item.status == "allowed" for item in relabels):
        return None
    if not entering or any(item.status != "allowed" for item in entering):
        return None
    return run.wanted


def _with_user(label: str, user: str) -> str:
    _user, _role, *rest = label.split(":", 2)
    return ":".join((user, _SYSTEM_ROLE, *rest))
