"""Draws recorded.json: `python -m dashboards.pictures.draw`, after `npm install` in this directory.

Grafana's components (@grafana/ui) in headless Chromium; a PNG for each page, in docs/pictures/.
They are previews: what Grafana itself shows has its own tables and state timelines.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
PICTURES: Final = HERE.parents[1] / "docs" / "pictures"

WIDTH: Final = 24 * 50
ROW: Final = 30
"""Pixels of a row of Grafana's grid, as in page.jsx."""

_STYLE: Final = """
body { margin: 0; padding: 8px; background: #f4f5f5; color: #24292e;
  font: 12px Inter, "DejaVu Sans", sans-serif; }
#page { position: relative; }
.legend { height: 18px; line-height: 18px; overflow: hidden; white-space: nowrap; }
.legend i { display: inline-block; width: 14px; height: 4px; margin-right: 6px;
  vertical-align: middle; border-radius: 1px; }
.line { position: relative; height: 26px; line-height: 22px; white-space: nowrap; }
.line span { display: inline-block; overflow: hidden; text-overflow: ellipsis; }
.line b { position: absolute; top: 1px; height: 20px; color: #fff; font-weight: normal;
  text-align: center; overflow: hidden; font-size: 11px; line-height: 20px; }
.nothing { padding: 12px; text-align: center; color: #6a7177; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: #1f62e0; font-weight: 500; }
td, th { padding: 3px 8px; border-bottom: 1px solid #e4e7e7; white-space: nowrap; }
td s { display: inline-block; height: 10px; margin-right: 6px; background: #73bf69; }
"""


def height(panels: list[dict[str, Any]]) -> int:
    """Rows of Grafana's grid that the panels take, from left to right, line by line."""
    x = y = line = 0
    for panel in panels:
        size = panel["gridPos"]
        if x + size["w"] > 24:
            x, y, line = 0, y + line, 0
        x += size["w"]
        line = max(line, size["h"])
    return y + line


def main() -> None:
    """Bundle the page once, then draw each dashboard."""
    recorded = json.loads((HERE / "recorded.json").read_text("utf-8"))
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        bundle = directory / "page.js"
        subprocess.run(
            [
                *(HERE / "node_modules/.bin/esbuild", HERE / "page.jsx", "--bundle", "--minify"),
                *(f"--outfile={bundle}", "--format=iife", "--loader:.svg=dataurl"),
                "--loader:.ttf=dataurl",
                *("--define:process.env.NODE_ENV='production'", "--log-level=error"),
            ],
            check=True,
        )
        for file, panels in recorded["pages"].items():
            data = {"from": recorded["from"], "to": recorded["to"], "panels": panels}
            page = directory / f"{file}.html"
            page.write_text(
                "<!doctype html><meta charset=utf-8><link rel=stylesheet href=page.css>"
                f"<style>{_STYLE}</style><div id=page></div>"
                f"<script>window.RECORDED = {json.dumps(data).replace('<', chr(92) + 'u003c')}"
                "</script><script src=page.js></script>",
                encoding="utf-8",
            )
            picture = PICTURES / Path(file).with_suffix(".png").name
            size = f"{WIDTH + 16},{height(panels) * ROW + 16}"
            subprocess.run(
                [
                    *("chromium", "--headless", "--no-sandbox", "--disable-gpu"),
                    *("--hide-scrollbars", "--virtual-time-budget=5000"),
                    *(f"--screenshot={picture}", f"--window-size={size}", page.as_uri()),
                ],
                check=True,
                capture_output=True,
            )
            print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
