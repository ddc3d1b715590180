# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of a guest's XML: what was asked for, and not a byte besides."""

from __future__ import annotations

import typing as t
from xml.sax.saxutils import escape, quoteattr

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import DomainXmlError
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt import domain_edit as edit
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.domain_xml import parse_domain
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import SecLabel
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support import virt

LABEL = "system_u:system_r:svirt_t:s0:c1,c2"
MAC = "52:54:00:00:00:01"
DYNAMIC = SecLabel("selinux", "dynamic", True)
STATIC = SecLabel("selinux", "static", True, LABEL)
CLEAN = edit.Filter("clean-traffic", (("IP", "192.0.2.1"), ("IP", "192.0.2.2")))


def test_a_seclabel_in_the_place_of_another() -> None:
    before = virt.domain("a", virt.seclabel("none"))
    assert edit.with_seclabel(before, STATIC) == virt.domain("a", virt.seclabel("static", LABEL))
    assert edit.with_seclabel(before, DYNAMIC) == virt.domain("a", virt.seclabel("dynamic"))
    assert edit.with_seclabel(before, None) == virt.domain("a")


def test_a_new_seclabel_stands_with_the_others() -> None:
    dac = "  <seclabel type='dynamic' model='dac' relabel='yes'/>\n"
    before = virt.domain("a")
    assert edit.with_seclabel(before, DYNAMIC) == before.replace(dac, dac + virt.seclabel("dynamic"))
    assert edit.with_seclabel(before.replace(dac, ""), DYNAMIC) == virt.domain("a", virt.seclabel("dynamic")).replace(
        dac, ""
    )


def test_seclabel_without_a_model_is_selinuxs_and_two_become_one() -> None:
    both = "  <seclabel type='none'/>\n" + virt.seclabel("static", LABEL)
    assert edit.with_seclabel(virt.domain("a", both), DYNAMIC) == virt.domain("a", virt.seclabel("dynamic"))


def test_seclabels_of_disks_are_not_the_guests() -> None:
    disk = "    <disk type='file'>\n      <source file='/x'>\n        <seclabel model='selinux' relabel='no'/>\n"
    disk += "      </source>\n    </disk>\n"
    before = virt.domain("a", virt.seclabel("none"), disk)
    assert edit.with_seclabel(before, DYNAMIC) == virt.domain("a", virt.seclabel("dynamic"), disk)


def test_a_filter_comes_changes_and_goes() -> None:
    other = virt.card("52:54:00:00:00:02")
    without = virt.domain("a", cards=virt.card(MAC) + other)
    text = (
        "<filterref filter='clean-traffic'>\n        <parameter name='IP' value='192.0.2.1'/>\n"
        "        <parameter name='IP' value='192.0.2.2'/>\n      </filterref>"
    )
    with_it = virt.domain("a", cards=virt.card(MAC, text) + other)
    assert edit.with_filter(without, MAC.upper(), CLEAN) == with_it
    assert edit.with_filter(with_it, MAC, None) == without
    plain = virt.domain("a", cards=virt.card(MAC, "<filterref filter='own'/>") + other)
    assert edit.with_filter(with_it, MAC, edit.Filter("own")) == plain
    assert [card.filter for card in edit.cards(with_it)] == [CLEAN, None]


def test_all_on_one_line() -> None:
    before = f"<domain type='kvm'><name>a</name><devices><interface type='user'><mac address='{MAC}'/></interface>"
    before += "</devices></domain>"
    assert edit.with_filter(before, MAC, edit.Filter("f")) == before.replace("/></i", "/><filterref filter='f'/></i")
    assert edit.with_seclabel(before, STATIC) == before.replace(
        "</devices>",
        f"</devices><seclabel type='static' model='selinux' relabel='yes'><label>{LABEL}</label></seclabel>",
    )


def test_names_of_filters_are_escaped() -> None:
    wanted = edit.Filter("a'b\"<&>", (("X", "'"),))
    made = edit.with_filter(virt.domain("a", cards=virt.card(MAC)), MAC, wanted)
    assert edit.cards(made)[0].filter == wanted


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "\ud800"])
def test_what_xml_cannot_carry(name: str) -> None:
    with pytest.raises(DomainXmlError) as caught:
        edit.with_filter(virt.domain("a", cards=virt.card(MAC)), MAC, edit.Filter(name))
    assert caught.value.code == "not_in_xml"


