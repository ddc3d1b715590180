# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The command line of the lab."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import faults
from .capture import capture
from .errors import LabError
from .image import build
from .image.rootfs import RELEASES
from .image.shapes import RECIPES
from .lab import DEFAULT_DIR, Lab
from .machine import accel
from .machine.ground import Ground
from .network import HOSTS
from .shape import Shape
from .shell import say, step


def main() -> int:
    """Run one command; 0 when it did what it says."""
    args = _parser().parse_args()
    act: Callable[[argparse.Namespace], int] = args.act
    try:
        return act(args)
    except (LabError, OSError) as error:  # a disk that is full, a folder that may not be written
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _ground(args: argparse.Namespace, hosts: int) -> Ground:
    facts = accel.here()
    shape = args.shape or Shape.DEBIAN
    # Hosts without a boot loader leave one way only; whether it can be taken here, choose says.
    asked = args.accel if RECIPES[shape].boot_loader or args.accel != "auto" else accel.Accel.UML.value
    mode = accel.choose(asked, facts, boot_loader=args.boot_loader, hosts=hosts)
    if asked == "auto" and mode is accel.Accel.TCG and not args.boot_loader:
        say(f"hosts are emulated, several times slower than under User-Mode Linux: {accel.uml_unable(facts, hosts)}")
    return build.ground(args.release or RELEASES[0], mode, shape=shape, install=args.install, fall_back=asked == "auto")


def _image(args: argparse.Namespace) -> int:
    print(_ground(args, 1).disk)
    return 0


def _up(args: argparse.Namespace) -> int:
    lab = Lab.at(args.dir)
    names = args.hosts.split(",")
    if lab.up(lambda: _ground(args, len(names)), names, args.shape, args.release) and args.faults == "default":
        with step(f"default faults of {', '.join(names)}"), ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: faults.inject(name, *faults.default_faults(name), lab=lab.folder), names))
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


def _fault(args: argparse.Namespace) -> int:
    change = faults.undo if args.undo else faults.inject
    done = change(args.host, *args.names, lab=args.dir)
    for name in args.names:
        state = (
            ("undone" if args.undo else "injected") if name in done else ("not there" if args.undo else "there already")
        )
        print(f"{args.host}: {name}: {state}")
    return 0


def _faults(args: argparse.Namespace) -> int:
    for fault in sorted(faults.FAULTS.values(), key=lambda each: each.name):
        notes = [f"only {', '.join(fault.hosts)}"] if len(fault.hosts) == 1 else []
        notes += [f"default on {', '.join(fault.default_on)}"] if fault.default_on else []
        notes += ["reboots"] if fault.reboot else []
        print(f"{fault.name:30} {fault.about} [{fault.subject}]" + (f" ({'; '.join(notes)})" if notes else ""))
    for host in Lab.at(args.dir).names():
        print(f"in {host} now: {', '.join(faults.injected(host, lab=args.dir)) or 'none'}")
    return 0


def _reboot(args: argparse.Namespace) -> int:
    failed = Lab.at(args.dir).reboot(args.host)
    for name, reason in failed.items():
        print(f"guest {name} did not start again: {reason}")
    return 0


def _capture(args: argparse.Namespace) -> int:
    count = capture(Lab.at(args.dir).remote(args.host), args.target)
    print(f"{args.target}: {count} files of {args.host}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, act: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(act=act)
        if name != "image":
            made.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="folder of the lab (default: %(default)s)")
        return made

    for made in (
        command("image", _image, "build the image of a host, or say where it is"),
        up := command("up", _up, "bring the lab up, or reuse it"),
    ):
        made.add_argument(
            "--release",
            choices=RELEASES,
            help=f"of Debian (default: that of hosts that are up, else {RELEASES[0]})",
        )
        made.add_argument(
            "--shape",
            type=Shape,
            choices=list(Shape),
            metavar=f"{{{','.join(each.value for each in Shape)}}}",
            help="of the hosts (default: that of hosts that are up, else debian)",
        )
        made.add_argument("--accel", default="auto", choices=["auto", *(each.value for each in accel.Accel)])
        made.add_argument("--boot-loader", action="store_true", help="hosts that boot Debian's kernel through GRUB")
        made.add_argument("--install", action="store_true", help="install missing Debian packages on this machine")
    up.add_argument("--faults", default="default", choices=["default", "none"], help="default: %(default)s")
    up.add_argument("--hosts", default=",".join(HOSTS), help="default: %(default)s")
    command("down", _down, "stop what this lab started")
    command("status", _status, "one line a host; exit status 3 when one is down")
    one = command("fault", _fault, "put a fault into a host, or take it back")
    one.add_argument("host")
    one.add_argument("names", nargs="+", metavar="name")
    one.add_argument("--undo", action="store_true", help="take it back")
    command("faults", _faults, "the faults that there are, and those in the hosts now")
    again = command("reboot", _reboot, "reboot a host and start the guests that ran")
    again.add_argument("host")
    taken = command("capture", _capture, "copy from a host what a fixture needs")
    taken.add_argument("host")
    taken.add_argument("target", type=Path)
    shell = command("ssh", _ssh, "a shell or a command in a host")
    shell.add_argument("host")
    shell.add_argument("words", nargs=argparse.REMAINDER)
    return parser
