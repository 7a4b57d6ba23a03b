"""Protocols, candidate sets, the ranker, metrics, statistics and the report. Installs as `videochat.benchmark`.

Each part imports only from parts above it:

protocols.py metrics/ texts/     what a protocol promises, what a figure is, when two comments are the same
candidates/                      which comments a clip is asked to rank, and what a model may see of it
scores/ scorers/                 what is to be ranked, and by whom
evaluation/ runs/                from scores to figures, and the folder that keeps both
outside/ released/ generation/   other people's models; the released evaluation; comments that models write
audits/ scoring.py ranker.py     what must hold, then the ranking itself
report/ leaderboard/ experiments/  pages made of runs

`group_costs`, `interval_coverage` and `speed/` are measurements, each a command of its own.
"""

if __name__ != "videochat.benchmark":
    raise ImportError(f"import this package as videochat.benchmark, not as {__name__!r}")
