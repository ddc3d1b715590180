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


def _inject(host: str, *names: str) -> object:
    from .faults import inject

    return inject(host, *names)


def _undo(_host: str, *names: str) -> object:
    from .faults import undo

    return undo(*names)


def _injected() -> object:
    from .faults import injected

    return injected()


_COMMANDS: dict[str, Callable[..., object]] = {
    "seed": _seed,
    "inject": _inject,
    "undo": _undo,
    "injected": _injected,
}


def main() -> None:
    command, *words = sys.argv[1:]
    print(json.dumps(_COMMANDS[command](*words)))


main()
