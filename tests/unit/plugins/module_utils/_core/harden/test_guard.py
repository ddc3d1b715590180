# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.errors import PlanError
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden import guard as plan
from ansible_collections.svirt.fleet.plugins.module_utils._core.harden.guard import (
    SCRIPT,
    GuardFacts,
    GuardFile,
    GuardOptions,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.system.own_files import LINK, PROGRAM, SETTINGS

OPTIONS = GuardOptions("print('guard')\n")
NOTHING = GuardFacts({path: GuardFile() for path in plan.ORDER}, ("/etc/svirt-fleet",), labels=True)
DOMAIN = "system_u:system_r:virtd_t:s0-s0:c0.c1023"


def installed(options: GuardOptions = OPTIONS, seen: GuardFacts = NOTHING) -> GuardFacts:
    return plan.applied(seen, plan.install(options, seen))


def test_what_libvirt_sees_comes_last() -> None:
    steps = plan.install(OPTIONS, NOTHING)
    assert [(step.action, step.path) for step in steps] == [
        ("folder", "/etc/svirt-fleet"),
        ("file", SCRIPT),
        ("file", SETTINGS),
        ("file", PROGRAM),
        ("link", LINK),
    ]
    assert [step.label for step in steps[1:4]] == [
        "system_u:object_r:lib_t:s0",
        "system_u:object_r:etc_t:s0",
        "system_u:object_r:bin_t:s0",
    ]


def test_what_libvirt_sees_goes_first() -> None:
    seen = installed()
    steps = plan.remove(seen)
    assert [(step.action, step.path) for step in steps] == [
        ("unlink", LINK),
        ("remove", PROGRAM),
        ("remove", SETTINGS),
        ("remove", SCRIPT),
    ]
    gone = plan.applied(seen, steps)
    assert plan.remove(gone) == []
    assert plan.summary(gone)["installed"] is False


def test_a_guard_that_is_right_is_left_alone() -> None:
    assert plan.install(OPTIONS, installed()) == []
    assert plan.summary(installed())["settings"] == {
        "ask": False,
        "collision": "refuse",
        "errors": "allow",
        "log": "refusals",
        "readable": [],
        "time_limit": 5,
    }


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"collision": "allow"}, [SETTINGS]),
        ({"log": "all"}, [SETTINGS]),
        ({"errors": "refuse"}, [SETTINGS, PROGRAM]),
        ({"time_limit": 9}, [SETTINGS, PROGRAM]),
        ({"content": "print()\n"}, [SCRIPT]),
    ],
)
def test_only_what_differs_is_changed(changes: dict[str, t.Any], paths: list[str]) -> None:
    assert [step.path for step in plan.install(replace(OPTIONS, **changes), installed())] == paths


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"mode": 0o777}, "system_u:object_r:bin_t:s0"),
        ({"owner": (1000, 0)}, "system_u:object_r:bin_t:s0"),
        ({"label": "system_u:object_r:virt_etc_rw_t:s0"}, "system_u:object_r:bin_t:s0"),
        ({"label": None}, "system_u:object_r:bin_t:s0"),
        ({"content": b"# " + plan.MARK.encode()}, "system_u:object_r:bin_t:s0"),
    ],
)
def test_what_somebody_changed_is_put_right(changes: dict[str, t.Any], label: str) -> None:
    seen = installed()
    spoilt = replace(seen, files={**seen.files, PROGRAM: replace(seen.files[PROGRAM], **changes)})
    (step,) = plan.install(OPTIONS, spoilt)
    assert (step.action, step.path, step.label) == ("file", PROGRAM, label)


def test_the_user_and_the_level_of_a_label_are_the_administrators() -> None:
    seen = installed()
    own = replace(seen.files[PROGRAM], label="staff_u:object_r:bin_t:s0")
    assert plan.install(OPTIONS, replace(seen, files={**seen.files, PROGRAM: own})) == []


def test_a_host_without_selinux_gets_no_labels() -> None:
    seen = replace(NOTHING, labels=False)
    assert {step.label for step in plan.install(OPTIONS, seen)} == {None}
    assert plan.install(OPTIONS, installed(seen=seen)) == []
    assert plan.label_for(PROGRAM, replace(NOTHING, levels=False)) == "system_u:object_r:bin_t"


