"""Checkpoints: one safetensors file with plain tensors and a JSON header. Nothing is unpickled.

Tensors are `network.*`, `optimizer.*`, `rng.*`, `env.*`, `normalizer.*`, `segment.*` and
`learner.*`. The metadata holds `format` = `pt`, `a2c`, one JSON document (see `Header`), and
`sha256` over that document and all tensors, so that damage shows.
A file may come from a stranger: everything is checked before anything is built from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from a2c_cli.envs.spec import Count
from a2c_cli.errors import CheckpointError, ConfigError, DamagedCheckpointError, UnknownEnvError
from a2c_cli.outside import open_regular, parse_json
from a2c_cli.policies.layout import Layout
from a2c_cli.runs.header import Header, from_document, to_document
from a2c_cli.runs.sizes import check_sizes
from a2c_cli.text import first_problem, safe_text

if TYPE_CHECKING:  # headers are read without NumPy
    from numpy.typing import NDArray

FORMAT_VERSION = 1
_COPIES = 3  # of each weight: its own value, and two of the optimizer
MAX_FILE = 4 * 2**30  # bytes
_METADATA = {"format", "a2c", "sha256"}
_MAX_HEADER = 4 * 2**20  # bytes; ours have a few tens of KB
_CHUNK = 2**24  # bytes that are read at once where only a digest is wanted
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


def check_fits(header: Header, layout: Layout) -> None:
    """Whether a run's checkpoints can be read again, asked before it begins.

    Args:
        header: of the first one.
        layout: of its network.

    Raises:
        UnknownEnvError: its environment is larger than a checkpoint describes.
    """
    text = json.dumps(to_document(header), allow_nan=False)
    weights = sum(math.prod(shape) for shape in layout.parameter_shapes().values())
    try:
        if len(json.dumps(text)) > _MAX_HEADER // 2:
            raise ValueError("its description is too long")
        if 4 * _COPIES * weights > MAX_FILE:
            raise ValueError(f"the network has {weights:,} weights")
        from_document(json.loads(text))
    except (ConfigError, ValueError, KeyError) as error:
        raise UnknownEnvError(
            f"{header.spec.id} is larger than a checkpoint can hold: {error}",
            "give it fewer actions, or smaller observations",
        ) from None


def weights_only(header: Header, tensors: Tensors) -> bytes:
    """The small file of an agent: weights and header, nothing that a run is resumed from."""
    kept = {n: t for n, t in tensors.items() if n.startswith(("network.", "normalizer."))}
    return encode(header, kept)


def _digest(document: str, tensors: Tensors) -> str:
    """SHA-256 of the JSON document and, by name, of every tensor's name, type, shape and bytes."""
    return _digest_of(
        document,
        ((name, a.dtype.str, a.shape, (a.tobytes(),)) for name, a in sorted(tensors.items())),
    )


def _digest_of(
    document: str, tensors: Iterable[tuple[str, str, tuple[int, ...], Iterable[bytes]]]
) -> str:
    digest = hashlib.sha256(document.encode())
    for name, dtype, shape, data in tensors:
        digest.update(f"{name} {dtype} {shape}".encode())
        for chunk in data:
            digest.update(chunk)
    return digest.hexdigest()


def read_header(path: Path) -> tuple[Header, list[TensorInfo]]:
    """The header and the table of tensors, without reading a tensor or importing torch.

    Raises:
        CheckpointError: missing, damaged, foreign, or of another format version.
    """
    with _open(path) as file:
        header, infos, _, _ = _read_head(file, path)
    return header, infos


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BufferedReader]:
    """The file, held open while it is read: what takes its place meanwhile does not matter."""
    try:
        with open_regular(path, MAX_FILE) as file:
            yield file
    except OSError as error:
        raise _cannot_read(path, error) from None


