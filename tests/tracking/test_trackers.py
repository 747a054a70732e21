"""The trackers, with the real packages: what they hold is what metrics.jsonl holds."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shlex
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from compare_runs import assert_same_learning, metrics, stop_after
from process import Outcome, run_python

from a2c_cli import TrainConfig, train
from a2c_cli.config.text import to_toml
from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.sweep.trial import run_trial
from a2c_cli.tracking.tracker import find_tracker

ALL = ("tensorboard", "wandb", "trackio")
for package in ALL:
    if importlib.util.find_spec(package) is None:  # not imported: Trackio reads its settings then
        pytest.skip(f"{package} is not installed (extra {package})", allow_module_level=True)
CONFIG: dict[str, Any] = {
    "env": "CartPole-v1", "total_steps": 1600, "log_every": 200, "seed": 3, "eval_every": 400,
    "eval_episodes": 1, "n_steps": 32,
}  # fmt: skip
WATCHED: dict[str, Any] = {"tracker": ALL, "histograms": True, "video_every": 25}
CLOCK = ("time/fps", "time/elapsed")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run with everything on that was killed at step 1100 and resumed from step 700."""
    run = tmp_path_factory.mktemp("tracked") / "run"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TRACKIO_DIR", "TRACKIO_SPACE_ID", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        patch.setenv("WANDB_MODE", "offline")
        # A checkpoint that is put back is what a kill leaves: one older than all else.
        train(TrainConfig(**CONFIG, **WATCHED), run_dir=run, should_stop=stop_after(700))
        checkpoint = (run / "last.safetensors").read_bytes()
        train(resume=run, should_stop=stop_after(400))
        (run / "last.safetensors").write_bytes(checkpoint)
        assert train(resume=run).warnings == ()
        yield run