def test_the_live_interface_of_a_network_is_of_its_network_again() -> None:
    live = virt.card(MAC, "", "bridge", "network='lan' portid='1' bridge='br0'", "<target dev='vnet0'/>")
    made = edit.interface_xml(virt.domain("a", cards=live), MAC)
    assert made == live.strip().replace("type='bridge'", "type='network'", 1)
    plain = virt.card(MAC)
    assert edit.interface_xml(virt.domain("a", cards=plain), MAC) == plain.strip()


@pytest.mark.parametrize(
    ("cards", "code"),
    [
        ("", "not_one_interface"),
        (virt.card(MAC) * 2, "not_one_interface"),
    ],
)
def test_an_interface_must_be_the_only_one(cards: str, code: str) -> None:
    with pytest.raises(DomainXmlError) as caught:
        edit.with_filter(virt.domain("a", cards=cards), MAC, CLEAN)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        ("<domain", "xml_malformed"),
        ("", "xml_malformed"),
        ("<network/>", "xml_root"),
        ("<!DOCTYPE domain><domain/>", "xml_doctype"),
        ("<domain/>", "no_place"),
        ("<domain>" + "<a>" * 300 + "</a>" * 300 + "</domain>", "xml_too_large"),
        ("<domain>" + "<a/>" * 200_001 + "</domain>", "xml_too_large"),
        ("<domain><name>\ud800</name></domain>", "xml_malformed"),
        ("<domain><x y='a\nb'/></domain>", "line_end_in_value"),
        ('<domain><x y="a\tb"/></domain>', "line_end_in_value"),
    ],
)
def test_what_is_not_touched(xml: str, code: str) -> None:
    with pytest.raises(DomainXmlError) as caught:
        edit.with_seclabel(xml, DYNAMIC)
    assert caught.value.code == code


def test_a_line_end_between_attributes_is_no_part_of_a_value() -> None:
    before = "<domain\n  type='kvm'><devices/></domain>"
    assert edit.with_seclabel(before, None) == before


@pytest.mark.parametrize("mac", ["", "x", "52:54:00:00:00:0g", f"{MAC}'"])
def test_what_is_no_mac(mac: str) -> None:
    with pytest.raises(DomainXmlError) as caught:
        edit.with_filter(virt.domain("a"), mac, None)
    assert caught.value.code == "not_a_mac"


def test_what_libvirt_writes_in_another_order_is_the_same() -> None:
    one = virt.domain("a", cards=virt.card(MAC, "<filterref filter='f'/>"))
    other = virt.domain("a", cards=virt.card(MAC, more="<filterref filter='f'/>")).replace(
        "<model type='virtio'/>\n      <filterref filter='f'/>", "<filterref filter='f'/>\n <model type='virtio'/>"
    )
    assert one != other
    assert edit.same_guest(one, other)
    assert edit.first_difference(one, other) == ""


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("<name>a<", "<name>b<"), "/domain/name"),
        (("type='virtio'", "type='e1000'"), "/domain/devices/interface/model"),
        (("    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n", ""), "/domain/devices"),
        (("CDATA[<", "CDATA[ <"), "/domain/metadata/x:y"),
    ],
)
def test_the_place_of_a_difference_is_named(change: tuple[str, str], place: str) -> None:
    one = virt.domain("a", cards=virt.card(MAC))
    other = one.replace(*change)
    assert not edit.same_guest(one, other)
    assert edit.first_difference(one, other) == place


# -- whatever stands around ------------------------------------------------------------------------------------------

_SPACE = st.text(" \n\t", max_size=5)
_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
_NAME = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}(:[a-z][a-z0-9]{0,4})?", fullmatch=True)


@st.composite
def tags(draw: st.DrawFn, name: str, attributes: t.Sequence[tuple[str, str]]) -> str:
    """A start tag in any of the ways to write it, without its end."""
    words = [f"{key}{draw(_SPACE)}={draw(_SPACE)}{_quoted(draw, value)}" for key, value in attributes]
    return "<" + name + "".join(f"{draw(st.sampled_from((' ', chr(10), '  ')))}{word}" for word in words) + draw(_SPACE)


def _quoted(draw: st.DrawFn, value: str) -> str:
    text = escape(value, {"'": "&#39;", '"': "&quot;"} if draw(st.booleans()) else {"'": "&apos;", '"': "&#x22;"})
    if draw(st.booleans()):
        text = text.replace("&gt;", ">")  # which XML allows within a value
    quote = draw(st.sampled_from("'\""))
    return f"{quote}{text}{quote}"


