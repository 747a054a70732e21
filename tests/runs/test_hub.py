"""The Hugging Face Hub, with the real package and a stand-in of the service on this machine."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hub_standin
import numpy as np
import pytest
from process import Outcome, run_python

from a2c_cli.errors import ConfigError
from a2c_cli.runs import checkpoint
from a2c_cli.runs.card import make_card
from a2c_cli.runs.hub import AGENT, HubError, HubName, download, hub_name, is_downloaded
from a2c_cli.runs.shipped import find_shipped

if importlib.util.find_spec("huggingface_hub") is None:
    pytest.skip("huggingface_hub is not installed (extra hub)", allow_module_level=True)

A2c = Callable[..., Outcome]


@pytest.fixture
def hub() -> Iterator[hub_standin.Hub]:
    with hub_standin.running() as found:
        yield found


@pytest.fixture
def a2c(hub: hub_standin.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> A2c:
    """`a2c ARGS` in an empty directory, with a cache of its own."""
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    where = tmp_path / "here"
    where.mkdir()
    return lambda *args: run_python("-m", "a2c_cli", *map(str, args), cwd=where)


def test_names() -> None:
    assert hub_name("hf:me/agent-1") == HubName("me/agent-1")
    assert hub_name("hf:me/agent@v1.0") == HubName("me/agent", "v1.0")
    assert str(HubName("me/agent", "v1.0")) == "hf:me/agent@v1.0"
    assert hub_name("checkpoints/hf:run") is None
    for wrong in ("hf:", "hf:me", "hf:me/", "hf:a/b/c", "hf:../x@", "hf://me/agent"):
        with pytest.raises(ConfigError, match="is no name on the Hub"):
            hub_name(wrong)


def test_what_is_pushed_plays_elsewhere(
    a2c: A2c, hub: hub_standin.Hub, cartpole_run: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    done = a2c("evaluate", cartpole_run, "-n", 3, "--jobs", 1, "--json", "-q")
    (tmp_path / "scores.json").write_text(done.stdout)
    scores = json.loads(done.stdout)
    done = a2c("push", cartpole_run, "hf:me/agent", "--evaluation", tmp_path / "scores.json",
               "--private", "--json")  # fmt: skip
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["README.md", AGENT, "evaluation.json"]
    assert hub.private == {"me/agent"}
    card = hub.repos["me/agent"]["README.md"].decode()
    assert f"value: {scores['mean']:.2f} +/- {scores['std']:.2f}" in card
    assert "a2c evaluate hf:me/agent" in card
    (tmp_path / AGENT).write_bytes(hub.repos["me/agent"][AGENT])
    _, sent = checkpoint.read_checkpoint(tmp_path / AGENT)
    _, whole = checkpoint.read_checkpoint(cartpole_run / "best.safetensors")
    assert {n.split(".")[0] for n in sent} == {"network", "normalizer"}
    for name, tensor in sent.items():
        np.testing.assert_array_equal(tensor, whole[name])

    again = a2c("evaluate", "hf:me/agent", "-n", 3, "--jobs", 1, "--json", "-q")
    assert json.loads(again.stdout)["returns"] == scores["returns"]
    fetched = hub.requests.count(("GET", f"/me/agent/resolve/main/{AGENT}"))
    film = a2c("record", "hf:me/agent", "-n", 1, "-q", "--json")
    assert film.code == 0, film.stderr
    # Into the directory that the command was given in, and not fetched a second time.
    assert (tmp_path / "here" / "videos").is_dir()
    assert hub.requests.count(("GET", f"/me/agent/resolve/main/{AGENT}")) == fetched == 1
    # Without a network, what is in the cache still plays.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert a2c("inspect", "hf:me/agent", "-q").code == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("evaluate", "hf:me/none"), 1, "there is no hf:me/none on the Hub"),
        (("inspect", "hf:me/agent@v9"), 1, "me/agent has no revision 'v9'"),
        (("inspect", "hf:me/empty"), 1, f"hf:me/empty holds no {AGENT}"),
        (("inspect", "hf:me/junk"), 1, "is not a safetensors file"),
        (("inspect", "hf:me"), 2, "'hf:me' is no name on the Hub"),
        (("push", "hopper", "me/agent"), 2, "'me/agent' is no place on the Hub"),
        (("push", "nothing", "hf:me/agent"), 1, "there is no checkpoint at nothing"),
    ],
)
def test_what_cannot_be_is_one_line(
    args: tuple[str, ...], code: int, message: str, a2c: A2c, hub: hub_standin.Hub
) -> None:
    hub.repos = {"me/agent": {AGENT: b""}, "me/empty": {}, "me/junk": {AGENT: b"junk" * 9}}
    done = a2c(*args, "-q")
    assert done.code == code
    error, hint = done.stderr.splitlines()
    assert message in error
    assert hint.startswith("hint: ")


def test_nobody_who_is_not_logged_in_pushes(a2c: A2c, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    done = a2c("push", "hopper", "hf:me/agent", "-q")
    assert done.code == 1
    assert "401" in done.stderr
    assert done.stderr.splitlines()[-1] == "hint: log in: hf auth login"


def test_without_a_network(a2c: A2c, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for args in (("inspect", "hf:me/agent"), ("push", "hopper", "hf:me/agent")):
        done = a2c(*args, "-q")
        assert done.code == 1
        assert done.stderr.splitlines()[0] == "error: the Hub cannot be reached for hf:me/agent"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(HubError, match="need the package huggingface_hub"):
        download(HubName("me/agent"))


def test_scores_of_another_agent_are_refused(
    a2c: A2c, cartpole_run: Path, tmp_path: Path, hub: hub_standin.Hub
) -> None:
    done = a2c("evaluate", cartpole_run, "-n", 2, "--jobs", 1, "--json", "-q")
    (tmp_path / "scores.json").write_text(done.stdout)
    done = a2c("push", "hopper", "hf:me/agent", "--evaluation", tmp_path / "scores.json", "-q")
    assert done.code == 2
    assert f"scores.json is of {cartpole_run}" in done.stderr
    assert not hub.requests


def test_a_card_without_an_evaluation_says_so() -> None:
    path = find_shipped("hopper")
    assert path is not None
    header, _ = checkpoint.read_header(path)
    card = make_card("hf:me/agent", header, None)
    assert "Not evaluated since" in card
    assert "mean_reward" not in card
    assert "succeeded" not in card


def test_a_card_says_how_many_episodes_succeeded() -> None:
    path = find_shipped("hopper")
    assert path is not None
    header, _ = checkpoint.read_header(path)
    told = dataclasses.replace(header, progress={"successes": [True, False, False, False]})
    assert "; 25 % of them succeeded. Not" in make_card("hf:me/agent", told, None)
    for junk in ("all", [1, 2], [], {"a": 1}, None):
        assert dataclasses.replace(header, progress={"successes": junk}).success_rate is None
    played = {
        **dict.fromkeys(("mean", "std", "median", "iqm", "min", "max"), 1.0), "ci95": (0.0, 2.0),
        "episodes": 4, "policy": "greedy", "seed": 0, "protocol": {}, "success_rate": 0.5,
    }  # fmt: skip
    assert "| success | 50 % |" in make_card("hf:me/agent", told, played)
    assert not is_downloaded(path)
