"""What people see in a terminal.

- console: the two streams, tables, numbers
- live:    a run as it goes; results: what commands found
- signals: Ctrl-C and SIGTERM
"""
