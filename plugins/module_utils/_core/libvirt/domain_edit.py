# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of a guest's XML that leave everything else as it is, byte for byte.

A parser finds where an element starts and ends; the text there is replaced, and nothing is written anew. The result is
parsed again and compared, so that an edit is either exact or refused.

The XML comes from libvirt, but tenants chose parts of it: it is read with bounds and without DTDs.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field
from xml.parsers import expat

from ..errors import DomainXmlError
from ..snapshot.model import SecLabel
from .domain_xml import MAX_TAGS, MAX_XML

#: Far deeper than any XML of libvirt's; metadata of tenants may try.
MAX_DEPTH = 200

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_TAG = re.compile(rb"<[^'\">]*(?:(?:'[^']*'|\"[^\"]*\")[^'\">]*)*>")
_VALUE = re.compile(rb"'[^']*'|\"[^\"]*\"")
_LINE = re.compile(rb"\n[ \t]*\Z")
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&apos;"), ('"', "&quot;"))
_BREAKS = (b"\n", b"\r", b"\t")


@dataclass(frozen=True)
class Filter:
    """A <filterref>: the filter's name, and its parameters in their order; a name may come several times."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def values(self, name: str) -> list[str]:
        """Values of a parameter."""
        return [value for key, value in self.parameters if key == name]

    def shown(self) -> str:
        """One line for people."""
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.parameters)])


@dataclass(frozen=True)
class Card:
    """An interface of a guest, as far as network filters need it."""

    mac: str | None
    type: str
    #: Name of the libvirt network, where it is on one: live XML then has what the network gave it as ``type``.
    network: str | None = None
    virtualport: str | None = None
    filter: Filter | None = None


@dataclass(repr=False, eq=False)
class _Node:
    """An element: what it says, and where its text is."""

    tag: str
    attributes: dict[str, str]
    start: int
    #: Where its content begins and ends; None for <empty/>.
    inner: int | None = None
    inner_end: int = 0
    end: int = 0
    text: str = ""
    children: list[_Node] = field(default_factory=list)

    def all(self, tag: str) -> list[_Node]:
        return [child for child in self.children if child.tag == tag]

    def first(self, tag: str) -> _Node | None:
        return next((child for child in self.children if child.tag == tag), None)


# -- what is asked for -----------------------------------------------------------------------------------------------


def with_seclabel(xml: str, seclabel: SecLabel | None) -> str:
    """The guest's XML with this <seclabel> for SELinux in place of what it has; None: with none.

    Those of other models (dac) stay. Raises DomainXmlError.
    """
    data, root = _parsed(xml, "domain")
    old = [node for node in root.all("seclabel") if _is_selinux(node)]
    fresh = _seclabel_text(seclabel) if seclabel is not None else None
    edits: list[tuple[int, int, bytes]] = []
    if old and fresh is not None:
        edits.append((old[0].start, old[0].end, _indented(fresh, _indent(data, old[0].start))))
        old = old[1:]
    elif fresh is not None:
        after = (root.all("seclabel") or root.all("devices") or root.children)[-1:]
        edits.append(_insertion(data, root, after[0] if after else None, fresh))
    edits += [_removal(data, root, node) for node in old]
    result = _applied(data, edits)
    _same_but(xml, result, _without_selinux, "seclabel")
    result_labels = [_seclabel_tree(node) for node in _parsed(result, "domain")[1].all("seclabel") if _is_selinux(node)]
    wanted = [] if fresh is None else [_seclabel_tree(_parsed(fresh.decode(), "seclabel")[1])]
    if result_labels != wanted:
        raise DomainXmlError(
            "the edited XML does not have the <seclabel> that was asked for; nothing was changed", "not_edited"
        )
    return result


def with_filter(xml: str, mac: str, wanted: Filter | None) -> str:
    """A guest's XML, or that of one interface, with this <filterref> in the interface of this MAC; None: with none.

    Raises DomainXmlError.
    """
    data, root = _parsed(xml, "domain", "interface")
    card = _card_node(root, mac)
    old = card.all("filterref")
    fresh = _filter_text(wanted) if wanted is not None else None
    edits: list[tuple[int, int, bytes]] = []
    if old and fresh is not None:
        edits.append((old[0].start, old[0].end, _indented(fresh, _indent(data, old[0].start))))
        old = old[1:]
    elif fresh is not None:
        edits.append(_insertion(data, card, card.children[-1], fresh))  # it has a <mac> at least
    edits += [_removal(data, card, node) for node in old]
    result = _applied(data, edits)
    _same_but(xml, result, lambda tree: _without_filter(tree, mac), "filterref")
    if _card(_card_node(_parsed(result, "domain", "interface")[1], mac)).filter != wanted:
        raise DomainXmlError(
            "the edited XML does not have the <filterref> that was asked for; nothing was changed", "not_edited"
        )
    return result


def cards(xml: str) -> list[Card]:
    """The interfaces of a guest, in their order. Raises DomainXmlError."""
    return [_card(node) for node in _card_nodes(_parsed(xml, "domain", "interface")[1])]


def interface_xml(xml: str, mac: str) -> str:
    """The interface of this MAC, cut out of live XML, as the type that the guest's definition gives it.

    Live XML names the type that a network gave the interface; libvirt compares with the type as defined.
    """
    data, root = _parsed(xml, "domain")
    card = _card_node(root, mac)
    text = data[card.start : card.end].decode()
    source = card.first("source")
    if card.attributes.get("type") == "bridge" and source is not None and "network" in source.attributes:
        head = _tag_end(data, card.start) - card.start
        tag = re.sub(r"""(\stype\s*=\s*)(['"])bridge\2""", r"\1\2network\2", text[:head], count=1)
        text = tag + text[head:]
        if _parsed(text, "interface")[1].attributes.get("type") != "network":
            raise DomainXmlError(f"interface {mac}: its type could not be set to that of its network", "not_edited")
    return text


def without_labels_and_filters(xml: str) -> str:
    """A guest's XML without its <seclabel> for SELinux and without all <filterref>. Raises DomainXmlError."""
    data, root = _parsed(xml, "domain")
    edits = [_removal(data, root, node) for node in root.all("seclabel") if _is_selinux(node)]
    edits += [_removal(data, card, node) for card in _card_nodes(root) for node in card.all("filterref")]
    return _applied(data, edits)


def same_guest(left: str, right: str) -> bool:
    """Whether two texts say the same, but for order between unlike elements and space between elements."""
    return _canonical(_parsed(left, "domain")[1]) == _canonical(_parsed(right, "domain")[1])


def first_difference(left: str, right: str) -> str:
    """The path of the first element in which two texts of the same guest differ; empty when there is none."""
    return _difference(_canonical(_parsed(left, "domain")[1]), _canonical(_parsed(right, "domain")[1]), "")


# -- texts -----------------------------------------------------------------------------------------------------------


def _seclabel_text(seclabel: SecLabel) -> bytes:
    attributes = [("type", seclabel.type), ("model", seclabel.model)]
    if seclabel.relabel is not None:
        attributes.append(("relabel", "yes" if seclabel.relabel else "no"))
    head = "<seclabel" + "".join(f" {name}='{_quoted(value)}'" for name, value in attributes if value is not None)
    if seclabel.label is None:
        return f"{head}/>".encode()
    return f"{head}>\n  <label>{_quoted(seclabel.label)}</label>\n</seclabel>".encode()


def _filter_text(wanted: Filter) -> bytes:
    head = f"<filterref filter='{_quoted(wanted.name)}'"
    if not wanted.parameters:
        return f"{head}/>".encode()
    lines = "".join(f"\n  <parameter name='{_quoted(n)}' value='{_quoted(v)}'/>" for n, v in wanted.parameters)
    return f"{head}>{lines}\n</filterref>".encode()


def _quoted(text: str) -> str:
    if _CONTROL.search(text):
        raise DomainXmlError(f"{text[:80]!r} holds a character that XML cannot carry", "not_in_xml")
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


def _indent(data: bytes, position: int) -> bytes:
    """The line end and the spaces before an element that begins its line."""
    match = _LINE.search(data, max(0, position - 400), position)
    return match.group() if match else b""


def _indented(text: bytes, indent: bytes) -> bytes:
    return text.replace(b"\n", indent) if indent else b"".join(line.strip() for line in text.split(b"\n"))


def _insertion(data: bytes, parent: _Node, after: _Node | None, text: bytes) -> tuple[int, int, bytes]:
    """A new child, behind another one, on a line of its own where the others have theirs."""
    if parent.inner is None:
        raise DomainXmlError(f"<{parent.tag}> is empty; there is no place for another element in it", "no_place")
    if after is None:
        return parent.inner, parent.inner, _indented(text, b"")
    indent = _space(data, parent, after)
    return after.end, after.end, indent + _indented(text, indent)


def _removal(data: bytes, parent: _Node, node: _Node) -> tuple[int, int, bytes]:
    return node.start - len(_space(data, parent, node)), node.end, b""


def _space(data: bytes, parent: _Node, node: _Node) -> bytes:
    """The line end and spaces before an element that may come or go with it: none where they are part of a text."""
    return b"" if parent.text.strip() else _indent(data, node.start)


def _applied(data: bytes, edits: list[tuple[int, int, bytes]]) -> str:
    for start, end, text in sorted(edits, reverse=True):
        data = data[:start] + text + data[end:]
    return data.decode()


# -- reading ---------------------------------------------------------------------------------------------------------


class _TreeReader:
    """Builds the tree of one text."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.root: _Node | None = None
        self.open: list[_Node] = []
        self.parser = expat.ParserCreate("UTF-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def read(self) -> _Node:
        try:
            self.parser.Parse(self.data, True)
        except expat.ExpatError as error:
            raise DomainXmlError(f"the XML does not parse: {error}", "xml_malformed") from error
        if self.root is None:
            raise DomainXmlError("the XML has no element", "xml_malformed")
        return self.root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.open) >= MAX_DEPTH:
            raise DomainXmlError(f"the XML is nested deeper than {MAX_DEPTH} elements", "xml_too_large")
        node = _Node(tag, attributes, self.parser.CurrentByteIndex)
        node.end = _tag_end(self.data, node.start)
        if self.data[node.end - 2 : node.end - 1] != b"/":
            node.inner = node.end
        if self.open:
            self.open[-1].children.append(node)
        else:
            self.root = node
        self.open.append(node)

    def _end(self, _tag: str) -> None:
        node = self.open.pop()
        if node.inner is not None:
            node.inner_end = self.parser.CurrentByteIndex
            node.end = self.data.index(b">", node.inner_end) + 1

    def _text(self, text: str) -> None:
        self.open[-1].text += text

    def _doctype(self, name: str, *_ids: t.Any) -> None:
        raise DomainXmlError(
            f"the XML declares a DOCTYPE ({name[:40]!r}); libvirt never writes one, so it is refused", "xml_doctype"
        )


def _tag_end(data: bytes, start: int) -> int:
    """Where a start tag ends, quoted > passed over. A line end within a value is refused.

    libvirt writes it as it is, and would read a space in its place: such a guest cannot be defined again unharmed.
    """
    match = _TAG.match(data, start)
    tag = match.group() if match else b""
    broken = any(character in tag for character in _BREAKS)
    if broken and any(character in value for value in _VALUE.findall(tag) for character in _BREAKS):
        raise DomainXmlError(
            "a value in the XML holds a line end or a tab, which libvirt would not read back; it was left alone",
            "line_end_in_value",
        )
    return start + len(tag)


def _parsed(xml: str, *roots: str) -> tuple[bytes, _Node]:
    if len(xml) > MAX_XML or xml.count("<") > MAX_TAGS:
        raise DomainXmlError(
            f"XML of {len(xml)} characters and {xml.count('<')} tags is larger than any guest's", "xml_too_large"
        )
    try:
        data = xml.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DomainXmlError(f"the XML is not text: {error}", "xml_malformed") from error
    root = _TreeReader(data).read()
    if root.tag not in roots:
        raise DomainXmlError(f"expected <{roots[0]}>, found <{root.tag[:80]}>", "xml_root")
    return data, root


def _is_selinux(node: _Node) -> bool:
    """The <seclabel> is the SELinux driver's: it says so, or names no model."""
    return node.attributes.get("model") in (None, "selinux")


def _card_nodes(root: _Node) -> list[_Node]:
    if root.tag == "interface":
        return [root]
    return [node for devices in root.all("devices") for node in devices.all("interface")]


def _card_node(root: _Node, mac: str) -> _Node:
    if not _MAC.match(mac.lower()):
        raise DomainXmlError(f"{mac[:40]!r} is not a MAC address such as 52:54:00:12:34:56", "not_a_mac")
    matching = [node for node in _card_nodes(root) if _mac(node) == mac.lower()]
    if len(matching) != 1:
        raise DomainXmlError(
            f"{len(matching) or 'no'} interfaces have the MAC address {mac}; exactly one must", "not_one_interface"
        )
    return matching[0]


def _mac(node: _Node) -> str | None:
    mac = node.first("mac")
    return mac.attributes.get("address", "").lower() or None if mac is not None else None


def _card(node: _Node) -> Card:
    source, port, reference = node.first("source"), node.first("virtualport"), node.first("filterref")
    filterref = None
    if reference is not None:
        parameters = [parameter.attributes for parameter in reference.all("parameter")]
        filterref = Filter(
            reference.attributes.get("filter", ""),
            tuple((parameter.get("name", ""), parameter.get("value", "")) for parameter in parameters),
        )
    return Card(
        mac=_mac(node),
        type=node.attributes.get("type", ""),
        network=source.attributes.get("network") if source is not None else None,
        virtualport=port.attributes.get("type") if port is not None else None,
        filter=filterref,
    )


# -- comparing -------------------------------------------------------------------------------------------------------

#: An element's tag, attributes, text and children.
_Tree = tuple[str, tuple[tuple[str, str], ...], str, tuple[t.Any, ...]]


def _canonical(node: _Node) -> _Tree:
    children = sorted(
        (_canonical(child) for child in node.children),
        # libvirt writes parameters of a filter by name, whatever their order was.
        key=lambda tree: (tree[0], dict(tree[1]).get("name", "") if tree[0] == "parameter" else ""),
    )
    text = node.text if node.text.strip() else ""
    return node.tag, tuple(sorted(node.attributes.items())), text, tuple(children)


def _seclabel_tree(node: _Node) -> _Tree:
    return _canonical(node)


def _without_selinux(root: _Node) -> None:
    root.children = [node for node in root.children if node.tag != "seclabel" or not _is_selinux(node)]


def _without_filter(root: _Node, mac: str) -> None:
    card = _card_node(root, mac)
    card.children = [node for node in card.children if node.tag != "filterref"]


def _same_but(before: str, after: str, without: t.Callable[[_Node], None], what: str) -> None:
    """The two texts say the same once the edited element is left out of both. Raises DomainXmlError."""
    trees = []
    for xml in (before, after):
        root = _parsed(xml, "domain", "interface")[1]
        without(root)
        trees.append(_canonical(root))
    if trees[0] != trees[1]:
        raise DomainXmlError(f"an edit of <{what}> would change more than that; nothing was changed", "not_edited")


def _difference(left: _Tree, right: _Tree, path: str) -> str:
    here = f"{path}/{left[0]}"
    if left == right:
        return ""
    if left[:3] != right[:3] or len(left[3]) != len(right[3]):
        return here
    return next((below for a, b in zip(left[3], right[3]) if (below := _difference(a, b, here))), here)