@pytest.mark.parametrize(
    ("seen", "path"),
    [
        (replace(NOTHING, link_taken=True), LINK),
        (replace(NOTHING, link="/opt/hook"), LINK),
        (replace(NOTHING, files={**NOTHING.files, PROGRAM: GuardFile(b"#!/bin/sh\necho mine\n")}), PROGRAM),
    ],
)
def test_what_is_anothers_is_left_alone(seen: GuardFacts, path: str) -> None:
    with pytest.raises(PlanError, match=path) as caught:
        plan.install(OPTIONS, seen)
    assert caught.value.code == "not_ours"
    with pytest.raises(PlanError, match=path) as caught:
        plan.remove(seen)
    assert caught.value.code == "not_ours"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (replace(OPTIONS, time_limit=0), "bad_time_limit"),
        (replace(OPTIONS, time_limit=61), "bad_time_limit"),
        (replace(OPTIONS, content=" \n"), "no_content"),
    ],
)
def test_options_that_cannot_be(options: GuardOptions, code: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan.install(options, NOTHING)
    assert caught.value.code == code


def test_the_daemon_must_be_allowed_each_part() -> None:
    labels: dict[str, str | None] = {path: plan.label_for(path, NOTHING) for path in plan.ORDER}
    checks = plan.questions(DOMAIN, {**labels, LINK: "system_u:object_r:virt_etc_rw_t:s0", plan.SHELL: None})
    assert {check.source for check in checks} == {DOMAIN}
    assert [(check.target.split(":")[2], check.tclass, check.permissions) for check in checks] == [
        ("bin_t", "file", ("read", "open", "execute", "execute_no_trans")),
        ("lib_t", "file", ("read", "open")),
        ("etc_t", "file", ("read", "open")),
        ("virt_etc_rw_t", "lnk_file", ("read",)),
    ]


def test_the_diff_shows_files_and_the_link() -> None:
    diff = plan.diff(NOTHING, installed())
    assert [item["after_header"] for item in diff] == [*plan.ORDER, LINK]
    assert diff[0]["after"] == "print('guard')\n"
    assert diff[-1] == {"before": "", "after": f"{PROGRAM}\n", "before_header": LINK, "after_header": LINK}
    assert plan.diff(installed(), installed()) == []


def test_settings_that_are_no_json_are_not_known() -> None:
    seen = replace(NOTHING, files={**NOTHING.files, SETTINGS: GuardFile(b"{")})
    assert plan.summary(seen)["settings"] is None
    assert json.loads(plan.settings_text(OPTIONS))["errors"] == "allow"


# --- the program, run by a real shell ---------------------------------------------------------------------------------


def run(
    tmp_path: Path, script: str, *arguments: str, errors: str = "allow", limit: int = 5, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """The program with a script in the guard's place; this machine's Python runs it."""
    file, program = tmp_path / "guard.py", tmp_path / "svirt-guard"
    file.write_text(script)
    text = plan.program_text(replace(OPTIONS, errors=errors, time_limit=limit))
    python = shutil.which("python3", path="/usr/bin:/bin") or "python3"
    program.write_text(text.replace(SCRIPT, str(file)).replace(plan.PYTHON, python))
    program.chmod(0o755)
    return subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, timeout=30, check=False)


ECHO = "import sys\nsys.stderr.write(repr(sys.argv[1:]) + sys.stdin.read())\nsys.exit(77)\n"
BROKEN = ["raise SystemExit(1)", "this is no python", "import os\nos.kill(os.getpid(), 9)", "import no_such_module"]


def test_a_refusal_reaches_libvirt_with_its_reason(tmp_path: Path) -> None:
    name = 'it\'s $(touch x); `id` "*"\n-'
    for operation in ("prepare", "start", "migrate", "restore"):
        ended = run(tmp_path, ECHO, name, operation, "begin", "-", stdin="<domain/>")
        assert ended.returncode == 1
        assert ended.stderr == f"{[name, operation, 'begin', '-']!r}<domain/>"
        assert ended.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guard.py", "svirt-guard"]


def test_a_verdict_to_go_on(tmp_path: Path) -> None:
    assert run(tmp_path, "raise SystemExit(0)", "web", "start", "begin", "-").returncode == 0


@pytest.mark.parametrize(
    "operation",
    [
        *(("reconnect", "begin"), ("started", "begin"), ("stopped", "end"), ("release", "end"), ("attach", "begin")),
        *(("start", "end"), ("", ""), ("unheard", "of")),
    ],
)
@pytest.mark.parametrize("script", [ECHO, *BROKEN])
def test_nothing_ever_fails_where_libvirt_would_end_a_running_guest(
    tmp_path: Path, script: str, operation: tuple[str, str]
) -> None:
    ended = run(tmp_path, script, "web", *operation, "-", errors="refuse")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_call_without_arguments_fails_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, ECHO).returncode == 0


@pytest.mark.parametrize("script", BROKEN)
def test_a_broken_guard_does_as_it_is_set(tmp_path: Path, script: str) -> None:
    assert run(tmp_path, script, "web", "start", "begin", "-").returncode == 0
    refused = run(tmp_path, script, "web", "start", "begin", "-", errors="refuse")
    assert refused.returncode == 1
    assert "is set to refuse when in doubt" in refused.stderr


def test_a_guard_that_hangs_and_holds_its_signals_is_ended(tmp_path: Path) -> None:
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n"
    assert run(tmp_path, deaf, "web", "start", "begin", "-", limit=-1).returncode == 0


def test_the_program_is_plain_shell(tmp_path: Path) -> None:
    for errors in ("allow", "refuse"):
        file = tmp_path / errors
        file.write_text(plan.program_text(replace(OPTIONS, errors=errors)))
        assert subprocess.run(["sh", "-n", file], check=False).returncode == 0


def test_the_programs_self_test_is_the_scripts(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[6] / "roles/guard/files/svirt_guard.py"
    ended = run(tmp_path, script.read_text(), "--self-test")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "svirt-guard: ok\n", "")
    assert run(tmp_path, BROKEN[1], "--self-test").returncode != 0
