# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings in files that a POSIX shell reads in turn, such as /etc/default/grub: their values, and edits of them.

The files are programs. Assignments are followed in their order, with quotes, escapes and the values of other
variables. A value that depends on a condition, a command's output or another file is unknown.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field, replace

from ..errors import PlanError

#: Stands in a value for text that is not known; no shell variable can hold it.
UNKNOWN = "\0"
MAX_VALUE = 65536
_MAX_LEVEL = 50

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_APPENDING = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+=")
_BLANK = re.compile(r"(?:[ \t\r]|\\\n)+")
_OPERATOR = re.compile(r"\n|;;|;|&&|\|\||&|\||\(|\)|[0-9]*(?:<<-?|>>|<&|>&|<>|>\||<|>)")
_OPEN = {"if": "fi", "while": "done", "until": "done", "for": "done", "case": "esac", "{": "}"}
#: What may make a command conditional, or run it in a shell of its own.
_LINKS = frozenset(("&&", "||", "|", "&"))
#: Words after which a command begins.
_BEFORE_COMMAND = frozenset(("if", "then", "else", "elif", "while", "until", "do", "{", "!"))
#: Commands that may set any variable.
_OPAQUE = frozenset(
    ". source eval read getopts unset local alias command builtin export readonly declare typeset".split()
)
_ENDS = frozenset(("return", "exit", "exec"))
_PREFIXES = frozenset(("export", "readonly"))


@dataclass(frozen=True)
class WordPiece:
    """A part of a word: one literal character, the value of a variable, or text that only a shell can work out."""

    kind: str  # char, variable, opaque
    #: The character or the variable's name.
    text: str
    #: As it stands in the file, and whether inside double quotes.
    raw: str
    quoted: bool


@dataclass(frozen=True)
class ShellAssignment:
    """``NAME=value`` somewhere in a file."""

    path: str
    line: int
    name: str
    pieces: tuple[WordPiece, ...]
    #: Where the value stands in the file's text.
    start: int
    end: int
    #: Whether it is always made.
    certain: bool = True
    #: It is written as += or the like, which no POSIX shell takes.
    broken: bool = False


@dataclass(frozen=True)
class OpaqueCommand:
    """A command that may have set variables; ``names`` is empty for any."""

    path: str
    line: int
    names: tuple[str, ...] = ()


@dataclass
class ShellValue:
    """The final value of a variable; each character has its origin: assignment and piece."""

    text: str = ""
    origins: list[tuple[int, int]] = field(default_factory=list)

    @property
    def known(self) -> bool:
        return UNKNOWN not in self.text


Statement = t.Union[ShellAssignment, OpaqueCommand]


