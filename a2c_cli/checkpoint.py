"""Checkpoints: one safetensors file with plain tensors and a JSON header. Nothing is unpickled.

Tensors are `network.*`, `optimizer.*`, `rng.*`, `env.*`, `normalizer.*`, `segment.*` and
`learner.*`. The metadata holds `format` = `pt`, `a2c`, one JSON document (see `Header`), and
`sha256` over that document and all tensors, so that damage shows.
A file may come from a stranger: everything is checked before anything is built from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from a2c_cli.config import KINDS, TrainConfig, from_dict, to_dict
from a2c_cli.defaults import resolve
from a2c_cli.envs.spec import WRAPPERS, ActionSpec, EnvSpec
from a2c_cli.errors import CheckpointError, ConfigError, safe_text

if TYPE_CHECKING:  # headers are read without NumPy
    from numpy.typing import NDArray

FORMAT_VERSION = 1
_MAX_HEADER = 4 * 2**20  # bytes; ours have a few tens of KB
_LARGEST = 1e300  # of a return: sums of a hundred of them are still finite
_ACTION_DTYPES = {
    *("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
}
# As safetensors and as NumPy call them; the number is the width in bytes.
_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"},
}

Tensors: TypeAlias = "Mapping[str, NDArray[Any]]"


@dataclass(frozen=True)
class Header:
    """What a checkpoint says about itself.

    Args:
        config: resolved settings of the run.
        spec: the environment.
        env_steps, updates, episodes: how far the run had come.
        recent_returns: raw returns of the last 100 episodes at most, oldest first.
        best_mean_return: the highest mean so far, None before the first: of 100 training
            episodes, or of the evaluation that confirmed it (config.best_by).
        progress: the run's bookkeeping, for exact resume.
        versions: of the libraries that wrote it.
    """

    config: TrainConfig
    spec: EnvSpec
    env_steps: int = 0
    updates: int = 0
    episodes: int = 0
    recent_returns: tuple[float, ...] = ()
    best_mean_return: float | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Emulator frames: env_steps · frame_skip."""
        return self.env_steps * self.spec.frame_skip

    @property
    def mean_return_100(self) -> float | None:
        """Mean raw return of the last 100 training episodes (fewer if there were fewer)."""
        returns = self.recent_returns
        return sum(returns) / len(returns) if returns else None


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the file's own table describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offsets: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def encode(header: Header, tensors: Tensors) -> bytes:
    """The bytes of a checkpoint file."""
    import numpy as np
    from safetensors.numpy import save

    spec = dataclasses.asdict(header.spec)
    for bound in ("low", "high"):  # JSON has no infinity
        spec["action"][bound] = [n if math.isfinite(n) else None for n in spec["action"][bound]]
    document = {
        "format_version": FORMAT_VERSION,
        "config": to_dict(header.config),
        "env": spec,
        "env_steps": header.env_steps,
        "updates": header.updates,
        "episodes": header.episodes,
        "recent_returns": list(header.recent_returns),
        "best_mean_return": header.best_mean_return,
        "progress": dict(header.progress),
        "versions": dict(header.versions),
    }
    # ascontiguousarray makes a vector of a scalar
    arrays = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in tensors.items()}
    text = json.dumps(document, allow_nan=False)
    return save(arrays, {"format": "pt", "a2c": text, "sha256": _digest(text, arrays)})


def _digest(document: str, tensors: Tensors) -> str:
    """SHA-256 of the JSON document and, by name, of every tensor's name, type, shape and bytes."""
    return _digest_of(
        document,
        ((name, a.dtype.str, a.shape, a.tobytes()) for name, a in sorted(tensors.items())),
    )


def _digest_of(
    document: str, tensors: Iterable[tuple[str, str, tuple[int, ...], bytes | memoryview]]
) -> str:
    digest = hashlib.sha256(document.encode())
    for name, dtype, shape, data in tensors:
        digest.update(f"{name} {dtype} {shape}".encode())
        digest.update(data)
    return digest.hexdigest()


def read_header(path: Path) -> tuple[Header, list[TensorInfo]]:
    """The header and the table of tensors, without reading a tensor or importing torch.

    Raises:
        CheckpointError: missing, damaged, foreign, or of another format version.
    """
    return _read_header(path)[:2]


def _read_header(path: Path) -> tuple[Header, list[TensorInfo], dict[str, Any]]:
    try:
        with _open(path) as file:
            size = os.fstat(file.fileno()).st_size
            table, length = _table(file, size, path)
    except OSError as error:
        raise _cannot_read(path, error) from None
    return _parse(table, size - 8 - length, path)


