# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The rules of the layers, read from the source itself: a pure core, thin modules, private helpers, plain roles."""

from __future__ import annotations

import ast
import fnmatch
import io
import os
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
UTILS = PLUGINS / "module_utils"
CORE = UTILS / "_core"
HOST = UTILS / "_host"
MODULES = PLUGINS / "modules"
PRIVATE = [UTILS, PLUGINS / "plugin_utils", PLUGINS / "doc_fragments"]

# Standard modules that only compute. What is not here reads a clock, a file, a process or the network.
PURE = frozenset(
    """
    __future__ abc base64 bisect collections copy dataclasses datetime enum fractions functools hashlib heapq html
    ipaddress itertools json math operator posixpath re shlex string struct textwrap types typing unicodedata uuid xml
    """.split()
)
# Calls that leave the core although nothing suspicious was imported.
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
IMPURE_METHODS = {"now", "utcnow", "today", "getnode", "uuid1", "uuid4"}

#: Folders of the core, lower first: each may import from those before its own row, and from itself. "" is _core's own
#: files (errors, paths).
CORE_ORDER = (
    ("",),
    ("snapshot", "selinux"),
    ("system", "libvirt"),
    ("facts",),
    ("allocate",),
    ("audit",),
    ("harden", "migrate"),
)
HOST_ORDER = (("base",), ("probe",), ("change",))
#: What those who touch a host may take from the core. Only who changes it knows the plans that are carried out.
_READ = frozenset(("", "snapshot", "selinux", "system", "libvirt"))
HOST_TAKES = {"base": _READ, "probe": _READ, "change": _READ | {"harden"}}

#: What the ledger's SQL may take from allocate, by file: operations, types, and the JSON of a host's memory.
LEDGER_TAKES = {
    "": {"operations", "stored_rows"},
    "operations": {"FleetRead", "LedgerState", "LedgerUpdate", "Operation", "OperationResult"},
    "ledger": {"NO_RANK", "Row"},
    "labels_in_use": {"HostUse", "stored"},
    "static_labels": {"LabelRequest"},
}
_LIFECYCLE = re.compile(r"\b(reserved|published|observed|quarantined|released)\b", re.IGNORECASE)

MOST_FILES_OF_A_FOLDER = 16
MOST_LINES_OF_A_FUNCTION = 60
MOST_CODE_LINES_OF_A_MODULE = 12
SPDX = ": ".join(("SPDX-License-Identifier", "GPL-3.0-or-later"))
NOT_OURS = {".git", "build", ".ansible", ".nox", ".hypothesis", "__pycache__"}

# Ignoring one of these would hide that documentation and argument spec disagree; the inclusion rules forbid it.
NEVER_IGNORED = re.compile(
    r"doc-(choices|default|missing|required)|no-log-needed|parameter-(list|type)|nonexistent|mutually"
)


def sources(folder: Path, pattern: str = "*.py") -> Iterator[Path]:
    """The files of a folder, at any depth, without what tools left there."""
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - NOT_OURS)
        for name in sorted(fnmatch.filter(names, pattern)):
            yield Path(top, name)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module and how many packages up a relative import starts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def taken(path: Path, tree: ast.AST) -> Iterator[Path]:
    """What a file of the collection imports from it, as files or folders; each is at least named as one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            inside = [] if start.with_suffix(".py").is_file() else [start / alias.name for alias in node.names]
            yield from inside or [start]


def folder_of(path: Path, top: Path) -> str:
    """The folder below ``top`` that holds a file, at any depth; empty: ``top`` itself."""
    parts = path.relative_to(top).parts
    return parts[0] if len(parts) > 1 else ""


def upwards(top: Path, path: Path, order: tuple[tuple[str, ...], ...], source: str) -> list[str]:
    """Imports of a file below ``top`` that go to its own row of the order or above, but not to its own folder."""
    rank = {folder: row for row, folders in enumerate(order) for folder in folders}
    own = folder_of(path, top)
    others = [(folder_of(other, top), other) for other in taken(path, ast.parse(source)) if other.is_relative_to(top)]
    return [
        f"{path.relative_to(top)} takes {other.relative_to(top)}"
        for folder, other in others
        if folder != own and rank[folder] >= rank[own]
    ]


def called(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """The name of every call, and whether it is a method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, False
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr, True


