# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Documents: links lead somewhere, and README has the sections of Red Hat's certification template in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
OURS = "https://github.com/svirt-fleet/svirt.fleet/blob/main/"
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md"), *ROOT.glob("awx/*.md")]
TEMPLATE = [
    "Description",
    "Requirements",
    "Installation",
    "Use Cases",
    "Testing",
    "Contributing",
    "Support",
    "Release Notes and Roadmap",
    "Related Information",
    "License Information",
]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def links(text: str) -> list[str]:
    """Targets of the links of a document, but for those in its own code."""
    return _LINK.findall(_FENCED.sub("", text))


def broken(path: Path, text: str) -> list[str]:
    """Links of a document into this repository that lead nowhere."""
    found = []
    for target in links(text):
        file = target.partition("#")[0]
        if file.startswith(OURS):
            inside = ROOT / file.removeprefix(OURS)
        elif file and not re.match(r"[a-z]+:", file):
            inside = path.parent / file
        else:
            continue
        if not inside.exists():
            found.append(target)
    return found


def test_broken_links_are_noticed() -> None:
    text = (
        f"[a](nowhere.md) [b]({OURS}nowhere.md#x) [c](https://example.com/x) [d](README.md#a)\n```\n[e](no.md)\n```\n"
    )
    assert broken(README, text) == ["nowhere.md", f"{OURS}nowhere.md#x"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    assert broken(path, path.read_text(encoding="utf-8")) == []


def test_readme_has_the_sections_of_the_template_in_order() -> None:
    sections = re.findall(r"^## (.+)$", _FENCED.sub("", README.read_text(encoding="utf-8")), re.MULTILINE)
    assert [section for section in sections if section in TEMPLATE] == TEMPLATE


def test_links_of_readme_are_absolute() -> None:
    # Galaxy and the automation hub show it away from the repository.
    targets = links(README.read_text(encoding="utf-8"))
    assert len(targets) > 20
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
