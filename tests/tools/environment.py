# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Makes the Python environments below build/, from any Python >= 3.9 and nothing else.

    python3 tests/tools/environment.py audit      what a controller needs, in build/venv
    python3 tests/tools/environment.py test       the same and the test tools
    python3 tests/tools/environment.py importer   galaxy-importer, in build/venv-importer
    python3 tests/tools/environment.py nox        nox, in build/venv-nox
    python3 tests/tools/environment.py schemas    official schemas of report formats, in build/venv-schemas
    python3 tests/tools/environment.py python39   the tests of target code on Python 3.9, in build/venv-python39
    python3 tests/tools/environment.py awx        ansible-runner, ansible-builder and awx.awx, in build/venv-awx
    python3 tests/tools/environment.py core-2.18  pytest on that ansible-core, in build/venv-core-2.18

What is there already is used again: a stamp in each environment holds the hash of what was asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
COLLECTION = BUILD / "collections" / "ansible_collections" / "svirt" / "fleet"

# Newest first. The pinned ansible-core runs on these and on no other.
PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
# Environments of one Python only. A machine without it goes without them; the check that needs it says so.
SINGLE = {"python39": "python3.9"}

#: Supported releases of ansible-core, and the Pythons on which each runs, newest first.
CORES = {
    "2.18": PYTHONS[1:],
    "2.19": PYTHONS[1:],
    "2.20": PYTHONS[:3],
    "2.21": PYTHONS[:3],
}

ENVIRONMENTS = {
    "audit": "venv",
    "test": "venv",
    "importer": "venv-importer",
    "nox": "venv-nox",
    "schemas": "venv-schemas",
    "python39": "venv-python39",
    "awx": "venv-awx",
    **{f"core-{version}": f"venv-core-{version}" for version in CORES},
}


class SetUpError(Exception):
    """The set-up cannot go on; the text says what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs: where it is, which version, and whether it can make environments."""

    path: str
    version: str
    can_make_environments: bool


def say(text: str) -> None:
    print("==> " + text, flush=True)


def probe(path: str) -> Optional[Interpreter]:
    """Ask an interpreter what it is. A name on PATH may be a shim with nothing behind it: then there is no answer."""
    question = (
        "import importlib.util as u, platform, sys;"
        "print(sys.executable, platform.python_version(), bool(u.find_spec('venv') and u.find_spec('ensurepip')))"
    )
    try:
        answer = subprocess.run([path, "-c", question], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.rsplit(maxsplit=2)
    if answer.returncode != 0 or len(words) != 3:
        return None
    return Interpreter(words[0], words[1], words[2] == "True")


def candidates(names: tuple[str, ...] = PYTHONS) -> list[str]:
    """Every place on PATH (and Debian's own) where one of these Pythons may be, in the order of their names."""
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/bin"]
    found = [Path(folder, name) for name in names for folder in folders if BUILD not in Path(folder).parents]
    return [str(path) for path in dict.fromkeys(found) if os.access(path, os.X_OK)]


def single(name: str) -> Optional[Interpreter]:
    """The Python of this name, on PATH or among pyenv's; None where the machine has none that can make environments."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in [*candidates((name,)), *map(str, sorted(pyenv.glob(f"versions/*/bin/{name}")))]:
        python = probe(path)
        if python is not None and python.can_make_environments:
            return python
    return None


def core_python(core: str) -> Optional[Interpreter]:
    """A Python here that runs a release of ansible-core, on PATH or among pyenv's versions; None when there is none."""
    return next((python for name in CORES[core] if (python := single(name))), None)


def python_for(name: str) -> Interpreter:
    """The Python of an environment. Raises SetUpError when none is here."""
    core = name.partition("core-")[2]
    if not core:
        return choose_python()
    python = core_python(core)
    if python is None:
        raise SetUpError(f"no Python runs here for ansible-core {core}: install one of {', '.join(CORES[core])}")
    return python


def choose_python() -> Interpreter:
    """The newest supported Python that runs; its venv package is installed where Debian left it out."""
    for path in candidates():
        python = probe(path)
        if python is not None and not python.can_make_environments and path.startswith("/usr/bin/"):
            install_packages([Path(path).name + "-venv"])
            python = probe(path)
        if python is not None and python.can_make_environments:
            return python
    raise SetUpError(f"no Python runs here out of {', '.join(PYTHONS)}: install one of them, with its venv module")


def install_packages(names: list[str]) -> None:
    """Install Debian packages as root, or through sudo."""
    if shutil.which("apt-get") is None:
        raise SetUpError(f"please install {' '.join(names)}: this is not a Debian machine, so it is not done for you")
    say(f"Debian packages: installing {' '.join(names)}")
    apt = ([] if os.geteuid() == 0 else ["sudo"]) + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    run([*apt, "update"])
    run([*apt, "install", "--yes", "--no-install-recommends", *names])


def run(command: list[str]) -> None:
    """Run a command with its output on the terminal; a failure ends the set-up."""
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, cwd=ROOT, check=True)
    except OSError as error:
        raise SetUpError(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise SetUpError(f"this command ended with status {error.returncode}: {' '.join(command)}") from error


def make_environment(name: str) -> None:
    """Make one environment, or say that it is there already."""
    folder = BUILD / ENVIRONMENTS[name]
    locked = ROOT / "requirements" / f"{name}.txt"
    stamp = folder / f".svirt-{name}"
    inside = probe(str(folder / "bin" / "python"))
    if inside is None:
        python = single(SINGLE[name]) if name in SINGLE else python_for(name)
        if python is None:
            say(f"Python environment {folder.relative_to(ROOT)}: left out, this machine has no {SINGLE[name]}")
            return
        say(f"Python environment {folder.relative_to(ROOT)}: new, with Python {python.version}")
        shutil.rmtree(folder, ignore_errors=True)
        run([python.path, "-m", "venv", str(folder)])
    wanted = hashlib.sha256(locked.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        say(f"Python environment {folder.relative_to(ROOT)}: ready for '{name}', used again")
        return
    say(f"Python environment {folder.relative_to(ROOT)}: installing the pinned packages for '{name}'")
    started = time.monotonic()
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if name == "awx":
        pip.append("--no-compile")  # the package ansible has tens of thousands of files, of which few are used
    run([*pip, "--requirement", str(locked)])
    stamp.write_text(wanted)
    say(f"Python environment {folder.relative_to(ROOT)}: ready after {time.monotonic() - started:.0f} s")


def link_collection() -> None:
    """Give the checkout, whatever its name is, the path under which Ansible and Python look for the collection."""
    COLLECTION.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(ROOT, COLLECTION.parent)
    if COLLECTION.is_symlink() and COLLECTION.readlink() == Path(target):
        return
    if COLLECTION.is_symlink():
        COLLECTION.unlink()
    COLLECTION.symlink_to(target, target_is_directory=True)
    say(f"collection: {COLLECTION.relative_to(ROOT)} leads to this checkout")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the Python environments below build/.")
    parser.add_argument("names", nargs="+", choices=sorted(ENVIRONMENTS), metavar="NAME", help=" ".join(ENVIRONMENTS))
    names = parser.parse_args().names
    try:
        if shutil.which("git") is None:
            install_packages(["git"])
        for name in names:
            make_environment(name)
        link_collection()
    except SetUpError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
