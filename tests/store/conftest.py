# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.scenarios.soak import pytest_collection_modifyitems, pytest_configure
from tests.store import postgres

__all__ = ["pytest_collection_modifyitems", "pytest_configure"]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A PostgreSQL of our own. Where there is none, what asks for it fails: it is never skipped."""
    with postgres.server() as url:
        yield url


@pytest.fixture
def postgresql(server: str) -> str:
    """An empty database on the server."""
    engine = sa.create_engine(sa.make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS fleet WITH (FORCE)")
        connection.exec_driver_sql("CREATE DATABASE fleet")
    engine.dispose()
    return server.replace("/postgres?", "/fleet?")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store on each of the databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fleet.db'}"
    return str(request.getfixturevalue("postgresql"))
