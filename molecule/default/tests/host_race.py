# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host: image files in one folder, what must not be touched outside of it, and who swaps the two.

The racer moves a file (or a whole folder of files) out of its place and puts something else there, by a name that
leads elsewhere: a symbolic link or a hard link to a file that is none of the images, a link to a folder in which the
same names lead to such files, or it gives the file itself a second name outside. Most often all is as it was a moment
later; one in six places is swapped at any time. It sleeps in between: a process that wakes up comes before a process
that works, so that the swaps fall between any two steps of whoever labels the files.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import stat
import sys
import time
from pathlib import Path

IMAGES = Path("/var/lib/libvirt/images/race")
OUTSIDE = Path("/var/lib/svirt-race")
STASH, NAMESAKES, SECOND = OUTSIDE / "stash", OUTSIDE / "namesakes", OUTSIDE / "second"
READY, STOP = Path("/run/svirt-race.ready"), Path("/run/svirt-race.stop")
LABEL = "security.selinux"
AT_REST = "system_u:object_r:virt_image_t:s0"
SECRET = "system_u:object_r:shadow_t:s0"
FOLDERS, FILES = 6, 20
#: Seconds after which it ends without an order.
LIMIT = 3600.0
#: Seconds between two swaps, and how many of them are put back at once.
PAUSE, AT_ONCE = 0.0001, 0.8


def places() -> list[Path]:
    """Where the images are."""
    return [IMAGES / f"d{number}" / f"f{index:02}.raw" for number in range(FOLDERS) for index in range(FILES)]


def make_file(path: Path, label: str) -> None:
    """A small file with a label and nothing else to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(4096))
    path.chmod(0o600)
    os.setxattr(path, LABEL, label.encode() + b"\0")


def make() -> None:
    """Images, and the rest."""
    for place in places():
        make_file(place, AT_REST)
        make_file(NAMESAKES / place.name, SECRET)
    make_file(OUTSIDE / "shadow", SECRET)
    for folder in (STASH, SECOND):
        folder.mkdir()
    os.setxattr(NAMESAKES, LABEL, SECRET.encode() + b"\0")


def remove() -> None:
    """All of it."""
    for folder in (IMAGES, OUTSIDE):
        shutil.rmtree(folder, ignore_errors=True)
    for note in (READY, STOP):
        note.unlink(missing_ok=True)


def state(path: Path) -> list[object]:
    """All of a file that a relabel could change."""
    facts = os.lstat(path)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    attributes = {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names}
    return [facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode), attributes]


def states(victims: list[str]) -> dict[str, object]:
    """The labels of the images, and whatever is outside of their folder. Only while nobody swaps them."""
    outside = [OUTSIDE, *OUTSIDE.rglob("*"), *map(Path, victims)]
    return {
        "images": {str(path): os.getxattr(path, LABEL).decode().rstrip("\0") for path in places()},
        "outside": {str(path): state(path) for path in outside},
    }


class Racer:
    """Swaps what is at a place for something else, and back."""

    def __init__(self, victims: list[str]) -> None:
        self._random = random.Random(2026)  # noqa: S311 - the order of swaps is no secret
        self._victims = [str(OUTSIDE / "shadow"), *victims]
        self._swapped: dict[Path, str] = {}
        self.count = dict.fromkeys(("symlink", "hardlink", "second", "folder"), 0)

    def race(self) -> dict[str, int]:
        """Until it gets the order to stop; then everything is in its place."""
        all_places = [*places(), *(IMAGES / f"d{number}" for number in range(FOLDERS))]
        end = time.monotonic() + LIMIT
        for turn in itertools.count():
            place = self._random.choice(all_places)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # its folder is away
                if place not in self._swapped:
                    self.swap(place)
                    time.sleep(PAUSE)
                if self._random.random() < AT_ONCE:
                    self.put_back(place)
            if turn % 50 == 0 and (STOP.exists() or time.monotonic() > end):
                break
            if turn == 500:
                READY.touch()
        for place in sorted(self._swapped, key=lambda one: len(one.parts)):  # folders first
            self.put_back(place)
        return self.count

    def swap(self, place: Path) -> None:
        """Something else takes its place, or its file gets a second name."""
        kind = "folder" if place.parent == IMAGES else self._random.choice(("symlink", "hardlink", "second"))
        if not self._whole(place):
            return
        if kind == "second":
            os.link(place, self._aside(SECOND, place))
        else:
            os.rename(place, self._aside(STASH, place))
            target = str(NAMESAKES) if kind == "folder" else self._random.choice(self._victims)
            (os.link if kind == "hardlink" else os.symlink)(target, place)
        self._swapped[place] = kind
        self.count[kind] += 1

    def put_back(self, place: Path) -> None:
        """What belongs there is there again."""
        if place not in self._swapped or not self._whole(place):
            return
        if self._swapped[place] == "second":
            os.unlink(self._aside(SECOND, place))
        else:
            if self._swapped[place] == "folder":
                os.unlink(place)
            os.rename(self._aside(STASH, place), place)  # over the link
        del self._swapped[place]

    def _whole(self, place: Path) -> bool:
        """Its folder is itself, so that what is done in it is not done to others."""
        return place.parent not in self._swapped

    @staticmethod
    def _aside(folder: Path, place: Path) -> Path:
        return folder / f"{place.parent.name}-{place.name}"


def careless(label: str) -> None:
    """Set a label as one who trusts in paths: look that it is a plain file, then label what the path leads to."""
    for place in places():
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.lstat(place).st_mode):
                os.setxattr(place, LABEL, label.encode() + b"\0")


def main(verb: str, *words: str) -> object:
    """``make``, ``remove``, ``states`` VICTIM…, ``race`` VICTIM…, ``careless`` LABEL ROUNDS."""
    if verb == "states":
        return states(list(words))
    if verb == "race":
        return Racer(list(words)).race()
    if verb == "careless":
        for _round in range(int(words[1])):
            careless(words[0])
        return None
    return make() if verb == "make" else remove()


print(json.dumps(main(*sys.argv[1:])))
