"""The page: all in one file, nothing fetched, and no name in it is taken for HTML."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from process import Outcome
from written_runs import write_run

from a2c_cli.errors import ConfigError
from a2c_cli.plots import sections
from a2c_cli.plots.comparison import Comparison, compare
from a2c_cli.plots.evaluation_file import Evaluation, read_evaluation
from a2c_cli.plots.page import make_page
from a2c_cli.runs.metrics import read_runs

HOSTILE = "<script>alert('x')</script>\"onload='y' &amp; \x1b[31m"
VOID = {"meta", "link", "img", "br", "input", "hr"}
FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(100)
EVALUATION = {
    "checkpoint": "/home/me/run/best.safetensors", "env_id": "CartPole-v1", "policy": "greedy",
    "episodes": 7, "seed": 1, "mean": 101.25, "median": 100.0, "iqm": 99.0, "std": 2.0, "min": -3.5,
    "max": 500.0, "ci95": [90.0, 110.0], "protocol": {"rewards": "raw", "step_cap": None},
}  # fmt: skip


class Page(HTMLParser):
    """The elements and texts of a page whose tags must all be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def comparisons_of(*paths: Path) -> list[Comparison]:
    return compare(read_runs(list(paths))[0])[0]


def test_a_page_holds_curves_settings_and_network(cartpole_run: Path) -> None:
    html = make_page(comparisons_of(cartpole_run))
    page = Page(html)
    headings = [page.texts.index(name) for name in ("Network", "Configuration", "Runs")]
    assert headings == sorted(headings)
    assert page.tags["svg"] == 7  # returns for two widths, five metrics
    for value in ("CartPole-v1", "critic_torso.hidden1", "entropy_schedule", "1,500"):
        assert value in page.texts, value
    assert str(cartpole_run.parent) not in html  # where it lay is nobody's business


def test_a_page_about_a_stream_without_an_end_shows_its_reward_rate(tmp_path: Path) -> None:
    steps = [{"env_steps": i * 20, "rollout/reward_rate": 0.001234 * i} for i in range(1, 4)]
    runs = [write_run(tmp_path / str(seed), [], seed=seed) for seed in range(2)]
    for run in runs:
        (run / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    for among, words in ((runs[:1], "no episode has ended"), (runs, "IQM of 2 seeds")):
        text = " ".join(Page(make_page(comparisons_of(*among))).texts)
        assert words in text
        assert "0.003702" in text
        assert "returns" not in text


def test_a_page_fetches_nothing_and_runs_nothing(cartpole_run: Path) -> None:
    page = Page(make_page(comparisons_of(cartpole_run)))
    assert not {"script", "iframe", "link", "img", "base", "form", "object"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href", "srcset", "poster", "action"):
            assert value.startswith(("data:", "#")), (tag, name, value)
        assert "url(http" not in value
    assert any("default-src 'none'" in value for _, _, value in page.attributes)


def test_identifiers_in_a_page_are_unique(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / f"{e}", [1.0] * 30, env=e) for e in ("A-v0", "B-v0")]
    ids = [v for _, name, v in Page(make_page(comparisons_of(*paths))).attributes if name == "id"]
    assert ids
    assert [name for name, n in Counter(ids).items() if n > 1] == []


def test_names_out_of_files_stay_text(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / f"<b>{i}", [1.0] * 9, env=HOSTILE, gamma=i / 2,
                  env_args={"x": HOSTILE})
        for i in range(2)
    ]  # fmt: skip
    videos = paths[0] / "videos"
    videos.mkdir()
    (videos / "<img src=x onerror=alert(1)>.mp4").write_bytes(FILM)
    evaluation = EVALUATION | {"env_id": HOSTILE, "checkpoint": HOSTILE, "protocol": {HOSTILE: 1}}
    page = Page(make_page(comparisons_of(*paths), [Evaluation(**evaluation)]))
    assert not {"script", "b", "img"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert "\x1b" not in "".join(page.texts)
    assert any("<script>alert" in text for text in page.texts)


def test_groups_stand_beside_each_other_and_what_differs_is_marked(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / str(g), [1.0] * 9, gamma=g, n_steps=5) for g in (0.5, 0.9)]
    html = make_page(comparisons_of(*paths))
    assert '<tr class="differs"><td>gamma</td><td class="n">0.5</td><td class="n">0.9</td>' in html
    assert "<tr><td>n_steps</td>" in html
    assert "gamma=0.5" in Page(html).texts


