# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Runs the unit tests of what hosts execute under Python 3.9, the oldest of a host.

    python -m tests.tools.target_tests [argument of pytest ...]

Of Ansible these tests find what a host is sent, ansible.module_utils of this environment's ansible-core, and no more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tests.tools import environment
from tests.tools.running import NOT_RUN

NAME = "python39"
UNIT = "tests/unit"
CORE = f"{UNIT}/plugins/module_utils/_core"
AUDIT = f"{CORE}/audit"
#: What hosts are sent of the core, all of the other parts, and what probe and rules make of hosts' fixtures.
TESTS = (
    *(f"{CORE}/{name}" for name in ("facts", "harden", "libvirt", "selinux", "snapshot", "system")),
    *(f"{CORE}/{name}.py" for name in ("allocate/test_label_code", "test_paths", "test_utf8", "test_words")),
    *(f"{AUDIT}/{name}" for name in ("fleet", "history", "rules", "watch")),
    *(f"{AUDIT}/test_{name}.py" for name in ("report", "report_bounds", "report_model", "text", "waivers")),
    *(f"{UNIT}/plugins/module_utils/{name}" for name in ("_host", "_watch", "test_module.py")),
    f"{UNIT}/plugins/modules",
    *(f"{UNIT}/test_{name}.py" for name in ("apparmor", "libvirt_versions", "renamed_types", "stacks")),
    f"{UNIT}/cases",
)
#: Cases that need what only controllers have.
CONTROLLER = tuple(f"{UNIT}/cases/test_{name}.py" for name in ("l", "l_variables", "m"))


def target_ansible(folder: Path) -> Path:
    """A folder for PYTHONPATH in which there is ansible.module_utils, and nothing else of Ansible."""
    source = metadata.distribution("ansible-core").locate_file("ansible/module_utils")
    package = folder / "ansible"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    link = package / "module_utils"
    link.unlink(missing_ok=True)
    link.symlink_to(str(source), target_is_directory=True)
    return folder


def main(arguments: list[str]) -> int:
    folder = environment.BUILD / environment.ENVIRONMENTS[NAME]
    python = environment.probe(str(folder / "bin" / "python"))
    if python is None:
        print(
            f"not run: no {environment.SINGLE[NAME]} in {folder.relative_to(environment.ROOT)}; where this machine has "
            f"one, on PATH or among pyenv's, python3 tests/tools/environment.py {NAME} makes that environment"
        )
        return NOT_RUN
    print(f"Python {python.version}", flush=True)
    path = target_ansible(environment.BUILD / "target")
    command = [python.path, "-m", "pytest", "-o", "cache_dir=build/cache/pytest-python39", *TESTS]
    command += ["-m", "not controller", *(f"--ignore={name}" for name in CONTROLLER)]
    return subprocess.run(
        [*command, *arguments], cwd=environment.ROOT, env={**os.environ, "PYTHONPATH": str(path)}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
