# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A parser for shell scripts (POSIX sh, and what is common of bash), for reading hooks without running them.

It accepts less than a shell does: whatever it is not sure to read as the shell does raises ShellSyntaxError.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

MAX_TEXT = 64 * 1024
_MAX_DEPTH = 40

LITERAL, VARIABLE, OPAQUE = "literal", "variable", "opaque"
#: Opaque too, and the shell itself may end over it; its text is what follows the dollar sign.
EXPANSION = "expansion"
_OPERATORS = (
    *(";;&", "&>>", "<<<", "<<-", ";;", ";&", "&&", "||", "&>", "|&", "<<", ">>", ">&", "<&", ">|", "<>", "<(", ">("),
    *("\n", ";", "&", "|", "(", ")", "<", ">"),
)
_REDIRECTIONS = frozenset((">", ">>", "<", ">&", "<&", "&>", "&>>", ">|", "<>", "<<<"))
#: Plain sh reads these in another way, or not at all.
_BASH = frozenset(("&>", "&>>", "|&", "<<<"))
_REFUSED = frozenset((";;&", ";&", "<(", ">("))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*|[0-9]+)\}")
_PLAIN = re.compile(r"[^\s'\"\\$`#;&|()<>]+")
_HARD_TO_SKIP = re.compile(r"\bcase\b|<<|#")
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_:.-]*\Z")
_ENDS = frozenset(("then", "elif", "else", "fi", "do", "done", "esac", "}"))


class ShellSyntaxError(Exception):
    """The script has something that this parser does not read."""


@dataclass(frozen=True)
class Part:
    """A piece of a word: literal text, the name of a variable, or something that only a shell can expand."""

    kind: str
    text: str = ""
    quoted: bool = False


@dataclass(frozen=True)
class Token:
    """An operator, or a word with its parts."""

    operator: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def plain(self) -> str | None:
        """The text of a word without quotes and expansions; None for any other token."""
        if self.operator or any(part.kind != LITERAL or part.quoted for part in self.parts):
            return None
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True)
class Node:
    """A command: its kind, its words, and the commands in it."""

    kind: str
    words: tuple[Token, ...] = ()
    nodes: tuple[Node, ...] = ()
    #: Operators between the nodes, or whether a command is redirected or in the background.
    marks: tuple[str, ...] = ()


def parse(text: str, bash: bool) -> Node:
    """The script as one list of commands; ``bash`` allows what plain sh does not have. Raises ShellSyntaxError."""
    if len(text) > MAX_TEXT or "\0" in text or "\r" in text:
        raise ShellSyntaxError("too long, or no plain text")
    tokens = _Lexer(text).tokens()
    if not bash and any(token.operator in _BASH or token.plain == "function" for token in tokens):
        raise ShellSyntaxError("more than plain sh")
    return _Parser(tokens, bash).script()