def test_videos_are_embedded_up_to_a_limit_that_the_page_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", [1.0] * 9)
    videos = run / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(FILM)
    (videos / ".a.part.mp4").write_bytes(FILM)
    (videos / "b.mp4").write_bytes(b"no film at all")
    (videos / "c.mp4").write_bytes(FILM + bytes(2 * 2**20))
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(FILM)
    (videos / "d.mp4").symlink_to(secret)
    monkeypatch.setattr(sections, "MOST_VIDEO", 2**20)
    html = make_page(comparisons_of(run))
    sources = re.findall(r'<video [^>]*src="data:video/mp4;base64,([^"]+)"', html)
    assert [base64.b64decode(source) for source in sources] == [FILM]
    assert "at most 1 MiB of video. Not in it, or not readable as mp4: run/b.mp4" in html
    assert "run/c.mp4, run/d.mp4" in html


def test_an_evaluation_is_shown_as_it_was_printed(tmp_path: Path, cartpole_run: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text("some talk\n" + json.dumps(EVALUATION) + "\n")
    page = Page(make_page(comparisons_of(cartpole_run), [read_evaluation(file)]))
    for value in ("Evaluation", "101.25", "90.00 to 110.00", "−3.50 to 500.00", "greedy"):
        assert value in page.texts, value
    assert "run/best.safetensors" in page.texts  # no directories above it
    assert "CartPole-v1: seed 1, rewards raw" in page.texts
    assert "success" not in page.texts
    file.write_text(json.dumps(EVALUATION | {"success_rate": 0.25}))
    texts = Page(make_page(comparisons_of(cartpole_run), [read_evaluation(file)])).texts
    assert {"success", "25 %"} <= set(texts)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "no json", '{"mean": 1}', "[" * 100_000,
     json.dumps(EVALUATION | {"mean": "1"}), json.dumps(EVALUATION | {"ci95": [1]}),
     json.dumps(EVALUATION | {"max": 10**400}), json.dumps(EVALUATION | {"success_rate": 2.0}),
     json.dumps(EVALUATION | {"iqm": float("nan")}), json.dumps(EVALUATION | {"env_id": 1})],
)  # fmt: skip
def test_what_is_no_evaluation_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "scores.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="is not an evaluation"):
        read_evaluation(file)


def test_a_run_without_a_checkpoint_still_has_a_page(tmp_path: Path) -> None:
    page = Page(make_page(comparisons_of(write_run(tmp_path / "run", [1.0] * 9))))
    assert any("there is no checkpoint" in text for text in page.texts)


def test_the_command_on_a_page_gives_the_same_settings_and_what_was_asked_for_is_marked(
    cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = ["CartPole-v1", "--total-steps", 130, "--policy-step", "gradient", "--seed", 4,
             "--learning-rate", 0.003, "--no-normalize-obs", "--entropy-schedule", "exponential",
             "--entropy-coef", 0.01, "--entropy-coef-end", 0.001,
             "--env-arg", "max_episode_steps=20"]  # fmt: skip
    assert cli("train", *asked, "--run-dir", run).code == 0
    html = make_page(comparisons_of(run))
    found = re.search(r"<pre>(.*?)</pre>", html)
    assert found is not None
    words = shlex.split(unescape(re.sub("<.*?>", "", found[1])))
    assert words[:2] == ["a2c", "train"]
    assert len(words) < 25  # not every setting
    again = cli(*words[1:], "--show-config")
    assert again.stdout == (run / "config.toml").read_text()
    assert '<div class="differs"><dt>learning_rate</dt><dd>0.003</dd></div>' in html
    assert "<div><dt>gamma</dt>" in html
    assert "<div><dt>seed</dt>" in html
