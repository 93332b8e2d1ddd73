"""Makes ``page.png``, the picture of the summary's page in the README, with Chromium.

``python example_project/run.py && python docs/screenshot.py captcha-answers.html``

The picture ends before the table of all figures.
"""

from __future__ import annotations

import io
import shutil
import sys
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))
from browser import Browser  # noqa: E402

WIDTH = 1000
COLORS = 128


def main() -> None:
    program = shutil.which("chromium")
    if program is None:
        sys.exit("chromium is not installed")
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, Path(profile))
        browser.open(Path(sys.argv[1]).absolute().as_uri(), width=WIDTH)
        height = browser.run("document.querySelector('h2:last-of-type').offsetTop")
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        shot = browser("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        browser.close()
    picture = Image.open(io.BytesIO(b64decode(shot["data"]))).convert("RGB")
    picture.quantize(COLORS).save(HERE / "page.png", optimize=True)


if __name__ == "__main__":
    main()
