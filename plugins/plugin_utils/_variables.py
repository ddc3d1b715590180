# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Table of the variables of the playbooks: type, bounds, choices. Checks values, and names the nearest known name.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import datetime
import difflib
import re
import typing as t
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ansible.module_utils.common.validation import check_type_bool, check_type_int

from ..module_utils._core.allocate.label_domains import STRATEGIES, parse_domains
from ..module_utils._core.audit import report, run, waivers
from ..module_utils._core.audit.finding import PROFILES
from ..module_utils._core.errors import SvirtError
from ..module_utils._core.facts.storage_statements import parse_storage
from ..module_utils._core.selinux.context import parse_context
from ._formats.table import FORMATS
from ._tenants import tenants

PREFIX = "svirt_"
DAY = 86400
#: Ansible reads them when it chooses the hosts of a play, before any host has variables.
BEFORE_HOSTS = frozenset(("svirt_hosts", "svirt_serial"))
#: They may differ from host to host. One task takes each of the others for the whole fleet.
OF_ONE_HOST = frozenset(
    (
        "svirt_allow_reboot",
        "svirt_guest_power_cycle_force",
        "svirt_guests",
        "svirt_ignore_variables",
        "svirt_orphan_search",
        "svirt_rollback_runs",
        "svirt_timeout",
    )
)
#: Their values may hold a password, so that no message shows them.
_SECRET = frozenset(("svirt_ledger", "svirt_store"))
#: Returns a problem as text, or an empty string.
Check = Callable[[t.Any], str]


