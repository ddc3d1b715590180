# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Body of watch_timer: installs or removes the watch.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import binascii
import typing as t
import zlib

from .._core.audit.finding import PROFILES
from .._core.audit.report import THRESHOLDS
from .._core.audit.watch.settings import WatchSettings, check
from .._core.errors import PlanError
from .._core.harden.watch import plan
from .._core.harden.watch.plan import WatchFacts, WatchOptions, WatchStep
from .._core.harden.watch.units import TIMER
from .._core.result import Reason, Refusal, Result
from .._host.base.journal import Journals
from .._host.base.tools import HostTools
from .._host.change.own_programs.watch import WatchActor
from .._module import INTERPRETERS, Call

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "content": {"type": "str"},
    "host": {"type": "str"},
    "directory": {"type": "path", "default": "/var/lib/prometheus/node-exporter"},
    "interval": {"type": "int", "default": 900},
    "time_limit": {"type": "int", "default": 300},
    "memory_limit": {"type": "int", "default": 512},
    "timeout": {"type": "int", "default": 30},
    "fail_on": {"type": "str", "choices": list(THRESHOLDS), "default": "high"},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "local"},
    "permissive_allowed": {"type": "list", "elements": "str", "default": []},
    "waivers": {"type": "list", "elements": "dict", "default": []},
}
_MAX_PROGRAM = 16 * 1024 * 1024
_NO_BINDING = Reason(
    "no_libvirt_binding",
    "no Python of the host has libvirt's binding, so the verdict of the watch will be unknown; install python3-libvirt",
)


def run(call: Call, journals: Journals) -> dict[str, t.Any]:
    """Read the host, plan, install or remove unless in check mode. Raises SvirtError."""
    actor = WatchActor(call.root, HostTools(run_command=call.run_command, find=call.find))
    wanted = call.params["state"] == "present"
    settings = _settings(call.params) if wanted else None
    limits: list[Reason] = []
    python, domain = "", None
    if settings is not None:
        python, bound = actor.python(INTERPRETERS)
        domain = actor.domain(python)
        limits = [*actor.limits(domain, settings.directory), *([] if bound else [_NO_BINDING])]
    seen = actor.look(settings.directory if settings is not None else "")
    steps = _plan(call.params, settings, python, seen)
    if steps and not call.check_mode:
        with journals.open("watch_timer") as journal:
            if wanted:
                actor.install(steps, python, journal)
            else:
                actor.remove(steps, journal)
    after = plan.applied(seen, steps)
    extra = {"domain": domain, "limits": [Refusal(TIMER, limit).as_dict() for limit in limits]}
    result = Result(plan.facts(seen), plan.facts(after), plan=[step.step for step in steps], extra=extra)
    if steps:
        call.warnings += [f"watch: {limit}" for limit in limits]
    if call.diff:
        result.extra["diff"] = plan.diff(seen, after)
    return result.as_dict()


def _plan(params: dict[str, t.Any], settings: WatchSettings | None, python: str, seen: WatchFacts) -> list[WatchStep]:
    if settings is None:
        return plan.remove(seen)
    limits = params["time_limit"], params["memory_limit"]
    return plan.install(WatchOptions(settings, _program(params["content"]), python, *limits), seen)


def _settings(params: dict[str, t.Any]) -> WatchSettings:
    """Raises PlanError."""
    keys = ("directory", "interval", "timeout", "fail_on", "profile")
    chosen: dict[str, t.Any] = {key: params[key] for key in keys}
    chosen.update({name: tuple(params[name]) for name in ("permissive_allowed", "waivers")})
    settings = WatchSettings(params["host"] or "", **chosen)
    check(settings)
    return settings


def _program(content: str | None) -> bytes:
    """The program as it travels: compressed, in base64. Raises PlanError."""
    try:
        unpacker = zlib.decompressobj()
        program = unpacker.decompress(binascii.a2b_base64(content or ""), _MAX_PROGRAM)
        if unpacker.unconsumed_tail:
            raise ValueError("it is too large")
        return program
    except (ValueError, zlib.error) as error:
        text = f"content is not the program of the watch ({error}); leave it out, the action plugin builds it"
        raise PlanError(text, "no_content") from error
