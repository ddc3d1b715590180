# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The HTML report as a reader meets it: silent, without network, hostile names as text, filter, sorting and folding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.audit.text import visible_text
from ansible_collections.svirt.fleet.plugins.module_utils._core.utf8 import clean_text
from ansible_collections.svirt.fleet.plugins.plugin_utils._formats.html_page import render

from tests.browser import chromium
from tests.unit.support.reports import HOSTILE, read

#: Pictures of the page are kept here.
PICTURES = Path(__file__).resolve().parents[2] / "build" / "browser"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[chromium.Page]:
    """The report with every kind of thing in it, opened."""
    if chromium.program() is None:
        if os.environ.get("SVIRT_BROWSER") == "required":
            pytest.fail("there is no chromium: python -m tests.browser.chromium installs it")
        pytest.skip("there is no chromium")
    path = tmp_path / "report.html"
    path.write_text(render(read()))
    with chromium.browser() as opened:
        opened.open(path)
        yield opened
        opened.settle()
        assert opened.told == []
        assert set(opened.asked) == {path.as_uri()}


def test_the_answer_comes_first_and_hostile_names_are_text(page: chromium.Page) -> None:
    text = page.run("document.body.innerText")
    assert text.index("Is every guest isolated?") < text.index("No, and not known for 1 host.") < text.index("Findings")
    cells = page.run(
        "Array.from(document.querySelectorAll('tbody.open td:nth-child(2)')).map(c => c.textContent.trim())"
    )
    for name in HOSTILE:
        assert visible_text(clean_text(name)).strip() in cells
    assert page.run("document.querySelectorAll('img, iframe, object, a[href^=javascript], i').length") == 0
    assert page.run("document.scripts.length") == 1
    page.call("Emulation.setDeviceMetricsOverride", width=1200, height=900, deviceScaleFactor=1, mobile=False)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.picture(PICTURES / f"report-{scheme}.png")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"


def test_a_script_that_is_not_ours_is_refused(page: chromium.Page) -> None:
    page.run("var s = document.createElement('script'); s.textContent = 'window.foreign = 1'; document.body.append(s)")
    page.run("document.body.setAttribute('onclick', 'window.foreign = 2'); document.body.click()")
    assert page.run("typeof window.foreign") == "undefined"
    page.settle()
    assert len(page.told) >= 2
    assert all("Content Security Policy" in entry for entry in page.told)
    page.told.clear()


def visible_rows(page: chromium.Page, body: str) -> list[str]:
    """First cells of the rows that are shown."""
    rows = f"Array.from(document.querySelectorAll('tbody.{body} > tr:not([hidden])'))"
    found: list[str] = page.run(f"{rows}.map(r => r.cells[0].textContent.trim())")
    return found


def test_filter(page: chromium.Page) -> None:
    page.run("document.getElementById('filter').focus()")
    for key in "not applic":
        page.press("Space" if key == " " else key)
    page.settle()
    assert visible_rows(page, "hosts") == ["deb1"]
    assert visible_rows(page, "open") == []
    assert page.run("document.querySelectorAll('details:not([hidden])').length") == 0
    assert "1 of " in page.run("document.querySelector('[role=status]').textContent")
    page.run("var f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
    page.settle()
    assert len(visible_rows(page, "hosts")) == len(read().hosts)


def test_sorting_by_keyboard(page: chromium.Page) -> None:
    names = visible_rows(page, "hosts")
    numbers = "Array.from(document.querySelectorAll('tbody.hosts > tr')).map(r => Number(r.cells[3].textContent))"
    page.run("document.querySelectorAll('#hosts th button')[3].focus()")
    page.press("Enter")
    ascending = page.run(numbers)
    assert ascending == sorted(ascending)
    assert page.run("document.querySelectorAll('#hosts th')[3].getAttribute('aria-sort')") == "ascending"
    page.press("Enter")
    assert page.run(numbers) == ascending[::-1]
    assert sorted(visible_rows(page, "hosts")) == sorted(names)


def test_folding_by_keyboard(page: chromium.Page) -> None:
    opened = "Array.from(document.querySelectorAll('details')).map(d => d.open)"
    before = page.run(opened)
    assert before == [True] * 3 + [False] * (len(before) - 3)
    page.run("document.querySelector('summary').focus()")
    page.press("Enter")
    assert page.run(opened)[0] is False
    page.run("document.querySelectorAll('.tools button')[0].click()")
    assert all(page.run(opened))
    page.run("document.querySelectorAll('.tools button')[1].click()")
    assert not any(page.run(opened))


def test_the_page_is_read_without_its_script(page: chromium.Page) -> None:
    page.open_without_scripts()
    text = page.run("document.body.innerText")
    assert "CAT-001" in text
    assert "kvm9" in text
    assert page.run("document.querySelectorAll('.tools, th button').length") == 0


def test_printing_unfolds_everything(page: chromium.Page) -> None:
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    assert page.run("document.querySelectorAll('details:not([open])').length") == 0
    page.run("window.dispatchEvent(new Event('afterprint'))")
    assert page.run("document.querySelectorAll('details:not([open])').length") == 2
