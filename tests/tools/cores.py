# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs the unit tests on supported releases of ansible-core.

    python -m tests.tools.cores [--all] [VERSION ...]

Each release has an environment below build/, locked by requirements/core-VERSION.txt. Without --all: the tests that
meet Ansible (playbooks, roles, plugins of the controller and of modules); the core and the readers do not import it.
Without VERSION: every release for which a Python is here. Needs no other environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.tools import environment

UNIT = "tests/unit"
#: Folders whose tests call Ansible.
WITH_ANSIBLE = (
    f"{UNIT}/playbooks",
    f"{UNIT}/roles",
    f"{UNIT}/plugins/action",
    f"{UNIT}/plugins/filter",
    f"{UNIT}/plugins/modules",
    f"{UNIT}/plugins/test",
)


def runnable() -> Iterator[str]:
    """Releases for which a Python is here."""
    return (version for version in environment.CORES if environment.core_python(version))


def command(python: Path, version: str, paths: Sequence[str]) -> list[str]:
    """pytest on a release, with a cache of its own: releases may run side by side."""
    cache = f"cache_dir=build/cache/pytest-core-{version}"
    return [str(python), "-m", "pytest", "--quiet", "-o", cache, *paths]


def run(version: str, paths: Sequence[str]) -> int:
    """Run tests on one release; pytest's exit status. Raises SetUpError."""
    environment.make_environment(f"core-{version}")
    programs = environment.BUILD / environment.ENVIRONMENTS[f"core-{version}"] / "bin"
    variables = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_COLLECTIONS_PATH": str(environment.BUILD / "collections"),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }
    print(f"==> unit tests on ansible-core {version}", flush=True)
    done = subprocess.run(
        command(programs / "python", version, paths), cwd=environment.ROOT, env=variables, check=False
    )
    return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.cores", description="Run the unit tests.")
    parser.add_argument("--all", action="store_true", help="all unit tests, not only those that meet Ansible")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=" ".join(environment.CORES))
    options = parser.parse_args()
    if unknown := sorted(set(options.versions) - set(environment.CORES)):
        parser.error(f"ansible-core {', '.join(unknown)} is not supported; choose from {', '.join(environment.CORES)}")
    environment.link_collection()
    try:
        results = {
            version: run(version, [UNIT] if options.all else WITH_ANSIBLE) for version in options.versions or runnable()
        }
    except environment.SetUpError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    wanted = options.versions or environment.CORES
    for version in sorted(set(wanted) - set(results)):
        print(f"==> ansible-core {version}: not run, no Python for it is here")
    failed = [version for version, status in results.items() if status]
    print(f"==> failed on ansible-core {', '.join(failed)}" if failed else f"==> passed on {', '.join(results)}")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
