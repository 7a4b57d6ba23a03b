"""A recipe: which categories, how many hours of each, and which parts of a VOD make a recording.

    recipe = load_recipe("videochat-438h")          # shipped, in videochat.data_cards
    recipe = load_recipe("my-recipe.yaml")
    recipe.categories[3]                            # CategoryPlan(name="Minecraft", id="27471", hours=40)

A workspace that is crawled by a recipe keeps its own copy in recipe.yaml, so that a later crawl follows the same one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UsageError
from ..files import write_text

DEFAULT_RECIPE = "videochat-438h"
WORKSPACE_FILE = "recipe.yaml"
MODES = ("whole", "densest")
DENSITIES = ("surveyed", "counted")
PERIODS = ("all", "day", "week", "month")  # of Helix "Get Videos"
SORTS = ("time", "trending", "views")  # of Helix "Get Videos"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SegmentRule:
    """How recordings are cut from a VOD.

    mode: "whole" (one recording) or "densest" (the `take` bins with most comments, in order of time).
    bin_minutes: length of a bin, bins tile the VOD from 0; the incomplete last one is no bin.
    density: "surveyed" (comments in a bin are estimated from some pages) or "counted" (the whole chat is read).
    more_than_bins: a VOD needs more bins of chat than this. min_comments_per_bin: what makes a bin one of chat.
    The defaults are the released way (12 bins of 10 minutes, 3 taken).
    """

    mode: str = "densest"
    density: str = "surveyed"
    bin_minutes: float = 10
    more_than_bins: int = 12
    take: int = 3
    min_comments_per_bin: float = 1

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"segments are {self.mode!r}", fix=f"one of {', '.join(MODES)}")
        if self.density not in DENSITIES:
            raise UsageError(f"density is {self.density!r}", fix=f"one of {', '.join(DENSITIES)}")
        if self.bin_minutes * 60 < 1 or self.take < 1 or self.more_than_bins < 0 or self.min_comments_per_bin < 0:
            raise UsageError(f"segments {dataclasses.asdict(self)} are out of range", fix="see videochat-438h.yaml")

    @property
    def bin_ms(self) -> int:
        return round(self.bin_minutes * 60_000)


@dataclass(frozen=True, kw_only=True)
class CategoryPlan:
    """hours wanted of one category; id: Twitch's game id, a string of digits."""

    name: str
    id: str
    hours: float

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.id.isdecimal() or not self.hours > 0:
            raise UsageError(
                f"category {self.name!r} with id {self.id!r} and {self.hours} hours", fix="a name, digits, more than 0"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to crawl; see videochat-438h.yaml for the meaning of each field."""

    name: str
    categories: tuple[CategoryPlan, ...]
    platform: str = "twitch"
    language: str = "en"
    period: str = "week"
    sort: str = "views"
    max_per_channel: int = 1
    min_rows: int = 224
    video: bool = True
    segments: SegmentRule = field(default_factory=SegmentRule)

    def __post_init__(self) -> None:
        if self.platform != "twitch":
            raise UsageError(f"recipe of platform {self.platform!r}", fix="only twitch lists VODs by category")
        if not self.categories:
            raise UsageError(f"recipe {self.name!r} names no categories", fix="list name, id and hours of each")
        if self.period not in PERIODS or self.sort not in SORTS:
            raise UsageError(
                f"period {self.period!r}, sort {self.sort!r}", fix=f"{', '.join(PERIODS)}; {', '.join(SORTS)}"
            )
        if self.max_per_channel < 1 or self.min_rows < 1:
            raise UsageError(f"max_per_channel {self.max_per_channel}, min_rows {self.min_rows}", fix="at least 1")
        for what in ("id", "name"):
            values = [getattr(category, what) for category in self.categories]
            if len(set(values)) < len(values):
                raise UsageError(f"recipe {self.name!r} names a category {what} twice", fix="list each once")

    @property
    def hours(self) -> float:
        return sum(category.hours for category in self.categories)


def load_recipe(name: str | Path) -> Recipe:
    """The shipped recipe of that name, or the one in a YAML file. Raises UsageError that names what is wrong."""
    return parse_recipe(read_recipe(name), str(name))


def read_recipe(name: str | Path) -> str:
    """The recipe's text. Raises UsageError if there is none."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"the recipe {path} cannot be read: {error.strerror}", fix="check the path") from None
    folder = resources.files("videochat.data_cards") / "recipes"
    shipped = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    if str(name) not in shipped:
        raise UsageError(
            f"there is no recipe {str(name)!r}", fix=f"one of {', '.join(sorted(shipped))}, or a .yaml file"
        )
    return shipped[str(name)].read_text(encoding="utf-8")


def parse_recipe(text: str, place: str) -> Recipe:
    """Raises UsageError with `place` for unknown fields, wrong types and impossible values."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"recipe {place} is not YAML: {error}".replace("\n", " "), fix="see videochat-438h") from None
    fields = _checked(Recipe, value, place)
    if "segments" in fields:
        fields["segments"] = _make(SegmentRule, _checked(SegmentRule, fields["segments"], f"{place}, segments"), place)
    categories = fields.get("categories")
    if not isinstance(categories, list):
        raise UsageError(f"recipe {place}: categories must be a list", fix="name, id and hours of each")
    rows = [_checked(CategoryPlan, row, f"{place}, category {n}") for n, row in enumerate(categories, 1)]
    fields["categories"] = tuple(_make(CategoryPlan, row | {"id": str(row.get("id", ""))}, place) for row in rows)
    return _make(Recipe, fields, place)


def _checked(kind: type, value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"recipe {place}: a mapping expected", fix="see videochat-438h")
    known = [field.name for field in dataclasses.fields(kind)]
    if unknown := sorted(str(name) for name in value if name not in known):
        raise UsageError(f"recipe {place}: unknown {', '.join(unknown)}", fix=f"known are {', '.join(known)}")
    return dict(value)


def _make(kind: type[T], fields: dict[str, Any], place: str) -> T:
    try:
        return kind(**fields)
    except UsageError as error:
        raise UsageError(f"recipe {place}: {error.what}", fix=error.fix) from None
    except (TypeError, AttributeError) as error:
        raise UsageError(f"recipe {place}: {error}", fix="see videochat-438h") from None


def workspace_recipe(root: Path, name: str | Path | None, *, keep: bool = True) -> Recipe:
    """The recipe that the workspace at `root` follows; its copy is made on first use (unless `keep` is False).

    name: None for the workspace's own (videochat-438h where it has none). Raises UsageError if another one is kept.
    """
    kept = root / WORKSPACE_FILE
    if not kept.is_file():
        text = read_recipe(name or DEFAULT_RECIPE)
        recipe = parse_recipe(text, str(name or DEFAULT_RECIPE))
        if keep:
            write_text(kept, text)
        return recipe
    recipe = load_recipe(kept)
    if name is not None and load_recipe(name) != recipe:
        raise UsageError(
            f"this workspace follows the recipe {recipe.name!r} as it is in {kept}",
            fix=f"edit or remove {WORKSPACE_FILE}, or use another --data",
        )
    return recipe
