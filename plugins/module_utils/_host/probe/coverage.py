# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was looked at wholly, what was not and why: a reader's error costs its own area, never the snapshot.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..._core.errors import SvirtError
from ..._core.snapshot import model as s
from ..base.root import reason

_MAX_WHY = 1000
_MAX_REASONS = 8


class Ledger:
    """Collects the reasons per area. With ``strict``, errors that nobody foresaw are raised: for tests."""

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._unknown: dict[str, list[str]] = {area: [] for area in s.AREAS}
        self._not_applicable: dict[str, str] = {}

    def unknown(self, area: str, *reasons: str) -> None:
        """Part of the area could not be looked at. Empty reasons say nothing."""
        self._unknown[area] += [why for why in reasons if why and why not in self._unknown[area]]

    def not_applicable(self, area: str, why: str) -> None:
        """There is no such thing on this host."""
        self._not_applicable.setdefault(area, why)

    def applies(self, area: str) -> bool:
        """Whether the area is one to be looked at."""
        return area not in self._not_applicable

    def whole(self, area: str) -> bool:
        """Whether nothing is missing so far."""
        return not self._unknown[area]

    def bug(self, area: str, why: str) -> None:
        """A child ended by an error that nobody foresaw."""
        if self._strict:
            raise AssertionError(f"{area}: {why}")
        self.unknown(area, why)

    @contextlib.contextmanager
    def area(self, *areas: str) -> t.Iterator[None]:
        """Errors inside make these areas unknown."""
        try:
            yield
        except (OSError, SvirtError) as error:
            for area in areas:
                self.unknown(area, reason(error))
        except Exception as error:  # whatever a host holds, its other areas are told
            if self._strict:
                raise
            for area in areas:
                self.unknown(area, f"{type(error).__name__}: {reason(error)}")

    def result(self) -> dict[str, s.Coverage]:
        """The coverage of every area."""
        return {area: self._coverage(area) for area in s.AREAS}

    def _coverage(self, area: str) -> s.Coverage:
        if area in self._not_applicable:
            return s.Coverage(s.NOT_APPLICABLE, self._not_applicable[area])
        reasons = self._unknown[area]
        if not reasons:
            return s.Coverage(s.OK)
        more = f"; and {len(reasons) - _MAX_REASONS} more" if len(reasons) > _MAX_REASONS else ""
        return s.Coverage(s.UNKNOWN, "; ".join(reasons[:_MAX_REASONS])[:_MAX_WHY] + more)
