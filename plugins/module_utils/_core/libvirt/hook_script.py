# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit status of a hook at libvirt's operation "reconnect", found by reading its script, never by running it.

When the daemon starts, it calls each hook for guests with "reconnect" for each running guest, and ends the guest when
the hook fails. All branches that the script may take then are followed: where a condition is not known, both.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from .shell_parser import EXPANSION, LITERAL, OPAQUE, VARIABLE, Node, Part, ShellSyntaxError, Token, parse

#: What the hook does at reconnect: exits with 0, with another status, or it is not known.
PASSES, FAILS, UNKNOWN = "passes", "fails", "unknown"

#: The arguments of the call, by position; the name of the guest is any.
_ARGUMENTS: tuple[str | None, ...] = (None, "reconnect", "begin", "-")
_SHEBANG = re.compile(r"#![ \t]*(?:/usr)?/bin/(?:env[ \t]+)?(sh|dash|bash|ksh)((?:[ \t]+-[eux]+)*)[ \t]*\n")
_GLOB = re.compile(r"[*?\[]")
_SPLIT = re.compile(r"[\s*?\[]")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=")
_MAX_CALLS = 20

#: Builtins that may end the script, or change how it is read.
_REFUSED = frozenset(
    ". source eval exec trap kill alias unalias time coproc command builtin enable hash getopts let select "
    "shopt".split()
)
#: Builtins that only set variables; others with a status of their own.
_DECLARE = frozenset("local export readonly declare typeset".split())
_READERS = frozenset("read unset mapfile readarray".split())
_FIXED = {":": 0, "true": 0, "echo": 0, "false": 1}
#: Builtins of which an error ends sh, also bash under that name: a bad name, an option, a redirection.
_SPECIAL = frozenset(": set shift export readonly unset exit return break continue".split())
#: Expansions in braces that sh has and that cannot fail; bash has more of them.
_SAFE = re.compile(r"\{(?:#?\w+|(?P<name>\w+)(?:(?P<sets>:?=)|:?[-+]|%%?|##?)[^?]*)\}\Z")
#: A format of printf that takes any argument.
_PRINTS = re.compile(r"(?:[^%\\-]|\\[nt]|%[s%])(?:[^%\\]|\\[nt]|%[s%])*\Z")

_BUILTINS = (
    _REFUSED
    | _DECLARE
    | _READERS
    | frozenset((*_FIXED, *"exit return set shift test [ [[ break continue printf".split()))
)

Status = t.Optional[int]  # 0, 1 for any other, None where it is not known
_RETURN, _EXIT = "return", "exit"


def outcome(text: str) -> str:
    """What the script does when libvirt calls it with "reconnect": PASSES, FAILS or UNKNOWN. Never raises."""
    shebang = _SHEBANG.match(text)
    if shebang is None:
        return UNKNOWN
    run = _Run(bash=shebang.group(1) in ("bash", "ksh"), stops_at_errors="e" in shebang.group(2))
    run.stops_at_unset = "u" in shebang.group(2)
    try:
        status, ended = run.node(parse(text, run.bash))
    except (ShellSyntaxError, RecursionError):
        return UNKNOWN
    if ended != _EXIT:
        run.exits.add(UNKNOWN if ended else _class_of(status))
    return next(iter(run.exits)) if len(run.exits) == 1 else UNKNOWN


def _class_of(status: Status) -> str:
    return UNKNOWN if status is None else FAILS if status else PASSES


def _either(first: Status, second: Status) -> Status:
    return first if first == second else None


