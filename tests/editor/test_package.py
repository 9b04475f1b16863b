"""Check the extension package: size, files, source style."""

from __future__ import annotations

import json
import re
import zipfile

from para_server import __version__
from tests.editor.workbench import ROOT

EDITOR = ROOT / "editor"
WRITTEN = sorted(EDITOR.glob("*.ts"))
VSIX = ROOT / "dist" / f"para-{__version__}.vsix"


def test_package_is_small_and_complete() -> None:
    assert VSIX.stat().st_size <= 1_500_000
    with zipfile.ZipFile(VSIX) as made:
        sizes = {info.filename: info.file_size for info in made.infolist()}
    assert sizes["extension/out/extension.js"] <= 400_000
    wheel = f"extension/wheel/para_server-{__version__}-py3-none-any.whl"
    assert {wheel, "extension/icon.png", "extension/readme.md"} <= sizes.keys()
    assert not [name for name in sizes if "node_modules" in name or name.endswith(".ts")]


def test_source_files_are_short_and_strict() -> None:
    lines = [line for file in WRITTEN for line in file.read_text().splitlines()]
    assert len(lines) <= 900
    assert [line for line in lines if re.search(r"(?::|<|\||\bas)\s*any\b", line)] == []
    options = json.loads((EDITOR / "tsconfig.json").read_text())["compilerOptions"]
    assert options["strict"]
    assert options["noUncheckedIndexedAccess"]


def test_one_module_shows_all_text() -> None:
    shows = (
        r"show(Information|Warning|Error)Message|showQuickPick|createQuickPick|showInputBox"
        r"|createInputBox|withProgress|setStatusBarMessage|MarkdownString|createWebview"
    )
    assert [file.name for file in WRITTEN if re.search(shows, file.read_text())] == ["display.ts"]


def test_every_palette_command_is_registered() -> None:
    described = json.loads((EDITOR / "package.json").read_text())
    known = {one["command"] for one in described["contributes"]["commands"]}
    text = (EDITOR / "commands.ts").read_text()
    names = {name.removeprefix("para.ui.") for name in known}
    assert {name for name in names if not re.search(rf"\b'?{re.escape(name)}'?: ", text)} == set()
    assert {name for name in known if not name.startswith("para.ui.")} == set()


def test_pictures_of_the_readme_exist() -> None:
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (EDITOR / "README.md").read_text())
    assert [path for path in shown if not (EDITOR / path).is_file()] == []
