# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB's shell: text to commands, blocks and menu entries.

Text that GRUB itself would not parse is read as far as it goes, and ``problems`` says where it is broken.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from .files import MAX_TEXT

MENUS = frozenset(("menuentry", "submenu"))
_MAX_DEPTH = 40
#: The kernel takes fewer arguments. Reading a command takes the square of its words at worst.
_MAX_WORDS = 2000

#: A token: blanks, the end of a command, or one piece of a word.
_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r]|\\\r?\n)+)
      | (?P<end>[\n;])
      | (?P<single>'[^']*'?)
      | (?P<double>"(?:[^"\\]|\\.)*"?)
      | (?P<escape>\\.?)
      | (?P<variable>\$(?:\{[^}\s$]*\}|\w+|[?*@\#]))
      | (?P<plain>[^ \t\r\n;'"\\$]+|\$)""",
    re.VERBOSE | re.DOTALL,
)
_IN_QUOTES = re.compile(r"\\(?P<escape>[\"$\\])|\\\n|\$(?:\{(?P<braced>[^}\s$]*)\}|(?P<bare>\w+|[?*@#]))", re.DOTALL)
#: A command inside a quote that goes over lines: the quote begins where it should end.
_SWALLOWED = re.compile(r"\n[ \t]*(?:linux|set|menuentry|submenu|module2?|if|fi|\})", re.MULTILINE)


@dataclass(frozen=True)
class ScriptPart:
    """A piece of a word: literal text, or the name of a variable."""

    text: str
    variable: bool = False
    quoted: bool = False


#: One word of a command.
ScriptWord = tuple[ScriptPart, ...]


@dataclass(frozen=True)
class ScriptCommand:
    """A command with its words."""

    words: tuple[ScriptWord, ...]
    #: Place in the text.
    at: int = 0
    #: Body in braces: of menuentry and submenu.
    body: tuple[ScriptNode, ...] | None = None


@dataclass(frozen=True)
class ScriptIf:
    """``if``, with its branches: condition and body; the last condition is empty for ``else``."""

    branches: tuple[tuple[tuple[ScriptNode, ...], tuple[ScriptNode, ...]], ...]


@dataclass(frozen=True)
class ScriptLoop:
    """``while``, ``until`` or ``for``."""

    condition: tuple[ScriptNode, ...]
    body: tuple[ScriptNode, ...]
    #: The variable of ``for``.
    variable: str = ""


@dataclass(frozen=True)
class ScriptFunction:
    """``function``."""

    name: str
    body: tuple[ScriptNode, ...]


ScriptNode = t.Union[ScriptCommand, ScriptIf, ScriptLoop, ScriptFunction]


@dataclass(repr=False, eq=False)
class Script:
    """A parsed text."""

    nodes: tuple[ScriptNode, ...] = ()
    problems: list[str] = field(default_factory=list)


def literal(word: ScriptWord) -> str:
    """The text of a word, with variables as they are written."""
    if len(word) == 1 and not word[0].variable:  # nearly all words
        return word[0].text
    return "".join(f"${{{part.text}}}" if part.variable else part.text for part in word)


def plain(word: ScriptWord) -> str:
    """The text of a word without quotes and variables; empty for others: only such a word is a keyword."""
    for part in word:
        if part.variable or part.quoted:
            return ""
    return word[0].text if len(word) == 1 else "".join(part.text for part in word)


def parse_script(text: str) -> Script:
    """Read a text of GRUB's shell."""
    parser = _Parser(text)
    return Script(parser.block(frozenset(), 0), parser.problems)


class _Parser:
    """One pass over the commands of a text."""

    def __init__(self, text: str) -> None:
        self.problems: list[str] = []
        self._text = text
        #: Words of each command and the place where it begins, up to the next newline or semicolon.
        self._commands = list(self._split())
        self._next = 0
        if len(text) > MAX_TEXT:
            self.problem(MAX_TEXT, "the text is longer than what is read")

    def problem(self, at: int, why: str) -> None:
        if len(self.problems) < 5:
            self.problems.append(f"line {self._text.count(chr(10), 0, at) + 1}: {why}")

    def block(self, ends: frozenset[str], depth: int) -> tuple[ScriptNode, ...]:
        """Nodes up to one of the keywords that end the block; the keyword is left to be read."""
        nodes: list[ScriptNode] = []
        while self._next < len(self._commands):
            words, at = self._commands[self._next]
            keyword = plain(words[0])
            if keyword in ends:
                return tuple(nodes)
            if depth >= _MAX_DEPTH:
                self.problem(at, "blocks are nested too deeply")
                self._next = len(self._commands)
                return tuple(nodes)
            self._next += 1
            if keyword == "if":
                nodes.append(self._if(words, at, depth))
            elif keyword in ("while", "until", "for"):
                nodes.append(self._loop(words, at, depth))
            elif keyword == "function":
                name = literal(words[1]) if len(words) > 1 else ""
                nodes.append(ScriptFunction(name, self._braces(words, at, depth) or ()))
            elif keyword in ("then", "else", "elif", "fi", "do", "done", "}"):
                self.problem(at, f"{keyword!r} without its beginning")
                self._again(words[1:], at)
            else:
                body = self._braces(words, at, depth)
                nodes.append(
                    ScriptCommand(tuple(word for word in words if body is None or plain(word) != "{"), at, body)
                )
        if ends:
            self.problem(len(self._text), f"{' or '.join(sorted(ends))} is missing at the end")
        return tuple(nodes)

    def _again(self, words: tuple[ScriptWord, ...], at: int) -> None:
        """Read the rest of a command as one of its own: what follows a keyword is a command."""
        if words:
            self._next -= 1
            self._commands[self._next] = (words, at)

    def _keyword(self, names: frozenset[str]) -> str:
        """Read one of these keywords; empty when something else follows."""
        if self._next < len(self._commands):
            words, at = self._commands[self._next]
            keyword = plain(words[0])
            if keyword in names:
                self._next += 1
                self._again(words[1:], at)
                return keyword
        return ""

    def _if(self, words: tuple[ScriptWord, ...], at: int, depth: int) -> ScriptIf:
        self._again(words[1:], at)
        branches: list[tuple[tuple[ScriptNode, ...], tuple[ScriptNode, ...]]] = []
        while True:
            condition = self.block(frozenset(("then", "fi")), depth + 1)
            self._keyword(frozenset(("then",)))
            body = self.block(frozenset(("elif", "else", "fi")), depth + 1)
            branches.append((condition, body))
            keyword = self._keyword(frozenset(("elif", "else", "fi")))
            if keyword == "else":
                branches.append(((), self.block(frozenset(("fi",)), depth + 1)))
                self._keyword(frozenset(("fi",)))
            if keyword != "elif":
                return ScriptIf(tuple(branches))

    def _loop(self, words: tuple[ScriptWord, ...], at: int, depth: int) -> ScriptLoop:
        variable = literal(words[1]) if plain(words[0]) == "for" and len(words) > 1 else ""
        if not variable:
            self._again(words[1:], at)
        condition = self.block(frozenset(("do", "done")), depth + 1)
        self._keyword(frozenset(("do",)))
        body = self.block(frozenset(("done",)), depth + 1)
        self._keyword(frozenset(("done",)))
        return ScriptLoop(condition, body, variable)

    def _braces(self, words: tuple[ScriptWord, ...], at: int, depth: int) -> tuple[ScriptNode, ...] | None:
        """The block in braces that a command has; None for a command without."""
        place = next((number for number, word in enumerate(words) if plain(word) == "{"), None)
        if place is None:
            following = self._commands[self._next][0] if self._next < len(self._commands) else ()
            if not (plain(words[0]) in (*MENUS, "function") and following and plain(following[0]) == "{"):
                return None
            self._next += 1
            words, place = following, 0
        self._again(words[place + 1 :], at)
        body = self.block(frozenset(("}",)), depth + 1)
        self._keyword(frozenset(("}",)))
        return body

    def _split(self) -> t.Iterator[tuple[tuple[ScriptWord, ...], int]]:
        words: list[ScriptWord] = []
        word: list[ScriptPart] | None = None
        begin = 0
        for kind, piece, at in self._tokens():
            if kind not in ("space", "end"):
                if not words and word is None:
                    begin = at
                word = [] if word is None else word
                word.extend(self._parts(kind, piece, at))
                continue
            if word is not None:
                if len(words) < _MAX_WORDS:
                    words.append(tuple(word))
                else:
                    self.problem(at, "a command has too many words")
                word = None
                # A brace ends the command before it, and } begins one.
                if plain(words[-1]) == "}" and len(words) > 1:
                    yield tuple(words[:-1]), begin
                    words, begin = words[-1:], at
            if kind == "end" and words:
                yield tuple(words), begin
                words = []

    def _tokens(self) -> t.Iterator[tuple[str, str, int]]:
        text = self._text[:MAX_TEXT]
        position = 0
        in_word = False
        while position < len(text):
            match = _TOKEN.match(text, position)
            kind, piece = (str(match.lastgroup), match.group()) if match else ("plain", text[position])
            if not in_word and kind == "plain" and piece.startswith("#"):
                end = text.find("\n", position)
                position = len(text) if end < 0 else end
                continue
            yield kind, piece, position
            in_word = kind not in ("space", "end")
            position += len(piece)
        yield "end", "\n", len(text)

    def _parts(self, kind: str, piece: str, at: int) -> t.Iterator[ScriptPart]:
        if kind in ("single", "double"):
            closed = len(piece) > 1 and piece[-1] == piece[0]
            if not closed:
                self.problem(at, "a quote does not end")
            elif _SWALLOWED.search(piece):
                self.problem(at, "a quote goes over several commands")
            inner = piece[1:-1] if closed else piece[1:]
            yield from [ScriptPart(inner, quoted=True)] if kind == "single" else self._in_quotes(inner)
        elif kind == "escape":
            yield ScriptPart(piece[1:], quoted=True)
        elif kind == "variable":
            yield ScriptPart(piece[1:].strip("{}"), variable=True)
        else:
            yield ScriptPart(piece)

    @staticmethod
    def _in_quotes(text: str) -> t.Iterator[ScriptPart]:
        rest = 0
        yield ScriptPart("", quoted=True)
        for match in _IN_QUOTES.finditer(text):
            yield ScriptPart(text[rest : match.start()] + (match["escape"] or ""), quoted=True)
            name = match["braced"] or match["bare"]
            if name:
                yield ScriptPart(name, variable=True, quoted=True)
            rest = match.end()
        yield ScriptPart(text[rest:], quoted=True)
