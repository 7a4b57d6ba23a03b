"""Frames of raw video as small JPEGs inside the page.

    thumbnails(Path("raw/r1/video.mp4"), [20_000, 21_000])     # {20000: "data:image/jpeg;base64,...", 21000: ...}

The picture at time t is the one that the model's feature was made from: the frame on screen at t.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

SHORT_SIDE = 72  # pixels; shown at about that size
QUALITY = 72


def thumbnails(video: Path, times_ms: Sequence[int]) -> dict[int, str]:
    """Data URLs of the frames at `times_ms` (>= 0); times without a frame are left out.

    Raises MissingInput without a file, BadRecording if nothing decodes.
    """
    from PIL import Image

    from videochat.frames.decode import frames_at

    found = {}
    for frame in frames_at(video, sorted({time for time in times_ms if time >= 0}), shortest=SHORT_SIDE):
        buffer = io.BytesIO()
        Image.fromarray(frame.rgb).save(buffer, format="JPEG", quality=QUALITY)
        found[frame.time_ms] = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return found
