"""An installation of para whose base image has another recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import para_server
from para_server.engine.image_build import recipe_folder


def with_recipe(folder: Path, text: str, *, anew: bool = False) -> dict[str, str]:
    """Copy para with a text after its Dockerfile, or in place of it; gives what runs the copy."""
    package = Path(para_server.__file__).parent
    left = shutil.ignore_patterns("__pycache__", "_images")
    shutil.copytree(package, folder / "para_server", ignore=left)
    shutil.copytree(recipe_folder(), folder / "images")
    file = folder / "images" / "base" / "Dockerfile"
    file.write_text(text if anew else file.read_text() + text)
    # without PYTHONSAFEPATH python -m looks into the working directory first
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
