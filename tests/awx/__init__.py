# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""The playbooks as AWX runs them: ansible-runner, slices, one PostgreSQL, and what awx_setup describes."""
