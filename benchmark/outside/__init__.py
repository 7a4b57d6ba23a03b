"""Models that other people run: candidates handed out, scores files read and matched, submissions checked."""
