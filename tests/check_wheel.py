"""Tries the built wheel as its user will: ``python tests/check_wheel.py dist`` (``tox -e build``).

It holds the package and nothing else; and in an environment with nothing but the wheel and what it
asks for, away from this repository, the commands and the crawl of the example work.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "scrapy_capmonster_report"


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        try_out(wheel.resolve(), Path(folder))
    print(f"{wheel.name} holds what it should, and works")


def check_contents(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    data = {
        *("py.typed", "insight/page.html", "ledger/redis.lua", "ledger/sqlite.sql"),
        *("rules/names.ini", "rules/presets/catalogue.json", "rules/presets/words.ini"),
        "simulator/solutions.json",
    }
    wanted = modules | {f"{PACKAGE.name}/{name}" for name in data}
    assert names == wanted, f"too much: {names - wanted}, missing: {wanted - names}"


def try_out(wheel: Path, folder: Path) -> None:
    """Install *wheel* alone into an environment in *folder*, and use it."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    example = shutil.copytree(
        ROOT / "example_project",
        folder / "example",
        ignore=shutil.ignore_patterns("__pycache__", ".*"),
    )
    requirements = (example / "requirements.txt").read_text(encoding="utf-8").splitlines()
    others = [line for line in requirements if line and not line.startswith(("#", "."))]
    run(python, "-m", "pip", "install", "-q", f"{wheel}[redis,summary]", *others, at=folder)
    run(python, "-m", "scrapy", "capmonster", "check", "--help", at=folder)
    run(python, example / "run.py", at=folder)
    run(
        python,
        "-c",
        "from scrapy.utils.project import get_project_settings as settings;"
        "from scrapy_capmonster_report import Addon;"
        "from scrapy.utils.misc import load_object;"
        "assert [load_object(addon) for addon in settings()['ADDONS']] == [Addon]",
        at=example,
    )


def run(*command: object, at: Path) -> None:
    print("$", *command, flush=True)
    subprocess.run([*map(str, command)], check=True, cwd=at)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
