"""What is to be done with one VOD: a job, which lies in the staging folder until its recordings are in raw/.

job = Job(platform="twitch", video_id="1234567890")
Job.load(staging)                    # a later run goes on with what the first one was asked for
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import digest_json, read_json, write_json
from ..schema import Recording
from .recipe import SegmentRule
from .targets import Vod

STAGING = ".crawl"
JOB_FILE = "job.json"
WHOLE = SegmentRule(mode="whole")
_RECORDING_ID = re.compile(
    r"(?P<platform>twitch)-(?P<id>\d+)(-t\d+)?|(?P<platform2>youtube)-(?P<id2>[\w-]{11})(-t\d+)?"
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One VOD and how it is to be fetched.

    category: where the platform gives none; category_id: keep only parts in which this one was on ("" for any).
    language: ISO 639-1, where the platform gives none. video: False for chat alone. min_rows: of the rendition.
    recipe: name of the recipe that asked for it, "" if the user did.
    """

    platform: str
    video_id: str
    segments: SegmentRule = field(default=WHOLE)
    category: str = ""
    category_id: str = ""
    language: str = "en"
    video: bool = True
    min_rows: int = 224
    recipe: str = ""

    @property
    def recording_id(self) -> str:
        """Its name in the ledger as long as its recordings are not known, and of its staging folder."""
        return self.vod.recording_id

    @property
    def vod(self) -> Vod:
        return Vod(platform=self.platform, id=self.video_id)

    @property
    def digest(self) -> str:
        """Equal for jobs that ask for the same."""
        return digest_json(dataclasses.asdict(self) | {"recipe": "", "parts": self.parts_digest})[:16]

    @property
    def parts_digest(self) -> str:
        """Equal for jobs that choose the same parts of the VOD."""
        rule = dataclasses.asdict(self.segments) | {"category_id": self.category_id}
        return digest_json("whole" if self.segments.mode == "whole" else rule)[:16]

    def staging(self, root: Path) -> Path:
        return root / STAGING / self.recording_id

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Job:
        return cls(**{**value, "segments": SegmentRule(**value["segments"])})

    def save(self, root: Path) -> None:
        write_json(self.staging(root) / JOB_FILE, self.to_json())

    @classmethod
    def load(cls, folder: Path) -> Job | None:
        """The job of a staging folder; None if there is none."""
        try:
            return cls.from_json(read_json(folder / JOB_FILE))
        except FileNotFoundError:
            return None


def vod_of(recording_id: str) -> Vod | None:
    """The VOD of a recording that was crawled: "twitch-123-t600" -> twitch 123; None for other recordings."""
    found = _RECORDING_ID.fullmatch(recording_id)
    if not found:
        return None
    return Vod(platform=found["platform"] or found["platform2"], id=found["id"] or found["id2"])


def job_of(recording: Recording) -> Job | None:
    """The job that a recording in raw/ came from; None if it was not crawled."""
    crawled = recording.origin.get("crawl")
    return Job.from_json(crawled["job"]) if crawled else None


@dataclass(frozen=True, kw_only=True)
class CrawlOptions:
    """at_once: VODs that are fetched at the same time. affirmed: the user states the right to collect (see rights).

    retry: "failed" or "partial", each perhaps with ":<class>": take only VODs whose last attempt ended so.
    limit: at most so many VODs. The rest: see Job.
    """

    segments: SegmentRule = field(default=WHOLE)
    category: str = ""
    language: str = "en"
    video: bool = True
    min_rows: int = 224
    at_once: int = 4
    affirmed: bool = False
    retry: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.min_rows < 1:
            raise UsageError(f"at_once {self.at_once}, min_rows {self.min_rows}", fix="at least 1")

    def job(self, vod: Vod) -> Job:
        return Job(
            platform=vod.platform,
            video_id=vod.id,
            segments=self.segments,
            category=self.category,
            language=self.language,
            video=self.video,
            min_rows=self.min_rows,
        )
