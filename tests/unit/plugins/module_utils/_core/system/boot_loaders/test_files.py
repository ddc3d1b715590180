# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Files of the boot loaders as text: their bounds, their names, and the file systems that they name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders import files as f
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.kinds import KINDS, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.ownership import root_of

FIXTURES = Path(__file__).parents[1] / "fixtures"
PROBED = Path(__file__).parents[3] / "_host" / "probe" / "fixtures" / "kvm1" / "manifest.json"
CFG = "/boot/grub/grub.cfg"
CONFIGS = [
    json.loads(PROBED.read_text(encoding="utf-8"))[CFG]["text"],
    *((FIXTURES / name).read_text(encoding="utf-8") for name in ("debian_grub.cfg", "el_grub.cfg", "ubuntu_grub.cfg")),
]
SNIPPET = "/boot/loader/entries/a.conf"


def roots(texts: dict[str, str]) -> set[str]:
    """The roots of the entries that a host could know more of than their text."""
    named = {root_of(entry.arguments) for entry in entries_of(f.BootFiles(texts))}
    return {name for name in named if name.startswith(("/dev/", "UUID=", "PARTUUID=", "LABEL=", "PARTLABEL="))}


def test_a_host_reads_the_files_of_all_loaders_in_their_order() -> None:
    assert tuple(dict.fromkeys(name for kind in KINDS for name in kind.entry_files)) == f.ENTRY_FILES


@pytest.mark.parametrize("text", CONFIGS, ids=["kvm1", "debian", "el", "ubuntu"])
def test_roots_of_distributions_are_named(text: str) -> None:
    texts = {CFG: text, SNIPPET: "linux /v\noptions root=/dev/mapper/rl-root ro $kernelopts\n"}
    assert roots(texts)
    assert roots(texts) <= set(f.root_names(texts.values()))


@pytest.mark.parametrize(
    "options",
    [
        "root=UUID=1-2 ro",
        "ro root=PARTUUID=1-2",
        "root=/dev/disk/by-id/scsi-0:1",
        "root=LABEL=a root=/dev/sda1",
        '"root=LABEL=my disk" ro',
        'root="LABEL=my disk" ro',
        'root="/dev/sda1"',
        "root=/dev/mapper/a\\x2db",
        "root=PARTLABEL=caf\udce9",
    ],
)
def test_roots_of_snippets_are_named(options: str) -> None:
    texts = {SNIPPET: f"linux /v\noptions {options}\n"}
    assert len(roots(texts)) == 1
    assert roots(texts) <= set(f.root_names(texts.values()))


@pytest.mark.parametrize(
    "line",
    [
        "linux /v root='/dev/sda1'",
        'linux /v "root=UUID=1"',
        'set x="root=UUID=1 ro"\nlinux /v $x',
        "linux /v root=/dev/mapper/a\\-b",
        "set r=/dev/sda1; linux /v root=$r",
    ],
)
def test_roots_of_scripts_are_named(line: str) -> None:
    texts = {CFG: f"menuentry 'x' {{\n{line}\n}}\n"}
    assert len(roots(texts)) == 1
    assert roots(texts) <= set(f.root_names(texts.values()))


def test_names_are_bounded() -> None:
    names = f.root_names([" ".join(f"UUID={number}" for number in range(5000)), "/dev/" + "x" * 10_000])
    assert len(names) == 1000
    assert max(map(len, f.root_names(["/dev/" + "x" * 10_000]))) < 1100
    assert f.root_names(["root=/dev/a\0b"]) == ["/dev/a"]  # no path may hold it


def test_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f, "MAX_TEXT", 10)
    monkeypatch.setattr(f, "MAX_FILES", 2)
    files = f.BootFiles()
    assert [files.add(path, text) for path, text in (("a", "x" * 6), ("b", "x" * 5), ("c", ""), ("d", ""))] == [
        True,
        False,
        True,
        False,
    ]
    assert list(files.texts) == ["a", "c"]
