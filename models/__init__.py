"""The commenting models, one folder each. Installs as `videochat.models`."""

if __name__ != "videochat.models":
    raise ImportError(f"import this package as videochat.models, not as {__name__!r}")
