"""Recipes: the shipped one, what is refused, and the workspace's own copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from videochat.crawl.recipe import SegmentRule, load_recipe, parse_recipe, workspace_recipe
from videochat.errors import UsageError

SMALL = "name: small\ncategories: [{name: Minecraft, id: '27471', hours: 1}]\n"


def test_the_shipped_recipe_is_the_one_of_the_paper() -> None:
    recipe = load_recipe("videochat-438h")
    assert recipe.hours == 438
    assert [int(category.id) for category in recipe.categories] == [
        18122, 21779, 26936, 27471, 32399, 33214, 509658, 509660, 509663, 515025, 516575,
    ]  # fmt: skip
    assert recipe.segments == SegmentRule(mode="densest", bin_minutes=10, more_than_bins=12, take=3)
    assert all(category.hours * 2 == int(category.hours * 2) for category in recipe.categories), (
        "whole VODs of half an hour"
    )
    assert (recipe.language, recipe.period, recipe.sort, recipe.max_per_channel) == ("en", "week", "views", 1)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: x\ncategories: []\n", "names no categories"),
        ("name: x\n", "must be a list"),
        ("[", "not YAML"),
        ("just words", "a mapping expected"),
        (SMALL + "perod: week\n", "unknown perod"),
        (SMALL + "period: year\n", "period 'year'"),
        (SMALL + "segments: {mode: random}\n", "segments are 'random'"),
        (SMALL + "segments: {takes: 3}\n", "unknown takes"),
        (SMALL + "segments: {take: 0}\n", "out of range"),
        (SMALL.replace("hours: 1", "hours: 0"), "0 hours"),
        (SMALL.replace("hours: 1", "hours: many"), "recipe"),
        (SMALL.replace("'27471'", "minecraft"), "id 'minecraft'"),
        ("name: x\ncategories:\n- {name: A, id: 1, hours: 1}\n- {name: B, id: 1, hours: 1}\n", "id twice"),
    ],
)
def test_what_is_wrong_is_named(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse_recipe(text, "mine.yaml")


def test_yaml_cannot_run_anything(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        parse_recipe(f"name: !!python/object/apply:pathlib.Path.touch [{tmp_path}/made]\n", "evil.yaml")
    assert not (tmp_path / "made").exists()


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UsageError) as error:
        load_recipe("videochat-1h")
    assert "videochat-438h" in error.value.fix


def test_a_workspace_keeps_its_recipe(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(SMALL)
    assert workspace_recipe(tmp_path / "w", mine, keep=False).name == "small"
    assert not (tmp_path / "w").exists()
    assert workspace_recipe(tmp_path / "w", mine).name == "small"
    mine.write_text(SMALL.replace("hours: 1", "hours: 2"))
    assert workspace_recipe(tmp_path / "w", None).hours == 1
    with pytest.raises(UsageError, match="follows the recipe 'small'"):
        workspace_recipe(tmp_path / "w", mine)
    assert workspace_recipe(tmp_path / "v", None).name == "videochat-438h"
