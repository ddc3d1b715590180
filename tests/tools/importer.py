# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Builds the collection from the clean copy and lets galaxy-importer judge the archive.

Fails on what the importer calls an error, and on a file in the archive that does not belong there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.tools import clean_copy

ROOT = clean_copy.ROOT
OUTPUT = ROOT / "build" / "importer"
ENVIRONMENT = ROOT / "build" / "venv-importer" / "bin"

# What an archive may hold: the folders that Ansible or Galaxy read, and documents at the top.
BELONGS = re.compile(
    r"(plugins|roles|playbooks|meta|docs|changelogs|LICENSES)/"
    r"|(\.config/ansible-lint|execution-environment)\.yml$"
    r"|[A-Z_]+\.(md|json|toml)$"
)


def build() -> Path:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    command = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(OUTPUT)]
    subprocess.run(command, cwd=clean_copy.COLLECTION, check=True)
    return next(OUTPUT.glob("svirt-fleet-*.tar.gz"))


def strangers(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        names = [member.name for member in tar.getmembers() if member.isfile()]
    return [name for name in names if not BELONGS.match(name)]


def main() -> int:
    archive = build()
    if found := strangers(archive):
        print(f"does not belong in the archive: {', '.join(found)}")
        return 1
    environment = {
        **os.environ,
        "PATH": f"{ENVIRONMENT}{os.pathsep}{os.environ['PATH']}",
        "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true",
        "GALAXY_IMPORTER_REQUIRE_V1_OR_GREATER": "true",
    }
    command = [str(ENVIRONMENT / "python"), "-m", "galaxy_importer.main", archive.name]
    ended = subprocess.run(
        command, cwd=OUTPUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(ended.stdout)
    complaints = [line for line in ended.stdout.splitlines() if line.startswith(("ERROR", "WARNING"))]
    return 1 if ended.returncode or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