class _ShellReader:
    """One pass over the text of one file."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.at = 0
        self.open: list[str] = []
        self.statements: list[Statement] = []

    def error(self, why: str) -> PlanError:
        line = self.text.count("\n", 0, self.at) + 1
        return PlanError(f"{self.path}, line {line}: {why}; the file cannot be edited safely", "settings_not_followed")

    def read(self) -> list[Statement]:
        before = ""
        while self.at < len(self.text):
            words, redirected = self._words()
            after = self._operator()
            # A redirection that fails keeps the command from being done.
            self._command(words, unsure=redirected or before in _LINKS or after in _LINKS)
            if after == "(":
                self.open.append(")")
            elif after == ")":
                self._close(")")
            if words or after != "\n":  # an end of line after a link does not end the list
                before = after
        if self.open:
            raise self.error(f"{self.open[-1]!r} is missing at the end")
        return self.statements

    def _words(self) -> tuple[list[tuple[int, int, list[WordPiece]]], bool]:
        """The words up to the next operator, without redirections, and whether there were any."""
        words: list[tuple[int, int, list[WordPiece]]] = []
        redirected = redirects = False
        while self.at < len(self.text):
            blank = _BLANK.match(self.text, self.at)
            if blank:
                self.at = blank.end()
                continue
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
                continue
            operator = _OPERATOR.match(self.text, self.at)
            if operator is None:
                start = self.at
                pieces = self._word()
                if not redirected:
                    words.append((start, self.at, pieces))
                redirected = False
            elif operator.group().lstrip("0123456789")[0] in "<>":
                if "<<" in operator.group():
                    raise self.error("a here-document")
                self.at = operator.end()
                redirected = redirects = True
            else:
                break
        return words, redirects

    def _operator(self) -> str:
        match = _OPERATOR.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match.group()

    def _close(self, word: str) -> None:
        if self.open and self.open[-1] == word:
            self.open.pop()
        elif not (word == ")" and "esac" in self.open):  # the end of a pattern
            raise self.error(f"an unexpected {word!r}")

    def _word(self) -> list[WordPiece]:
        pieces: list[WordPiece] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t\r\n;&|()<>":
                break
            if char == "'":
                end = self.text.find("'", self.at + 1)
                if end < 0:
                    raise self.error("a quote that does not end")
                pieces += [WordPiece("char", text, text, True) for text in self.text[self.at + 1 : end]]
                self.at = end + 1
            elif char == '"':
                self.at += 1
                self._double(pieces)
            elif char == "\\":
                following = self.text[self.at + 1 : self.at + 2]
                if not following:
                    raise self.error("a backslash at the end")
                if following != "\n":
                    pieces.append(WordPiece("char", following, f"\\{following}", True))
                self.at += 2
            else:
                pieces.append(self._piece(False))
        return pieces

    def _double(self, pieces: list[WordPiece]) -> None:
        while True:
            char = self.text[self.at : self.at + 1]
            if not char:
                raise self.error("a quote that does not end")
            if char == '"':
                self.at += 1
                return
            if char == "\\" and self.text[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\", "\n"):
                following = self.text[self.at + 1]
                if following != "\n":
                    pieces.append(WordPiece("char", following, f"\\{following}", True))
                self.at += 2
            else:
                pieces.append(self._piece(True))

    def _piece(self, quoted: bool) -> WordPiece:
        """One character, one variable, or one substitution, outside single quotes."""
        start = self.at
        char = self.text[start]
        if char == "`":
            self.at = self._backquote(start + 1)
        elif char == "$" and self.text[start + 1 : start + 2] == "(":
            self.at = self._nested(start + 2, ")")
        elif char == "$" and self.text[start + 1 : start + 2] == "{":
            self.at = self._nested(start + 2, "}")
            name = self.text[start + 2 : self.at - 1]
            if _NAME.fullmatch(name):
                return WordPiece("variable", name, self.text[start : self.at], quoted)
        elif char == "$":
            match = _NAME.match(self.text, start + 1)
            if match:
                self.at = match.end()
                return WordPiece("variable", match.group(), match.group(), quoted)
            special = self.text[start + 1 : start + 2]
            if not (special and (special in "@*#?-$!" or special.isdigit())):
                self.at += 1
                return WordPiece("char", "$", "$", quoted)
            self.at += 2
        else:
            self.at += 1
            return WordPiece("char", char, char, quoted)
        return WordPiece("opaque", "", self.text[start : self.at], quoted)

    def _backquote(self, at: int) -> int:
        while at < len(self.text):
            if self.text[at] == "`":
                return at + 1
            at += 2 if self.text[at] == "\\" else 1
        raise self.error("a command substitution that does not end")

    def _nested(self, at: int, end: str, level: int = 0) -> int:
        """The place after the end of a substitution, past quotes and substitutions inside it."""
        start = at
        if level > _MAX_LEVEL:
            raise self.error("substitutions inside substitutions, too deep")
        depth = 1
        while at < len(self.text):
            char = self.text[at]
            if char == "\\":
                at += 2
                continue
            if char == "'":
                at = self.text.find("'", at + 1)
                if at < 0:
                    break
            elif char == '"':
                at = self._quoted_end(at + 1, level)
                continue
            elif char == "`":
                at = self._backquote(at + 1)
                continue
            elif char == "(" and end == ")":
                depth += 1
            elif char == end:
                depth -= 1
                if not depth:
                    if end == ")" and re.search(r"\bcase\b|<<|(?:\A|\s)#", self.text[start:at]):
                        raise self.error("a command substitution that is too much of a program")
                    return at + 1
            at += 1
        raise self.error("a substitution that does not end")

    def _quoted_end(self, at: int, level: int) -> int:
        while at < len(self.text):
            if self.text[at] == '"':
                return at + 1
            if self.text[at] == "\\":
                at += 2
            elif self.text[at] == "`":
                at = self._backquote(at + 1)
            elif self.text[at] == "$" and self.text[at + 1 : at + 2] in ("(", "{"):
                at = self._nested(at + 2, {"(": ")", "{": "}"}[self.text[at + 1]], level + 1)
            else:
                at += 1
        raise self.error("a quote that does not end")

    def _command(self, words: list[tuple[int, int, list[WordPiece]]], unsure: bool) -> None:
        """Note what the words of one command do to variables."""
        words = self._structure(words)
        certain = not unsure and not self.open
        exported = bool(words) and _plain(words[0][2]) in _PREFIXES
        rest = words[1:] if exported else words
        # export expands all its words before it sets the first.
        targets = [self._target(word, certain and not (exported and len(rest) > 1)) for word in rest]
        assigned: list[ShellAssignment] = []
        for target in targets:
            if target is None:
                break
            assigned.append(target)
        if len(assigned) < len(targets) and not exported:
            self._other(rest[len(assigned) :], assigned)
            return
        self.statements += [target for target in targets if target is not None]
        if exported and any(target is None and _plain(word[2]) is None for target, word in zip(targets, rest)):
            self.statements.append(OpaqueCommand(self.path, self._line()))  # what it sets is put together at run time

    def _structure(self, words: list[tuple[int, int, list[WordPiece]]]) -> list[tuple[int, int, list[WordPiece]]]:
        while words:
            first = _plain(words[0][2])
            if first in _OPEN:
                self.open.append(_OPEN[first])
            elif first in _OPEN.values():
                self._close(str(first))
            elif first not in _BEFORE_COMMAND:
                break
            if first in ("for", "case"):
                # for NAME in …: sets the name; case WORD in …: sets nothing
                name = _plain(words[1][2]) if first == "for" and len(words) > 1 else None
                self.statements += [OpaqueCommand(self.path, self._line(), (name,))] if name else []
                return []
            words = words[1:]
        return words

    def _target(self, word: tuple[int, int, list[WordPiece]], certain: bool) -> ShellAssignment | None:
        start, end, pieces = word
        match = _ASSIGNMENT.match(self.text, start, end)
        appending = _APPENDING.match(self.text, start, end)
        name = match or appending
        if name is None:
            return None
        length = name.end() - start
        line = self.text.count("\n", 0, start) + 1
        return ShellAssignment(
            self.path, line, name[1], tuple(pieces[length:]), name.end(), end, certain, broken=appending is not None
        )

    def _other(self, words: list[tuple[int, int, list[WordPiece]]], own: list[ShellAssignment]) -> None:
        command = _plain(words[0][2])
        # NAME=value COMMAND: after some commands, and in some shells, the variable keeps the value.
        self.statements += [replace(assignment, certain=False) for assignment in own]
        if command in _ENDS:
            raise self.error(f"{command}, so what follows may not count")
        if command is None or command in _OPAQUE:
            names = tuple(filter(None, (_plain(word[2]) for word in words[1:]))) if command in ("unset", "read") else ()
            self.statements.append(OpaqueCommand(self.path, self._line(), names))

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1


def _plain(pieces: list[WordPiece]) -> str | None:
    """The word, when it is plain text without quotes."""
    if any(piece.kind != "char" or piece.quoted for piece in pieces):
        return None
    return "".join(piece.text for piece in pieces)


class ShellSettings:
    """The variables that some files, read in this order, leave behind."""

    def __init__(self, files: t.Sequence[tuple[str, str]]) -> None:
        """Raises PlanError for a file that cannot be followed."""
        self.files = dict(files)
        self.statements: list[Statement] = []
        for path, text in files:
            self.statements += _ShellReader(path, text).read()
        self._variables: dict[str, ShellValue] = {}
        self._unsure = False
        for number, statement in enumerate(self.statements):
            self._run(number, statement)

    def value(self, name: str) -> ShellValue:
        """The final value of the variable."""
        return self._variables.get(name) or ShellValue(*((UNKNOWN, [(-1, -1)]) if self._unsure else ("", [])))

    def last(self, name: str) -> int | None:
        """The assignment that counts; None when there is none."""
        numbers = [
            number
            for number, statement in enumerate(self.statements)
            if isinstance(statement, ShellAssignment) and statement.name == name
        ]
        return numbers[-1] if numbers else None

    def _run(self, number: int, statement: Statement) -> None:
        unknown = ShellValue(UNKNOWN, [(-1, -1)])
        if isinstance(statement, OpaqueCommand):
            names = statement.names or tuple(self._variables)
            self._variables.update(dict.fromkeys(names, unknown))
            self._unsure = self._unsure or not statement.names
        elif statement.broken or not statement.certain:
            self._variables[statement.name] = unknown
        else:
            self._variables[statement.name] = self._expanded(number, statement)

    def _expanded(self, number: int, statement: ShellAssignment) -> ShellValue:
        value = ShellValue()
        parts: list[str] = []
        size = 0
        for place, piece in enumerate(statement.pieces):
            if piece.kind == "char":
                part, origins = piece.text, [(number, place)]
            elif piece.kind == "variable" and (piece.text in self._variables or piece.text.startswith("GRUB_")):
                inner = self.value(piece.text)
                part, origins = inner.text, inner.origins
            else:
                part, origins = UNKNOWN, [(-1, -1)]
            size += len(part)
            if size > MAX_VALUE:
                raise PlanError(
                    f"{statement.path}, line {statement.line}: the value is too long to be followed",
                    "settings_value_too_long",
                )
            parts.append(part)
            value.origins += origins
        value.text = "".join(parts)
        return value


@dataclass
class ShellChange:
    """Edit of one assignment: pieces to remove, and text to insert before a piece."""

    remove: set[int] = field(default_factory=set)
    insert: dict[int, str] = field(default_factory=dict)


def rewrite(settings: ShellSettings, changes: dict[int, ShellChange]) -> dict[str, str]:
    """The files with these assignments (by number) changed: path -> whole new text."""
    texts = dict(settings.files)
    for number in sorted(changes, reverse=True):
        statement = settings.statements[number]
        if not isinstance(statement, ShellAssignment):
            raise PlanError(f"{statement.path}, line {statement.line}, is no assignment", "settings_not_assigned")
        text = texts[statement.path]
        value = _written(statement, changes[number], text[statement.start : statement.end])
        texts[statement.path] = text[: statement.start] + value + text[statement.end :]
    return {path: text for path, text in texts.items() if text != settings.files[path]}


def _written(statement: ShellAssignment, change: ShellChange, old: str) -> str:
    pieces: list[WordPiece] = []
    for place, piece in enumerate((*statement.pieces, None)):
        pieces += [WordPiece("char", char, char, True) for char in change.insert.get(place, "")]
        if piece is not None and place not in change.remove:
            pieces.append(piece)
    plain = "".join(piece.text for piece in pieces if piece.kind == "char")
    if old[:1] == "'" and old.count("'") == 2 and old[-1:] == "'" and "'" not in plain:
        return f"'{plain}'"
    return '"' + "".join(_double_quoted(statement, piece) for piece in pieces) + '"'


def _double_quoted(statement: ShellAssignment, piece: WordPiece) -> str:
    if piece.kind == "char":
        return f"\\{piece.text}" if piece.text in '$`"\\' else piece.text
    if piece.kind == "variable":
        return f"${{{piece.text}}}"
    if not piece.quoted and re.search(r'["\\`]', piece.raw[1:-1]):
        raise PlanError(
            f"{statement.path}, line {statement.line}: {piece.raw[:60]} cannot be quoted safely",
            "settings_not_quotable",
        )
    return piece.raw
