"""Checkpoints: one safetensors file with plain tensors and a JSON header. Nothing is unpickled.

Tensors are `network.*`, `optimizer.*`, `rng.*`, `env.*`, `normalizer.*`, `segment.*` and
`learner.*`. The metadata holds `format` = `pt`, `a2c`, one JSON document (see `Header`), and
`sha256` over that document and all tensors, so that damage shows.
A file may come from a stranger: everything is checked before anything is built from it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeAlias

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from a2c_cli.envs.spec import Count
from a2c_cli.errors import CheckpointError, ConfigError
from a2c_cli.runs.header import Header, from_document, to_document
from a2c_cli.text import first_problem, safe_text

if TYPE_CHECKING:  # headers are read without NumPy
    from numpy.typing import NDArray

FORMAT_VERSION = 1
_MAX_HEADER = 4 * 2**20  # bytes; ours have a few tens of KB
# As safetensors and as NumPy call them; the number is the width in bytes.
_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"},
}

Tensors: TypeAlias = "Mapping[str, NDArray[Any]]"


class _Entry(BaseModel):
    """A tensor as the file's own table describes it."""

    model_config = ConfigDict(strict=True)

    dtype: str
    shape: Annotated[list[Count], FailFast()]
    data_offsets: Annotated[list[Count], FailFast(), Field(min_length=2, max_length=2)]


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

    # ascontiguousarray makes a vector of a scalar
    arrays = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in tensors.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, **to_document(header)}, allow_nan=False)
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
    if type(version) is not int:
        raise _damaged(path, "it has no format version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}",
            f"this a2c reads version {FORMAT_VERSION}: install the one that wrote it",
        )
    try:
        return from_document(document), infos, metadata
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", error.hint) from None
    except (ConfigError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, safe_text(str(error))[:200] or type(error).__name__) from None


def _tensor_info(name: str, entry: Any, path: Path) -> TensorInfo:
    try:
        read = _Entry.model_validate(entry)
        width = int(_DTYPES[read.dtype][2:])
        begin, end = read.data_offsets
        if end - begin != width * math.prod(read.shape):
            raise ValueError("a size does not fit its data")
    except (KeyError, ValueError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise _damaged(path, f"tensor {safe_text(name)[:80]!r}: {safe_text(why)[:80]}") from None
    return TensorInfo(name, tuple(read.shape), read.dtype, (begin, end))


def _cannot_read(path: Path, error: OSError) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"there is no checkpoint at {path}", "train one with `a2c train`")
    return CheckpointError(f"cannot read {path}: {error.strerror or error}", "check the path")


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a checkpoint that can be read: {safe_text(why)}",
        "give a .safetensors file that `a2c train` wrote",
    )
