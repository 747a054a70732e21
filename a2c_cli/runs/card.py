"""The card of an agent on the Hub: what it is, how to use it, its scores and their protocol.

Its metadata are those that the Hub's own pages and leaderboards of reinforcement learning read:
https://huggingface.co/docs/hub/model-cards and the `model-index` of papers-with-code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2c_cli.config.text import to_toml
from a2c_cli.runs.header import Header
from a2c_cli.text import number, percent, safe_text


def make_card(name: str, header: Header, evaluation: Mapping[str, Any] | None) -> str:
    """Markdown with its metadata in front.

    Args:
        name: `hf:user/name`.
        header: of the agent.
        evaluation: what `a2c evaluate --json` printed of it; without one the card quotes no score
            but the mean of the last training episodes, and says so.
    """
    # Names come from a file: nothing in them may end a code span or a row of a table.
    env = safe_text(header.spec.id).replace("`", "'").replace("|", "/")
    return f"""---
{_metadata(name, env, evaluation)}
---

# A2C on {env}

An advantage actor-critic that learned **{env}** online from a single stream of experience, with
onestream-a2c: no replay, no parallel copies of the environment.

```
pip install "onestream-a2c[hub]"
a2c evaluate {name}
a2c record {name} --episodes 1
a2c inspect {name}
```

## Scores

{_scores(header, evaluation)}

## Training

{_training(header)}

<details><summary>All settings</summary>

```toml
{to_toml(header.config).strip()}
```

</details>
"""


def _metadata(name: str, env: str, evaluation: Mapping[str, Any] | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = None
    if evaluation is not None:
        results = [
            EvalResult(
                task_type="reinforcement-learning",
                task_name="reinforcement-learning",
                dataset_type=env,
                dataset_name=env,
                metric_type="mean_reward",
                metric_name="mean_reward",
                metric_value=f"{evaluation['mean']:.2f} +/- {evaluation['std']:.2f}",
                verified=False,
            )
        ]
    data = ModelCardData(
        library_name="onestream-a2c",
        tags=[env, "deep-reinforcement-learning", "reinforcement-learning", "a2c"],
        pipeline_tag="reinforcement-learning",
        model_name=name.rpartition("/")[2] if results else None,
        eval_results=results,
    )
    return str(data.to_yaml()).strip()


def _scores(header: Header, evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        count, rate = len(header.recent_returns), header.success_rate
        return (
            f"Mean raw return of the last {count} training episodes:"
            f" {number(header.mean_return_100)}"
            + ("" if rate is None else f"; {percent(rate)} of them succeeded")
            + ". Not evaluated since."
        )
    low, high = evaluation["ci95"]
    rate = evaluation.get("success_rate")
    protocol = {k: v for k, v in evaluation["protocol"].items() if v is not None}
    rows = {
        "episodes": f"{evaluation['episodes']}, {evaluation['policy']}, seed {evaluation['seed']}",
        "mean": f"{number(evaluation['mean'])} (95 % interval {number(low)} to {number(high)})",
        **({} if rate is None else {"success": percent(rate)}),
        "median": number(evaluation["median"]),
        "IQM": number(evaluation["iqm"]),
        "range": f"{number(evaluation['min'])} to {number(evaluation['max'])}",
        "protocol": ", ".join(f"{k} {v}" for k, v in protocol.items()),
    }
    return _table(rows)


def _training(header: Header) -> str:
    rows = {
        "steps": f"{header.env_steps:,} ({header.frames:,} frames)",
        "episodes": f"{header.episodes:,}",
        "seed": str(header.config.seed),
        "code": ", ".join(f"{name} {version}" for name, version in header.versions.items()),
    }
    return _table(rows)


def _table(rows: Mapping[str, str]) -> str:
    lines = [f"| {name} | {safe_text(value).replace('|', '/')} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])
