# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/selinux/config and the contexts files, as libselinux and libvirt read them."""

from __future__ import annotations

import pytest
from ansible_collections.svirt.fleet.plugins.module_utils._core.selinux.config import (
    SelinuxConf,
    parse_config,
    parse_contexts,
    parse_lxc_contexts,
    with_mode,
)
from hypothesis import given
from hypothesis import strategies as st

SHIPPED = """\
# This file controls the state of SELinux on the system.
# SELINUX= can take one of these three values:
#     enforcing - SELinux security policy is enforced.
SELINUX=enforcing
# SELINUXTYPE= can take one of these three values:
SELINUXTYPE=targeted
"""


def test_shipped_file() -> None:
    assert parse_config(SHIPPED) == SelinuxConf("enforcing", "targeted")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("SELINUX=Permissive", "permissive"),
        ("SELINUX= \tdisabled \r\n", "disabled"),
        ("SELINUX=enforcing # comment", "enforcing"),
        ("SELINUX=permissive\nSELINUX=enforcing\n", "permissive"),  # the first that is known counts
        ("SELINUX=on\nSELINUX=enforcing\n", "enforcing"),
        (" SELINUX=enforcing", None),  # libselinux takes no indented line
        ("selinux=enforcing", None),
        ("SELINUX = enforcing", None),
        ("#SELINUX=enforcing", None),
        ("", None),
    ],
)
def test_mode(text: str, mode: str | None) -> None:
    assert parse_config(text).mode == mode


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("SELINUXTYPE=targeted\nSELINUXTYPE=mls\n", "mls"),  # the last counts
        ("  selinuxtype= default \r", "default"),
        ("SELINUXTYPE=", None),
        ("#SELINUXTYPE=mls", None),
        ("SELINUX=enforcing", None),
    ],
)
def test_policy(text: str, policy: str | None) -> None:
    assert parse_config(text).policy == policy


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("system_u:system_r:svirt_t:s0\n", ["svirt_t"]),  # Debian
        ("system_u:system_r:svirt_t:s0\nsystem_u:system_r:svirt_tcg_t:s0\n", ["svirt_t", "svirt_tcg_t"]),
        ("u:r:svirt_image_t:s0\nu:r:virt_content_t:s0\n", ["svirt_image_t", "virt_content_t"]),
        ("a:b:one_t\na:b:two_t\na:b:three_t\n", ["one_t", "two_t"]),
        ("", []),
        ("nonsense\n", []),
    ],
)
def test_contexts(text: str, types: list[str]) -> None:
    assert parse_contexts(text) == types


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert parse_config(text).mode in (None, "enforcing", "permissive", "disabled")
    assert len(parse_contexts(text)) <= 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SHIPPED, SHIPPED.replace("SELINUX=enforcing", "SELINUX=permissive")),
        ("SELINUX= Disabled # why\n", "SELINUX= permissive # why\n"),
        ("SELINUX=on\nSELINUX=enforcing\nSELINUX=disabled\n", "SELINUX=on\nSELINUX=permissive\nSELINUX=disabled\n"),
        ("SELINUXTYPE=default", "SELINUXTYPE=default\nSELINUX=permissive\n"),
        ("", "SELINUX=permissive\n"),
    ],
)
def test_a_mode_is_set_where_it_counts(text: str, expected: str) -> None:
    assert with_mode(text, "permissive") == expected


@given(st.text(alphabet="SELINUX=enforcingdab\n #", max_size=60), st.sampled_from(["enforcing", "permissive"]))
def test_whatever_the_file_holds_the_mode_is_set(text: str, mode: str) -> None:
    result = with_mode(text, mode)
    assert parse_config(result).mode == mode
    assert with_mode(result, mode) == result


@pytest.mark.parametrize(
    ("text", "types", "file"),
    [
        ("", [], None),
        ('process = "u:r:a_t:s0"\nro_file="u:object_r:b_t:s0"\nfile="u:object_r:c_t:s0"\n', ["a_t"], "c_t"),
        ('# process = "u:r:a_t:s0"\n kvm_process = "u:r:k_t:s0"\nprocess="u:r:a_t"\n', ["a_t", "k_t"], None),
        ('processes = "u:r:a_t:s0"\nprocess = u:r:a_t:s0\nfile = "nonsense"\n', [], None),
    ],
)
def test_types_of_containers(text: str, types: list[str], file: str | None) -> None:
    assert parse_lxc_contexts(text) == (types, file)
