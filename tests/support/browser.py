"""A real browser for the tests that need one: Debian's headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., AbstractContextManager[Any]]  # gives a playwright.sync_api.Page

# Plays the first video of a page; what it knows about it after a second of playing.
PLAY = """async () => {
  const video = document.querySelector('video');
  video.muted = true;
  await video.play();
  const start = video.currentTime;
  await new Promise(done => setTimeout(done, 1000));
  return {
    advanced: video.currentTime - start,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    width: video.videoWidth, height: video.videoHeight, duration: video.duration,
  };
}"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The running browser; a test that asks for it is skipped where none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium here (Debian's package `chromium`)")
    pytest.importorskip("playwright", reason="playwright is not installed (extra all)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root has no sandbox in a container, and the tests open only files of their own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Open:
    """Open a file; at the end it must have fetched nothing else and complained of nothing."""

    @contextmanager
    def opened(path: Path, width: int = 1280, **options: Any) -> Iterator[Any]:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        trouble: list[str] = []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        allowed = ("data:", "blob:", path.parent.as_uri())
        page.on("request", lambda r: None if r.url.startswith(allowed) else trouble.append(r.url))
        page.goto(path.as_uri())
        yield page
        context.close()
        assert trouble == []

    return opened