def impurities(source: str, depth: int = 0) -> list[str]:
    """What in a core file, `depth` folders below _core, touches something outside the core."""
    tree = ast.parse(source)
    inside = "ansible_collections.svirt.fleet.plugins.module_utils._core"
    result = []
    for name, level in imports(tree):
        if level:
            if level > depth + 1:
                result.append(f"imports from outside: {'.' * level}{name}")
        elif name.split(".")[0] not in PURE and name != inside and not name.startswith(inside + "."):
            result.append(f"imports {name}")
    for name, method in called(tree):
        if name in (IMPURE_METHODS if method else IMPURE_CALLS):
            result.append(f"calls {name}()")
    return result


def ledger_judgements(source: str) -> list[str]:
    """What in the ledger's SQL judges: imports beyond LEDGER_TAKES, reads of a row's state, names of states."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    result = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and "allocate" in (parts := (node.module or "").split(".")):
            file = ".".join(parts[parts.index("allocate") + 1 :])
            names = {alias.name for alias in node.names} - LEDGER_TAKES.get(file, set())
            result += [f"takes {file or 'allocate'}.{name}" for name in sorted(names)]
        elif isinstance(node, ast.Attribute) and node.attr in ("state", "until"):
            result.append(f"reads .{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docstrings:
            result += [f"names {state}" for state in _LIFECYCLE.findall(node.value)]
    return result


def code_lines_after_return(source: str) -> int:
    """Lines of a module that hold code, counted after its RETURN documentation: neither blank nor comment."""
    tree = ast.parse(source)
    start = max(
        (
            node.end_lineno or 0
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == "RETURN" for target in node.targets)
        ),
        default=0,
    )
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len([line for line in lines if line > start])


def starters_of_programs(source: str) -> list[str]:
    """What starts a program without the module's run_command, or hands a command to a shell."""
    tree = ast.parse(source)
    result = [f"imports {name}" for name, _level in imports(tree) if name.split(".")[0] == "subprocess"]
    bad = {"system", "popen", "Popen", "execv", "execve", "posix_spawn"}
    result += [f"calls {name}()" for name, method in called(tree) if method and name in bad]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in {"use_unsafe_shell", "shell"}:
            result.append(f"passes {node.arg}")
    return result


def made_hosts(source: str) -> list[str]:
    """What of a host the source makes itself: its root, its journal."""
    names = {"Root", "Journal", "Journals"}
    return [f"makes {name}" for name, _method in called(ast.parse(source)) if name in names]


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a YAML document."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from mappings(each)
    elif isinstance(value, list):
        for each in value:
            yield from mappings(each)


def yaml_of_roles_and_playbooks() -> Iterator[Path]:
    for folder in ("roles", "playbooks"):
        yield from sources(ROOT / folder, "*.yml")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import os", "imports os"),
        ("import os.path", "imports os.path"),
        ("from pathlib import Path", "imports pathlib"),
        ("def f():\n    import subprocess", "imports subprocess"),
        ("from ansible.module_utils.basic import AnsibleModule", "imports ansible.module_utils.basic"),
        ("from .. import _host", "imports from outside: .."),
        ("open('/etc/passwd')", "calls open()"),
        ("import datetime\ndatetime.datetime.now()", "calls now()"),
    ],
)
def test_a_core_that_touches_the_world_is_noticed(source: str, complaint: str) -> None:
    assert impurities(source) == [complaint]


def test_a_pure_core_is_not_accused() -> None:
    source = "import json\nfrom . import text\nfrom xml.etree import ElementTree\njson.dumps({})\ntext.parse('s0')"
    assert impurities(source) == []
    assert impurities("from ..selinux.context import Level", depth=1) == []


