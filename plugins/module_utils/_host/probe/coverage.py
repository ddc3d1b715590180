# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Coverage of the probe: which areas were read wholly, which were not and why. An error costs its own area only.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..._core.errors import SvirtError
from ..._core.result import UNEXPECTED, Reason
from ..._core.snapshot import model as s
from ..._core.snapshot.coverage import coverage_of
from ..base.root import reason, trouble


class CoverageLog:
    """Reasons per area. With ``strict``, unexpected errors are raised: for tests."""

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        #: The keys are the reasons, each once.
        self._unknown: dict[str, dict[Reason, None]] = {area: {} for area in s.AREAS}
        self._not_applicable: dict[str, Reason] = {}

    def unknown(self, area: str, *reasons: Reason | None) -> None:
        """Part of the area could not be read. None is ignored."""
        self._unknown[area].update((why, None) for why in reasons if why is not None)

    def not_applicable(self, area: str, why: Reason) -> None:
        """The area does not exist on this host."""
        self._not_applicable.setdefault(area, why)

    def applies(self, area: str) -> bool:
        """Whether the area exists on this host."""
        return area not in self._not_applicable

    def whole(self, area: str) -> bool:
        """Whether the area has no gap so far."""
        return not self._unknown[area]

    def bug(self, area: str, why: Reason) -> None:
        """A child process ended by an unexpected error."""
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
                self.unknown(area, trouble(error))
        except Exception as error:  # whatever a host holds, its other areas are read
            if self._strict:
                raise
            for area in areas:
                self.unknown(area, Reason(UNEXPECTED, f"{type(error).__name__}: {reason(error)}"))

    def result(self) -> dict[str, s.Coverage]:
        """The coverage of every area."""
        return {area: self._coverage(area) for area in s.AREAS}

    def _coverage(self, area: str) -> s.Coverage:
        if area in self._not_applicable:
            absent = self._not_applicable[area]
            return s.Coverage(s.NOT_APPLICABLE, absent.text, [absent.code])
        return coverage_of(self._unknown[area])
