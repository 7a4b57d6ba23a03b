"""`sfat` and `sfat-released` are one implementation: its switches, what goes together, and a text tower in either."""

from __future__ import annotations

from typing import Any

import pytest

from videochat.commenter import TextTable
from videochat.errors import UsageError

torch = pytest.importorskip("torch")

SMALL = {"vocab_size": 90, "clip_dim": 16, "width": 32, "num_heads": 4}
TOWER = {
    "vocab_size": 90, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 10, "projection_dim": 16, "bos_token_id": 88, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def make_config(*, released: bool = False, **fields: Any) -> Any:
    from videochat.models.sfat.config import RELEASED, SfatConfig

    small = {**RELEASED, **SMALL, "num_context_layers": 1, "num_video_heads": 4} if released else SMALL
    return SfatConfig(**{**small, **fields})


@pytest.mark.parametrize("released", [False, True], ids=["sfat", "sfat-released"])
def test_a_preset_is_the_same_class_and_survives_the_disk(released, tmp_path):
    from videochat.models.sfat.model import SfatModel

    model = SfatModel(make_config(released=released)).eval()
    model.save_pretrained(tmp_path)
    again = SfatModel.from_pretrained(tmp_path)
    assert again.config.to_diff_dict() == model.config.to_diff_dict()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert hasattr(model, "tower") == released
    assert again.get_output_embeddings() is (again.embedding.output if released else None)


def test_turning_every_switch_of_the_description_gives_the_released_network():
    """And no switch is missing: the tensors of both have the same names and shapes."""
    from videochat.models.sfat.config import RELEASED, SfatConfig
    from videochat.models.sfat.model import SfatModel

    turned = SfatConfig(**SMALL)
    for name, value in RELEASED.items():
        setattr(turned, name, value)
    for name, value in {**SMALL, "num_video_heads": 4}.items():
        setattr(turned, name, value)
    shapes = [
        {name: tensor.shape for name, tensor in SfatModel(config).state_dict().items()}
        for config in (turned, make_config(released=True, num_context_layers=4))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"num_video_layers": 2}, "goes with weighting=learned"),
        ({"bert": "bert-mini"}, "norm=post"),
        ({"norm": "post", "max_positions": 20}, "max_positions is 20"),
        ({"norm": "both"}, "pre, post"),
        ({"weighting": "learned", "num_video_layers": 1, "num_video_heads": 3}, "clip_dim 16 does not suit 3 heads"),
        ({"num_context_heads": 5}, "width 32 does not suit 5 heads"),
        ({"aggregation": "every"}, "sum, mean, recency, each"),
        ({"frame_norm": 0.0}, "more than 0"),
        ({"text_tower": "trained"}, "stored, frozen, tuned"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(fields, says):
    with pytest.raises(UsageError) as found:
        make_config(**fields)
    assert says in f"{found.value} {found.value.fix}"


@pytest.mark.parametrize("tower", ["tuned", "frozen"])
@pytest.mark.parametrize("released", [False, True], ids=["sfat", "sfat-released"])
def test_a_text_tower_inside_weighs_the_frames_and_learns_only_if_it_may(released, tower):
    from videochat.models.sfat.model import SfatModel

    torch.manual_seed(0)
    config = make_config(released=released, text_tower=tower, clip_text=TOWER)
    assert config.needs == {"frames"}, "no stored text embeddings"
    model = SfatModel(config)
    ids = torch.tensor([[1, 5, 2], [1, 7, 2]])
    batch = {
        "comment_ids": ids,
        "comment_lengths": torch.tensor([3, 3]),
        "comment_index": torch.tensor([[0, 1]]),
        "comment_mask": torch.ones(1, 2, dtype=torch.bool),
        "clip_ids": torch.tensor([[88, 5, 6, 89], [88, 7, 89, 0]]),
        "clip_index": torch.tensor([[0, 1]]),
        "frames": torch.nn.functional.normalize(torch.randn(1, 6, 16), dim=-1),
        "frame_mask": torch.ones(1, 6, dtype=torch.bool),
        "frame_age": torch.arange(6)[None],
    }
    weights = model.eval().weigh_frames(batch)
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    other = model.weigh_frames(batch | {"clip_ids": torch.tensor([[88, 40, 41, 89], [88, 42, 89, 0]])})
    assert (weights - other).abs().max() > 1e-4, "they follow what the tower reads"
    loss, _ = model(
        **batch,
        response_ids=ids[:1],
        response_lengths=torch.tensor([3]),
        response_clip=torch.zeros(1, dtype=torch.int64),
    )
    loss.backward()
    gradients = [p.grad for p in model.text_tower.text_projection.parameters()]
    if tower == "tuned":
        assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    else:
        assert all(gradient is None for gradient in gradients)


def test_equal_frames_weigh_alike_under_a_softmax_for_each_comment_too(make_sfat, views):
    import dataclasses

    import numpy as np

    model = make_sfat(aggregation="each")
    clips = [view for view in views[:6] if view.frames is not None and len(view.frames)]
    constant = [dataclasses.replace(view, frames=np.repeat(view.frames[:1], len(view.frames), 0)) for view in clips]
    for weights in model.frame_weights(constant):
        np.testing.assert_allclose(weights, 1 / len(weights), atol=1e-6)


@pytest.mark.parametrize("kind", [{}, {"pooling": "all"}, {"released": True}], ids=str)
def test_only_the_latest_frames_count_where_so_many_are_asked_for(make_sfat, views, kind):
    import dataclasses

    import numpy as np

    model = make_sfat(max_frames=5, **kind)
    clip = max(views, key=lambda view: 0 if view.frames is None else len(view.frames))
    late = (clip.now_ms - 1 - clip.frame_ms) // 1_000 < 5
    assert 0 < late.sum() < len(late)
    (weights,) = model.frame_weights([clip])
    assert weights[~late].sum() == 0
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    blank = dataclasses.replace(clip, frames=np.where(late[:, None], clip.frames, 0))
    rows = [[0, 1]] * 2
    one, other = model.score([clip, blank], rows, TextTable(["nice", "wow"], ["nice", "wow"]))
    np.testing.assert_allclose(one.score, other.score, atol=1e-5)
