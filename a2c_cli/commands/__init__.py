"""One thin module a command: parse, call the engine, report."""
