"""The training loop: a killed run goes on along the same curve, the same seed gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videochat.errors import UsageError, VideochatError
from videochat.models.training import StageSettings, learning_rate_at, run_stage

SETTINGS = StageSettings(epochs=3, batch_size=4, learning_rate=1e-3)


class Interrupted(Exception):
    pass


@pytest.fixture
def train(make_sfat: Callable[..., Any], clips: list[Any]) -> Callable[..., Any]:
    """Train a small SFAT with dropout; stop_at: raise in the middle of that step, like a kill."""
    from videochat.models.examples import ResponseBatches, dev_loss, examples_of

    examples = examples_of(clips[:12], max_context_comments=15)
    dev = examples_of(clips[12:16], max_context_comments=15)

    def run(state: Path | None, *, seed: int = 0, stop_at: int | None = None, **options: Any) -> Any:
        sfat = make_sfat(dropout=0.1)
        draw = ResponseBatches(examples=examples, collator=sfat.collator, responses_per_clip=2, null_probability=0.2)
        calls = 0

        def make_batch(indices: np.ndarray, random: np.random.Generator) -> Any:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise Interrupted
            return draw(indices, random)

        settings = options.pop("settings", SETTINGS)
        result = run_stage(
            sfat.model,
            stage="answers",
            num_items=len(examples),
            make_batch=make_batch,
            evaluate=options.pop("evaluate", lambda model: dev_loss(model, dev, sfat.collator)),
            settings=settings,
            seed=seed,
            state_path=state,
            origin=options.pop("origin", ""),
        )
        return sfat.model, result, calls

    return run


def same(left: Any, right: Any) -> bool:
    import torch

    return all(torch.equal(a, b) for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(train):
    import torch

    first, log, _ = train(None)
    torch.manual_seed(99)  # what ran before must not matter
    again, again_log, _ = train(None)
    assert same(first, again)
    assert log == again_log
    assert not same(first, train(None, seed=1)[0])


def test_a_killed_run_resumes_on_the_same_curve(train, tmp_path):
    whole, log, steps = train(None)
    assert steps == 9
    state = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        train(state, stop_at=6)  # in the second epoch; the first is saved
    resumed, resumed_log, more = train(state)
    assert more == 6
    assert resumed_log == log
    assert same(whole, resumed)


def test_a_state_saved_inside_an_epoch_resumes_there(train, tmp_path):
    often = StageSettings(epochs=3, batch_size=4, learning_rate=1e-3, save_minutes=0)
    whole, log, _ = train(None)
    state = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        train(state, stop_at=6, settings=often)
    resumed, resumed_log, more = train(state)
    assert more == 4
    assert resumed_log == log
    assert same(whole, resumed)


def test_a_finished_state_is_not_trained_again(train, tmp_path):
    state = tmp_path / "state.safetensors"
    whole, log, _ = train(state)
    again, again_log, steps = train(state)
    assert steps == 0
    assert again_log == log
    assert same(whole, again)


def test_the_state_of_another_run_is_not_taken_up(train, tmp_path):
    state = tmp_path / "state.safetensors"
    train(state)
    assert train(state, seed=1)[2] == 9


def test_the_state_of_other_data_or_a_damaged_one_is_not_taken_up(train, tmp_path, capsys):
    state = tmp_path / "state.safetensors"
    with pytest.raises(Interrupted):
        train(state, stop_at=7, origin="these data")
    assert train(state, origin="other data")[2] == 9, "three epochs of three steps, from the start"
    state.write_bytes(state.read_bytes()[:1000])
    assert train(state, origin="other data")[2] == 9
    assert "starts from its beginning" in capsys.readouterr().err


def test_the_weights_of_the_best_dev_loss_are_kept(train):
    losses = iter([3.0, 1.0, 2.0])
    model, result, _ = train(None, evaluate=lambda model: next(losses))
    assert result.best_epoch == 1
    seen: list[Any] = []
    train(None, evaluate=lambda m: seen.append({k: v.clone() for k, v in m.state_dict().items()}) or 1.0)
    assert all((model.state_dict()[name] == value).all() for name, value in seen[1].items())


def test_patience_stops_early_and_minutes_stop_at_once(train):
    settings = StageSettings(epochs=9, batch_size=4, learning_rate=1e-3, patience=2)
    _, result, _ = train(None, settings=settings, evaluate=lambda model: 1.0)
    assert (result.stopped, len(result.log)) == ("patience", 3)
    settings = StageSettings(epochs=9, batch_size=4, learning_rate=1e-3, max_minutes=1e-9)
    _, result, steps = train(None, settings=settings)
    assert (result.stopped, steps) == ("max_minutes", 1)


def test_losses_fall_and_are_logged(train):
    rows = train(None, settings=StageSettings(epochs=5, batch_size=4, learning_rate=3e-3))[1].log
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["dev_loss"] < rows[0]["dev_loss"]


def test_a_loss_that_is_no_number_stops_the_run(train):
    with pytest.raises(VideochatError, match="became"):
        train(None, settings=StageSettings(epochs=3, batch_size=4, learning_rate=1e18))


def test_the_rate_warms_up_and_falls_to_zero():
    settings = StageSettings(learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate_at(step, 100, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1.0
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] < 1e-3


def test_impossible_settings_are_refused():
    with pytest.raises(UsageError):
        StageSettings(batch_size=0)


def test_examples_leave_out_what_the_context_already_says_and_what_says_nothing(clips):
    import dataclasses

    from videochat.models.examples import examples_of
    from videochat.schema import Comment

    texts = ["Look at THE  x", "!!", "a", "fine answer", "fine answer"]
    clip = dataclasses.replace(
        clips[0],
        context=(Comment(offset_ms=0, author="", text="look at the x"),) * 20,
        context_clip=np.zeros((20, 16), dtype=np.float16),
        responses=tuple(Comment(offset_ms=0, author="", text=text) for text in texts),
    )
    (example,) = examples_of([clip], max_context_comments=15)
    assert example.responses == ("fine answer",)
    assert len(example.view.context) == len(example.view.context_clip) == 15
    assert examples_of([dataclasses.replace(clip, responses=clip.responses[:3])], max_context_comments=15) == []
