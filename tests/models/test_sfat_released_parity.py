"""`sfat-released` against the released network computed anew, in plain tensor arithmetic, from FACTS §1 alone.

The reference below knows the released parameter names and nothing of our modules. Tolerances are those of the released
code's own float noise: frame weights 1e-5, video token 1e-5, comment vectors 1e-4, logits 3e-4, loss 1e-5.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

SMALL = {
    "vocab": 60, "width": 32, "clip": 24, "bert_heads": 4, "heads": 8, "bert_layers": 2, "layers": 2, "bert_ff": 40,
    "video_ff": 12, "decoder_ff": 20, "positions": 16,
}  # fmt: skip
FULL = {
    "vocab": 30_522, "width": 256, "clip": 512, "bert_heads": 4, "heads": 8, "bert_layers": 4, "layers": 4,
    "bert_ff": 1024, "video_ff": 256, "decoder_ff": 512, "positions": 512,
}  # fmt: skip
PAD, CLS, SEP = 0, 1, 2


def random_state(size: dict[str, int], seed: int = 0) -> dict[str, Any]:
    """A state dict with the released names and random tensors, so that every bias and norm matters."""
    draw = torch.Generator().manual_seed(seed)
    state: dict[str, Any] = {}

    def linear(name: str, rows: int, columns: int) -> None:
        state[f"{name}.weight"] = torch.randn(rows, columns, generator=draw) * columns**-0.5
        state[f"{name}.bias"] = torch.randn(rows, generator=draw) * 0.1

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=draw)
        state[f"{name}.bias"] = 0.1 * torch.randn(width, generator=draw)

    def attention(name: str, width: int) -> None:
        state[f"{name}.in_proj_weight"] = torch.randn(3 * width, width, generator=draw) * width**-0.5
        state[f"{name}.in_proj_bias"] = torch.randn(3 * width, generator=draw) * 0.1
        linear(f"{name}.out_proj", width, width)

    width, clip = size["width"], size["clip"]
    bert = "context_encoder.bert"
    for name, rows in (("word", size["vocab"]), ("position", size["positions"]), ("token_type", 2)):
        state[f"{bert}.embeddings.{name}_embeddings.weight"] = torch.randn(rows, width, generator=draw)
    norm(f"{bert}.embeddings.LayerNorm", width)
    for i in range(size["bert_layers"]):
        layer = f"{bert}.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", width, width)
        linear(f"{layer}.attention.output.dense", width, width)
        norm(f"{layer}.attention.output.LayerNorm", width)
        linear(f"{layer}.intermediate.dense", size["bert_ff"], width)
        linear(f"{layer}.output.dense", width, size["bert_ff"])
        norm(f"{layer}.output.LayerNorm", width)
    linear("video_encoder.fc", clip, clip)
    for i in range(size["layers"]):
        layer = f"video_encoder.transformer.layers.{i}"
        attention(f"{layer}.self_attn", clip)
        linear(f"{layer}.linear1", size["video_ff"], clip)
        linear(f"{layer}.linear2", clip, size["video_ff"])
        norm(f"{layer}.norm1", clip)
        norm(f"{layer}.norm2", clip)
        layer = f"comment_decoder.transformer.layers.{i}"
        for part in ("self_attn", "multihead_attn_comments", "multihead_attn_video"):
            attention(f"{layer}.{part}", width)
        linear(f"{layer}.linear1", size["decoder_ff"], width)
        linear(f"{layer}.linear2", width, size["decoder_ff"])
        for part in ("sa", "mha_comments", "mha_video", "ff"):
            norm(f"{layer}.norm_{part}", width)
    linear("video_encoder.linear_transformer", width, clip)
    linear("comment_decoder.fc", size["vocab"], width)
    # what a released checkpoint carries besides
    state |= {name.replace(f"{bert}.", "", 1): t for name, t in state.items() if name.startswith(f"{bert}.embeddings.")}
    state[f"{bert}.embeddings.position_ids"] = torch.arange(size["positions"])[None]
    state["video_encoder.positional_embedding.pe"] = torch.zeros(5000, 1, 4)
    linear(f"{bert}.pooler.dense", width, width)
    linear("context_encoder.pretrain_prediction", 5, width)
    attention("attention_module", width)
    linear("ffn.0", width, width)
    norm("layer_norm", width)
    state["video_encoder.clip.logit_scale"] = torch.tensor(4.6)
    return state


class Reference:
    """The released forward pass on one released state dict, in float32 and eval mode."""

    def __init__(self, state: dict[str, Any], size: dict[str, int]) -> None:
        self.state, self.size = state, size

    def linear(self, name: str, x: Any) -> Any:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name: str, x: Any, epsilon: float = 1e-5) -> Any:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def heads(self, query: Any, key: Any, value: Any, num_heads: int, mask: Any = None) -> Any:
        """query (B, T, W), key and value (B, M, W); mask broadcastable to (B, heads, T, M), True = may be seen."""
        query, key, value = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)

    def attention(self, name: str, x: Any, memory: Any, mask: Any = None) -> Any:
        weight, bias = self.state[f"{name}.in_proj_weight"], self.state[f"{name}.in_proj_bias"]
        width = x.shape[-1]
        query = x @ weight[:width].T + bias[:width]
        key = memory @ weight[width : 2 * width].T + bias[width : 2 * width]
        value = memory @ weight[2 * width :].T + bias[2 * width :]
        return self.linear(f"{name}.out_proj", self.heads(query, key, value, self.size["heads"], mask))

    def embed(self, ids: Any) -> Any:
        name = "context_encoder.bert.embeddings"
        positions = self.state[f"{name}.position_embeddings.weight"][: ids.shape[1]]
        kind = self.state[f"{name}.token_type_embeddings.weight"][0]
        word = self.state[f"{name}.word_embeddings.weight"][ids]
        return self.norm(f"{name}.LayerNorm", word + positions + kind, 1e-12)

    def bert(self, ids: Any, mask: Any) -> Any:
        """ids, mask (rows, L) -> [CLS] (rows, W)."""
        x = self.embed(ids)
        for i in range(self.size["bert_layers"]):
            layer = f"context_encoder.bert.encoder.layer.{i}"
            query, key, value = (self.linear(f"{layer}.attention.self.{p}", x) for p in ("query", "key", "value"))
            seen = self.heads(query, key, value, self.size["bert_heads"], mask[:, None, None, :])
            x = self.norm(
                f"{layer}.attention.output.LayerNorm", x + self.linear(f"{layer}.attention.output.dense", seen), 1e-12
            )
            hidden = self.linear(f"{layer}.intermediate.dense", x)
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
            x = self.norm(f"{layer}.output.LayerNorm", x + self.linear(f"{layer}.output.dense", hidden), 1e-12)
        return x[:, 0]

    def video(self, frames: Any, text: Any) -> tuple[Any, Any]:
        """frames (B, N, D), text (B, C, D) -> weights (B, N, C), video token (B, 1, W)."""
        x = self.linear("video_encoder.fc", frames)
        _, num_frames, dim = x.shape
        table = torch.zeros(num_frames, dim)
        for position in range(num_frames):
            for i in range(0, dim, 2):
                angle = position / 10_000 ** (i / dim)
                table[position, i], table[position, i + 1] = math.sin(angle), math.cos(angle)
        x = x + table
        for i in range(self.size["layers"]):
            layer = f"video_encoder.transformer.layers.{i}"
            x = self.norm(f"{layer}.norm1", x + self.attention(f"{layer}.self_attn", x, x))
            hidden = self.linear(f"{layer}.linear1", x).clamp(min=0)
            x = self.norm(f"{layer}.norm2", x + self.linear(f"{layer}.linear2", hidden))
        video, text = (self.linear("video_encoder.linear_transformer", v) for v in (x, text))
        video, text = (v / v.norm(dim=-1, keepdim=True).clamp(min=1e-12) for v in (video, text))
        weights = (video @ text.transpose(1, 2) / 0.1).softmax(1)
        return weights, (weights.transpose(1, 2) @ video).sum(1, keepdim=True)

    def logits(self, ids: Any, comments: Any, video: Any, mask: Any = None) -> Any:
        x = self.embed(ids)
        for i in range(self.size["layers"]):
            layer = f"comment_decoder.transformer.layers.{i}"
            x = self.norm(f"{layer}.norm_sa", x + self.attention(f"{layer}.self_attn", x, x, mask))
            for memory, name in ((comments, "comments"), (video, "video")):
                x = self.norm(
                    f"{layer}.norm_mha_{name}", x + self.attention(f"{layer}.multihead_attn_{name}", x, memory)
                )
            hidden = self.linear(f"{layer}.linear1", x).clamp(min=0)
            x = self.norm(f"{layer}.norm_ff", x + self.linear(f"{layer}.linear2", hidden))
        return self.linear("comment_decoder.fc", x)


def inputs(size: dict[str, int], seed: int = 1) -> dict[str, Any]:
    """Three clips with 5 comments of up to 10 tokens, 30 frames and a target of up to 10 tokens, as released."""
    draw = torch.Generator().manual_seed(seed)

    def rows(num: int) -> tuple[Any, Any]:
        lengths = torch.randint(2, 11, (num,), generator=draw)
        lengths[0] = 10
        ids = torch.randint(3, size["vocab"], (num, 10), generator=draw)
        place = torch.arange(10)
        ids[:, 0] = CLS
        ids = torch.where(place == lengths[:, None] - 1, SEP, ids)
        return torch.where(place < lengths[:, None], ids, PAD), lengths

    comment_ids, comment_lengths = rows(15)
    target_ids, target_lengths = rows(3)
    return {
        "comment_ids": comment_ids,
        "comment_lengths": comment_lengths,
        "target_ids": target_ids,
        "target_lengths": target_lengths,
        "frames": torch.randn(3, 30, size["clip"], generator=draw),
        "text": torch.randn(3, 5, size["clip"], generator=draw),
    }


def batch_of(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "comment_ids": given["comment_ids"],
        "comment_lengths": given["comment_lengths"],
        "comment_index": torch.arange(15).view(3, 5),
        "comment_mask": torch.ones(3, 5, dtype=torch.bool),
        "comment_clip": given["text"],
        "frames": given["frames"],
        "frame_mask": torch.ones(3, 30, dtype=torch.bool),
        "frame_age": torch.zeros(3, 30, dtype=torch.int64),
    }


@pytest.mark.parametrize("size", [SMALL, pytest.param(FULL, marks=pytest.mark.slow)], ids=["small", "released size"])
def test_the_network_equals_the_released_one_computed_anew(size):
    from videochat.models.sfat.convert import model_of

    state, given = random_state(size), inputs(size)
    model = model_of(
        state, num_context_heads=size["bert_heads"], num_video_heads=size["heads"], num_heads=size["heads"]
    )
    reference, place = Reference(state, size), torch.arange(10)
    with torch.no_grad():
        encoding = model.encode(batch_of(given))
        weights, video = reference.video(given["frames"], given["text"])
        comments = reference.bert(given["comment_ids"], place < given["comment_lengths"][:, None]).view(3, 5, -1)
        torch.testing.assert_close(encoding.comment_frame_weights, weights, atol=1e-5, rtol=0)
        torch.testing.assert_close(encoding.last_hidden_state[:, 5:], video, atol=1e-5, rtol=0)
        torch.testing.assert_close(encoding.last_hidden_state[:, :5], comments, atol=1e-4, rtol=0)

        real = place < given["target_lengths"][:, None]
        causal = (place[:9, None] >= place[:9])[None, None] & real[:, None, None, :9]
        expected = reference.logits(given["target_ids"][:, :9], comments, video, causal)
        found = model.logits(encoding, given["target_ids"][:, :9], real[:, :9])
        assert expected.std() > 0.3  # the weights are not so small that anything would pass
        torch.testing.assert_close(found, expected, atol=3e-4, rtol=0)  # padding included, which the loss counts

        labels = given["target_ids"][:, 1:]
        loss = -expected.log_softmax(-1).gather(-1, labels[..., None]).mean()
        summed, count = model(
            **batch_of(given),
            response_ids=given["target_ids"],
            response_lengths=given["target_lengths"],
            response_clip=torch.arange(3),
        )
        assert count == 27
        assert float(summed / count) == pytest.approx(float(loss), abs=1e-5)

        free = reference.logits(given["target_ids"][:, :4], comments, video)  # its generation: no mask at all
        torch.testing.assert_close(
            model.logits(encoding, given["target_ids"][:, :4], causal=False), free, atol=3e-4, rtol=0
        )


def test_packed_scores_are_those_of_the_padded_rows():
    from videochat.models.sfat.convert import model_of

    state, given = random_state(SMALL), inputs(SMALL)
    model = model_of(state, num_context_heads=4)
    with torch.no_grad():
        encoding = model.encode(batch_of(given))
        log_probs, response = model.token_log_probs(
            encoding, given["target_ids"], given["target_lengths"], torch.arange(3)
        )
        found = torch.zeros(3).index_add(0, response, log_probs)
        logits = model.logits(encoding, given["target_ids"][:, :9])
        each = logits.log_softmax(-1).gather(-1, given["target_ids"][:, 1:, None])[..., 0]
        real = torch.arange(1, 10) < given["target_lengths"][:, None]
        torch.testing.assert_close(found, (each * real).sum(1), atol=1e-4, rtol=0)


def test_the_video_token_grows_with_the_number_of_comments():
    """Sum, not mean (FACTS §1): the same comment three times makes three times the token."""
    from videochat.models.sfat.convert import model_of

    given = inputs(SMALL)
    model = model_of(random_state(SMALL), num_context_heads=4)
    batch = batch_of(given)
    with torch.no_grad():

        def tokens(times: int) -> tuple[Any, Any]:
            said = {name: batch[name][:, :times] for name in ("comment_mask", "comment_index")}
            encoding = model.encode(batch | said | {"comment_clip": given["text"][:, :1].repeat(1, times, 1)})
            return encoding.last_hidden_state[:, -1], encoding.comment_frame_weights

        once, _ = tokens(1)
        thrice, weights = tokens(3)
        torch.testing.assert_close(thrice, 3 * once, atol=1e-5, rtol=0)
        torch.testing.assert_close(weights.sum(1), torch.ones(3, 3))
        mean = model.weigh_frames(batch)
    torch.testing.assert_close(mean.sum(1), torch.ones(3))


def test_a_constant_video_is_weighted_by_position_alone_and_a_planted_match_stands_out():
    """Post-norm layers mix frames, so equal frames differ by their positions; a match still gets most weight."""
    from videochat.models.sfat.config import RELEASED, SfatConfig
    from videochat.models.sfat.model import SfatModel

    torch.manual_seed(0)
    shape = {"width": 32, "num_context_layers": 1, "num_video_layers": 0, "num_decoder_layers": 1}
    config = SfatConfig(**{**RELEASED, "vocab_size": 60, "clip_dim": 32, **shape})
    model = SfatModel(config).eval()
    given = inputs(SMALL | {"clip": 32})
    batch = batch_of(given)
    with torch.no_grad():
        model.tower.frame_projection.weight.copy_(torch.eye(32))  # no layers: the frames and their positions alone
        model.tower.frame_projection.bias.zero_()
        frames = 20 * torch.randn(3, 30, 32)
        batch["frames"], batch["comment_clip"] = frames, frames[:, 7:8].expand(-1, 5, -1).contiguous()
        weights = model.weigh_frames(batch)
    assert (weights.argmax(1) == 7).all()
    assert (weights[:, 7] > 0.5).all()


def test_the_released_ranking_is_one_decode_and_a_unigram_at_each_place():
    from videochat.models.sfat.convert import model_of
    from videochat.models.sfat.released_ranking import free_running, released_scores

    state, given = random_state(SMALL), inputs(SMALL)
    state["comment_decoder.fc.bias"][SEP] += 3  # [SEP] is often the best, and has to give way
    model = model_of(state, num_context_heads=4)
    reference, place = Reference(state, SMALL), torch.arange(10)
    candidates = torch.randint(3, 60, (3, 6, 5), generator=torch.Generator().manual_seed(4))
    candidates[:, :, 0], candidates[:, 2, 3:] = CLS, torch.tensor([SEP, PAD])
    with torch.no_grad():
        encoding = model.encode(batch_of(given))
        comments = reference.bert(given["comment_ids"], place < given["comment_lengths"][:, None]).view(3, 5, -1)
        video = reference.video(given["frames"], given["text"])[1]
        rows, gave_way = [], 0
        for clip in range(3):
            prefix, each = [CLS], []
            for step in range(7):
                ids = torch.tensor([prefix])
                logits = reference.logits(ids, comments[clip : clip + 1], video[clip : clip + 1])[0, -1]
                order = logits.argsort(descending=True).tolist()
                gave_way += order[0] == SEP and step < 5
                chosen = order[1] if order[0] == SEP and step < 5 else order[0]
                prefix.append(order[2] if chosen == CLS else chosen)
                each.append(logits.log_softmax(-1))
            rows.append((prefix[1:], torch.stack(each)))
        tokens, _ = free_running(model, encoding, 7)
        scores = released_scores(model, encoding, candidates)
    assert tokens.tolist() == [prefix for prefix, _ in rows]
    assert gave_way
    for clip, (_, each) in enumerate(rows):
        expected = [sum(float(each[t, ids[t + 1]]) for t in range(4)) for ids in candidates[clip].tolist()]
        torch.testing.assert_close(scores[clip], torch.tensor(expected), atol=1e-3, rtol=0)
