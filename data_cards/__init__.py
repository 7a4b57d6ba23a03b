"""Templates of data cards, the cards themselves and crawl recipes. Installs as `videochat.data_cards`."""

if __name__ != "videochat.data_cards":
    raise ImportError(f"import this package as videochat.data_cards, not as {__name__!r}")
