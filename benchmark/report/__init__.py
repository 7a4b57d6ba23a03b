"""The report of a run: one HTML page without scripts or network, its charts drawn as inline SVG.

write_report(run, workspace, num_clips=6)      # -> runs/<run>/report.html

page.py       puts the parts together and writes the file
inputs.py     reads the run folder, and what the workspace still knows about its clips
results.py    rows of the results table, gains, differences as sentences
exhibits.py   picks clips and gathers frames, weights, context and candidates for them
thumbnails.py frames of raw video as small JPEGs
charts.py     SVG: intervals, bars, weights over time
"""

from .page import write_report

__all__ = ["write_report"]
