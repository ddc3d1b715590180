# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the watch, from the file that the module writes.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, field

from ...errors import PlanError, SvirtError
from .. import waivers as w
from ..finding import PROFILES, Settings
from ..report import THRESHOLDS

#: Paths that systemd reads as they are.
_DIRECTORY = re.compile(r"(?:/[A-Za-z0-9._+@-]+)+/?\Z")
#: Name of the file with the metrics, in the folder of the textfile collector.
METRICS = "svirt_fleet_watch.prom"


@dataclass(frozen=True)
class WatchSettings:
    """How a host judges itself."""

    #: The host's name in the inventory: fingerprints and waivers name it.
    host: str
    #: Folder for the metrics.
    directory: str
    #: Seconds between two runs.
    interval: int = 900
    #: Seconds that libvirt and each storage may take to answer.
    timeout: int = 30
    fail_on: str = "high"
    profile: str = "local"
    permissive_allowed: tuple[str, ...] = ()
    waivers: tuple[dict[str, t.Any], ...] = field(default=())

    @property
    def rules(self) -> Settings:
        """The operator's settings for the rules."""
        return Settings(self.profile, self.permissive_allowed)

    def accepted(self) -> tuple[w.Waiver, ...]:
        """The waivers. Raises WaiverError."""
        return w.parse(list(self.waivers))

    def text(self) -> str:
        """The file."""
        return json.dumps({**vars(self)}, indent=2, sort_keys=True) + "\n"


def read_settings(text: str) -> WatchSettings:
    """The settings of the file. Raises PlanError for anything else."""
    try:
        given = json.loads(text)
        given.update({name: tuple(given[name]) for name in ("permissive_allowed", "waivers")})
        settings = WatchSettings(**given)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PlanError(f"the settings are not those of the watch: {str(error)[:200]}", "bad_settings") from error
    check(settings)
    return settings


def check(settings: WatchSettings) -> None:
    """Raise PlanError for settings that cannot be meant; those of a file may be of any type."""
    numbers = {"interval": (60, 86400), "timeout": (1, 600)}
    for name, (low, high) in numbers.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise PlanError(f"{name} is {value!r}; give {low} to {high} seconds", f"bad_{name}")
    for name, choices in (("fail_on", THRESHOLDS), ("profile", PROFILES)):
        if getattr(settings, name) not in choices:
            raise PlanError(f"{name} is {getattr(settings, name)!r}; give one of {', '.join(choices)}", f"bad_{name}")
    host: t.Any = settings.host
    if not isinstance(host, str) or not host:
        raise PlanError("host is empty; give the host's name in the inventory", "bad_host")
    directory: t.Any = settings.directory
    if not isinstance(directory, str) or not _DIRECTORY.match(directory) or ".." in directory.split("/"):
        text = f"directory is {directory!r}; give an absolute path of letters, digits, and the characters . _ - + @"
        raise PlanError(text, "bad_directory")
    try:
        settings.accepted()
    except SvirtError as error:
        raise PlanError(f"waivers: {error}", "bad_waivers") from error