@dataclass
class _Run:
    """The state of a script that is followed."""

    bash: bool
    stops_at_errors: bool = False
    stops_at_unset: bool = False
    #: Outcomes of all ends that the script may come to.
    exits: set[str] = field(default_factory=set)
    variables: dict[str, str | None] = field(default_factory=dict)
    arguments: tuple[str | None, ...] = _ARGUMENTS
    functions: dict[str, Node] = field(default_factory=dict)
    #: Variables that are readonly.
    fixed: set[str] = field(default_factory=set)
    calls: int = 0
    #: A branch of the function that is followed may have returned already.
    may_return: bool = False
    last: Status = 0

    def node(self, node: Node, tested: bool = False) -> tuple[Status, str]:
        """Follow a command; gives its status, and how it surely ended the script or function, if it did.

        ``tested``: its failure does not end the script, whatever ``set -e`` says.
        """
        follow: dict[str, t.Callable[[Node, bool], tuple[Status, str]]] = {
            "list": self._list,
            "and_or": self._and_or,
            "not": self._not,
            "if": self._if,
            "case": self._case,
            "for": self._for,
            "while": self._while,
            "redirected": self._redirected,
            "simple": self._simple,
        }
        if node.kind == "function":
            name = node.words[0].plain or ""
            if name in _BUILTINS:
                raise ShellSyntaxError(f"function {name}")
            self.functions[name] = node.nodes[0]
        if node.kind in ("function", "background"):
            self.last = 0
            return 0, ""
        if node.kind in ("pipeline", "subshell"):
            self.last = self._failed(None, tested)
            return None, ""
        status, ended = follow[node.kind](node, tested)
        self.last = status
        return status, ended

    def _failed(self, status: Status, tested: bool) -> Status:
        """Note that ``set -e`` may end the script after a command with this status."""
        if self.stops_at_errors and not tested and status is None:
            self.exits.add(FAILS)
            self.exits.add(PASSES)  # both, so that the outcome is not known
        return status

    def _list(self, node: Node, tested: bool) -> tuple[Status, str]:
        status: Status = 0
        for each in node.nodes:
            status, ended = self.node(each, tested)
            if ended:
                return status, ended
        return status, ""

    def _and_or(self, node: Node, tested: bool) -> tuple[Status, str]:
        status, ended = self.node(node.nodes[0], True)
        for mark, each in zip(node.marks, node.nodes[1:]):
            if ended:
                return status, ended
            skipped = 1 if mark == "&&" else 0
            if status == skipped:
                continue
            last = tested or each is not node.nodes[-1]
            if status is None:
                other, _ended = self._maybe(lambda each=each, last=last: self.node(each, last))  # type: ignore[misc]
                status = _either(other, skipped)
            else:
                status, ended = self.node(each, last)
        return status, ended

    def _not(self, node: Node, _tested: bool) -> tuple[Status, str]:
        status, ended = self.node(node.nodes[0], True)
        return (None if status is None else int(not status)), ended

    def _maybe(self, follow: t.Callable[[], tuple[Status, str]]) -> tuple[Status, str]:
        """Follow a branch that may be taken or not."""
        before = dict(self.variables)
        kept = self._kept()
        self.last = None
        status, ended = follow()
        if self._kept() != kept and not ended:
            raise ShellSyntaxError("options, arguments or functions set in a branch")
        self.stops_at_errors, self.stops_at_unset, self.arguments, self.functions = kept
        if ended == _RETURN:
            self.may_return = True
        if ended:
            self.variables = before
        else:
            for name in {*before, *self.variables}:
                if before.get(name) != self.variables.get(name):
                    self.variables[name] = None
        return status, ended

    def _kept(self) -> tuple[bool, bool, tuple[str | None, ...], dict[str, Node]]:
        return self.stops_at_errors, self.stops_at_unset, self.arguments, dict(self.functions)

    def _branches(self, branches: t.Sequence[tuple[bool | None, Node | None]], tested: bool) -> tuple[Status, str]:
        """Follow the branches that may be taken, up to the first that surely is. A missing branch does nothing."""
        statuses: list[Status] = []
        ended_with: list[Status] = []
        ends: list[str] = []
        for holds, body in branches:
            if holds is False:
                continue
            follow = (lambda body=body: self.node(body, tested)) if body is not None else (lambda: (0, ""))
            certain = holds and not ends
            status, ended = follow() if certain else self._maybe(follow)
            (ended_with if ended else statuses).append(status)
            ends.append(ended)
            if holds:
                break
        alike = set(statuses or ended_with)
        status = alike.pop() if len(alike) == 1 else None
        if statuses:
            return status, ""
        return status, ends[0] if len(set(ends)) == 1 else _RETURN

    def _if(self, node: Node, tested: bool) -> tuple[Status, str]:
        pairs = list(zip(node.nodes[0::2], node.nodes[1::2]))
        otherwise = node.nodes[-1] if len(node.nodes) % 2 else None
        branches: list[tuple[bool | None, Node | None]] = []
        for condition, body in pairs:
            status, ended = self.node(condition, True)
            if ended:
                raise ShellSyntaxError("a condition that ends the script")
            branches.append((None if status is None else status == 0, body))
            if status == 0:
                break
        return self._branches([*branches, (True, otherwise)], tested)

    def _case(self, node: Node, tested: bool) -> tuple[Status, str]:
        subject = self._value(node.words[0])
        branches: list[tuple[bool | None, Node | None]] = []
        for branch in node.nodes:
            fits = [self._fits(subject, pattern) for pattern in branch.words]
            holds = True if True in fits else None if None in fits else False
            branches.append((holds, branch.nodes[0]))
        return self._branches([*branches, (True, None)], tested)

    def _fits(self, subject: str | None, pattern: Token) -> bool | None:
        """Whether a text fits a pattern of ``case`` or ``[[``."""
        value = self._value(pattern)
        if pattern.plain == "*":
            return True
        if subject is None or value is None:
            return None
        literal = [part for part in pattern.parts if part.kind == LITERAL and not part.quoted]
        glob = any(_GLOB.search(part.text) for part in literal)
        if any(_GLOB.search(self._value(Token(parts=(part,))) or "") for part in pattern.parts if part not in literal):
            return None  # some are meant as they are
        if "(" in value or "\\" in value or "[^" in value:
            return None
        try:
            return re.fullmatch(_regex(value), subject, re.DOTALL) is not None if glob else subject == value
        except re.error:
            return None  # no class of characters, such as [z-a]

    def _for(self, node: Node, tested: bool) -> tuple[Status, str]:
        for word in node.words[1:]:
            self._value(word)
        self._assign(node.words[0].plain, None)
        for body in (node.nodes[0], *self.functions.values()):
            for name in _assigned(body):
                self._assign(name, None)
        status, _ended = self._maybe(lambda: self.node(node.nodes[0], tested))
        return _either(status, 0), ""

    def _while(self, node: Node, _tested: bool) -> tuple[Status, str]:
        status, ended = self.node(node.nodes[0], True)
        enters = status != 0 if node.words[0].plain == "until" else status == 0
        if ended or status is None or enters:
            raise ShellSyntaxError("a loop that may not end")
        return 0, ""

    def _redirected(self, node: Node, tested: bool) -> tuple[Status, str]:
        # Nothing of it is run where a file cannot be opened.
        self._maybe(lambda: self.node(node.nodes[0], tested))
        return self._failed(None, tested), ""

    def _simple(self, node: Node, tested: bool) -> tuple[Status, str]:
        words = list(node.words)
        while words and (match := _ASSIGNMENT.match(words[0].parts[0].text if words[0].parts else "")):
            value = self._value(words[0])
            kept = None if value is None or "+=" in match.group() else value[match.end() :]
            self._assign(match.group(1), kept if len(words) == 1 or kept is None else None)
            opaque = any(part.kind not in (LITERAL, VARIABLE) for part in words[0].parts)
            words = words[1:]
            if not words:
                return self._failed(None if opaque else 0, tested), ""
        if not words:
            return self._failed(None, tested), ""
        name = words[0].plain
        values = [self._argument(word) for word in words[1:]]
        double = name == "[["
        values = [self._value(word) for word in words[1:]] if double else values
        if not self.bash:
            self._refuse_errors(name, words, node.marks)
        if node.marks:
            self._maybe(lambda: self._run(name, words, values))
            status, ended = None, ""
        else:
            status, ended = self._run(name, words, values)
        if status and not tested and self.stops_at_errors and not ended:
            self.exits.add(FAILS)
            return status, _EXIT
        return (status if ended else self._failed(status, tested)), ended

    def _refuse_errors(self, name: str | None, words: list[Token], marks: t.Sequence[str]) -> None:
        """Raise ShellSyntaxError where sh may end by an error of the command."""
        if name in self.functions:
            return
        texts = [word.parts[0].text if word.parts and word.parts[0].kind == LITERAL else "" for word in words[1:]]
        names = [text.partition("=")[0] for text in texts if not (name == "unset" and text in ("-v", "-f"))]
        named = name in ("export", "readonly", "local", "unset")
        if (
            (marks and name in _SPECIAL)
            or (named and not all(item.isascii() and item.isidentifier() for item in names))
            or (name == "local" and not self.calls)
            or (name == "shift" and (texts or not self.arguments))
        ):
            raise ShellSyntaxError(f"an error of {name} ends the script")

    def _run(self, name: str | None, words: list[Token], values: list[str | None]) -> tuple[Status, str]:
        if name is None or name in _REFUSED:
            raise ShellSyntaxError(f"command {name}")
        if name in self.functions:
            every = len(words) == 2 and words[1].parts[-1:] == (Part(OPAQUE, "@", quoted=True),)
            return self._call(self.functions[name], self.arguments if every else values)
        if name in ("exit", "return"):
            return self._end(name, values)
        if name in _FIXED or name == "printf":
            return _FIXED.get(name, 0 if values and _PRINTS.match(values[0] or "") else None), ""
        if name in ("[", "test", "[["):
            return self._test(name, words[1:], values), ""
        if name == "set":
            return self._set(values)
        if name == "shift":
            self.arguments = self.arguments[1:] if not values else ()
            return (0 if self.arguments else None), ""
        if name in _DECLARE:
            return self._declare(name, words[1:]), ""
        if name in _READERS:
            for word in words[1:]:
                if not (word.plain or "").startswith("-"):
                    self._assign(word.plain, None)
            return None, ""
        return None, ""  # a program, which cannot end the script

    def _end(self, name: str, values: list[str | None]) -> tuple[Status, str]:
        status: Status = self.last
        if values:
            text = values[0]
            status = None if text is None or not text.isdigit() or len(values) > 1 else int(int(text) % 256 != 0)
        if name == "return":
            if not self.calls:
                raise ShellSyntaxError("return outside of a function")
            return status, _RETURN
        self.exits.add(_class_of(status))
        return status, _EXIT

    def _call(self, body: Node, values: t.Sequence[str | None]) -> tuple[Status, str]:
        if self.calls >= _MAX_CALLS:
            raise ShellSyntaxError("functions too deep")
        before = self.arguments, self.may_return
        self.arguments, self.may_return = tuple(values), False
        self.calls += 1
        status, ended = self.node(body)
        self.calls -= 1
        returned = self.may_return
        self.arguments, self.may_return = before
        if returned:
            return None, ""
        return status, ended if ended == _EXIT else ""

    def _set(self, values: list[str | None]) -> tuple[Status, str]:
        options = list(values)
        while options:
            text = options.pop(0)
            if text is None or not re.fullmatch(r"[-+][euxo]+", text):
                raise ShellSyntaxError("set")
            on = text[0] == "-"
            name = options.pop(0) if "o" in text and options else ""
            if name not in ("", "errexit", "nounset", "pipefail", "xtrace"):
                raise ShellSyntaxError("set -o")
            if "e" in text or name == "errexit":
                self.stops_at_errors = on
            if "u" in text or name == "nounset":
                self.stops_at_unset = on
        return 0, ""

    def _declare(self, command: str, words: list[Token]) -> Status:
        fixes = command == "readonly" or any("r" in (word.plain or "")[1:] for word in words if _is_option(word))
        for word in words:
            value = self._value(word)
            name, equals, rest = (word.parts[0].text if word.parts else "").partition("=")
            if equals:
                self._assign(name, None if value is None else value.partition("=")[2])
            elif not name.startswith("-"):
                self._assign(word.plain, None)
            del rest
            if fixes and not _is_option(word):
                self.fixed.add(name)
        return 0 if self.bash or command not in ("declare", "typeset") else None  # sh may not have these

    def _assign(self, name: str | None, value: str | None) -> None:
        if name is None or name in ("IFS", "PATH", "BASH_ENV", "ENV"):
            raise ShellSyntaxError(f"variable {name}")
        if name in self.fixed:
            raise ShellSyntaxError(f"readonly variable {name}")
        self.variables[name] = value

    def _value(self, token: Token) -> str | None:
        """The text of a word; None where it is not known."""
        texts: list[str | None] = []
        for part in token.parts:
            if part.kind == LITERAL:
                texts.append(part.text)
            elif part.kind == VARIABLE:
                texts.append(self._variable(part.text))
            elif part.kind == EXPANSION:
                self._expand(part.text)
                texts.append(None)
            else:
                texts.append(None)
        return None if None in texts else "".join(text for text in texts if text is not None)

    def _expand(self, text: str) -> None:
        """Note what an expansion does. Raises ShellSyntaxError where the script may end by it: ${NAME:?}, $((1/0))."""
        safe = _SAFE.match(text)
        if text.startswith("(") or (safe is None and ("?" in text or not self.bash)):
            raise ShellSyntaxError("an expansion that may end the script")
        if safe is not None and safe["sets"]:
            self._assign(safe["name"], None)

    def _argument(self, token: Token) -> str | None:
        """The text of an argument; None where the shell may split it into several, or drop it."""
        whole = self._value(token)
        for part in token.parts:
            if part.kind == VARIABLE and not part.quoted:
                value = self._variable(part.text)
                if value is not None and (not value or _SPLIT.search(value)):
                    return None
        return whole

    def _variable(self, name: str) -> str | None:
        if name.isdigit():
            number = int(name)
            known = 0 < number <= len(self.arguments)
            if not known and number and self.stops_at_unset:
                raise ShellSyntaxError("an argument that is not set")
            return self.arguments[number - 1] if known else None
        if name not in self.variables and self.stops_at_unset:
            raise ShellSyntaxError("a variable that may not be set")
        return self.variables.get(name)

    def _test(self, name: str, words: list[Token], values: list[str | None]) -> Status:
        """Status of ``[``, ``test`` and ``[[``: 1 is false."""
        closing = {"[": "]", "[[": "]]"}.get(name)
        if closing is not None:
            if not words or words[-1].plain != closing:
                return None
            words, values = words[:-1], values[:-1]
        holds = self._holds(words, values, double=name == "[[")
        if holds and not self.bash and (name == "[[" or "==" in [word.plain for word in words]):
            return None  # plain sh may not know these
        return None if holds is None else int(not holds)

    def _holds(self, words: list[Token], values: list[str | None], double: bool) -> bool | None:
        for either, conjunction in (
            ((("||",) if double else ("-o",)), False),
            ((("&&",) if double else ("-a",)), True),
        ):
            for place, word in enumerate(words):
                if (word.operator or word.plain) in either and 0 < place < len(words) - 1:
                    first = self._holds(words[:place], values[:place], double)
                    second = self._holds(words[place + 1 :], values[place + 1 :], double)
                    known = [each for each in (first, second) if each is not None]
                    if (not conjunction) in known:
                        return not conjunction
                    return conjunction if len(known) == 2 else None
        if words and words[0].plain == "!" and len(words) > 1:
            inner = self._holds(words[1:], values[1:], double)
            return None if inner is None else not inner
        if any(word.operator for word in words):
            return None
        return self._compared(words, values, double)

    def _compared(self, words: list[Token], values: list[str | None], double: bool) -> bool | None:
        if len(words) == 1:
            return None if values[0] is None else values[0] != ""
        if len(words) == 2 and words[0].plain in ("-z", "-n"):
            return None if values[1] is None else (values[1] == "") is (words[0].plain == "-z")
        if len(words) != 3 or words[1].plain not in ("=", "==", "!="):
            return None
        equal = self._fits(values[0], words[2]) if double else None
        if not double and values[0] is not None and values[2] is not None:
            equal = values[0] == values[2]
        return None if equal is None else equal is (words[1].plain != "!=")


def _is_option(word: Token) -> bool:
    return (word.plain or "").startswith("-")


def _regex(pattern: str) -> str:
    """A shell's pattern as a regular expression."""
    parts = re.findall(r"\[!?\]?[^\]]*\]|.", pattern, re.DOTALL)
    fixed = {"*": ".*", "?": "."}
    return "".join(_bracket(part) if len(part) > 1 else fixed.get(part, re.escape(part)) for part in parts)


def _bracket(part: str) -> str:
    negated = part[1] == "!"
    members = re.sub(r"([\\\[\]^&~|])", r"\\\1", part[1 + negated : -1])
    return f"[{'^' if negated else ''}{members}]"


def _assigned(node: Node) -> set[str]:
    """Names that a command may assign anywhere in it."""
    names = {
        match.group(1)
        for word in node.words
        for part in word.parts[:1]
        if (match := _ASSIGNMENT.match(part.text)) is not None
    }
    if node.words and node.words[0].plain in _READERS | _DECLARE:
        names |= {word.plain for word in node.words[1:] if word.plain is not None and word.plain.isidentifier()}
    return names.union(*(_assigned(each) for each in node.nodes))
