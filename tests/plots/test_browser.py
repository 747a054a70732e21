"""What people open in a browser, opened in one: the page of `a2c plot`, the film of `record`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import PLAY, Open
from process import Outcome
from written_runs import write_run

Cli = Callable[..., Outcome]

pytestmark = pytest.mark.slow


@pytest.fixture
def shared_page(cli: Cli, cartpole_run: Path, tmp_path: Path) -> Path:
    """A page about a trained run with a film and an evaluation, beside a run with a long name."""
    run = Path(shutil.copytree(cartpole_run, tmp_path / "run"))
    film = cli("record", run, "--max-steps", 200)
    scores = tmp_path / "scores.json"
    scores.write_text(cli("evaluate", run, "--episodes", 4, "--json").stdout)
    other = write_run(tmp_path / ("long" * 30), [-1e6, 2e6] * 10, env="Long" * 40 + "-v0")
    page = tmp_path / "page.html"
    done = cli("plot", run, other, "--evaluation", scores, "--output", page)
    assert (film.code, done.code) == (0, 0), film.stderr + done.stderr
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_fits_the_screen_and_can_be_read(
    open_page: Open, shared_page: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    with open_page(shared_page, width, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shown = page.evaluate(
            "[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect())"
            ".filter(r => r.width > 0).map(r => [r.left, r.right, r.height])"
        )
        # Of two environments the returns and four metrics, of one what its critic explains too.
        assert len(shown) == 11
        assert all(left >= 0 and right <= width and height > 150 for left, right, height in shown)
        ink, paper = page.evaluate(
            "[getComputedStyle(document.querySelector('figure svg text')).fill,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        brightness = [sum(map(int, c[4:-1].split(","))) for c in (ink, paper)]
        assert abs(brightness[0] - brightness[1]) > 450, (ink, paper)
        assert (brightness[1] > 382) == (scheme == "light")
        small = page.evaluate(
            "Math.min(...[...document.querySelectorAll('svg text, p, td, dd, figcaption')]"
            ".map(e => e.getBoundingClientRect()).filter(r => r.width).map(r => r.height))"
        )
        assert small >= 8  # pixels
        page.screenshot(path=tmp_path / "shot.png", full_page=True)


def test_the_film_in_a_page_plays(open_page: Open, shared_page: Path) -> None:
    with open_page(shared_page) as page:
        film = page.evaluate(PLAY)
    assert film["advanced"] > 0.3
    assert film["frames"] > 5
    assert film["width"] > 0


def test_a_recorded_film_plays_in_a_browser(
    cli: Cli, open_page: Open, breakout_run: Path, tmp_path: Path
) -> None:
    done = cli("record", breakout_run, "--output", tmp_path / "film.mp4", "--max-steps", 60)
    assert done.code == 0, done.stderr
    (tmp_path / "film.html").write_text("<!doctype html><video src='film.mp4'></video>")
    with open_page(tmp_path / "film.html") as page:
        film = page.evaluate(PLAY)
    assert film["advanced"] > 0.3
    assert film["frames"] > 20
    assert (film["width"], film["height"]) == (320, 420)
    assert film["duration"] == pytest.approx(60 * 4 / 60, abs=0.2)