@st.composite
def junk(draw: st.DrawFn, depth: int = 2) -> str:
    """Anything that may stand between elements, looking as much like a <seclabel> as it can."""
    kind = draw(st.sampled_from(("space", "comment", "cdata", "text", "pi", "empty", "element", "decoy")))
    if kind == "space":
        return draw(_SPACE)
    if kind == "comment":
        return "<!--" + draw(_TEXT).replace("-", "") + "<seclabel type='none'/>-->"
    if kind == "cdata":
        return "<![CDATA[" + draw(_TEXT).replace("]", "") + "</devices><filterref filter='x'/>]]>"
    if kind == "pi":
        return "<?x <seclabel model='selinux'> ?>"
    if kind == "decoy":
        return "<x><seclabel type='none' model='selinux'/><filterref filter='no'/></x>"
    if kind == "text":
        return escape(draw(_TEXT))
    attributes = draw(st.dictionaries(_NAME, _TEXT, max_size=3))
    head = draw(tags("z" + draw(_NAME), sorted(attributes.items())))
    name = head[1:].split("=")[0].split()[0] if attributes else head[1:].split()[0] if head[1:].split() else "z"
    if kind == "empty" or depth == 0:
        return head + "/>"
    return f"{head}>{draw(junk(depth - 1))}</{name}{draw(_SPACE)}>"


_JUNK = st.lists(junk(), max_size=4).map("".join)


@st.composite
def _surroundings(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """A guest's XML before its <seclabel>, after it, and before and after the <filterref> of its only interface."""
    opening = draw(tags("domain", [("type", "kvm")])) + ">" + draw(_JUNK)
    devices = draw(tags("devices", [])) + ">" + draw(_JUNK)
    card = draw(tags("interface", [("type", "bridge")])) + ">" + draw(_JUNK)
    card += draw(tags("mac", [("address", MAC)])) + "/>" + draw(_JUNK)
    closing = draw(_JUNK) + "</interface>" + draw(_JUNK) + "</devices >" + draw(_JUNK)
    return opening + devices + card, closing, draw(_JUNK), draw(_JUNK) + "</domain>" + draw(_SPACE)


_SECLABELS = st.sampled_from((None, DYNAMIC, STATIC, SecLabel("selinux", "static", False, LABEL)))
_FILTERS = st.sampled_from((None, CLEAN, edit.Filter("x"), edit.Filter("clean-traffic", (("A", "b"),))))


@given(_surroundings(), _SECLABELS, _SECLABELS)
@settings(max_examples=50, deadline=None)
def test_only_the_seclabel_changes(
    around: tuple[str, str, str, str], one: SecLabel | None, two: SecLabel | None
) -> None:
    head, middle, before, after = around
    base = head + middle + before
    dac = "<seclabel type='dynamic' model='dac'/>"
    first = edit.with_seclabel(base + dac + after, one)
    assert _without_inserted(first, base + dac, after)
    second = edit.with_seclabel(first, two)
    assert _without_inserted(second, base + dac, after) or (one is None and two is None)
    assert edit.with_seclabel(second, None) == edit.with_seclabel(first, None)
    assert edit.with_seclabel(second, two) == second


@given(_surroundings(), _FILTERS, _FILTERS)
@settings(max_examples=50, deadline=None)
def test_only_the_filter_changes(
    around: tuple[str, str, str, str], one: edit.Filter | None, two: edit.Filter | None
) -> None:
    text = "".join(around)
    first = edit.with_filter(text, MAC, one)
    second = edit.with_filter(first, MAC, two)
    assert edit.cards(second)[0].filter == two
    assert edit.with_filter(second, MAC, two) == second
    assert edit.with_filter(second, MAC, None) == edit.with_filter(first, MAC, None)
    if one is None:
        assert first == text


def _without_inserted(text: str, head: str, tail: str) -> bool:
    """The text begins and ends as it did; only spaces before what came may differ."""
    return text.startswith(head) and text.endswith(tail)


@given(st.text(max_size=60))
def test_any_text_is_refused_in_order(text: str) -> None:
    for xml in (text, f"<domain>{text}</domain>", f"<domain x={quoteattr(text)}><devices/></domain>"):
        try:
            made = edit.with_seclabel(xml, DYNAMIC)
        except DomainXmlError:
            continue
        assert made.count("<seclabel type='dynamic' model='selinux' relabel='yes'/>") == 1


def test_the_edited_xml_reads_as_meant() -> None:
    found = parse_domain(edit.with_seclabel(virt.domain("a", virt.seclabel("none")), STATIC))
    assert found.seclabels[0] == STATIC
