# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

"""The User-Mode Linux kernel of a host, built once from Debian's kernel source, and the clock that goes with it."""

from __future__ import annotations

import os
import subprocess
from importlib import resources
from pathlib import Path

from tests.lab.cache import cache_dir, digest, obtain
from tests.lab.errors import LabError
from tests.lab.shell import Progress, mortal, run, say, step, tail

from .rootfs import KEYRING, mirror

#: Backports has kernels from 6.16 on, which catch a process's system calls by seccomp: half the cost of ptrace.
SUITE = "trixie-backports"
PACKAGE = "linux-source"
KERNEL, CLOCK = "linux", "clock.so"
#: Debian packages that the build needs: package name -> a command it brings.
MACHINE_PACKAGES = {
    **{name: name for name in ("gcc", "make", "flex", "bison", "bc")},
    "perl-base": "perl",
    "xz-utils": "xz",
    "libc6-dev": "/usr/include/x86_64-linux-gnu/sys/syscall.h",
}
#: Parts of the source that ARCH=um neither compiles nor reads settings from; they are half of all files.
_LEFT_OUT = (
    *("*/Documentation/*/*", "*/tools/testing/*", "*/drivers/gpu/*.[ch]", "*/drivers/media/*.[ch]", "*/sound/*.[ch]"),
    *("*/drivers/net/ethernet/*.[ch]", "*/drivers/net/wireless/*.[ch]", "*/drivers/staging/*.[ch]", "*/boot/dts/*"),
)
#: Files that are compiled, for the progress.
_FILES = 1380


def name() -> str:
    """Folder of the kernel in the cache; changes whenever an input does."""
    folder = resources.files(__package__)
    inputs = [(folder / each).read_text() for each in ("kernel.config", "clock.c", "kernel.py")]
    return f"kernel-{digest([SUITE, PACKAGE, *inputs])}"


def cached() -> Path | None:
    """The folder of the kernel, when it was built before."""
    folder = cache_dir() / name()
    return folder if folder.exists() else None


def build() -> Path:
    """The folder with KERNEL and CLOCK, built when the cache has none. Raises LabError with what make said."""
    return cached() or obtain(name(), _make)


def _make(target: Path, scratch: Path) -> None:
    source = scratch / "source"
    target.mkdir()
    folder = resources.files(__package__)
    run(
        ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target / CLOCK)],
        stdin=(folder / "clock.c").read_text(),
    )
    with step(f"kernel source of {SUITE}"):
        _unpack(_fetch(scratch), source)
    make = ["make", "-C", str(source), "ARCH=um"]
    run([*make, "defconfig"])
    with (source / ".config").open("a") as config:
        config.write((folder / "kernel.config").read_text())
    run([*make, "olddefconfig"])
    _compile(make)
    run(["strip", "-o", str(target / KERNEL), str(source / "linux")])


def _fetch(scratch: Path) -> Path:
    """Download the package of the kernel source with lists of its own: the machine's may have no backports."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (scratch / part).mkdir(parents=True)
    sources = scratch / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main\n")
    options = {
        "Dir::State": scratch / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    words = [f"-o{key}={value}" for key, value in options.items()]
    run(["apt-get", *words, "update"])
    about = run(["apt-cache", *words, "depends", "--no-recommends", "--no-suggests", PACKAGE]).stdout.decode()
    package = next((line.split()[-1] for line in about.splitlines() if "Depends: linux-source-" in line), None)
    if package is None:
        raise LabError(f"{SUITE} at {mirror()} has no {PACKAGE}: {tail(about.encode())}")
    # apt downloads into the working folder.
    run(["sh", "-c", f'cd "$0" && exec apt-get "$@" download {package}', str(scratch), *words])
    return next(scratch.glob(f"{package}_*.deb"))


def _unpack(package: Path, source: Path) -> None:
    source.mkdir()
    inner = f"./usr/src/{package.name.partition('_')[0]}.tar.xz"
    skipped = " ".join(f"--exclude='{pattern}'" for pattern in _LEFT_OUT)
    line = (
        f"set -e; dpkg-deb --fsys-tarfile '{package}' | tar -xO {inner} | "
        f"tar -xJ -C '{source}' --strip-components=1 {skipped}"
    )
    run(mortal(["sh", "-c", line]))
    if not (source / "arch/um/Makefile").exists():
        raise LabError(f"{package.name} holds no source of ARCH=um, or it was cut off; try again")
    package.unlink()


def _compile(make: list[str]) -> None:
    jobs = str(os.cpu_count() or 1)
    argv = mortal([*make, f"-j{jobs}", "linux"])
    with (
        step(f"compiling the kernel, about {_FILES} files"),
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        progress, lines = Progress("kernel", _FILES), list[bytes]()
        assert process.stdout is not None
        for line in process.stdout:
            lines = [*lines[-60:], line]
            if line.lstrip().startswith(b"CC "):
                progress.count()
    if process.returncode != 0:
        raise LabError(f"the kernel was not built, make ended with {process.returncode}:\n{tail(b''.join(lines))}")
    say(f"kernel: {progress.done} files compiled")
