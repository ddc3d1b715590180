# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""What the machine that runs the lab asks of a host: one command, one answer as JSON on the last line."""

from __future__ import annotations

import json
import sys


def _answer(command: str, host: str, names: list[str]) -> object:
    """Each branch imports what it needs: under emulation that is most of the time a command takes."""
    if command == "seed":
        from .seed import seed

        return seed(host)
    if command in ("stop-guests", "resume"):
        from . import power

        return power.stop_guests() if command == "stop-guests" else power.resume(host)
    from . import faults

    if command == "inject":
        return faults.inject(host, *names)
    return faults.undo(*names) if command == "undo" else faults.injected()


def main() -> None:
    command, host, *names = sys.argv[1:]
    if command == "capture":
        from .capture import capture

        capture()
        return
    print(json.dumps(_answer(command, host, names)))


main()
