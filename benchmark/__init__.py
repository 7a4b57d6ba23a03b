"""Protocols, candidate sets, the ranker, metrics, statistics and the report. Installs as `videochat.benchmark`."""

if __name__ != "videochat.benchmark":
    raise ImportError(f"import this package as videochat.benchmark, not as {__name__!r}")
