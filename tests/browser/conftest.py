"""ComfyUI's real page in Chromium, served by the real server."""
import base64
import contextlib
import functools
import shutil
import wave

import numpy as np
import pytest

CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MS = 300_000


@pytest.fixture(scope="module")
def chromium():
    """A browser. Only while its module's tests run: Playwright keeps an event loop going, next to which no other can."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium is installed: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def visited(chromium, comfy_server):
    """ComfyUI's page, ready to be worked with. `page.complaints` are the errors that it logs."""
    context = chromium.new_context(viewport={"width": 1800, "height": 1000}, locale="en-US")
    # Somebody's first visit opens the template browser; any other ends with a graph on the page.
    context.request.post(f"{comfy_server.url}/settings", data={"Comfy.TutorialCompleted": True})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(comfy_server.url)
    page.wait_for_function("window.app?.graph?.nodes.length > 0")
    yield page
    context.close()


@pytest.fixture
def visit(chromium):
    """Opens the page of a server, for as long as its context lasts."""
    return functools.partial(visited, chromium)


@pytest.fixture
def page(visit, comfy_server):
    """A page of the test's own."""
    with visit(comfy_server) as page:
        yield page


@pytest.fixture(scope="module")
def lasting_page(chromium, comfy_server):
    """One page for the tests that look at graphs: it takes ten times as long to start as to show another graph."""
    with visited(chromium, comfy_server) as page:
        yield page


@pytest.fixture
def hiss(comfy_server, tmp_path) -> str:
    """An input file in which nobody speaks; its name."""
    noise = np.random.default_rng(0).normal(0, 3000, 16_000).astype("<i2")
    with wave.open(str(tmp_path / "hiss.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(noise.tobytes())
    return comfy_server.upload(tmp_path / "hiss.wav")


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
