"""The help pages of the nodes: each shows one small picture, which lies beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

PAGES = sorted((Path(__file__).resolve().parents[2] / "js" / "docs").glob("*.md"))
LARGEST_KB, NARROWEST = 80, 600


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_one_small_picture(page: Path) -> None:
    ((words, file),) = re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text(encoding="utf-8"))
    assert words and file == f"{page.stem}.jpg", "a name without a folder: the page joins it to that of the pages"
    picture = page.with_name(file)
    assert picture.stat().st_size <= LARGEST_KB * 1000
    with Image.open(picture) as opened:
        assert opened.format == "JPEG" and opened.width >= NARROWEST