def _open(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():  # a pipe would block, a device never end
        raise CheckpointError(f"{path} is not a file", "give a .safetensors file")
    return path.open("rb")


def read_verified_header(path: Path) -> tuple[Header, list[TensorInfo], str]:
    """As `read_header`, of a file whose content is what was written; and the file's SHA-256.

    Raises:
        CheckpointError: as `read_header`, or the content does not match its checksum.
    """
    try:
        with _open(path) as file:
            data = file.read()
    except OSError as error:
        raise _cannot_read(path, error) from None
    table, length = _table(io.BytesIO(data), len(data), path)
    header, infos, metadata = _parse(table, len(data) - 8 - length, path)
    content = memoryview(data)[8 + length :]
    found = _digest_of(
        metadata["a2c"],
        (
            (info.name, _DTYPES[info.dtype], info.shape, content[slice(*info.offsets)])
            for info in sorted(infos, key=lambda info: info.name)
        ),
    )
    if metadata.get("sha256", "") not in ("", found):
        raise _damaged(path, "its content does not match its checksum")
    return header, infos, hashlib.sha256(data).hexdigest()


def read_checkpoint(
    path: Path, *, only_finite: bool = True
) -> tuple[Header, dict[str, NDArray[Any]]]:
    """The header and all tensors.

    Args:
        path: the file.
        only_finite: refuse weights and scales that are NaN or infinite.

    Raises:
        CheckpointError: as `read_header`, or the content is not what was written, or weights or
            scales are NaN or infinite.
    """
    header, infos, metadata = _read_header(path)
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(path.read_bytes())
    except OSError as error:
        raise _cannot_read(path, error) from None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, str(error)) from None
    if tensors.keys() != {info.name for info in infos}:
        raise _damaged(path, "it changed while it was read")
    if metadata.get("sha256", "") not in ("", _digest(metadata["a2c"], tensors)):
        raise _damaged(path, "its content does not match its checksum")
    for name, array in tensors.items() if only_finite else ():
        if name.startswith(("network.", "normalizer.")) and not np.isfinite(array).all():
            raise CheckpointError(
                f"{path} has weights that are not finite ({safe_text(name)[:80]})",
                "use an earlier checkpoint",
            )
    return header, tensors


def _table(file: BinaryIO, size: int, path: Path) -> tuple[dict[str, Any], int]:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise _damaged(path, "it is too short")
    (length,) = struct.unpack("<Q", prefix)
    if length > min(size - 8, _MAX_HEADER):
        raise _damaged(path, "it is not a safetensors file, or cut short")
    return _load_json(file.read(length), path), length


