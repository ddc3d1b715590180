# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ShellSettings that a shell reads: what is said of them has to be what a shell makes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.shell_settings import (
    ShellChange,
    ShellSettings,
    rewrite,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def value(text: str, name: str = "A") -> str | None:
    found = ShellSettings([("file", text)]).value(name)
    return found.text if found.known else None


def in_a_shell(folder: Path, *texts: str) -> str | None:
    """What sh says that A is after the files; None when it does not get through them."""
    paths = [folder / f"{number}.cfg" for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_bytes(text.encode())
    script = "A=; " + "".join(f". {path}; " for path in paths) + "printf '@@%s|' \"$A\""
    run = subprocess.run(
        ["/bin/sh", "-c", script],
        capture_output=True,
        timeout=20,
        env={"PATH": "/nonexistent"},
        cwd=folder,
        check=False,
    )
    return run.stdout.decode().partition("@@")[2].rpartition("|")[0] if run.returncode == 0 else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", "1"),
        ('A="a b"', "a b"),
        ("A='a b'", "a b"),
        ("A='a'\"b\"c", "abc"),
        ('A="a \\"b\\" \\$x \\n"', 'a "b" $x \\n'),
        ("A='a \\'", "a \\"),
        ("A=a\\ b", "a b"),
        ("A=a\\\nb", "ab"),
        ('A="a\\\nb"', "ab"),
        ("A=1\nA=2", "2"),
        ("A=1; A=2", "2"),
        ("A=1 B=2", "1"),
        ("A=1 # A=2", "1"),
        ("A=1#2", "1#2"),
        ("# A=2\nA=1", "1"),
        ("B=x; A=$B", "x"),
        ('B=x; A="$B ${B}y"', "x xy"),
        ("B=x; A='$B'", "$B"),
        ('A=1; A="$A 2"; A="3 ${A}"', "3 1 2"),
        ("export A=1", "1"),
        ("A=1\nexport A", "1"),
        ("A=$", "$"),
        ('A="$"', "$"),
        ("echo A=1", ""),
        ("A=1\r\n", "1"),
        ("if true; then B=1; fi; A=2", "2"),
        ("case x in x) B=1;; esac; A=2", "2"),
        ("f() {\nB=1\n}\nA=2", "2"),
        ("B=$(echo ')' \"$(date)\"); A=2", "2"),
        ("B=`( . /etc/os-release && echo ${NAME} )`\nA=2", "2"),
        ("A=x; unset B", "x"),
        ("", ""),
        ('A="$GRUB_NOT_SET x"', " x"),
    ],
)
def test_what_is_known(text: str, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "A=$(date)",
        "A=`date`",
        'A="x $(date)"',
        "A=${B:-x}",
        "A=$1",
        "A=$B",
        "A=1; A+=2",
        "if true; then A=1; fi",
        "true && A=1",
        'export A=1 A="$A 2"',
        "export \\A=1",
        'export "$X"',
        "A=1 >/dev/null",
        "A=1 echo x",
        "A=1 :",
        "A=1 | cat",
        "A=1 && true &",
        "true &&\n\n# why\nA=1",
        "A=1 &",
        "(A=1)",
        "{ A=1; }",
        "f() { A=1; }\nf",
        "while A=1; do break; done",
        "for A in 1 2; do :; done",
        "case x in x) A=1;; esac",
        "case x in (x) A=1; esac",
        "A=1; . /etc/other",
        "A=1; eval $X",
        "A=1; read A",
        "A=1; unset A",
        "A=1; $COMMAND",
        ". /etc/other",
    ],
)
def test_what_only_a_shell_knows_is_not_known(text: str) -> None:
    assert value(text) is None


def test_an_assignment_after_what_is_not_known_counts() -> None:
    assert value(". /etc/other\nA=1") == "1"


