"""From kept scores to metrics.json: figures, comparisons, gains, and the breakdowns for whoever looks closer."""