@pytest.mark.parametrize(
    ("file", "source", "complaints"),
    [
        ("facts/images.py", "from ..audit.finding import Hit", ["facts/images.py takes audit/finding"]),
        ("facts/images.py", "from ..audit import report", ["facts/images.py takes audit/report"]),
        ("libvirt/hooks.py", "from ..system.mounts import Mount", ["libvirt/hooks.py takes system/mounts"]),
        ("errors.py", "from .snapshot.model import Guest", ["errors.py takes snapshot/model"]),
        ("audit/rules/guest.py", "from ...facts.images import File\nfrom ..finding import Hit", []),
        ("harden/images.py", "from ..errors import PlanError\nfrom . import guard", []),
    ],
)
def test_an_import_against_the_order_of_folders_is_noticed(file: str, source: str, complaints: list[str]) -> None:
    assert upwards(CORE, CORE / file, CORE_ORDER, source) == complaints


def test_code_lines_leave_out_documentation_comments_and_blank_lines() -> None:
    source = 'RETURN = r"""\n---\na: b\n"""\n\n# why\nimport re\n\n\ndef main():\n    re.compile(\n        "x"\n    )\n'
    assert code_lines_after_return(source) == 5


def test_starting_programs_is_noticed() -> None:
    assert starters_of_programs("import subprocess") == ["imports subprocess"]
    assert starters_of_programs("import os\nos.system('id')") == ["calls system()"]
    assert starters_of_programs("module.run_command('id', use_unsafe_shell=True)") == ["passes use_unsafe_shell"]
    assert starters_of_programs("module.run_command(['id'])") == []


def test_core_touches_nothing() -> None:
    result = {
        named(path): complaints
        for path in sources(CORE)
        if (complaints := impurities(path.read_text(), len(path.relative_to(CORE).parts) - 1))
    }
    assert result == {}


@pytest.mark.parametrize(("top", "order"), [(CORE, CORE_ORDER), (HOST, HOST_ORDER)], ids=["core", "host"])
def test_folders_import_downwards_only(top: Path, order: tuple[tuple[str, ...], ...]) -> None:
    assert {path.name for path in top.iterdir() if path.is_dir() and path.name not in NOT_OURS} <= set(sum(order, ()))
    assert [complaint for path in sources(top) for complaint in upwards(top, path, order, path.read_text())] == []


def test_planners_do_not_stand_on_rules() -> None:
    rules = CORE / "audit" / "rules"
    result = [
        f"{named(path)} takes {named(other)}"
        for folder in ("facts", "allocate", "harden", "migrate")
        for path in sources(CORE / folder)
        for other in taken(path, ast.parse(path.read_text()))
        if other.is_relative_to(rules)
    ]
    assert result == []


def test_readers_and_actors_do_not_judge() -> None:
    result = [
        f"{named(path)} takes {named(other)}"
        for path in sources(HOST)
        for other in taken(path, ast.parse(path.read_text()))
        if other.is_relative_to(UTILS) and not other.is_relative_to(HOST)
        if not other.is_relative_to(CORE) or folder_of(other, CORE) not in HOST_TAKES[folder_of(path, HOST)]
    ]
    result += [
        f"{named(path)} imports {name}"
        for path in sources(HOST)
        for name, _level in imports(ast.parse(path.read_text()))
        if name.startswith("ansible.")
    ]
    assert result == []


@pytest.mark.parametrize(
    ("source", "complaints"),
    [
        ("from ..module_utils._core.allocate import lifecycle", ["takes allocate.lifecycle"]),
        ("from ..module_utils._core.allocate.ledger import RELEASED, Row", ["takes ledger.RELEASED"]),
        ("from ..module_utils._core.allocate.static_labels import allocate", ["takes static_labels.allocate"]),
        ("[row for row in rows if row.state in states]", ["reads .state"]),
        ("transaction.rows(\"SELECT uuid FROM svirt_labels WHERE state <> 'released'\")", ["names released"]),
        ('def f():\n    """List released rows."""\n    return operations.unreleased(rows)', []),
    ],
)
def test_a_judgement_in_the_sql_of_the_ledger_is_noticed(source: str, complaints: list[str]) -> None:
    assert ledger_judgements(source) == complaints


