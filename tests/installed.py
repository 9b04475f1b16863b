"""An installation of para whose base image has another recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def with_recipe(folder: Path, text: str, *, anew: bool = False) -> dict[str, str]:
    """Copy para with a text after its Dockerfile, or in place of it; gives what runs the copy."""
    shutil.copytree(
        ROOT / "para_server", folder / "para_server", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "images", folder / "images")
    file = folder / "images" / "base" / "Dockerfile"
    file.write_text(text if anew else file.read_text() + text)
    # without PYTHONSAFEPATH python -m looks into the working directory first
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
