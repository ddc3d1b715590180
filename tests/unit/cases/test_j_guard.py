# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Section J, the guard: the size of a definition is no reason to let a guest start unjudged."""

from __future__ import annotations

import pytest

from tests.unit.roles.test_guard import Host, guard, host, xml

__all__ = ["host"]

#: 720 kB of quotes, which libvirt escapes: 4.3 MB.
QUOTES = "&quot;" * 720_000


def large(form: str, label: str) -> str:
    return xml(label).replace("<name>", form.format(QUOTES) + "<name>")


@pytest.mark.parametrize(
    "form",
    [
        "<description>{}</description>",
        "<title>{}</title>",
        "<metadata><x:a xmlns:x='urn:x'>{}</x:a></metadata>",
        "<metadata><x:a xmlns:x='urn:x' b='{}'/></metadata>",
    ],
)
def test_j_a_colliding_guest_with_a_long_text_is_refused(host: Host, form: str) -> None:
    host.guest(4242, "s0:c1,c2")
    assert host.ask(large(form, "s0:c1,c2")) == guard.REFUSED
    assert "has the categories of" in host.logged[-1]
    assert host.ask(large(form, "s0:c3,c4")) == guard.ALLOWED


def test_j_a_long_text_of_a_running_guest_hides_it_not(host: Host) -> None:
    host.guest(4242, "s0:c1,c2")
    (status,) = (host.top / "run/libvirt/qemu").glob("*.xml")
    status.write_text(status.read_text().replace("<name>", f"<title>{QUOTES}</title><name>", 1))
    assert host.ask(xml("s0:c1,c2")) == guard.REFUSED


def test_j_many_elements_cost_no_guest_its_verdict(host: Host) -> None:
    host.guest(4242, "s0:c1,c2")
    deep = "<a>" * 5_000 + "</a>" * 5_000
    text = xml("s0:c1,c2").replace("<name>", f"<metadata>{'<a/>' * 100_000}{deep}</metadata><name>")
    assert host.ask(text) == guard.REFUSED
    assert "has the categories of" in host.logged[-1]


def test_j_a_definition_beyond_every_bound_is_refused(host: Host) -> None:
    text = xml("s0:c3,c4").replace("<name>", f"<title>{'x' * guard.MAX_XML}</title><name>")
    assert host.ask(text) == guard.REFUSED
