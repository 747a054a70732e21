"""Wrong command lines: the exit code, one line of error, a hint that helps, nothing written.

In a row `{run}` is a finished run on CartPole, `{atari}` one on Breakout; `{dir}` is an empty
directory, `{text}` a text file, `{empty}` an empty one, `{foreign}` a safetensors file of another
program, `{cut}` half a checkpoint; `{toml:...}` is a file with that text (`;` is a new line).
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from process import Outcome

CART = "train --env CartPole-v1"
PONG = "train --env ALE/Pong-v5"

# command line | exit code | what the error says | what the hint says
TABLE = """
nonsense | 2 | nonsense | --help
--nonsense | 2 | --nonsense | --help
train | 2 | no environment given | --env ALE/Breakout-v5
train extra --env CartPole-v1 | 2 | extra | a2c sweep --help
train --env | 2 | --env | a2c train --help
train --env "" | 2 | empty | a2c train --help
train --env " " | 2 | empty | a2c train --help
train --env CartPole-v2 | 2 | CartPole-v2 | CartPole-v1
train --env CartPol-v1 | 2 | there is no environment 'CartPol-v1' | did you mean CartPole-v1
train --env Breakout-v5 | 2 | Breakout-v5 | ALE/Breakout-v5
train --env ALE/Brakout-v5 | 2 | ALE/Brakout-v5 | ALE/Breakout-v5
train --env ПингПонг-v0 | 2 | ПингПонг-v0 | gymnasium.registry
train --env ../../etc/passwd | 2 | no environment | gymnasium.registry
train --env no_such_module:Env-v0 | 2 | no_such_module | install it
train --env :Env-v0 | 2 | :Env-v0 | .
train --env ..:Env-v0 | 2 | ..:Env-v0 | .
train --env a:b:c:d | 2 | a:b:c:d | .
{cart} --total-steps 0 | 2 | --total-steps must be | .
{cart} --total-steps -5 | 2 | --total-steps must be | .
{cart} --total-steps 1.5 | 2 | '--total-steps': '1.5' is not a whole number | a2c train --help
{cart} --total-steps many | 2 | '--total-steps' | a2c train --help
{cart} --total-steps 1e60 | 2 | '--total-steps' | a2c train --help
{cart} --seed -1 | 2 | --seed must be between 0 | .
{cart} --seed 99999999999999999999 | 2 | --seed must be between 0 | .
{cart} --seed x | 2 | '--seed' / '-s' | a2c train --help
{cart} --gamma 1.5 | 2 | --gamma must be between 0 and 1 | .
{cart} --gamma -0.1 | 2 | --gamma must be between 0 and 1 | .
{cart} --gamma nan | 2 | --gamma must be between 0 and 1, not nan | .
{cart} --gae-lambda 2 | 2 | --gae-lambda must be between 0 and 1 | .
{cart} --learning-rate 0 | 2 | --learning-rate must be above 0 | .
{cart} --learning-rate -1 | 2 | --learning-rate must be | .
{cart} --learning-rate inf | 2 | --learning-rate must be | .
{cart} --learning-rate nan | 2 | --learning-rate must be | .
{cart} --learning-rate fast | 2 | '--learning-rate' | a2c train --help
{cart} --entropy-coef nan | 2 | --entropy-coef must be | .
{cart} --max-grad-norm -1 | 2 | --max-grad-norm must be at least 0 | .
{cart} --n-steps -1 | 2 | --n-steps must be between 0 | .
{cart} --n-steps 1000000000 | 2 | --n-steps must be between 0 | .
{cart} --network 64,0 | 2 | --network cannot be | name the layers
{cart} --network 64@8 | 2 | --network cannot be | a3c, nature, notebook, mlp
{cart} --threads 0 | 2 | --threads must be between 1 | .
{cart} --log-every 0 | 2 | --log-every must be | .
{cart} --save-every -1 | 2 | --save-every must be at least 0 | .
{cart} --save-every nan | 2 | --save-every must be at least 0 | .
{cart} --eval-episodes 0 | 2 | --eval-episodes must be | .
{cart} --optimizer sgd | 2 | --optimizer cannot be 'sgd' | choose from rmsprop, adam
{cart} --optimizer Adam | 2 | --optimizer cannot be 'Adam' | adam
{cart} --device tpu | 2 | --device cannot be 'tpu' | auto, cpu, cuda
{cart} --activation "" | 2 | empty | a2c train --help
{cart} --entropy-schedule exponential | 2 | exponential cannot start or end at 0 | end
{cart} --learning-rate-schedule exponential | 2 | exponential cannot end at 0 | end
{cart} --learning-rat 1 | 2 | --learning-rat | --help
{cart} --network a3c | 2 | --network a3c cannot be used | mlp
{cart} --frame-skip 2 | 2 | --frame-skip has no effect | leave it out
{cart} --life-loss | 2 | --life-loss has no effect | leave it out
{cart} --log-std-init 0 | 2 | --log-std-init has no effect | leave it out
{pong} --network mlp | 2 | --network mlp cannot be used | nature
{pong} --normalize-obs | 2 | --normalize-obs has no effect | leave it out
{cart} --entropy-floor 0 --entropy-floor-end 0.1 | 2 | without an --entropy-floor | leave
{pong} --network compact | 2 | --network cannot be 'compact' | choose from a3c, nature
{pong} --rmsprop-alpha 0.99 | 2 | --rmsprop-alpha | --help
{cart} --entropy-schedule constant --entropy-hold 0.5 | 2 | --entropy-hold has no effect | add that
{cart} --learning-rate-schedule constant --learning-rate-end 0.5 | 2 | that decays | add that
{pong} --prediction-coef 0 --prediction-share 0.1 | 2 | a --prediction-coef above 0 | add that
{cart} --eval-episodes 5 | 2 | no effect without --eval-every | leave --eval-episodes out
{pong} --screen-size 20 | 2 | --screen-size must be between 36 | .
{pong} --env-arg frameskip=2 | 2 | frameskip | --frame-skip
{pong} --env-arg mode=99 | 1 | mode | --env-arg
{pong} --env-arg repeat_action_probability=maybe | 1 | ALE/Pong-v5 cannot be made | --env-arg
{cart} --env-arg nonsense | 2 | key=value | --env-arg
{cart} --env-arg =1 | 2 | key=value | --env-arg
{cart} --env-arg no_such_arg=1 | 1 | no_such_arg | --env-arg
{cart} --preset best | 2 | there is no preset 'best' | notebook
{cart} --preset notebook | 2 | CartPole | leave it out
{cart} --config {dir}/none.toml | 2 | No such file | TOML
{cart} --config {dir} | 2 | directory | TOML
{cart} --config {cut} | 2 | UTF-8 | TOML
{cart} --config {text} | 2 | not valid TOML | .
{cart} --config {toml:learning_rat = 1.0} | 2 | unknown key 'learning_rat' | learning_rate
{cart} --config {toml:qwertyuiop = 1} | 2 | unknown key 'qwertyuiop' | --show-config
{cart} --config {toml:learning_rate = "fast"} | 2 | --learning-rate must be of type float | .
{cart} --config {toml:total_steps = 1.5} | 2 | --total-steps must be of type int | .
{cart} --config {toml:total_steps = true} | 2 | --total-steps must be of type int | .
{cart} --config {toml:normalize_obs = 1} | 2 | --normalize-obs must be of type bool | .
{cart} --config {toml:gamma = nan} | 2 | --gamma must be between | .
{cart} --config {toml:gamma = [0.9]} | 2 | --gamma must be of type float | .
{cart} --config {toml:env_args = 3} | 2 | env_args must be a table | .
{cart} --config {toml:[env_args];x = 1979-05-27} | 2 | --env-arg x must be | .
{cart} --env-arg x=[1 | 2 | neither a value nor a plain word | None
{cart} --config {toml:gamma = 0.9;gamma = 0.8} | 2 | not valid TOML | .
train --config {toml:gamma = 0.9} | 2 | no environment given | --env
train --config {toml:env = 3} | 2 | no environment given | --env
train --config {toml:env = "CartPole-v1";seed = "a"} | 2 | --seed must be an integer | .
train --resume {dir} | 1 | there is no run at | checkpoints
train --resume {dir}/none | 1 | there is no run at | checkpoints
train --resume {text} | 1 | not in a run directory | --run-dir NEW
train --resume {run} --gamma 0.5 | 2 | --gamma cannot be changed on --resume | new run
train --resume {run} --seed 1 | 2 | --seed cannot be combined with --resume | leave it out
train --resume {run} --run-dir {run} | 1 | already holds a run | --run-dir
train --resume {run} --total-steps 100 | 2 | less than the run has done: 1,500 steps | give more
train --resume {run} --config {text} | 2 | --config cannot be combined | leave it out
train --resume {run} --env Pendulum-v1 | 2 | trained on 'CartPole-v1' | --env
train --resume {run} --total-steps 0 | 2 | --total-steps must be | .
train --resume {run} --show-config | 2 | --show-config needs --env | config.toml
{cart} --run-dir {run} | 1 | already holds a run | --resume
{cart} --run-dir {text} | 1 | cannot write in | --run-dir
{cart} --run-dir {text}/x | 1 | cannot write in | --run-dir
{cart} --run-dir /proc/a2c | 1 | cannot write in /proc/a2c | --run-dir
{cart} --run-dir "" | 2 | empty | a2c train --help
{cart} --run-dir= | 2 | empty | a2c train --help
evaluate | 1 | no checkpoint under ./checkpoints | a2c train --env
evaluate {dir} | 1 | no checkpoint in | a2c train --env
evaluate {dir}/none.safetensors | 1 | no checkpoint at | a2c train --env
evaluate {dir}/{long} | 1 | File name too long | check the path
evaluate "" | 2 | empty | a2c evaluate --help
evaluate {text} | 1 | not a safetensors file | a2c train
evaluate {empty} | 1 | too short | a2c train
evaluate {foreign} | 1 | is not a checkpoint of a2c | a2c train
evaluate {cut} | 1 | cut short | a2c train
evaluate /dev/null | 1 | not a regular file | check the path
evaluate {pipe} | 1 | not a regular file | check the path
{cart} --config {pipe} | 2 | not a regular file | TOML
{cart} --config {toml:tracker = ["mine:make"]} | 2 | would import a Python module | --tracker
train --config {toml:env = "mine:Env-v0"} | 2 | would import a Python module | --env
sweep --config {toml:env = "mine:Env-v0"} | 2 | would import a Python module | --env
evaluate {run} --episodes 0 | 2 | --episodes | a2c evaluate --help
evaluate {run} --episodes -1 | 2 | --episodes | a2c evaluate --help
evaluate {run} --episodes x | 2 | '--episodes' / '-n' | a2c evaluate --help
evaluate {run} --jobs 0 | 2 | --jobs | a2c evaluate --help
evaluate {run} --seed -1 | 2 | --seed | a2c evaluate --help
evaluate {run} --seed 9999999999999999999 | 2 | --seed | a2c evaluate --help
evaluate {run} --max-steps 0 | 2 | --max-steps | a2c evaluate --help
evaluate {run} --env Pendulum-v1 | 2 | trained on 'CartPole-v1' | leave --env out
evaluate {run} {run} | 2 | unexpected extra argument | a2c evaluate --help
evaluate {run} --gredy | 2 | --gredy | --help
record {dir} | 1 | no checkpoint in | a2c train --env
record {foreign} --output {dir} | 1 | is not a checkpoint of a2c | a2c train
record {run} --format avi | 2 | avi | mp4, gif
record {run} -n 2 --output {dir}/film.mp4 | 2 | is one file | give a directory
record {run} --output {text} | 2 | of no kind that can be filmed | .mp4
record {run} --output {text}/films | 1 | cannot write the video | --output
record {run} --output /proc/films | 1 | cannot write the video | --output
record {run} --output "" | 2 | empty | a2c record --help
record {run} --scale 0 | 2 | --scale | a2c record --help
record {run} --scale 9 | 2 | --scale | a2c record --help
record {run} --fps 0 | 2 | --fps | a2c record --help
record {run} --fps nan | 2 | --fps | a2c record --help
record {run} --fps 1e9 | 2 | --fps | a2c record --help
record {run} --fps 60 | 2 | --fps 60 | --speed
record {run} --speed 0 | 2 | --speed | a2c record --help
record {run} --saliency --output {dir}/film.mp4 | 2 | pixels of one picture | leave --saliency out
record {run} --saliency-method xray | 2 | 'xray' | gradient or perturbation
record {run} -n 3 --best-of 2 | 2 | --best-of 2 | how many of them to keep
record {run} --best-of 0 | 2 | --best-of | a2c record --help
record {run} -n 0 | 2 | --episodes | a2c record --help
record {run} --seed x | 2 | '--seed' / '-s' | a2c record --help
record {run} --env ALE/Pong-v5 | 2 | trained on 'CartPole-v1' | leave --env out
inspect | 1 | no checkpoint under ./checkpoints | a2c train --env
inspect {dir} | 1 | no checkpoint in | a2c train --env
inspect {dir}/нет.safetensors | 1 | нет.safetensors | a2c train --env
inspect {text} | 1 | not a safetensors file | a2c train
inspect {empty} | 1 | too short | a2c train
inspect {foreign} | 1 | is not a checkpoint of a2c | a2c train
inspect {run} --filters {dir}/a.jpg | 2 | .png | a2c inspect --help
inspect {run} --filters {text}/a.png | 1 | cannot write | --filters
inspect {run} --filters {dir} | 2 | .png | a2c inspect --help
inspect {cut} | 1 | cut short | a2c train
inspect {dir} {dir} | 2 | unexpected extra argument | a2c inspect --help
inspect --episodes 3 | 2 | --episodes | a2c inspect --help
"""
TABLE += f"{{cart}} --config {{toml:gamma = 0x{'f' * 5000}}} | 2 | too many digits | .\n"
TABLE += f"{{cart}} --config {{toml:gamma = {'[' * 5000}}} | 2 | not valid TOML | .\n"
ROWS = [tuple(part.strip() for part in row.split(" | ")) for row in TABLE.split("\n") if row]


def words(line: str, where: Path, run: Path) -> list[str]:
    """A row's command line as arguments, its files made."""
    (where / "dir").mkdir()
    text, empty, foreign, cut = (where / n for n in ("text.txt", "empty", "foreign", "cut"))
    text.write_text("This is { not TOML.\n" * 3)
    empty.touch()
    safetensors.numpy.save_file({"x": np.zeros(3)}, foreign)
    whole = (run / "last.safetensors").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    names = {"dir": where / "dir", "text": text, "empty": empty, "foreign": foreign, "cut": cut}
    names |= {"cart": CART, "pong": PONG, "long": "x" * 300}
    if "{run}" in line:
        names["run"] = where / "run"
        shutil.copytree(run, where / "run")
    if "{pipe}" in line:
        names["pipe"] = where / "pipe"
        os.mkfifo(where / "pipe")
    toml = re.search(r"\{toml:(.*)\}", line)
    if toml:
        (where / "c.toml").write_text(toml[1].replace(";", "\n"))
        line = line.replace(toml[0], str(where / "c.toml"))
    for name, value in names.items():
        line = line.replace(f"{{{name}}}", str(value))
    quoted = re.findall(r'"[^"]*"|\S+', line)
    return [w[1:-1] if w.startswith('"') else w for w in quoted]


def snapshot(where: Path) -> dict[str, tuple[int, int]]:
    """Every path with its size and time of change; the lock says nothing about a run."""
    stats = {str(p): p.lstat() for p in where.rglob("*") if p.name != ".lock"}
    return {
        name: (0, 0) if stat.S_ISDIR(s.st_mode) else (s.st_size, s.st_mtime_ns)
        for name, s in stats.items()
    }


def no_training(*args: object) -> None:
    raise AssertionError("this row trains")


@pytest.mark.parametrize(("line", "code", "error", "hint"), ROWS, ids=[row[0] for row in ROWS])
def test_bad_input(
    line: str,
    code: str,
    error: str,
    hint: str,
    cli: Callable[..., Outcome],
    cartpole_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = words(line, tmp_path, cartpole_run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("a2c_cli.training.loop.Training.run", no_training)
    before = snapshot(tmp_path)
    got = cli(*arguments)
    assert got.code == int(code), got
    assert got.stdout == ""
    said = got.stderr.splitlines()
    assert "Traceback" not in got.stderr
    assert "error: unexpected " not in got.stderr
    errors = [text for text in said if text.startswith("error: ")]
    assert len(errors) == 1, got.stderr
    assert error in errors[0]
    hints = [text for text in said if text.startswith("hint: ")]
    assert len(hints) == (1 if hint != "." else len(hints)), got.stderr
    assert hint == "." or hint in hints[0]
    assert snapshot(tmp_path) == before, "something was written"


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 60
    assert {row[0].split()[0] for row in ROWS} >= {"train", "evaluate", "record", "inspect"}
