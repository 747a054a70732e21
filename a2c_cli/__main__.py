"""The entry point: `a2c` and `python -m a2c_cli`. Signals are looked after before all imports."""

from a2c_cli.terminal.signals import handled
from a2c_cli.terminal.streams import open_missing


def main() -> None:
    """Run the command line."""
    open_missing()
    with handled():
        from a2c_cli.commands.app import main as run

        run()


if __name__ == "__main__":
    main()
