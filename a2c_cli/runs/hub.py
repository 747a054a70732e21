"""Agents on the Hugging Face Hub, by their names: `a2c evaluate hf:user/name`.

A repository holds one agent (`agent.safetensors`: weights and header, nothing is ever unpickled),
its card, and the evaluation that the card quotes. huggingface_hub does the transport: its cache,
its tokens (`hf auth login`), HF_ENDPOINT and HF_HUB_OFFLINE all count.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from a2c_cli.errors import A2CError, ConfigError
from a2c_cli.text import safe_text
from a2c_cli.version import VERSION

AGENT = "agent.safetensors"
CARD = "README.md"
EVALUATION = "evaluation.json"
_PREFIX = "hf:"
_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


class HubError(A2CError):
    """The Hub cannot be reached, or does not have or take what was asked for."""


class HubName(NamedTuple):
    """`hf:user/name`, or a revision of it: `hf:user/name@v1`."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{_PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def hub_name(text: str) -> HubName | None:
    """The name that a text is; None for a path.

    Raises:
        ConfigError: it begins as one and is none.
    """
    if not text.startswith(_PREFIX):
        return None
    match = _NAME.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{text!r} is no name on the Hub", "give hf:user/name, or hf:user/name@revision"
        )
    return HubName(match[1], match[2])


def download(name: HubName) -> Path:
    """The agent's file in huggingface_hub's cache; nothing is fetched that is there already.

    Raises:
        HubError: there is no such agent, it is too large, or the Hub cannot be reached.
    """
    from a2c_cli.runs.checkpoint import MAX_FILE  # not needed by whoever only looks at names

    hub = _package()
    with _errors(name):
        size = _size(hub, name)
        if (size or 0) > MAX_FILE:
            raise HubError(f"{name} is larger than {MAX_FILE:,} bytes", "no agent of ours is")
        path = hub.hf_hub_download(
            name.repo, AGENT, revision=name.revision, local_files_only=size is None,
            library_name="onestream-a2c", library_version=VERSION,
        )  # fmt: skip
    return Path(path)


def upload(name: HubName, files: Mapping[str, bytes], *, private: bool = False) -> str:
    """Put files into a repository as one commit; it is made if it is not there.

    Args:
        name: of the repository, without a revision.
        files: contents by their names there.
        private: whether a repository that is made can only be seen by its owner.

    Returns:
        The address of the repository.

    Raises:
        HubError: nobody is logged in, it is somebody else's, or the Hub cannot be reached.
    """
    hub = _package()
    api = hub.HfApi(library_name="onestream-a2c", library_version=VERSION)
    with _errors(name):
        address = api.create_repo(name.repo, private=private, exist_ok=True)
        operations = [
            hub.CommitOperationAdd(path_in_repo=path, path_or_fileobj=data)
            for path, data in files.items()
        ]
        api.create_commit(name.repo, operations, commit_message=f"a2c push, version {VERSION}")
    return str(address)


def is_downloaded(path: Path) -> bool:
    """Whether a file lies in huggingface_hub's cache, which is no place for what we make."""
    return path.parent.parent.name == "snapshots" and path.name == AGENT


def _package() -> Any:
    try:
        import huggingface_hub as hub
    except ImportError:
        raise HubError(
            "names that begin with hf: need the package huggingface_hub",
            "install it: pip install huggingface_hub",
        ) from None
    from huggingface_hub import utils

    quiet: Any = utils
    quiet.disable_progress_bars()
    quiet.logging.set_verbosity_error()  # what goes wrong is said once, by us
    return hub


def _size(hub: Any, name: HubName) -> int | None:
    """Bytes of an agent's file, before it is fetched; None where the Hub cannot be asked."""
    from huggingface_hub import constants

    errors = _kinds_of_errors()
    if constants.HF_HUB_OFFLINE:
        return None
    url = hub.hf_hub_url(name.repo, AGENT, revision=name.revision)
    try:
        return int(hub.get_hf_file_metadata(url).size or 0)
    except errors.HfHubHTTPError:
        raise
    except errors.HTTPError:  # of the transport: the cache may have it all the same
        return None


def _kinds_of_errors() -> Any:
    """huggingface_hub's errors; HTTPError among them is that of the transport it uses."""
    from huggingface_hub import errors

    return errors


@contextlib.contextmanager
def _errors(name: HubName) -> Iterator[None]:
    """What huggingface_hub raises, in one line with a hint."""
    errors = _kinds_of_errors()
    try:
        yield
    except errors.RepositoryNotFoundError:
        raise HubError(
            f"there is no {name} on the Hub, or it is not yours to see",
            "check the name; for a private one: hf auth login",
        ) from None
    except errors.RevisionNotFoundError:
        raise HubError(f"{name.repo} has no revision {name.revision!r}", "leave it out") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        raise _unreachable(name) from None
    except errors.EntryNotFoundError:
        raise HubError(f"{name} holds no {AGENT}", f"push one: a2c push RUN {name}") from None
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, errors.HFValidationError) as e:
        said = safe_text(str(e).strip().splitlines()[0])[:200]
        raise HubError(f"the Hub says: {said}", "log in: hf auth login") from None
    except errors.HTTPError:  # of the transport
        raise _unreachable(name) from None


def _unreachable(name: HubName) -> HubError:
    return HubError(
        f"the Hub cannot be reached for {name}",
        "check the network, HF_ENDPOINT and HF_HUB_OFFLINE",
    )
