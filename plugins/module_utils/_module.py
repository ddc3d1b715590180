# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Common tail of the modules: find a Python with libvirt's binding, run the body, exit or fail with its result.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import importlib.util
import typing as t
from dataclasses import dataclass, field

from ._core.audit.text import visible, visible_text
from ._core.errors import FailedError, SvirtError
from ._core.utf8 import clean
from ._host.base.daemons import is_installed
from ._host.base.root import Root

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

#: Paths of the Python that the distributions build their own packages for.
INTERPRETERS = (
    "/usr/libexec/platform-python",
    "/usr/bin/python3",
    *(f"/usr/bin/python3.{minor}" for minor in range(14, 8, -1)),
)


@dataclass(repr=False, eq=False)
class Call:
    """Parameters of a module's call, and what of Ansible and of the host its body may use."""

    params: dict[str, t.Any]
    check_mode: bool
    diff: bool
    run_command: t.Callable[..., tuple[int, str, str]]
    #: Gives the path of a program; None when the host has none.
    find: t.Callable[[str], str | None]
    #: Files of the host.
    root: Root
    #: Warnings for the user.
    warnings: list[str] = field(default_factory=list)


def runner(module: AnsibleModule) -> t.Callable[..., tuple[int, str, str]]:
    """The module's run_command, from the root folder.

    Programs with a domain of their own may not enter the folder that Ansible connects to: grub-probe then fails.
    """
    return functools.partial(module.run_command, cwd="/")


def settle_with_libvirt(module: AnsibleModule, run: t.Callable[[Call], dict[str, t.Any]]) -> t.NoReturn:
    """Run a module that needs libvirt's binding, and exit with its result.

    Without a daemon there is nothing to connect to, so no other Python is looked for.
    """
    root = Root()
    if is_installed(root):
        respawn_for("libvirt")
    _settle(module, run, root)


def settle(module: AnsibleModule, run: t.Callable[[Call], dict[str, t.Any]]) -> t.NoReturn:
    """Run a module and exit with its result."""
    _settle(module, run, Root())


def _settle(module: AnsibleModule, run: t.Callable[[Call], dict[str, t.Any]], root: Root) -> t.NoReturn:
    call = Call(module.params, module.check_mode, module._diff, runner(module), module.get_bin_path, root)
    try:
        result = run(call)
    except SvirtError as error:
        fail(module, error)
    for warning in call.warnings:
        module.warn(visible_text(warning))
    finish(module, result)


def has_binding(name: str) -> bool:
    """Whether this Python has a binding. It is not imported: that can take a second."""
    return importlib.util.find_spec(name) is not None


def respawn_for(binding: str) -> None:
    """Restart the module under a Python that has the binding. Returns when none has, or when this one does."""
    if has_binding(binding):
        return
    from ansible.module_utils.common import respawn  # few hosts need it

    if respawn.has_respawned():  # type: ignore[no-untyped-call]
        return
    interpreter = respawn.probe_interpreters_for_module(list(INTERPRETERS), binding)  # type: ignore[no-untyped-call]
    if interpreter:
        respawn.respawn_module(interpreter)


def finish(module: AnsibleModule, result: dict[str, t.Any]) -> t.NoReturn:
    """Exit with a result; fail for changes that were not made, and with option strict for refusals."""
    result = clean(result)
    not_made, refused = result.get("not_made", []), result.get("refused", [])
    if "diff" in result:  # Ansible writes it to the terminal as it is
        result = {**result, "diff": visible(result["diff"])}
    if not_made:
        first = not_made[0]
        why = visible_text(f"{first['subject']}: {first['why']}")
        module.fail_json(msg=f"{why} ({len(not_made)} changes were not made)", **result)
    if module.params.get("strict") and refused:
        why = visible_text(f"{refused[0]['subject']}: {refused[0]['why']}")
        module.fail_json(msg=f"{why} ({len(refused)} refused)", **result)
    module.exit_json(**result)


def fail(module: AnsibleModule, error: SvirtError) -> t.NoReturn:
    """Fail with an expected error; its message has the fault and the remedy."""
    result = error.result if isinstance(error, FailedError) else {}
    module.fail_json(msg=visible_text(str(error)), **clean(result))
