# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Arguments for a module that a test runs in its own process, on every supported ansible-core."""

from __future__ import annotations

import importlib
import json
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from ansible.module_utils import basic

Arguments = dict[str, t.Any]
Patch = t.Callable[[Arguments], t.ContextManager[t.Any]]


@contextmanager
def _before_2_19(arguments: Arguments) -> Iterator[None]:
    given = {"_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False, **arguments}  # noqa: S108
    with mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()):
        yield


def _find() -> Patch:
    """ansible-core's own helper, which came with 2.19, or what does the same before."""
    try:
        testing: t.Any = importlib.import_module("ansible.module_utils.testing")
    except ModuleNotFoundError:
        return _before_2_19
    return t.cast("Patch", testing.patch_module_args)


_patch = _find()


@contextmanager
def patch_module_args(arguments: Arguments) -> Iterator[None]:
    """Expose arguments to the modules of this context, which begin without the warnings of modules before them.

    ansible.module_utils keeps warnings per process, and a module adds all of them to its result: on hosts each module
    has its own process. On controllers 2.19 and later display them instead, so that only the target tests notice.
    """
    kept: t.Any = importlib.import_module("ansible.module_utils.common.warnings")
    names = ("_global_warnings", "_global_deprecations")
    empty = {name: type(getattr(kept, name))() for name in names}
    with mock.patch.multiple(kept, **empty), _patch(arguments):
        yield
