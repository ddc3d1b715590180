# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What the machine that runs the lab asks of a host: one command, one answer as JSON on the last line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable


def _seed(host: str) -> object:
    from .seed import seed

    return seed(host)


_COMMANDS: dict[str, Callable[..., object]] = {"seed": _seed}


def main() -> None:
    command, *words = sys.argv[1:]
    print(json.dumps(_COMMANDS[command](*words)))


main()
