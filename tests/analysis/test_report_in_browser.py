"""The report's page in a real browser: its table sorts, and its line between before and after moves."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from analysis_record import Cell, write_study

from slackoff.analysis.report import build

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed: pages cannot be opened")

CLICKS = """<script>
const table = document.querySelector('#table table');
const heading = [...table.tHead.rows[0].cells].find(head => head.textContent.startsWith('PSNR'));
heading.querySelector('button').click();
heading.querySelector('button').click();
const slider = document.querySelector('.strip input');
slider.value = 20;
slider.dispatchEvent(new Event('input'));
</script></body>"""


def after_clicks(page: Path) -> str:
    """The document as the browser has it after the clicks."""
    clicked = page.with_name("clicked.html")
    clicked.write_text(page.read_text(encoding="utf-8").replace("</body>", CLICKS), encoding="utf-8")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    data = f"--user-data-dir={page.parent / 'browser'}"
    command = [str(BROWSER), *quiet, data, "--dump-dom", clicked.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_table_sorts_and_the_line_moves(runs: Path, effect_cells: list[Cell]) -> None:
    page = build(write_study(runs, effect_cells, axis="patch_count"))
    document = after_clicks(page)
    table = document[document.index('id="table"') : document.index("</table>", document.index('id="table"'))]
    assert re.findall(r'aria-sort="(\w+)"', table) == ["descending"]
    first = [re.findall(r'<td data-sort="([^"]*)"', row)[0] for row in table.split("<tr")[2:]]
    # PSNR of 28, 27 and 21 dB, and the untouched input's
    assert [count for count in first if count] == ["1024", "64", "8"]
    assert re.search(r'class="strip" style="[^"]*--at: 20%', document)
