# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set the requested security keys of qemu.conf.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .._core.errors import HostWriteError, PlanError
from .._core.harden.qemu_conf import QemuConfRequest, facts_for, holding, plan, result_of, settings_of, unnamed
from .._core.libvirt.secrets import blanked
from .._host.base import conf_values
from .._host.base.daemons import is_installed
from .._host.base.file_write import CHANGED_MEANWHILE
from .._host.base.journal import Journals
from .._host.base.root import Root
from .._host.change.qemu_conf import QemuConfFacts, guest_files, read, write
from .._host.probe.daemon import CONF
from .._module import Call

#: How often the file is planned and written again when somebody else saves it meanwhile.
_TRIES = 3
#: Seconds that libvirt has to list its guests, where the host exports folders.
_TIMEOUT = 30.0

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "security_driver": {"type": "list", "elements": "str"},
    "default_confined": {"type": "bool"},
    "require_confined": {"type": "bool"},
    "user": {"type": "str"},
    "group": {"type": "str"},
    "dynamic_ownership": {"type": "bool"},
    "remember_owner": {"type": "bool"},
    "namespaces": {"type": "list", "elements": "str"},
    "seccomp_sandbox": {"type": "int", "choices": [-1, 0, 1]},
    "relaxed_acs_check": {"type": "bool"},
    "shared_filesystems": {"type": "list", "elements": "str"},
    "shared_filesystems_exact": {"type": "bool", "default": False},
    "name_exports": {"type": "bool", "default": False},
    "settings": {"type": "dict", "default": {}},
    "comment_duplicates": {"type": "bool", "default": True},
}


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Plan, write unless in check mode. Raises SvirtError."""
    root = call.root
    if not is_installed(root):
        raise PlanError(
            "no libvirt daemon for QEMU is installed on this host, so it has no qemu.conf to set", code="no_libvirt"
        )
    for last in (False,) * (_TRIES - 1) + (True,):
        facts = read(root, CONF, exports=call.params["name_exports"])
        if facts.unread:
            raise PlanError(f"{CONF} is left alone: {facts.unread}", "conf_not_read")
        if facts.unsettled is not None:
            raise PlanError(f"{CONF} is left alone: {facts.unsettled}", facts.unsettled.code)
        request = replace(_request(call, root, facts), version=conf_values.installed_version(root))
        values = conf_values.read(root, facts_for(facts.text, request))
        planned = plan(facts.text, request, facts.mode, facts.lsms, values)
        if not planned.edits or call.check_mode:
            break
        try:
            with journals.open("libvirt_security") as journal:
                write(CONF, planned.text, facts, journal)
            break
        except HostWriteError as error:
            if last or error.code != CHANGED_MEANWHILE:  # else planned again from what somebody else saved
                raise
    call.warnings += [f"what the host exports is not fully known: {warning}" for warning in facts.warnings]
    result = result_of(planned, facts.daemon, facts.stale)
    if call.diff:
        header = {"before_header": CONF, "after_header": CONF}
        result.extra["diff"] = (
            [{**header, "before": blanked(facts.text), "after": blanked(planned.text)}] if planned.edits else []
        )
    return result.as_dict()


def _request(call: Call, root: Root, facts: QemuConfFacts) -> QemuConfRequest:
    params = call.params
    shared = params["shared_filesystems"]
    if params["shared_filesystems_exact"] and shared is None:
        raise PlanError(
            "shared_filesystems_exact needs shared_filesystems: give the folders, or an empty list for none",
            code="option_missing",
        )
    exact = params["shared_filesystems_exact"]
    exports = facts.exported if exact else unnamed(facts.text, facts.exported, root.exists)  # the others stay
    files, doubt = guest_files(root, _TIMEOUT) if exports else (frozenset(), "")
    exported = holding(exports, files)
    return QemuConfRequest(
        settings=settings_of(params, params["settings"]),
        shared=None if shared is None else tuple(shared),
        exact=exact,
        exported=exported,
        doubtful=tuple(folder for folder in exports if folder not in exported) if doubt else (),
        doubt=doubt,
        duplicates=params["comment_duplicates"],
    )
