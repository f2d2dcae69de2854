"""ComfyUI's real page in Chromium, served by the real server."""
import base64
import functools
import re
import wave
from pathlib import Path

import numpy as np
import pytest

from devtools import browser


@pytest.fixture(scope="module")
def chromium():
    """A browser. Only while its module's tests run: Playwright keeps an event loop going, next to which no other can."""
    if browser.path_of_chromium() is None:
        pytest.skip("no Chromium is installed: apt install chromium")
    pytest.importorskip("playwright.sync_api")
    with browser.chromium() as running:
        yield running


@pytest.fixture
def visit(chromium):
    """Opens the page of a server, for as long as its context lasts."""
    return functools.partial(browser.page_of, browser=chromium)


@pytest.fixture
def page(visit, comfy_server):
    """A page of the test's own."""
    with visit(comfy_server) as page:
        yield page


@pytest.fixture(scope="module")
def lasting_page(chromium, comfy_server):
    """One page for the tests that look at graphs: it takes ten times as long to start as to show another graph."""
    with browser.page_of(comfy_server, chromium) as page:
        yield page


@pytest.fixture
def hiss(comfy_server, tmp_path) -> str:
    """An input file in which nobody speaks; its name."""
    noise = np.random.default_rng(0).normal(0, 3000, 16_000).astype("<i2")
    with wave.open(str(tmp_path / "hiss.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(noise.tobytes())
    return comfy_server.upload(tmp_path / "hiss.wav")


SCREENSHOTS = Path(__file__).resolve().parents[2] / "runs" / "screenshots"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Of a test that fails, keep what its page showed: a sentence rarely tells what an eye sees at once."""
    report = yield
    pages = [item.funcargs[name] for name in ("page", "lasting_page") if name in item.funcargs]
    if report.when == "call" and report.failed and pages:
        picture = SCREENSHOTS / f"{re.sub('[^A-Za-z0-9]+', '_', item.name)}.png"
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        pages[0].screenshot(path=picture)
        report.sections.append(("what the page showed", str(picture)))
    return report


DROP = """([name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type }));
    app.canvas.canvas.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="session")
def drop():
    """Drops a file on a page's canvas, as a user does."""
    return lambda page, name, kind, data: page.evaluate(DROP, [name, kind, base64.b64encode(data).decode()])
