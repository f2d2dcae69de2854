"""ComfyUI's page in Chromium, for tests, pictures and measures."""
from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping

from .environment import PACK_LINK_NAME
from .errors import SetupError
from .server import ComfyServer

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MS = 300_000


def path_of_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def chromium() -> Iterator:
    """Playwright's Browser.

    Raises:
        SetupError: none is installed.
    """
    from playwright.sync_api import sync_playwright

    path = path_of_chromium()
    if path is None:
        raise SetupError("no Chromium is installed: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def page_of(
    server: ComfyServer, browser, size: tuple[int, int] = (1800, 1000), settings: Mapping[str, object] | None = None
) -> Iterator:
    """A server's page with a graph, ready to be worked with: Playwright's Page. Its `complaints` are the errors that it throws,
    and those that the pack's modules log.

    Args:
        size: pixels of what is seen.
        settings: of ComfyUI, which its server keeps.
    """
    context = browser.new_context(viewport=dict(zip(("width", "height"), size)), locale="en-US")
    # Somebody's first visit opens the template browser; any other ends with a graph on the page.
    context.request.post(f"{server.url}/settings", data={"Comfy.TutorialCompleted": True, **(settings or {})})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: page.complaints.extend([line.text] if line.type == "error" and is_ours(line) else []))
    page.goto(server.url)
    page.wait_for_function("window.app?.graph?.nodes.length > 0")
    yield page
    context.close()


def is_ours(line) -> bool:
    """Whether a line of the console is of one of the pack's modules."""
    return f"/extensions/{PACK_LINK_NAME}/" in line.location.get("url", "")
