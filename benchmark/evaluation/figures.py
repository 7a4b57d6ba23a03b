"""How figures stand in metrics.json: numbers of ten digits, null for what does not exist.

estimate(0.5, 0.4, 0.6)        # {"value": 0.5, "low": 0.4, "high": 0.6}
"""

from __future__ import annotations

import numpy as np

OFFICIAL = "official"
DIGITS = 10
ALPHA = 0.05  # of tests, after Holm


def number(value: float) -> float | None:
    """A JSON number of ten digits, or None for NaN."""
    return None if np.isnan(value) else round(float(value), DIGITS)


def estimate(value: float, low: float, high: float) -> dict[str, float | None]:
    return {"value": number(value), "low": number(low), "high": number(high)}
