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


@contextmanager
def _before_2_19(arguments: dict[str, t.Any]) -> Iterator[None]:
    given = {"_ansible_remote_tmp": "/tmp", "_ansible_keep_remote_files": False, **arguments}  # noqa: S108
    content = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
    kept: t.Any = importlib.import_module("ansible.module_utils.common.warnings")
    # A module's own process begins without the warnings of modules before it.
    fresh = mock.patch.multiple(kept, _global_warnings=type(kept._global_warnings)())
    with mock.patch.object(basic, "_ANSIBLE_ARGS", content), fresh:
        yield


def _find() -> t.Callable[[dict[str, t.Any]], t.ContextManager[t.Any]]:
    """ansible-core's own helper, which came with 2.19, or what does the same before."""
    try:
        testing: t.Any = importlib.import_module("ansible.module_utils.testing")
    except ModuleNotFoundError:
        return _before_2_19
    return t.cast("t.Callable[[dict[str, t.Any]], t.ContextManager[t.Any]]", testing.patch_module_args)


patch_module_args = _find()