def test_the_sql_of_the_ledger_holds_no_judgement() -> None:
    assert ledger_judgements((PLUGINS / "plugin_utils" / "_ledger.py").read_text()) == []


def test_a_backend_bears_the_name_of_its_module() -> None:
    modules = {path.name for path in sources(MODULES)}
    assert [named(path) for path in sources(UTILS / "_backends") if path.name not in modules] == []


def test_making_a_host_is_noticed() -> None:
    source = "actor = Actor(Root(), 1)\nwith Journal('x') as journal:\n    base.Journals()"
    assert sorted(made_hosts(source)) == ["makes Journal", "makes Journals", "makes Root"]
    assert made_hosts("def run(call: Call, journals: Journals) -> None:\n    journals.open('x')\n    call.root") == []


def test_bodies_of_modules_are_handed_the_host() -> None:
    makers = {named(path): made_hosts(path.read_text()) for path in [*sources(UTILS / "_backends"), *sources(MODULES)]}
    assert {name: made for name, made in makers.items() if made not in ([], ["makes Journals"])} == {}
    assert [name for name, made in makers.items() if made and not name.startswith("plugins/modules/")] == []
    # Nothing else opens the journal.
    openers = [named(path) for path in sources(UTILS) if "makes Journal" in made_hosts(path.read_text())]
    assert openers == ["plugins/module_utils/_host/base/journal.py"]


def test_folders_can_be_looked_through() -> None:
    files = Counter(path.parent for path in sources(UTILS))
    assert {named(folder): count for folder, count in files.items() if count > MOST_FILES_OF_A_FOLDER} == {}


