"""What `a2c evaluate --json` printed, read back from a file that may be a stranger's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from a2c_cli.errors import ConfigError
from a2c_cli.outside import read_text
from a2c_cli.text import first_problem

_LARGEST = 256 * 2**20  # bytes; ten million games
_Number = Annotated[float, Field(gt=-1e18, lt=1e18)]  # NaN and infinity are outside
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class Evaluation(BaseModel):
    """The part of an evaluation that a page shows; other keys are let pass.

    Strict: a number in quotation marks is no number.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    checkpoint: str
    env_id: str
    policy: str
    episodes: _Count
    seed: _Count
    mean: _Number
    median: _Number
    iqm: _Number
    std: _Number
    min: _Number
    max: _Number
    ci95: Annotated[list[_Number], Field(min_length=2, max_length=2)]
    protocol: dict[str, Any]
    success_rate: Annotated[float, Field(ge=0, le=1)] | None = None  # none in older files


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation on the last line of a file; lines of talk may stand above it.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    try:
        last = read_text(path, _LARGEST).strip().rpartition("\n")[2]
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give a file") from None
    try:
        return Evaluation.model_validate_json(last)
    except ValidationError as error:
        raise ConfigError(
            f"{path} is not an evaluation: {first_problem(error)}",
            "make one: a2c evaluate RUN --json > FILE.json",
        ) from None
