"""The commands: parse, call the engine, report.

- app: the Typer app; the one map from errors to exit codes
- completion: what a shell completes
- options: each option spelled once; help: what --help says of them
- train, evaluate, record, inspect, plot, sweep, push: one file per command
"""