def test_no_two_files_define_a_type_of_one_name() -> None:
    by_name: dict[str, list[str]] = {}
    for path in [*sources(UTILS), *sources(PLUGINS / "plugin_utils")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                by_name.setdefault(node.name, []).append(named(path))
    assert len(by_name) > 100
    assert {name: paths for name, paths in by_name.items() if len(paths) > 1} == {}


def test_functions_are_short() -> None:
    result = [
        f"{named(path)}:{node.lineno} {node.name}: {lines} lines"
        for path in sources(PLUGINS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]
    assert result == []


def test_tests_lie_as_the_plugins_do() -> None:
    tests = ROOT / "tests" / "unit" / "plugins"
    folders = {path.parent.relative_to(tests) for path in sources(tests)}
    assert [str(folder) for folder in sorted(folders) if not (PLUGINS / folder).is_dir()] == []


def test_no_plugin_starts_programs_by_itself() -> None:
    result = {
        named(path): complaints for path in sources(PLUGINS) if (complaints := starters_of_programs(path.read_text()))
    }
    # The watch runs on hosts without Ansible, and so without run_command.
    assert result == {"plugins/module_utils/_watch/programs.py": ["imports subprocess"]}


def test_modules_are_thin() -> None:
    lines = {named(path): code_lines_after_return(path.read_text()) for path in sources(MODULES)}
    assert {name: count for name, count in lines.items() if count > MOST_CODE_LINES_OF_A_MODULE} == {}


def test_modules_support_check_mode() -> None:
    # What only documents an action plugin starts no AnsibleModule.
    modules = [path for path in sources(MODULES) if "AnsibleModule" in path.read_text()]
    assert [named(path) for path in modules if "supports_check_mode=True" not in path.read_text()] == []


def documented(path: Path) -> dict[str, Any]:
    """The documentation of a module, without its fragments."""
    (text,) = [
        node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        if [target.id for target in node.targets if isinstance(target, ast.Name)] == ["DOCUMENTATION"]
    ]
    found: dict[str, Any] = yaml.safe_load(str(text))
    return found


def test_info_modules_never_report_a_change() -> None:
    bodies = [*sources(UTILS / "_backends", "*_info.py"), *sources(PLUGINS / "action", "*_info.py")]
    modules = {path.name for path in sources(MODULES, "*_info.py")}
    assert {path.name for path in bodies} == modules
    assert [named(path) for path in bodies if '"changed": False' not in path.read_text()] == []


def test_what_only_returns_information_is_named_so() -> None:
    documents = {path.stem: documented(path) for path in sources(MODULES)}
    named_so = {name for name in documents if name.endswith("_info")}
    fragment = "svirt.fleet._attributes.info_module"
    assert {name for name, text in documents.items() if fragment in text["extends_documentation_fragment"]} == named_so
    # What changes no host, by its own documentation, and has another name: the note says why.
    others = {
        name
        for name, text in documents.items()
        if text.get("attributes", {}).get("diff_mode", {}).get("support") == "N/A"
    }
    note = (ROOT / "docs" / "architecture.md").read_text().partition("**Names.**")[2].partition("\n##")[0]
    assert set(re.findall(r"`(\w+)`", note)) - {"_info"} == others


def test_helpers_are_private_by_name() -> None:
    public = [
        named(path)
        for folder in PRIVATE
        for path in sorted(folder.glob("*"))
        if not path.name.startswith("_") and path.suffix in {"", ".py"}
    ]
    assert public == []


def test_helpers_say_that_they_are_private() -> None:
    silent = [named(path) for folder in PRIVATE for path in sources(folder) if "PRIVATE" not in path.read_text()[:1000]]
    assert silent == []


def test_every_file_names_its_licence() -> None:
    silent = [
        named(path)
        for pattern in ("*.py", "*.yml", "*.yaml", "*.toml")
        for path in sources(ROOT, pattern)
        if (text := path.read_text()) and SPDX not in text[:1000] and path.parent.name != "changelogs"
        if "fixtures" not in path.parts
    ]
    assert silent == []


def test_plays_gather_no_facts_by_themselves() -> None:
    plays = [
        (named(path), play)
        for path in sources(ROOT / "playbooks", "*.yml")
        for play in yaml.safe_load(path.read_text()) or []
        if isinstance(play, dict) and "hosts" in play
    ]
    assert [name for name, play in plays if play.get("gather_facts") is not False] == []


def test_facts_are_read_through_brackets() -> None:
    injected = re.compile(r"\bansible_(distribution|selinux|os_family|hostname|kernel|fqdn)\b")
    assert [named(path) for path in yaml_of_roles_and_playbooks() if injected.search(path.read_text())] == []


def test_hosts_are_probed_by_one_task() -> None:
    probes = [
        named(path)
        for path in yaml_of_roles_and_playbooks()
        for task in mappings(yaml.safe_load(path.read_text()))
        if "svirt.fleet.svirt_info" in task
    ]
    assert probes == ["roles/audit/tasks/read.yml"]


def test_loops_are_bounded_and_say_so() -> None:
    unbounded = [
        f"{named(path)}:{number}"
        for path in yaml_of_roles_and_playbooks()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.match(r"\s*(loop|with_\w+):", line) and "# bounded" not in line
    ]
    assert unbounded == []


def test_the_audit_works_in_slices() -> None:
    # An AWX slice sees only its own hosts, so collecting may not lean on the others. Only the artifact does, which jobs
    # without slices leave.
    across = re.compile(r"run_once|hostvars\[|groups\[")
    leaning = {named(path): across.findall(path.read_text()) for path in sources(ROOT / "roles" / "audit", "*.yml")}
    assert {name: words for name, words in leaning.items() if words} == {"roles/audit/tasks/main.yml": ["run_once"]}
    tasks = yaml.safe_load((ROOT / "roles" / "audit" / "tasks" / "main.yml").read_text())
    assert [list(task)[1] for task in tasks if "run_once" in task] == ["ansible.builtin.set_stats"]


def test_what_sanity_ignores_has_a_reason_and_hides_no_lie() -> None:
    lines = [
        (named(path), line)
        for path in sources(ROOT / "tests" / "sanity", "ignore-*.txt")
        for line in path.read_text().splitlines()
        if line.strip()
    ]
    assert [entry for entry in lines if "#" not in entry[1]] == []
    assert [entry for entry in lines if NEVER_IGNORED.search(entry[1])] == []