@dataclass
class _Lexer:
    text: str
    place: int = 0
    lexed: list[Token] = field(default_factory=list)
    heredocs: list[tuple[str, bool]] = field(default_factory=list)

    def tokens(self) -> list[Token]:
        while self.place < len(self.text):
            char = self.text[self.place]
            if char in " \t":
                self.place += 1
            elif self.text.startswith("\\\n", self.place):
                self.place += 2
            elif char == "#":
                end = self.text.find("\n", self.place)
                self.place = len(self.text) if end < 0 else end
            else:
                self._token()
        if self.heredocs:
            raise ShellSyntaxError("here-document without end")
        return [*self.lexed, Token("\n")]

    def _token(self) -> None:
        operator = next((item for item in _OPERATORS if self.text.startswith(item, self.place)), "")
        if operator in _REFUSED or self.text.startswith("((", self.place):
            raise ShellSyntaxError(operator or "arithmetic")
        if not operator:
            word = Token(parts=self._word())
            if not word.parts:  # a backslash at the end, or a space that the shell may take for a letter
                raise ShellSyntaxError("a character that begins no word")
            # The number of a file that is redirected is no word of the command.
            if not ((word.plain or "").isdigit() and self.text[self.place : self.place + 1] in ("<", ">")):
                self.lexed.append(word)
            return
        self.place += len(operator)
        if operator in ("<<", "<<-"):
            self._heredoc(operator == "<<-")
            return
        self.lexed.append(Token(operator))
        if operator == "\n":
            self._skip_heredocs()

    def _heredoc(self, tabs: bool) -> None:
        while self.text[self.place : self.place + 1] in (" ", "\t"):
            self.place += 1
        parts = self._word()
        if not parts or any(part.kind != LITERAL for part in parts):
            raise ShellSyntaxError("delimiter of a here-document")
        self.heredocs.append(("".join(part.text for part in parts), tabs))
        self.lexed += [Token("<"), Token(parts=(Part(OPAQUE),))]

    def _skip_heredocs(self) -> None:
        for delimiter, tabs in self.heredocs:
            while True:
                end = self.text.find("\n", self.place)
                line = self.text[self.place : len(self.text) if end < 0 else end]
                self.place = len(self.text) if end < 0 else end + 1
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
                if end < 0:
                    raise ShellSyntaxError("here-document without end")
        self.heredocs.clear()

    def _word(self) -> tuple[Part, ...]:
        parts: list[Part] = []
        while self.place < len(self.text):
            char = self.text[self.place]
            match = _PLAIN.match(self.text, self.place)
            if match or (char == "#" and parts):
                taken = match.group() if match else "#"
                self.place += len(taken)
                parts.append(Part(LITERAL, taken))
            elif char == "'":
                parts.append(Part(LITERAL, self._until("'"), quoted=True))
            elif char == '"':
                parts += self._double_quoted()
            elif char == "\\" and self.place + 1 < len(self.text):
                parts += [] if self.text[self.place + 1] == "\n" else [Part(LITERAL, self.text[self.place + 1], True)]
                self.place += 2
            elif char in "$`":
                parts.append(self._expansion(quoted=False))
            else:
                break
        return tuple(parts)

    def _until(self, quote: str) -> str:
        end = self.text.find(quote, self.place + 1)
        if end < 0:
            raise ShellSyntaxError("quotes without end")
        content = self.text[self.place + 1 : end]
        self.place = end + 1
        return content

    def _double_quoted(self) -> list[Part]:
        parts = [Part(LITERAL, "", quoted=True)]
        self.place += 1
        while self.place < len(self.text):
            char = self.text[self.place]
            if char == '"':
                self.place += 1
                return parts
            if char == "\\" and self.text[self.place + 1 : self.place + 2] in ('"', "\\", "$", "`", "\n"):
                following = self.text[self.place + 1]
                parts.append(Part(LITERAL, "" if following == "\n" else following, quoted=True))
                self.place += 2
            elif char in "$`":
                parts.append(self._expansion(quoted=True))
            else:
                parts.append(Part(LITERAL, char, quoted=True))
                self.place += 1
        raise ShellSyntaxError("quotes without end")

    def _expansion(self, quoted: bool) -> Part:
        if self.text[self.place] == "`":
            content = self._until("`")
            if "\\" in content:
                raise ShellSyntaxError("backslash in backquotes")
            return Part(OPAQUE, quoted=quoted)
        self.place += 1
        rest = self.text[self.place : self.place + 1]
        braces = _PLAIN_PARAMETER.match(self.text, self.place)
        name = _NAME.match(self.text, self.place)
        if braces or name:
            match = braces or name
            self.place += len(match.group()) if match else 0
            return Part(VARIABLE, braces.group(1) if braces else name.group() if name else "", quoted)
        if rest in ("(", "{"):
            start = self.place
            self._skip_brackets(rest, ")" if rest == "(" else "}")
            inside = self.text[start : self.place]
            may_end = rest == "{" or inside.startswith("((")  # what fails in $( ) ends a shell of its own
            return Part(EXPANSION, inside, quoted) if may_end else Part(OPAQUE, quoted=quoted)
        if rest and rest in "0123456789":
            self.place += 1
            return Part(VARIABLE, rest, quoted)
        if rest and rest in "@*#?$!-":
            self.place += 1
            return Part(OPAQUE, rest, quoted)
        if rest in ("'", '"') and not quoted:
            raise ShellSyntaxError("quotes after a dollar sign")
        return Part(LITERAL, "$", quoted)

    def _skip_brackets(self, opening: str, closing: str) -> None:
        start, depth = self.place, 0
        while self.place < len(self.text):
            char = self.text[self.place]
            if char == "'" or char == '"':
                if char == "'":
                    self._until("'")
                else:
                    self._double_quoted()
                continue
            if char == "\\":
                self.place += 2
                continue
            depth += (char == opening) - (char == closing)
            self.place += 1
            if not depth:
                if opening == "(" and _HARD_TO_SKIP.search(self.text, start, self.place):
                    raise ShellSyntaxError("command substitution")
                return
        raise ShellSyntaxError("brackets without end")


