# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The reference documents say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools import reference


def test_documents_are_current() -> None:
    assert [str(path.relative_to(reference.ROOT)) for path in reference.stale()] == [], "run `make docs`"


def test_check_names_stale_documents(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(reference, "DOCUMENTS", {reference.DOCS / "rules.md": lambda: "other"})
    assert reference.main(["--check"]) == 1
    assert "docs/rules.md is stale" in capsys.readouterr().out


def test_cells_hold_no_markup() -> None:
    assert reference.cell("<seclabel> a|b") == "&lt;seclabel&gt; a\\|b"


def test_table_without_its_marks_is_an_error(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("<!-- table of faults -->\nthe mark of its end is gone\n")
    with pytest.raises(ValueError, match="are marked"):
        reference.filled(document, {"faults": []})
