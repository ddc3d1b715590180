# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The command line of the lab."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from . import accel, image, rootfs
from .errors import LabError
from .lab import DEFAULT_DIR, Lab
from .network import HOSTS


def main() -> int:
    """Run one command; 0 when it did what it says."""
    args = _parser().parse_args()
    act: Callable[[argparse.Namespace], int] = args.act
    try:
        return act(args)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _image(args: argparse.Namespace) -> int:
    print(image.build(args.release, accel.detect(args.accel), args.install))
    return 0


def _up(args: argparse.Namespace) -> int:
    mode = accel.detect(args.accel)
    disk = image.build(args.release, mode, args.install)
    lab = Lab.at(args.dir)
    lab.up(disk, mode, args.hosts.split(","))
    print(f"inventory: {lab.inventory}")
    return 0


def _down(args: argparse.Namespace) -> int:
    Lab.at(args.dir).down()
    return 0


def _status(args: argparse.Namespace) -> int:
    lines = Lab.at(args.dir).status()
    for name, line in lines.items():
        print(f"{name}: {line}")
    return 0 if lines and all(line.startswith("up") for line in lines.values()) else 3


def _ssh(args: argparse.Namespace) -> int:
    remote = Lab.at(args.dir).remote(args.host)
    return subprocess.run(remote.argv(*args.words, tty=not args.words and sys.stdin.isatty()), check=False).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, act: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(act=act)
        if name != "image":
            made.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="folder of the lab (default: %(default)s)")
        return made

    for made in (command("image", _image, "build the image of a host, or say where it is"),
                 up := command("up", _up, "bring the lab up, or reuse it")):
        made.add_argument("--release", default="trixie", choices=rootfs.RELEASES)
        made.add_argument("--accel", default="auto", choices=["auto", "kvm", "tcg"])
        made.add_argument("--install", action="store_true", help="install missing Debian packages on this machine")
    up.add_argument("--hosts", default=",".join(HOSTS), help="default: %(default)s")
    command("down", _down, "stop what this lab started")
    command("status", _status, "one line a host; exit status 3 when one is down")
    shell = command("ssh", _ssh, "a shell or a command in a host")
    shell.add_argument("host")
    shell.add_argument("words", nargs=argparse.REMAINDER)
    return parser
