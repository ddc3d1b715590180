# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
