# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups of container engines.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re

#: Parts of the names of groups that engines make.
_ENGINE = re.compile(r"docker|libpod|kubepods|crio|containerd|lxc")
#: Groups in which a user may make groups of any name.
_OF_USERS = ("/user.slice/", "/user@")


def named_for_engine(cgroup: str | None) -> bool:
    """The group has an engine's name; a user may have made it."""
    return _ENGINE.search(cgroup or "") is not None


def of_engine(cgroup: str | None) -> bool:
    """The group is of an engine that root runs."""
    return named_for_engine(cgroup) and not any(part in (cgroup or "") for part in _OF_USERS)
