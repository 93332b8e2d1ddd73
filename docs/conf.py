"""How Sphinx makes the documentation from the Markdown files in this folder: ``tox -e docs``."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

_metadata = ConfigParser()
_metadata.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")

project = _metadata["metadata"]["name"]
author = _metadata["metadata"]["author"]
copyright = author  # noqa: A001, Sphinx's name
version = release = _metadata["metadata"]["version"]

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# Links to headings, with the anchors that repositories give them.
myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = f"{project} {version}"
html_show_sourcelink = html_copy_source = False