def expected(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve as metrics.jsonl has it: name -> points (env_steps, value)."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        for name in record.keys() - {"env_steps"}:
            curves.setdefault(name, []).append((record["env_steps"], record[name]))
    return curves


def assert_same_curves(found: dict[str, list[tuple[int, float]]], run: Path) -> None:
    wanted = expected(run)
    assert found.keys() == wanted.keys()
    for name, points in wanted.items():
        # Where an episode ends at a line of metrics, both give the frames of that step.
        assert [s for s, _ in found[name]] == list(dict.fromkeys(s for s, _ in points)), name
        if name not in CLOCK:  # the steps played twice took another time
            assert dict(found[name]) == pytest.approx(dict(points), rel=1e-6), name


def test_trackers_do_not_disturb_the_run(tracked: Path, tmp_path: Path) -> None:
    train(TrainConfig(**CONFIG), run_dir=tmp_path / "plain")
    assert_same_learning(tmp_path / "plain", tracked)


def test_tensorboard_files_read_back(tracked: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert len(list((tracked / "tensorboard").iterdir())) == 3  # one for each start
    events = EventAccumulator(str(tracked / "tensorboard"), {"scalars": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {n: [(e.step, e.value) for e in events.Scalars(n)] for n in tags["scalars"]}
    # TensorBoard keeps both frames of a step at which an episode and an interval end.
    scalars["frames"] = list(dict.fromkeys(scalars["frames"]))
    assert_same_curves(scalars, tracked)
    weights = {name for name in tags["histograms"] if name.startswith("parameters/")}
    assert {name.replace("parameters/", "gradients/") for name in weights} | weights == set(
        tags["histograms"]
    )
    assert [e.step for e in events.Histograms(min(weights))] == list(range(200, 1601, 200))
    first = events.Images("video")[0]
    assert first.encoded_image_string.startswith(b"GIF8")
    (text,) = events.Tensors("config/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    assert "env = " in shown
    assert to_toml(TrainConfig(env="CartPole-v1", seed=3)).splitlines()[0] in shown


def wandb_records(path: Path) -> Iterator[Any]:
    """A .wandb file is a log of protocol buffers in blocks of 32 KiB, after LevelDB's fashion."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, block, parts = path.read_bytes(), 7, 2**15, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def test_an_offline_wandb_run_reads_back(tracked: Path) -> None:
    files = sorted((tracked / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda p: p.parent)
    assert len({path.name for path in files}) == 1  # one run id
    curves: dict[str, list[tuple[int, float]]] = {}
    histograms, videos, settings = set(), [], {}
    # The directories are named by the second; within one, the order is that of their steps.
    rows = []
    for path in files:
        for record in wandb_records(path):
            for item in record.run.config.update if record.HasField("run") else ():
                settings[item.key] = json.loads(item.value_json)
            if record.HasField("history"):
                row: dict[str, Any] = {}
                for item in record.history.item:
                    name, *inner = item.nested_key or [item.key]
                    value = json.loads(item.value_json)
                    row[name] = {**row.get(name, {}), inner[0]: value} if inner else value
                rows.append(row)
    for row in sorted(rows, key=lambda row: int(row["_step"])):
        for name, value in row.items():
            if isinstance(value, dict):
                (histograms.add if value["_type"] == "histogram" else videos.append)(name)
            elif not name.startswith("_"):
                curves.setdefault(name, []).append((row["_step"], value))
    assert len(rows) == len({row["_step"] for row in rows})  # no step twice
    assert_same_curves(curves, tracked)
    assert any(name.startswith("gradients/") for name in histograms)
    assert videos
    assert len(list((tracked / "wandb").rglob("*.mp4"))) >= len(videos)
    assert (settings["env"], settings["n_steps"]) == ("CartPole-v1", 32)


def test_trackios_store_reads_back(tracked: Path) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    assert (tracked / "trackio").is_dir()
    (name,) = SQLiteStorage.get_runs("a2c")
    assert name.startswith("run-")
    curves: dict[str, list[tuple[int, float]]] = {}
    histograms, videos = set(), 0
    for row in SQLiteStorage.get_logs("a2c", name):
        for key, value in row.items():
            if isinstance(value, dict):
                histograms.add(key) if "histogram" in value["_type"] else None
                videos += "video" in value["_type"]
            elif key not in ("step", "timestamp"):
                curves.setdefault(key, []).append((row["step"], value))
    curves["frames"] = list(dict.fromkeys(curves["frames"]))
    assert_same_curves(curves, tracked)
    assert any(name.startswith("parameters/") for name in histograms)
    assert videos >= 2
    stored = SQLiteStorage.get_run_config("a2c", name)
    assert (stored["env"], stored["n_steps"]) == ("CartPole-v1", 32)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_package_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(A2CError, match=f"needs the package {name}") as caught:
        train(TrainConfig(env="CartPole-v1", tracker=(name,)), run_dir=tmp_path / "run")
    assert caught.value.hint == f"install it: pip install {name}"
    assert not (tmp_path / "run").exists()


def test_a_directory_of_wandbs_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(A2CError, match="needs the package wandb"):
        find_tracker("wandb")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_tracker_that_fails_in_mid_run_warns_once_and_training_goes_on(tmp_path: Path) -> None:
    plain, run = tmp_path / "plain", tmp_path / "run"
    train(TrainConfig(**CONFIG), run_dir=plain)

    def sabotage(progress: Any) -> None:
        if progress.env_steps == 400:
            shutil.rmtree(run / "tensorboard")

    result = train(
        TrainConfig(**CONFIG, tracker=("tensorboard",)), run_dir=run, on_progress=sabotage
    )
    assert result.stopped == "completed"
    assert len(result.warnings) == 1
    assert "--tracker tensorboard failed" in result.warnings[0]
    assert_same_learning(plain, run)


def test_a_tracker_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "tensorboard").write_text("in the way")
    with pytest.raises(A2CError, match="--tracker tensorboard did not start"):
        train(TrainConfig(**CONFIG, tracker=("tensorboard",)), run_dir=run)
    (run / "tensorboard").unlink()
    train(TrainConfig(**{**CONFIG, "total_steps": 50}, tracker=("tensorboard",)), run_dir=run)


def test_a_resume_can_change_the_trackers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = TrainConfig(**CONFIG, tracker=("tensorboard",), histograms=True)
    train(config, run_dir=run, should_stop=stop_after(300))
    with pytest.raises(ConfigError, match="--histograms needs a tracker"):
        train(resume=run, changes={"tracker": ("none",)})
    assert len(list((run / "tensorboard").iterdir())) == 1
    train(resume=run, changes={"tracker": ("none",), "histograms": False})
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert metrics(run)[-1]["env_steps"] == 1600
    assert math.isfinite(metrics(run)[-1]["train/value_loss"])


def test_no_tracker_is_imported_unless_it_is_asked_for(tmp_path: Path) -> None:
    done = run_python(
        "-c",
        "import sys; from a2c_cli import TrainConfig, train\n"
        f"train(TrainConfig(env='CartPole-v1', total_steps=40), run_dir={str(tmp_path / 'r')!r})\n"
        "print({'tensorboard', 'wandb', 'trackio', 'imageio_ffmpeg'} & set(sys.modules))",
    )
    assert done.stdout == "set()\n", done.stderr


# --- one from outside of the package

TOY = """
import json
from pathlib import Path

Path("imported").touch()

class Toy:
    def __init__(self, run_path, config, env_steps):
        self.last_step = env_steps
        self.place = f"{config.env} in {run_path / 'toy.jsonl'}"
        self.file = (run_path / "toy.jsonl").open("a")

    def log(self, env_steps, values):
        curves = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        self.file.write(json.dumps({"env_steps": env_steps, **curves}) + "\\n")

    def flush(self):
        self.file.flush()

    def close(self):
        self.file.close()

NEITHER = 3

def half(run_path, config, env_steps):
    toy = Toy(run_path, config, env_steps)
    del toy.place
    return toy

def broken(run_path, config, env_steps):
    raise RuntimeError("the toy is broken")
"""


@pytest.fixture
def toys(tmp_path: Path) -> Callable[..., Outcome]:
    """`a2c train ARGS` in a fresh process, in a directory that holds a tracker."""
    (tmp_path / "toys.py").write_text(TOY)
    (tmp_path / "torn.py").write_text("import nothing_of_that_name")
    return lambda *args: run_python("-m", "a2c_cli", "train", *map(str, args), cwd=tmp_path)


def test_a_tracker_from_outside_gets_what_metrics_jsonl_gets(
    toys: Callable[..., Outcome], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = toys("--env", "CartPole-v1", "--total-steps", 600, "--log-every", 200,
                "--tracker", "toys:Toy", "--run-dir", "run")  # fmt: skip
    assert done.code == 0, done.stderr
    assert "curves     CartPole-v1 in run/toy.jsonl" in done.stderr
    assert (run / "toy.jsonl").read_text() == (run / "metrics.jsonl").read_text()


def test_a_checkpoint_does_not_make_us_import_a_tracker(
    toys: Callable[..., Outcome], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = {"env": "CartPole-v1", "total_steps": 400, "log_every": 100}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(sys, "path", [*sys.path])
        stopped = train(TrainConfig(**config, tracker=("toys:Toy",)),  # type: ignore[arg-type]
                        run_dir=run, should_stop=stop_after(150))  # fmt: skip
    (tmp_path / "imported").unlink()
    sent = (run / "toy.jsonl").read_bytes()
    done = toys("--resume", "run")
    assert (done.code, done.stdout) == (2, "")
    assert "the run's tracker 'toys:Toy' would import a Python module" in done.stderr
    assert "--tracker toys:Toy" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "imported").exists()
    assert (run / "toy.jsonl").read_bytes() == sent

    assert shlex.split(stopped.resume_command)[2:] == [
        "--resume",
        str(run),
        "--tracker",
        "toys:Toy",
    ]
    done = toys("--resume", "run", "--tracker", "toys:Toy")
    assert done.code == 0, done.stderr
    assert (run / "toy.jsonl").read_text() == (run / "metrics.jsonl").read_text()


def test_a_sweep_names_the_trackers_of_its_own_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweeptoys.py").write_text(TOY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = TrainConfig(
        env="CartPole-v1", total_steps=400, log_every=100, tracker=("sweeptoys:Toy",)
    )
    run = tmp_path / "run"
    assert run_trial(config, run, lambda told: None, stop_after(150)) == ("interrupted", "")
    assert run_trial(config, run, lambda told: None, lambda: None) == ("completed", "")
    assert (run / "toy.jsonl").read_text() == (run / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:Toy", "the module 'nowhere' cannot be imported: No module named 'nowhere'"),
        ("torn:Toy", "the module 'torn' cannot be imported: No module named 'nothing_of_that"),
        ("badtoys:Absent", "there is no function 'Absent' in the module 'badtoys'"),
        ("badtoys:NEITHER", "there is no function 'NEITHER' in the module 'badtoys'"),
        ("badtoys:half", "has made no tracker: it lacks place: str"),
        ("badtoys:broken", "did not start: RuntimeError: the toy is broken"),
        ("badtoys", "--tracker cannot be 'badtoys'"),
    ],
)
def test_what_is_no_tracker_is_a_clear_error(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "badtoys.py").write_text(TOY)
    (tmp_path / "torn.py").write_text("import nothing_of_that_name")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("badtoys", "torn"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(A2CError) as caught:
        train(TrainConfig(env="CartPole-v1", tracker=(name,), total_steps=9), run_dir="run")
    assert str(caught.value).startswith("--tracker ")
    assert message in str(caught.value)
    assert caught.value.hint
    assert not (tmp_path / "run" / "last.safetensors").exists()


@pytest.mark.slow
def test_the_curves_go_on_after_kill_9(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "a2c_cli", "train"]
    environment = {**os.environ, "WANDB_MODE": "offline"}
    # What this process's own runs have left, which a child would go on with.
    for name in ("TRACKIO_DIR", "WANDB_SERVICE"):
        environment.pop(name, None)
    trackers = [word for name in ALL for word in ("--tracker", name)]
    first = subprocess.Popen(
        [*command, "--env", "CartPole-v1", "--total-steps", "40000", "--log-every", "500",
         "--save-every", "0.02", "--video-every", "25", *trackers, "--run-dir", str(run)],
        env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # Killed a while after a save, so that the trackers know more than the checkpoint.
    while not (run / "last.safetensors").exists() or metrics(run)[-1:] == []:
        assert first.poll() is None
        time.sleep(0.1)
    time.sleep(3)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    killed_at = metrics(run)[-1]["env_steps"]
    subprocess.run([*command, "--resume", str(run), "--quiet"], env=environment, check=True)
    assert metrics(run)[-1]["env_steps"] == 40_000 > killed_at
    assert not list((run / "videos").glob(".*"))

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), {"scalars": 0})
    events.Reload()
    wanted = [s for s, _ in expected(run)["charts/episodic_return"]]
    assert [e.step for e in events.Scalars("charts/episodic_return")] == wanted
    rows = {"wandb": wandb_steps(run), "trackio": trackio_steps(run)}
    for name, steps in rows.items():
        missing = sorted(set(wanted) - set(steps))
        # What the package had not written yet when it was killed is at most a second's worth,
        # and of what it had, W&B may have the last seconds twice.
        assert all(s < killed_at for s in missing), name
        assert len(missing) < 0.1 * len(wanted), name
    assert len(rows["trackio"]) == len(set(rows["trackio"]))


def wandb_steps(run: Path) -> list[int]:
    steps = []
    for path in (run / "wandb").glob("offline-run-*/run-*.wandb"):
        for record in wandb_records(path):
            for item in record.history.item if record.HasField("history") else ():
                if item.key == "episode" or list(item.nested_key) == ["episode"]:
                    steps.append(record.history.step.num)
    return steps


def trackio_steps(run: Path) -> list[int]:
    with sqlite3.connect(run / "trackio" / "a2c.db") as store:
        rows = store.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    return [step for step, values in rows if "episode" in json.loads(values)]
