"""Learning curves: as pictures, in the terminal, and on a page of their own.

- comparison: which runs belong together; labels: what they are called
- view: what curves are drawn over, averaged over, and called
- axes:       one chart; figures: pictures of several, with matplotlib
- text_plot:  the same in a terminal
- page:       one HTML page about runs; sections: its values; page.html.j2, page.css: its layout
- evaluation_file: an evaluation for the page, read from a file
"""