def _load_json(data: bytes | str, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(data, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not JSON: {safe_text(str(error))[:80]}") from None
    if not isinstance(document, dict):
        raise _damaged(path, "its header is not a JSON object")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice")
    return document


def _parse(
    table: dict[str, Any], size: int, path: Path
) -> tuple[Header, list[TensorInfo], dict[str, Any]]:
    metadata = table.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("a2c"), str):
        raise CheckpointError(
            f"{path} is not a checkpoint of a2c: it has no a2c header",
            "give a .safetensors file that `a2c train` wrote",
        )
    infos = [_tensor_info(name, entry, path) for name, entry in table.items()]
    end = 0
    for info in sorted(infos, key=lambda info: info.offsets):
        if info.offsets[0] != end:
            raise _damaged(path, f"tensor {safe_text(info.name)[:80]!r} is out of place")
        end = info.offsets[1]
    if end != size:
        raise _damaged(path, "its tensors do not fill the file, or it is cut short")
    document = _load_json(metadata["a2c"], path)
    version = document.get("format_version")
    if not _is_count(version):
        raise _damaged(path, "it has no format version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}",
            f"this a2c reads version {FORMAT_VERSION}: install the one that wrote it",
        )
    try:
        return _header(document), infos, metadata
    except (
        *(ConfigError, ValueError, TypeError, KeyError, IndexError, AttributeError),
        *(OverflowError, RecursionError),
    ) as error:
        raise _damaged(path, safe_text(str(error))[:200] or type(error).__name__) from None


def _tensor_info(name: str, entry: Any, path: Path) -> TensorInfo:
    try:
        shape = tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        width = int(_DTYPES[entry["dtype"]][2:])
        if not all(_is_count(n) for n in (*shape, begin, end)):
            raise ValueError("a size is not a count")
        if end - begin != width * math.prod(shape):
            raise ValueError("a size does not fit its data")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(
            path, f"tensor {safe_text(name)[:80]!r}: {safe_text(str(error))[:80]}"
        ) from None
    return TensorInfo(name, shape, entry["dtype"], (begin, end))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def _header(document: dict[str, Any]) -> Header:
    spec = _spec(document["env"])
    config = resolve(from_dict(document["config"]), spec.kind, continuous=spec.continuous)
    wrappers = {name: getattr(config, name) for name in WRAPPERS[spec.kind]}
    if (config.env, config.env_args, wrappers) != (spec.id, spec.args, spec.wrappers):
        raise ValueError("its settings and its environment do not fit together")
    counters = {name: document[name] for name in ("env_steps", "updates", "episodes")}
    if not all(_is_count(n) for n in counters.values()):
        raise ValueError("a counter is not a count")
    best = document["best_mean_return"]
    returns = _returns(document["recent_returns"])
    if len(returns) > 100:
        raise ValueError("recent_returns has more than 100 entries")
    progress, versions = document["progress"], document["versions"]
    if not isinstance(progress, dict) or not isinstance(versions, dict):
        raise TypeError("progress and versions must be objects")
    if not all(isinstance(v, str) for v in versions.values()):
        raise TypeError("versions must be strings")
    return Header(
        config=config,
        spec=spec,
        recent_returns=returns,
        best_mean_return=None if best is None else _returns([best])[0],
        progress=progress,
        versions=versions,
        **counters,
    )


def _spec(document: Mapping[str, Any]) -> EnvSpec:
    action = document["action"]
    spec = EnvSpec(
        id=_text(document["id"]),
        kind=_text(document["kind"]),
        obs_shape=_counts(document["obs_shape"]),
        obs_dtype=_text(document["obs_dtype"]),
        action=ActionSpec(
            kind=_text(action["kind"]),
            sizes=_counts(action["sizes"]),
            shape=_counts(action["shape"]),
            dtype=_text(action["dtype"]),
            meanings=tuple(_text(m) for m in action["meanings"]),
            start=tuple(_integer(n) for n in action["start"]),
            low=_numbers(-math.inf if n is None else n for n in action["low"]),
            high=_numbers(math.inf if n is None else n for n in action["high"]),
        ),
        args=_scalars(document["args"]),
        wrappers=_scalars(document["wrappers"]),
    )
    if spec.kind not in KINDS or spec.action.kind not in {
        "discrete",
        "multidiscrete",
        "continuous",
    }:
        raise ValueError("unknown kind of environment or action")
    if len(spec.obs_shape) != (1 if spec.kind == "vector" else 3) or 0 in spec.obs_shape:
        raise ValueError("obs_shape does not fit the kind of environment")
    if spec.obs_dtype != ("float32" if spec.kind == "vector" else "uint8"):
        raise ValueError("obs_dtype does not fit the kind of environment")
    bounds = (spec.action.low, spec.action.high) if spec.continuous else (spec.action.start,)
    if not spec.action.sizes or 0 in spec.action.sizes or spec.action.outputs > 2**20:
        raise ValueError("the action sizes are out of range")
    if spec.action.kind != "multidiscrete" and len(spec.action.sizes) != 1:
        raise ValueError("the action sizes do not fit the kind of action")
    width = spec.action.sizes[0] if spec.continuous else len(spec.action.sizes)
    if any(len(b) != width for b in bounds):
        raise ValueError("the action bounds do not fit the action sizes")
    if math.prod(spec.action.shape) != (1 if spec.action.kind == "discrete" else width):
        raise ValueError("the action's shape does not fit its sizes")
    if spec.action.dtype not in _ACTION_DTYPES:
        raise ValueError("the actions have an unknown type")
    return spec


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise TypeError("a name is not a string")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise TypeError("a number is not an integer")
    return value


def _counts(values: Iterable[Any]) -> tuple[int, ...]:
    counts = tuple(values)
    if len(counts) > 10_000 or not all(_is_count(n) for n in counts):
        raise ValueError("a shape is not made of counts")
    return counts


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    numbers = tuple(values)
    for n in numbers:
        if isinstance(n, bool) or not isinstance(n, int | float) or math.isnan(n):
            raise TypeError("a number is none")
    return tuple(float(n) for n in numbers)


def _returns(values: Iterable[Any]) -> tuple[float, ...]:
    numbers = _numbers(values)
    if not all(abs(n) < _LARGEST for n in numbers):
        raise ValueError("a return is out of range")
    return numbers


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(values, dict) or not all(
        isinstance(v, bool | int | str) or (isinstance(v, float) and math.isfinite(v))
        for v in values.values()
    ):
        raise TypeError("arguments must be numbers, booleans or strings")
    return dict(values)


def _cannot_read(path: Path, error: OSError) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"there is no checkpoint at {path}", "train one with `a2c train`")
    return CheckpointError(f"cannot read {path}: {error.strerror or error}", "check the path")


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a checkpoint that can be read: {safe_text(why)}",
        "give a .safetensors file that `a2c train` wrote",
    )
