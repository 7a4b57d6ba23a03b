"""Speed figures, each a command of its own: `python -m videochat.benchmark.speed.<name>` prints JSON."""
