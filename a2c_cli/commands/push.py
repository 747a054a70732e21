"""a2c push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from a2c_cli.commands import completion, options
from a2c_cli.commands.help import Command
from a2c_cli.errors import ConfigError

EXAMPLES = """
Put an agent on the Hugging Face Hub: weights, header and a card.

Log in once with `hf auth login`. Anybody can then play with it: a2c evaluate hf:user/name

Examples:
  a2c push checkpoints/my-run hf:user/name
  a2c evaluate checkpoints/my-run --json > scores.json
  a2c push checkpoints/my-run hf:user/name --evaluation scores.json --private
"""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("push", help=EXAMPLES, cls=Command)(push)


def push(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A .safetensors file, a run directory (its best, else its last"
                       " checkpoint), or the name of a shipped agent.",
                       autocompletion=completion.checkpoints),
    ],
    name: Annotated[str, typer.Argument(metavar="hf:USER/NAME", help="Where it goes.")],
    evaluation: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.json", show_default=False,
                     help="What `a2c evaluate --json` printed of it, for the card."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A repository that is made is yours to see alone.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Read the checkpoint, write the card, upload."""
    from a2c_cli.runs import checkpoint as files
    from a2c_cli.runs.finding import find_checkpoint
    from a2c_cli.runs.hub import AGENT, CARD, EVALUATION, hub_name, upload
    from a2c_cli.terminal import console

    where = hub_name(name)
    if where is None or where.revision is not None:
        raise ConfigError(f"{name!r} is no place on the Hub", "give hf:user/name")
    path = find_checkpoint(checkpoint)
    header, tensors = files.read_checkpoint(path)
    content = {AGENT: files.weights_only(header, tensors)}
    scores = None
    if evaluation is not None:
        from a2c_cli.plots.evaluation_file import read_evaluation

        found = read_evaluation(evaluation)
        if Path(found.checkpoint).resolve() != path.resolve():
            raise ConfigError(
                f"{evaluation} is of {found.checkpoint}, not of {path}",
                f"a2c evaluate {path} --json > FILE.json",
            )
        scores = found.model_dump()
        content[EVALUATION] = found.model_dump_json(indent=1).encode()
    from a2c_cli.runs.card import make_card

    content[CARD] = make_card(str(where), header, scores).encode()
    console.say(f"pushing {path} to {where}", quiet)
    address = upload(where, content, private=private)
    size = sum(map(len, content.values()))
    record = {"repository": where.repo, "url": address, "files": sorted(content), "bytes": size}
    if json:
        console.print_json(record)
    else:
        console.print_rows([("address", address), ("play it", f"a2c evaluate {where}")])