@pytest.mark.parametrize(
    "text",
    [
        "A='x",
        'A="x',
        "A=`x",
        "A=$(x",
        "A=${x",
        "if true",
        "fi",
        ")",
        "cat <<E\nA=1\nE\n",
        "B=$(case x in y) ;; esac)",
        "return",
    ],
)
def test_what_cannot_be_followed_is_refused(text: str) -> None:
    with pytest.raises(PlanError, check=lambda error: error.code == "settings_not_followed"):
        ShellSettings([("file", text)])


def test_a_value_that_grows_without_end_is_refused() -> None:
    text = "A=" + "x" * 1000 + "\n" + 'A="$A$A"\n' * 20
    with pytest.raises(PlanError, check=lambda error: error.code == "settings_value_too_long"):
        ShellSettings([("file", text)])


def test_several_files_are_one_program(tmp_path: Path) -> None:
    texts = ("A='one'\n", 'A="$A two"\n', "B=3")
    found = ShellSettings([(str(number), text) for number, text in enumerate(texts)])
    assert found.value("A").text == "one two" == in_a_shell(tmp_path, *texts)


def test_each_character_knows_where_it_is_from() -> None:
    found = ShellSettings([("1", "A='ab'\n"), ("2", 'A="$A c"\n')])
    assert found.value("A").origins == [(0, 0), (0, 1), (1, 1), (1, 2)]
    assert found.last("A") == 1
    assert found.last("B") is None


_ATOMS = st.one_of(
    st.sampled_from(
        ["A=", "B=", "a", "b ", " ", "'", '"', "\\", "$A", "${B}", "$", "\n", ";", "#", "export ", "(", ")"]
    ),
    st.sampled_from(
        [" && ", "if :; then ", "; fi", "`", "$(:)", "A='q' ", 'A="$A w"\n', "B='$A'\n", "{ ", " }", "|", ">"]
    ),
)


@given(st.lists(_ATOMS, min_size=1, max_size=14).map("".join))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shell_agrees(tmp_path: Path, text: str) -> None:
    try:
        found = ShellSettings([("file", text)]).value("A")
    except PlanError:
        return
    seen = in_a_shell(tmp_path, text)
    if found.known and seen is not None:
        assert found.text == seen


_WORDS = st.text(alphabet="ab '\"\\$`#;=\n\t(){}|&<>*~é", max_size=12)


@given(_WORDS, _WORDS, st.sampled_from(["A='quoted x'\n", 'A="$B x"\n', "A=x\n", 'A="x"$B\n', "A=\n"]))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_reads_as_it_should(tmp_path: Path, before: str, after: str, text: str) -> None:
    files = [("file", f"B='b b'\n{text}C=1 # rest\n")]
    found = ShellSettings(files)
    number = found.last("A")
    assert number is not None
    pieces = len(getattr(found.statements[number], "pieces", ()))
    fresh = rewrite(found, {number: ShellChange(insert={0: before, pieces: after} if pieces else {0: before + after})})
    made = fresh.get("file", files[0][1])
    expected = before + found.value("A").text + after
    again = ShellSettings([("file", made)])
    assert (again.value("A").text, again.value("C").text) == (expected, "1")
    assert in_a_shell(tmp_path, made) == expected
    assert made.endswith("C=1 # rest\n")


def test_single_quotes_stay_single() -> None:
    found = ShellSettings([("f", "A='a b c' # why\n")])
    assert rewrite(found, {0: ShellChange(remove={1, 2})}) == {"f": "A='a c' # why\n"}


def test_what_is_no_change_is_no_change() -> None:
    assert rewrite(ShellSettings([("f", 'A="a"\n')]), {0: ShellChange()}) == {}


def test_substitutions_stay_as_they_are() -> None:
    found = ShellSettings([("f", 'A="$(date "+%Y") x"\n')])
    assert rewrite(found, {0: ShellChange(remove={2})}) == {"f": 'A="$(date "+%Y") "\n'}
    bare = ShellSettings([("f", 'A=$(date "+%Y")x\n')])
    with pytest.raises(PlanError, check=lambda error: error.code == "settings_not_quotable"):
        rewrite(bare, {0: ShellChange(remove={1})})
