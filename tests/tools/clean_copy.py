# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""A copy of the checkout as a clone would have it, at the path that ansible-test insists on.

ansible-test wants a git work tree at ansible_collections/<namespace>/<name>. The copy holds what git tracks and what it
would track next, so a result does not hang on what lies around in the checkout.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "build" / "sanity" / "ansible_collections" / "svirt" / "fleet"
HOMES = ROOT / "build" / "sanity" / "homes"

# ansible-test fetches a script that installs pip into its environments. ensurepip does the same without the network.
GET_PIP = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"])
packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *packages]))
"""


def git(*words: str, folder: Path) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def listed() -> list[str]:
    """The files of the checkout that git tracks or would track, as far as they are there."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT).split("\0")
    return sorted(name for name in set(names) if name and os.path.lexists(ROOT / name))


def refresh() -> None:
    """Bring the copy up to date."""
    names = listed()
    if (COLLECTION / ".git").exists():
        stale = set(git("ls-files", "-z", "--cached", folder=COLLECTION).split("\0")) - {"", *names}
        for name in stale:
            (COLLECTION / name).unlink(missing_ok=True)
    else:
        COLLECTION.mkdir(parents=True, exist_ok=True)
        git("init", "--quiet", folder=COLLECTION)
    for name in names:
        target = COLLECTION / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    git("add", "--all", folder=COLLECTION)


def home_for_ansible_test(name: str) -> Path:
    """A home in which ansible-test can make its environments: the user's stays as it is, and runs do not meet.

    It holds the script that installs pip, where ansible-test looks before it fetches one, and the user's pip settings.
    """
    home = HOMES / name
    # Imported here, since only ansible-test itself needs it and it is slow to load.
    internal = importlib.import_module("ansible_test._internal.python_requirements")
    version = internal.get_venv_packages(SimpleNamespace(version="3.11"))["pip"]
    script = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(GET_PIP)
    own, users = home / ".config" / "pip", Path.home() / ".config" / "pip"
    if users.is_dir() and not own.is_symlink():
        own.parent.mkdir(parents=True, exist_ok=True)
        own.symlink_to(users)
    return home
