# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated boot text: it is read without a crash or a hang, and what is weak or unknown never turns to a pass.

Each capture is mutated around one entry of this host, which stays as it is.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.boot_entries import plan_boot
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import Coverage
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.files import (
    BootFiles,
    BootHost,
    BootProgram,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.boot_loaders.kinds import doubts_of, entries_of
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.kernel_arguments import BootRequest

from tests.unit.support import factory
from tests.unit.support.fuzzing import CASES, Cases, mutated
from tests.unit.support.judging import status

FIXTURES = Path(__file__).parents[1] / "fixtures"
PROBED = Path(__file__).parents[3] / "_host" / "probe" / "fixtures" / "kvm1" / "manifest.json"
CFG, ENV, SNIPPET = "/boot/grub/grub.cfg", "/boot/grub/grubenv", "/boot/loader/entries/a.conf"
ROOT = "root=UUID=66139988-ee0f-4713-9408-a1aeb7832a70"
WEAK, UNKNOWN = "selinux=0", "$mystery"
CONFIGS = [
    json.loads(PROBED.read_text(encoding="utf-8"))[CFG]["text"],
    *((FIXTURES / name).read_text(encoding="utf-8") for name in ("debian_grub.cfg", "el_grub.cfg", "ubuntu_grub.cfg")),
]
ENVIRONMENT = "# GRUB Environment Block\nsaved_entry=abc-4.18\nboot_success=1\nboot_indeterminate=0\n" + "#" * 60
BLS = (
    "title Red Hat Enterprise Linux (5.14.0-570.el9.x86_64) 9.6 (Plow)\nversion 5.14.0-570.el9.x86_64\n"
    "linux /vmlinuz-5.14.0\ninitrd /initramfs.img $tuned_initrd\ngrub_users $grub_users\ngrub_arg --unrestricted\n"
)
SHELL = (
    *("'", '"', "\\", "{", "}", "\n", ";", "#", "$", "${", "\0", " ", "if ", "then ", "else\n", "elif ", "fi\n", "[ "),
    *(" ]", "! ", "while ", "do\n", "done\n", "for x in a\n", "function f {\n", "menuentry 'x' {\n", "submenu 'y' {\n"),
    *(
        "linux /v ",
        "set x=",
        "set kernelopts=",
        "unset x\n",
        "load_env\n",
        "source x\n",
        "blscfg\n",
        "export x\n",
        "f\n",
    ),
    *("-z ", "-a ", "-o ", "= ", "--class x ", "initrd /i\n", "search --set=root\n", "module2 /vmlinuz "),
)
KEYS = (
    "\n",
    " ",
    "\t",
    "#",
    "linux /v\n",
    "options ",
    "options ro\n",
    "efi /x.efi\n",
    "title ",
    "$x",
    "${",
    "}",
    "\\",
    "\0",
)
BLOCK = ("\n", "\\", "#", "=", "x=", "x=$y\n", "y=$x\n", "\0", "saved_entry=")


def outcome(texts: dict[str, str]) -> str:
    files = BootFiles(texts, {"grub-mkconfig": BootProgram("/m")}, host=BootHost(f"BOOT_IMAGE=/v {ROOT} ro"))
    entries, doubts = entries_of(files), doubts_of(files)
    plan_boot(files, BootRequest())
    snapshot = factory.host()
    snapshot.selinux.boot_entries = entries
    if doubts or not entries:
        snapshot.coverage["boot"] = Coverage("unknown", "; ".join(doubts) or "no entries")
    return status(snapshot, "SEL-004")


def around(text: str, kept: str, chance: random.Random, tokens: tuple[str, ...]) -> str:
    """The text with a part that stays in it, on lines of its own, and all else mutated."""
    place = chance.choice([0, *(place + 1 for place, char in enumerate(text) if char == "\n")])
    return f"{mutated(text[:place], chance, tokens)}\n{kept}\n{mutated(text[place:], chance, tokens)}"


@pytest.mark.parametrize("arguments", [WEAK, UNKNOWN])
def test_fuzz_of_grub_cfg(cases: Cases, arguments: str) -> None:
    kept = f"menuentry 'Linux' {{\n\tlinux /vmlinuz-6 {ROOT} ro {arguments}\n}}"
    for number, chance in cases(CASES // 2):
        text = around(chance.choice(CONFIGS), kept, chance, SHELL)
        assert outcome({CFG: text}) != "pass", (number, text)


@pytest.mark.parametrize("arguments", [WEAK, UNKNOWN])
def test_fuzz_of_snippets(cases: Cases, arguments: str) -> None:
    for number, chance in cases(CASES // 2):
        text = around(BLS, f"options {ROOT} ro {arguments}", chance, KEYS)
        assert outcome({CFG: "blscfg\n", SNIPPET: text}) != "pass", (number, text)


@pytest.mark.parametrize("arguments", [WEAK, UNKNOWN])
def test_fuzz_of_the_environment_block(cases: Cases, arguments: str) -> None:
    snippet = "title Linux\nlinux /vmlinuz-5\noptions $kernelopts\n"
    for number, chance in cases(CASES // 2):
        text = around(ENVIRONMENT, f"kernelopts={ROOT} ro {arguments}", chance, BLOCK)
        assert outcome({CFG: "load_env\nblscfg\n", ENV: text, SNIPPET: snippet}) != "pass", (number, text)


def test_fuzz_of_everything_at_once(cases: Cases) -> None:
    for number, chance in cases():
        texts = {
            CFG: mutated(chance.choice(CONFIGS), chance, SHELL),
            ENV: mutated(ENVIRONMENT, chance, BLOCK),
            SNIPPET: mutated(BLS + "options $kernelopts\n", chance, KEYS),
            "/etc/default/grub": mutated('GRUB_CMDLINE_LINUX="quiet selinux=0"\n', chance, SHELL),
        }
        assert outcome(texts) in ("pass", "fail", "unknown"), (number, texts)


#: Texts whose length a parser could square.
HOSTILE = {
    "braces": "${" * 20_000,
    "names": "${a" * 20_000,
    "quoted": '"' + "${a" * 20_000 + '"',
    "keywords": "then " * 20_000,
    "blocks": "{ " * 20_000,
    "sections": "### BEGIN /etc/grub.d/30_os-prober ###\nmenuentry 'a' {\nlinux /v root=UUID=1\n}\n" * 700,
}


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_read_in_time_and_do_not_hide_an_entry(name: str) -> None:
    kept = f"menuentry 'Linux' {{\n\tlinux /vmlinuz-6 {ROOT} ro {WEAK}\n}}\n"
    assert outcome({CFG: f"{kept}{HOSTILE[name]}\n"}) != "pass"


def test_a_command_of_too_many_words_is_unknown() -> None:
    entry = "menuentry 'Linux' {{\n\tlinux /vmlinuz-6 {} ro{}\n}}\n"
    assert outcome({CFG: entry.format(ROOT, "")}) == "pass"
    assert outcome({CFG: entry.format(ROOT, " x" * 3000 + f" {WEAK}")}) == "unknown"
