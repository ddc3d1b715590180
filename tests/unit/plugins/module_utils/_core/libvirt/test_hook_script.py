# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit status of hooks at "reconnect", held against real shells."""

from __future__ import annotations

import random
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.libvirt.hook_script import (
    FAILS,
    PASSES,
    UNKNOWN,
    outcome,
)

from tests.unit.support.fuzzing import CASES, Cases

SCRIPTS: list[tuple[str, str]] = [
    ("#!/bin/sh\n", PASSES),
    ("#!/bin/sh\nexit 0\n", PASSES),
    ("#!/bin/sh\nexit 3\n", FAILS),
    ("exit 0\n", UNKNOWN),  # the kernel does not start it
    ("#!/usr/bin/perl\nexit 0;\n", UNKNOWN),
    ("#!/bin/sh\r\nexit 0\r\n", UNKNOWN),
    ('#!/bin/sh\n[ "$2" = "start" ] && work\n', FAILS),
    ('#!/bin/sh\nif [ "$2" = "start" ]; then work; fi\n', PASSES),
    (
        '#!/bin/bash\nif [[ $2 == start && $3 == begin ]]; then exit 1; elif [ "$2" = stopped ]; then a | b; fi\n',
        PASSES,
    ),
    ('#!/bin/bash\ncase "$2" in\n  start|stopped) exit 1;;\n  prepare) work ;;\nesac\n', PASSES),
    ('#!/bin/bash\ncase "$2" in\n  start) : ;;\n  *) echo "no" >&2; exit 1 ;;\nesac\n', FAILS),
    ('#!/bin/sh\n[ "$2" = reconnect ] && exit 0\nexec work "$@"\n', PASSES),
    ('#!/bin/sh\n[ "$2" = reconnect ] || exec work "$@"\n', PASSES),
    ('#!/bin/sh\nexec work "$@"\n', UNKNOWN),
    ('#!/bin/bash\nmain() {\n  case $2 in reconnect) return 0;; esac\n  exit 3\n}\nmain "$@"\n', PASSES),
    ('#!/bin/bash\nmain() {\n  case $2 in reconnect) return 0;; esac\n  exit 3\n}\nmain "$1"\n', UNKNOWN),
    ("#!/bin/sh\ncat > /tmp/x <<EOF\nexit 1\nEOF\nexit 0\n", PASSES),
    ("#!/bin/sh\ncat > /tmp/x <<EOF\nexit 0\n", UNKNOWN),
    ('#!/bin/sh\nlogger "hook $1"\n', UNKNOWN),
    ('#!/bin/sh\nif [ "$1" = "vm1" ]; then exit 1; fi\nexit 0\n', UNKNOWN),
    ("#!/bin/sh\nfor f in /a /b; do [ -x $f ] && $f || exit 1; done\n", UNKNOWN),
    ("#!/bin/sh\nwhile true; do :; done\n", UNKNOWN),
    ("#!/bin/sh -e\nfalse\nexit 0\n", FAILS),
    ("#!/bin/sh -e\nwork\nexit 0\n", UNKNOWN),
    ('#!/bin/sh\nOP=$2\nread OP\n[ "$OP" = reconnect ] && exit 0\nexit 1\n', UNKNOWN),
    ('#!/bin/sh\n[ "$2" == "reconnect" ] && exit 0\nexit 1\n', UNKNOWN),  # dash does not know ==
    ('#!/bin/bash\n[ "$2" == "reconnect" ] && exit 0\nexit 1\n', PASSES),
    ("#!/bin/bash\n[[ $2 == rec* ]] && exit 0\nexit 1\n", PASSES),
    ('#!/bin/bash\n[[ $2 == "rec*" ]] && exit 0\nexit 1\n', UNKNOWN),
    ("#!/bin/sh\ncase $2 in [z-a]*|[!]) exit 1;; esac\n", UNKNOWN),
    ("#!/bin/sh\ncase $2 in [!a-q]econn??t) exit 0;; esac\nexit 1\n", PASSES),
    ("#!/bin/sh\nIFS=e\n[ $2 = reconnect ] && exit 0\nexit 1\n", UNKNOWN),
    ("#!/bin/sh\ntrap 'exit 1' EXIT\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\n. /etc/hook.conf\nexit 0\n", UNKNOWN),
    # Errors that end the shell itself.
    ('#!/bin/sh\n: "${5:?no guest}"\nexit 0\n', UNKNOWN),
    ("#!/bin/bash\nx=${FOO?}\nexit 0\n", UNKNOWN),
    ("#!/bin/bash\nfor x in ${FOO?}; do :; done\nexit 0\n", UNKNOWN),
    ("#!/bin/bash\nlogger x > ${FOO?}\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nx=$((1/0))\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nx=${FOO!bad}\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nx=${FOO:-a}${FOO%.*}${#FOO}\nexit 0\n", PASSES),
    ("#!/bin/bash\nx=${2,,}\nexit 0\n", PASSES),
    ("#!/bin/sh\nx=\n: ${x:=reconnect}\n[ $x = reconnect ] && exit 1\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\n: > /nonexistent/x\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\necho a > /nonexistent/x\nexit 0\n", PASSES),
    ("#!/bin/bash\nexit 0 < /nonexistent/x\nexit 1\n", UNKNOWN),
    ("#!/bin/bash\n{ exit 0; } > /nonexistent/x\nexit 1\n", UNKNOWN),
    ("#!/bin/sh\nexport 1a=3\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nexport A=3 B\nexit 0\n", PASSES),
    ("#!/bin/sh\nlocal x=1\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nf() {\n  local x=$1\n}\nf a\nexit 0\n", PASSES),
    ("#!/bin/sh\nshift 9\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nreadonly a=1\na=2\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nreadonly a=1\nexit 0\n", PASSES),
    ("#!/bin/bash\ndeclare -r a=1\nread a\nexit 0\n", UNKNOWN),
    ("#!/bin/bash\nshopt -s nocasematch\ncase $2 in RECONNECT) exit 1;; esac\nexit 0\n", UNKNOWN),
    ("#!/bin/bash\nprintf %d abc\n", UNKNOWN),
    ("#!/bin/sh\nprintf '%s: %s\\n' a b\n", PASSES),
    ("#!/bin/bash\nexit 0 0\n", UNKNOWN),
    ("#!/bin/sh\nexit() { :; }\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nif unknown; then f() { exit 1; }; fi\nf\nexit 0\n", UNKNOWN),
    ("#!/bin/sh\nif [ x; then exit 0\n", UNKNOWN),
]


