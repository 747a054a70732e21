"""What people see in a terminal.

- console: talk, tables, bars, JSON; what is shown while work goes on
- live:    a run as it goes; results: what commands found
- signals: Ctrl-C, SIGTERM, a hang-up; streams: standard output that is closed or full
- prints: what libraries print, between them and the terminal; cleaner: the process that is there
"""
