# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""By what the jobs of a run know each other: the id, the name of the inventory, the version of the collection.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import json
import typing as t
from collections.abc import Mapping
from pathlib import Path

import yaml

#: The store when no other is named.
DEFAULT_URL = "sqlite:///svirt-fleet.db"
#: Options of actions that work on a run.
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "run": {"type": "str", "default": ""},
    "inventory": {"type": "str", "default": ""},
}


def inventory_of(arguments: Mapping[str, t.Any], variables: Mapping[str, t.Any]) -> str:
    """Name of the inventory, the same for all jobs of a run: as given, of AWX, or where it was read from."""
    if arguments["inventory"]:
        return str(arguments["inventory"])
    if variables.get("awx_inventory_id"):
        return f"awx:{variables['awx_inventory_id']}"
    sources = variables.get("ansible_inventory_sources")
    return ", ".join(sorted(map(str, sources))) if isinstance(sources, (list, tuple)) and sources else "default"


@functools.cache
def version() -> str:
    """Version of this collection: of its manifest where it is installed, of galaxy.yml in a checkout."""
    top = Path(__file__).resolve().parents[2]
    try:
        manifest = json.loads((top / "MANIFEST.json").read_text(encoding="utf-8"))
        return str(manifest["collection_info"]["version"])
    except (OSError, ValueError, KeyError):
        pass  # a checkout
    try:
        return str(yaml.safe_load((top / "galaxy.yml").read_text(encoding="utf-8"))["version"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return "unknown"