@pytest.mark.parametrize(("script", "expected"), SCRIPTS)
def test_scripts(script: str, expected: str) -> None:
    assert outcome(script) == expected


def test_what_the_usual_first_line_says_is_believed_by_a_shell_too(tmp_path: Path) -> None:
    path = tmp_path / "hook"
    path.write_text('#!/bin/sh\n[ "$2" = reconnect ] && exit 0\nexit 7\n')
    path.chmod(0o755)
    calls = [[str(path), "web", operation, "begin", "-"] for operation in ("reconnect", "start")]
    assert [subprocess.run(call, check=False).returncode for call in calls] == [0, 7]


_WORDS = ('"$2"', "$2", "${2}", "start", "reconnect", '"$OP"', "$OP", '"$1"', "''", '"$4"', "'re'connect", "$3")
_PATTERNS = ("start", "reconnect", "rec*", "*", '"reconnect"', "?econnect", "[rs]e*", '"rec*"', "start|reconnect")


class Writer:
    """Writes random scripts from the constructs of hooks."""

    def __init__(self, chance: random.Random) -> None:
        self._random = chance
        self.bash = self._random.random() < 0.5

    def script(self) -> str:
        head = "#!/bin/bash" if self.bash else "#!/bin/sh"
        head += self._random.choice(("", "", "", " -e"))
        return "\n".join([head, *(self._command(3) for _number in range(self._random.randint(1, 6)))]) + "\n"

    def _test(self) -> str:
        left, right = self._random.choice(_WORDS), self._random.choice(_WORDS)
        operator = self._random.choice(("=", "!=", "=="))
        forms = [
            f"[ {left} {operator} {right} ]",
            f"test {left} {operator} {right}",
            f"[ -n {left} ]",
            f"[ -z {left} ]",
        ]
        forms += [f"[ {left} = {right} -a {left} != start ]", f"[ ! {left} = {right} ]", "true", "false", "/bin/false"]
        if self.bash:
            forms += [
                f"[[ {left} {operator} {right} ]]",
                f"[[ {left} == rec* && {right} != x ]]",
                f"[[ {left} || -n x ]]",
            ]
        return self._random.choice(forms)

    def _command(self, depth: int) -> str:
        pick: t.Callable[..., t.Any] = self._random.choice
        simple = [
            *("true", "false", "/bin/true", "/bin/false", ":", "echo x >/dev/null", "OP=$2", "OP=start", 'OP="$1-$2"'),
            *(
                "exit 0",
                "exit 1",
                "exit",
                "set -e",
                "set +e",
                "shift",
                "unset OP",
                "local_x=1",
                "! false",
                "f",
                'f "$@"',
            ),
            *(
                "/bin/false | /bin/true",
                "( exit 1 )",
                "{ false; }",
                "OP=$(echo start)",
                "no-such-program-at-all 2>/dev/null",
            ),
        ]
        if depth == 0 or self._random.random() < 0.4:
            return str(pick(simple))
        inner = [self._command(depth - 1) for _number in range(3)]
        return str(
            pick(
                (
                    f"if {self._test()}; then\n{inner[0]}\nelse\n{inner[1]}\nfi",
                    f"if {self._test()}; then {inner[0]}; elif {self._test()}\nthen {inner[1]}; fi",
                    f"{self._test()} && {inner[0]}",
                    f"{self._test()} || {inner[0]}",
                    f"{self._test()} && {inner[0]} || {inner[1]}",
                    f"case {pick(_WORDS)} in {pick(_PATTERNS)}) {inner[0]} ;; {pick(_PATTERNS)}) {inner[1]};; esac",
                    f"f() {{ {inner[0]}; {pick(('return 0', 'return 1', 'return', ':'))}; }}",
                    f"for x in a b; do {inner[0]}; done",
                    f"{inner[0]}\n{inner[1]} # a comment's end",
                )
            )
        )


@pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts need bash")
def test_fuzz_no_script_is_vouched_for_that_a_shell_ends_otherwise(cases: Cases, tmp_path: Path) -> None:
    path = tmp_path / "hook"
    known = 0
    for _number, chance in cases():
        script = Writer(chance).script()
        said = outcome(script)
        if said == UNKNOWN:
            continue
        known += 1
        path.write_text(script)
        shell = [*script.split("\n", 1)[0][2:].split(" "), str(path)]
        for guest in ("web", "start"):
            done = subprocess.run(
                [*shell, guest, "reconnect", "begin", "-"], capture_output=True, timeout=300, check=False, cwd=tmp_path
            )
            assert (done.returncode == 0) is (said == PASSES), script
    assert known > CASES // 10