@dataclass(frozen=True)
class Problem:
    """A variable that cannot be used."""

    variable: str
    code: str
    text: str
    #: Host whose variable it is; empty: of the play, or of all hosts.
    host: str = ""

    def as_dict(self) -> dict[str, str]:
        """Entry of the return value ``problems``."""
        return {"variable": self.variable, "code": self.code, "why": self.text, "host": self.host}


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question with the nearest known name, or an empty string."""
    by_case = {name.casefold(): name for name in known}
    matches = difflib.get_close_matches(word.casefold()[:100], by_case, 1, cutoff)
    return f"did you mean {by_case[matches[0]]}?" if matches else ""


# -- checks of values --------------------------------------------------------------------------------------------------


def _shown(value: t.Any) -> str:
    text = repr(value) if not isinstance(value, str) else repr(str(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _whole(low: int, high: int) -> Check:
    def check(value: t.Any) -> str:
        why = f"give a whole number from {low} to {high}"
        if isinstance(value, (bool, float)):
            return why
        try:
            number = check_type_int(value)  # type: ignore[no-untyped-call]  # untyped in ansible-core
        except TypeError:
            return why
        return "" if low <= number <= high else why

    return check


def _flag(value: t.Any) -> str:
    try:
        check_type_bool(value)  # type: ignore[no-untyped-call]  # untyped in ansible-core
    except TypeError:
        return " ".join(filter(None, ("give true or false", nearest(str(value), ("true", "false")))))
    return ""


def _choice(*choices: str) -> Check:
    def check(value: t.Any) -> str:
        if isinstance(value, str) and value in choices:
            return ""
        return " ".join(filter(None, (f"give one of {', '.join(choices)}", nearest(str(value), choices, 0.4))))

    return check


def _text(value: t.Any) -> str:
    return "" if isinstance(value, str) and value.strip() and "\0" not in value else "give a text that is not empty"


def _path(value: t.Any) -> str:
    return _text(value) and "give the path of a folder or file on the controller"


def _optional(check: Check) -> Check:
    """An empty text counts as not given."""
    return lambda value: "" if isinstance(value, str) and not value else check(value)


_AS_LIST = 'give a list of names, as in -e \'{"NAME": ["web1", "web2"]}\''


def _names(value: t.Any) -> str:
    """A list of names; as text, names with commas between them."""
    if isinstance(value, str):
        # Ansible splits it at the commas and keeps the rest, so that " web2" would be looked for, and found nowhere.
        good = all(item and item == item.strip() for item in value.split(","))
        return "" if good else f"names are empty or have spaces beside a comma; {_AS_LIST}"
    good = isinstance(value, list) and all(
        isinstance(item, (str, int)) and not isinstance(item, bool) for item in value
    )
    return "" if good else _AS_LIST


def _ignored(value: t.Any) -> str:
    """As names; the check itself splits the text."""
    return _names([item.strip() for item in value.split(",")] if isinstance(value, str) else value)


def _paths(value: t.Any) -> str:
    items = value.split(",") if isinstance(value, str) else value
    if isinstance(items, list) and all(isinstance(item, str) and item.startswith("/") for item in items):
        return ""
    return "give a list of absolute paths, without spaces beside the commas"


def listed(value: t.Any) -> list[t.Any]:
    """The items of a list; of a text, what commas separate."""
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else list(value)


def _steps(*choices: str) -> Check:
    def check(value: t.Any) -> str:
        why = f"give a list of {', '.join(choices)}"
        if not isinstance(value, (list, str)) or not value:
            return why
        wrong = [str(item) for item in listed(value) if item not in choices]
        return " ".join(filter(None, (why, nearest(wrong[0], choices, 0.4)))) if wrong else ""

    return check


def _formats(value: t.Any) -> str:
    """A list of report formats; as text, with commas between them."""
    why = f"give a list of {', '.join(FORMATS)}"
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list):
        return why
    wrong = [str(item) for item in items if not isinstance(item, str) or item not in FORMATS]
    return " ".join(filter(None, (why, nearest(wrong[0], FORMATS, 0.4)))) if wrong else ""


def _pattern(value: t.Any) -> str:
    items = value if isinstance(value, list) else [value]
    good = bool(items) and all(isinstance(item, str) and item.strip() for item in items)
    return "" if good else "give a host pattern, such as all, or a list of patterns"


_BATCH = re.compile(r"([1-9][0-9]*|(100|[1-9]?[0-9])(\.[0-9]+)?%)\Z")


def _batches(value: t.Any) -> str:
    items = value if isinstance(value, list) else [value]
    good = bool(items) and all(not isinstance(item, bool) and _BATCH.match(str(item)) for item in items)
    return "" if good else "give a number of hosts, a percentage such as 25%, or a list of these"


def _entries(parse: Callable[[t.Any], t.Any]) -> Check:
    """A list of mappings that a parser of the core takes."""

    def check(value: t.Any) -> str:
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            return "give a list of mappings, in YAML or JSON"
        try:
            parse([dict(item) for item in value])
        except SvirtError as error:
            return str(error)
        return ""

    return check


def _tenants(items: list[dict[str, t.Any]]) -> None:
    for number, item in enumerate(items):
        if set(item) != {"match", "tenant"} or not all(isinstance(text, str) for text in item.values()):
            raise SvirtError(f"entry {number + 1}: give match and tenant, both texts")
    tenants({"tenants": items, "default_tenant": "default"})


def _default_tenant(value: t.Any) -> str:
    if not isinstance(value, str):
        return "give a name"
    try:
        tenants({"tenants": [], "default_tenant": value})
    except SvirtError as error:
        return str(error)
    return ""


_GUEST_FIELDS = ("guest", "type", "label")
_GUEST_TYPES = ("dynamic", "static", "none")


def _guests(items: list[dict[str, t.Any]]) -> None:
    for number, item in enumerate(items):
        where = f"entry {number + 1}"
        for field in item:
            if field not in _GUEST_FIELDS:
                raise SvirtError(f"{where}: {field} is no field of it {nearest(str(field), _GUEST_FIELDS)}".strip())
        if not isinstance(item.get("guest"), str) or not item["guest"]:
            raise SvirtError(f"{where}: give guest, a name or uuid")
        kind = item.get("type", "dynamic")
        if kind not in _GUEST_TYPES:
            problem = _choice(*_GUEST_TYPES)(kind)
            raise SvirtError(f"{where}: type is {_shown(kind)}: {problem}")
        if kind == "static":
            parse_context(str(item.get("label", "")))


def _date(value: t.Any) -> str:
    try:
        datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return "give a date such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z"
    return ""


_HUNDRED_YEARS = 36_500
STEPS = tuple(dict.fromkeys((*run.AUDIT_STEPS, *run.ALLOCATE_STEPS)))


def _run_id(value: t.Any) -> str:
    return "" if run.is_id(str(value)) and not isinstance(value, bool) else f"give {run.ID_RULE}"


#: Variables of the playbooks, by name.
VARIABLES: dict[str, Check] = {
    "svirt_allocate_guests": _names,
    "svirt_allow_reboot": _flag,
    "svirt_allow_unread": _flag,
    "svirt_confirm_clock": _flag,
    "svirt_default_tenant": _default_tenant,
    "svirt_fail_on": _choice(*report.THRESHOLDS),
    "svirt_guest_power_cycle": _names,
    "svirt_guest_power_cycle_force": _flag,
    "svirt_guests": _entries(_guests),
    "svirt_history_since": _date,
    "svirt_hosts": _pattern,
    "svirt_ignore_variables": _ignored,
    "svirt_inventory": _optional(_text),
    "svirt_keep_runs": _whole(1, 1_000_000),
    "svirt_label_domains": _entries(parse_domains),
    "svirt_ledger": _optional(_text),
    "svirt_max_age": _whole(1, _HUNDRED_YEARS * DAY),
    "svirt_migration_guests": _names,
    "svirt_migration_target": _text,
    "svirt_orphan_search": _paths,
    "svirt_permissive_allowed": _names,
    "svirt_profile": _choice(*PROFILES),
    "svirt_publish": _flag,
    "svirt_quarantine_days": _whole(0, _HUNDRED_YEARS),
    "svirt_report_dir": _path,
    "svirt_report_file": _optional(_path),
    "svirt_report_formats": _formats,
    "svirt_rollback_runs": _whole(1, 1_000_000),
    "svirt_run_id": _optional(_run_id),
    "svirt_run_steps": _steps(*STEPS),
    "svirt_serial": _batches,
    "svirt_since_run_id": _optional(_run_id),
    "svirt_snapshots": _optional(_path),
    "svirt_storage": _entries(parse_storage),
    "svirt_store": _text,
    "svirt_strategy": _choice(*STRATEGIES),
    "svirt_tenants": _entries(_tenants),
    "svirt_timeout": _whole(1, DAY),
    "svirt_waivers": _entries(waivers.parse),
}


def concerns(name: t.Any) -> bool:
    """Whether a name is, or was meant to be, one of these variables."""
    if not isinstance(name, str):
        return False
    folded = name.casefold()
    if folded.startswith("svirt"):
        return True
    start, underscore, rest = folded.partition("_")
    # A slip in the prefix itself. virt_ is a prefix that others use.
    close = difflib.SequenceMatcher(None, start, "svirt").ratio() >= 0.8 or sorted(start) == sorted("svirt")
    if not underscore or start == "virt" or not 4 <= len(start) <= 6 or not close:
        return False
    return bool(difflib.get_close_matches(PREFIX + rest, VARIABLES, 1, 0.95))


def check_name(name: str, ignored: t.Container[str] = ()) -> Problem | None:
    """The problem with a name that ``concerns`` is true of."""
    if name in VARIABLES or name in ignored:
        return None
    question = nearest(name, VARIABLES)
    advice = question or "the guides list the variables; a variable of your own goes into svirt_ignore_variables"
    return Problem(name, "unknown", f"{name} is no variable of svirt.fleet: {advice}")


def check_value(name: str, value: t.Any) -> Problem | None:
    """The problem with the value of a known variable."""
    if value is None:
        return Problem(name, "empty", f"{name} has no value: give one, or leave the variable out")
    why = VARIABLES[name](value)
    shown = "not what it should be" if name in _SECRET else _shown(value)
    return Problem(name, "value", f"{name} is {shown}: {why}") if why else None