class _Parser:
    def __init__(self, tokens: list[Token], bash: bool) -> None:
        self._tokens = tokens
        self._bash = bash
        self._place = 0
        self._depth = 0

    def script(self) -> Node:
        node = self._list(())
        if self._place < len(self._tokens):
            raise ShellSyntaxError("unexpected token")
        return node

    @property
    def _now(self) -> Token:
        return self._tokens[self._place] if self._place < len(self._tokens) else Token("end")

    def _take(self, plain: str = "", operator: str = "") -> None:
        if (operator and self._now.operator != operator) or (plain and self._now.plain != plain):
            raise ShellSyntaxError(f"expected {plain or operator}")
        self._place += 1

    def _newlines(self) -> None:
        while self._now.operator == "\n":
            self._place += 1

    def _list(self, ends: t.Collection[str]) -> Node:
        """Commands up to one of the words or operators, which stays."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ShellSyntaxError("too deep")
        nodes: list[Node] = []
        while True:
            while self._now.operator in ("\n", ";"):
                self._place += 1
            if self._now.operator == "end" or self._now.operator in ends or self._now.plain in ends:
                break
            if self._now.plain in _ENDS:
                raise ShellSyntaxError(f"unexpected {self._now.plain}")
            node = self._and_or()
            if self._now.operator == "&":
                self._place += 1
                node = Node("background", nodes=(node,))
            elif self._now.operator not in ("\n", ";", "end") and self._now.operator not in ends:
                raise ShellSyntaxError("expected the end of a command")
            nodes.append(node)
        self._depth -= 1
        if self._now.operator == "end" and ends:
            raise ShellSyntaxError("unexpected end")
        return Node("list", nodes=tuple(nodes))

    def _and_or(self) -> Node:
        nodes, marks = [self._pipeline()], []
        while self._now.operator in ("&&", "||"):
            marks.append(self._now.operator)
            self._place += 1
            self._newlines()
            nodes.append(self._pipeline())
        return nodes[0] if not marks else Node("and_or", nodes=tuple(nodes), marks=tuple(marks))

    def _pipeline(self) -> Node:
        negated = self._now.plain == "!"
        self._place += negated
        nodes = [self._command()]
        while self._now.operator in ("|", "|&"):
            self._place += 1
            self._newlines()
            nodes.append(self._command())
        node = nodes[0] if len(nodes) == 1 else Node("pipeline", nodes=tuple(nodes))
        return Node("not", nodes=(node,)) if negated else node

    def _command(self) -> Node:
        word = self._now.plain
        compound = {
            "if": self._if,
            "case": self._case,
            "for": self._for,
            "while": self._while,
            "until": self._while,
            "{": self._group,
        }
        if self._now.operator == "(":
            node = self._subshell()
        elif word in compound:
            node = compound[word]()
        elif word == "function" or (
            word is not None
            and _FUNCTION.match(word)
            and self._next().operator == "("
            and self._next(2).operator == ")"
        ):
            return self._function(word == "function")
        else:
            return self._simple()
        return self._redirected(node)

    def _next(self, ahead: int = 1) -> Token:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else Token("end")

    def _redirected(self, node: Node) -> Node:
        redirected = False
        while self._redirection():
            redirected = True
        return Node("redirected", nodes=(node,)) if redirected else node

    def _redirection(self) -> bool:
        if self._now.operator not in _REDIRECTIONS:
            return False
        self._place += 1
        if self._now.operator:
            raise ShellSyntaxError("redirection to nothing")
        if any(part.kind == EXPANSION for part in self._now.parts):
            raise ShellSyntaxError("an expansion that may end the script")
        self._place += 1
        return True

    def _if(self) -> Node:
        nodes = []
        self._take("if")
        while True:
            nodes.append(self._list(("then",)))
            self._take("then")
            nodes.append(self._list(("elif", "else", "fi")))
            if self._now.plain != "elif":
                break
            self._take("elif")
        if self._now.plain == "else":
            self._take("else")
            nodes.append(self._list(("fi",)))
        self._take("fi")
        return Node("if", nodes=tuple(nodes))

    def _case(self) -> Node:
        self._take("case")
        subject = self._word()
        self._newlines()
        self._take("in")
        branches = []
        self._newlines()
        while self._now.plain != "esac":
            if self._now.operator == "(":
                self._place += 1
            patterns = [self._word()]
            while self._now.operator == "|":
                self._place += 1
                patterns.append(self._word())
            self._take(operator=")")
            branches.append(Node("branch", tuple(patterns), (self._list((";;", "esac")),)))
            if self._now.operator == ";;":
                self._place += 1
            self._newlines()
        self._take("esac")
        return Node("case", (subject,), tuple(branches))

    def _word(self) -> Token:
        token = self._now
        if token.operator:
            raise ShellSyntaxError("expected a word")
        self._place += 1
        return token

    def _for(self) -> Node:
        self._take("for")
        words = [self._word()]
        if self._now.plain == "in":
            while not self._now.operator:
                words.append(self._word())
        self._newlines_and_semicolon()
        return Node("for", tuple(words), (self._do(),))

    def _newlines_and_semicolon(self) -> None:
        if self._now.operator == ";":
            self._place += 1
        self._newlines()

    def _do(self) -> Node:
        self._take("do")
        body = self._list(("done",))
        self._take("done")
        return body

    def _while(self) -> Node:
        word = self._word()
        condition = self._list(("do",))
        return Node("while", (word,), (condition, self._do()))

    def _group(self) -> Node:
        self._take("{")
        body = self._list(("}",))
        self._take("}")
        return body

    def _subshell(self) -> Node:
        self._take(operator="(")
        body = self._list((")",))
        self._take(operator=")")
        return Node("subshell", nodes=(body,))

    def _function(self, keyword: bool) -> Node:
        self._place += keyword
        name = self._word()
        if self._now.operator == "(":
            self._place += 1
            self._take(operator=")")
        self._newlines()
        if self._now.plain != "{":
            raise ShellSyntaxError("body of a function")
        return Node("function", (name,), (self._group(),))

    def _simple(self) -> Node:
        """A command with its words; ``[[ ... ]]`` keeps the operators in it."""
        words: list[Token] = []
        redirected = False
        double = self._now.plain == "[["
        while True:
            if double and not redirected and (not words or words[-1].plain != "]]"):
                if self._now.operator in ("end", "\n", ";"):
                    raise ShellSyntaxError("expected ]]")
                words.append(self._now)
                self._place += 1
            elif self._redirection():
                redirected = True
            elif not self._now.operator:
                words.append(self._word())
            elif self._now.operator == "(" and self._bash and words and (words[-1].plain or "").endswith("="):
                self._array()
                words[-1] = Token(parts=(*words[-1].parts, Part(OPAQUE)))
            else:
                break
        if not words and not redirected:
            raise ShellSyntaxError("expected a command")
        return Node("simple", tuple(words), marks=("redirected",) if redirected else ())

    def _array(self) -> None:
        self._place += 1
        while self._now.operator in ("", "\n"):
            self._place += 1
        self._take(operator=")")