def _read_head(
    file: BufferedReader, path: Path
) -> tuple[Header, list[TensorInfo], dict[str, Any], int]:
    """Header, table, metadata, and the place of the first tensor."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    if len(prefix) < 8:
        raise _damaged(path, "it is too short")
    (length,) = struct.unpack("<Q", prefix)
    if length > min(size - 8, _MAX_HEADER):
        raise _damaged(path, "it is not a safetensors file, or cut short")
    table = _load_json(file.read(length), path)
    return *_parse(table, size - 8 - length, path), 8 + length


def read_verified_header(path: Path) -> tuple[Header, list[TensorInfo], str]:
    """As `read_header`, of a file whose content is what was written; and the file's SHA-256.

    Raises:
        CheckpointError: as `read_header`, or the content does not match its checksum.
    """
    with _open(path) as file:
        header, infos, metadata, start = _read_head(file, path)
        tables = (
            (info.name, _DTYPES[info.dtype], info.shape, _chunks(file, start, *info.offsets))
            for info in sorted(infos, key=lambda info: info.name)
        )
        _check_digest(metadata, _digest_of(metadata["a2c"], tables), path)
        file.seek(0)
        return header, infos, hashlib.file_digest(file, "sha256").hexdigest()


def _chunks(file: BufferedReader, start: int, begin: int, end: int) -> Iterator[bytes]:
    for at in range(begin, end, _CHUNK):
        yield os.pread(file.fileno(), min(_CHUNK, end - at), start + at)


def read_content(path: Path) -> tuple[Header, list[TensorInfo], str, dict[str, NDArray[Any]]]:
    """As `read_verified_header`, and all tensors of the same file, finite or not.

    Raises:
        CheckpointError: as `read_checkpoint`.
    """
    with _open(path) as file:
        header, infos, tensors = _read_all(file, path)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return header, infos, digest, tensors


def read_checkpoint(path: Path) -> tuple[Header, dict[str, NDArray[Any]]]:
    """The header and all tensors, from one file: another may take its place meanwhile.

    Raises:
        CheckpointError: as `read_header`, or the content is not what was written, or weights or
            scales are NaN or infinite, or there is more than its run can have.
    """
    with _open(path) as file:
        header, _, tensors = _read_all(file, path)
    check_finite(tensors, path)
    return header, tensors


def check_finite(tensors: Tensors, path: Path) -> None:
    """Whether all weights and scales are finite.

    Raises:
        CheckpointError: they are not.
    """
    import numpy as np

    for name, array in tensors.items():
        if name.startswith(("network.", "normalizer.")) and not np.isfinite(array).all():
            raise CheckpointError(
                f"{path} has weights that are not finite ({safe_text(name)[:80]})",
                "use an earlier checkpoint",
            )


def _read_all(
    file: BufferedReader, path: Path
) -> tuple[Header, list[TensorInfo], dict[str, NDArray[Any]]]:
    import numpy as np

    header, infos, metadata, _ = _read_head(file, path)
    try:
        check_sizes(header, infos)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    tensors: dict[str, NDArray[Any]] = {}
    for info in sorted(infos, key=lambda info: info.offsets):  # as they lie in the file
        array = np.empty(info.shape, _DTYPES[info.dtype])
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
            raise _damaged(path, "it changed while it was read")
        tensors[info.name] = array
    _check_digest(metadata, _digest(metadata["a2c"], tensors), path)
    return header, infos, tensors


def _check_digest(metadata: Mapping[str, Any], found: str, path: Path) -> None:
    if metadata.get("sha256", "") not in ("", found):
        raise _damaged(path, "its content does not match its checksum")


def _load_json(data: bytes | str, path: Path) -> dict[str, Any]:
    try:
        document = parse_json(data)
    except ValueError as error:
        raise _damaged(path, f"its header is not JSON: {safe_text(str(error))[:80]}") from None
    if not isinstance(document, dict):
        raise _damaged(path, "its header is not a JSON object")
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
    if not metadata.keys() <= _METADATA:  # a name that is damaged, perhaps the checksum's
        raise _damaged(path, "its metadata have a name that no version writes")
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


def _damaged(path: Path, why: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(
        f"{path} is not a checkpoint that can be read: {safe_text(why)}",
        "give a .safetensors file that `a2c train` wrote",
    )
