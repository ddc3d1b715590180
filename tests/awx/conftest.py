# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store import postgres


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """What all jobs share: a PostgreSQL of the test's own, as the credential has its URL."""
    with postgres.server() as url:
        yield url
