"""Learning curves: as pictures, in the terminal, and on a page of their own.

- comparison: which runs belong together, and what differs
- figures, axes: pictures with matplotlib
- text_plot:  the same in a terminal
- page, sections, html: one HTML page about runs
"""
