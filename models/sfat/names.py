"""The parameter names of the released code and ours: one table, read in both directions.

A link says that the rows of its released tensors, one after another, are the rows of ours: torch keeps query, key and
value of an attention in one tensor and BERT in three, ours keeps them in one for self-attention and in a query and a
key-value pair for cross-attention, whose memories are projected apart.

    ours = from_released(state, text_tower=False)         # names of SfatModel
    state = to_released(model.state_dict())               # and back, but for what the model never reads
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from videochat.errors import Mismatch

Parts = tuple[tuple[str, int], ...]  # tensors and how many equal shares of the rows each holds


@dataclass(frozen=True)
class Link:
    """Tensors whose rows are the same; {} stands for the number of the layer."""

    released: Parts
    ours: Parts


def _same(released: str, ours: str, *, bias: bool = True) -> Iterator[Link]:
    for end in ("weight", "bias") if bias else ("weight",):
        yield Link(((f"{released}.{end}", 1),), ((f"{ours}.{end}", 1),))


def _self_attention(released: str, ours: str) -> Iterator[Link]:
    for end in ("weight", "bias"):
        yield Link(((f"{released}.in_proj_{end}", 3),), ((f"{ours}.qkv.{end}", 3),))
    yield from _same(f"{released}.out_proj", f"{ours}.out")


def _cross_attention(released: str, ours: str) -> Iterator[Link]:
    for end in ("weight", "bias"):
        yield Link(((f"{released}.in_proj_{end}", 3),), ((f"{ours}.query.{end}", 1), (f"{ours}.kv.{end}", 2)))
    yield from _same(f"{released}.out_proj", f"{ours}.out")


def _bert() -> Iterator[Link]:
    theirs, layer = "context_encoder.bert.embeddings", "context_encoder.bert.encoder.layer.{}"
    for name, ours_name in (("word", "word"), ("position", "position"), ("token_type", "kind")):
        yield from _same(f"{theirs}.{name}_embeddings", f"embedding.{ours_name}", bias=False)
    yield from _same(f"{theirs}.LayerNorm", "embedding.norm")
    ours = "context_encoder.layers.{}"
    for end in ("weight", "bias"):
        three = tuple((f"{layer}.attention.self.{part}.{end}", 1) for part in ("query", "key", "value"))
        yield Link(three, ((f"{ours}.attention.qkv.{end}", 3),))
    yield from _same(f"{layer}.attention.output.dense", f"{ours}.attention.out")
    yield from _same(f"{layer}.attention.output.LayerNorm", f"{ours}.attention_norm")
    yield from _same(f"{layer}.intermediate.dense", f"{ours}.feed_forward.0")
    yield from _same(f"{layer}.output.dense", f"{ours}.feed_forward.2")
    yield from _same(f"{layer}.output.LayerNorm", f"{ours}.feed_forward_norm")


def _video() -> Iterator[Link]:
    layer, ours = "video_encoder.transformer.layers.{}", "tower.layers.{}"
    yield from _same("video_encoder.fc", "tower.frame_projection")
    yield from _self_attention(f"{layer}.self_attn", f"{ours}.attention")
    yield from _same(f"{layer}.linear1", f"{ours}.feed_forward.0")
    yield from _same(f"{layer}.linear2", f"{ours}.feed_forward.2")
    yield from _same(f"{layer}.norm1", f"{ours}.attention_norm")
    yield from _same(f"{layer}.norm2", f"{ours}.feed_forward_norm")
    yield from _same("video_encoder.linear_transformer", "tower.shared_projection")


def _decoder() -> Iterator[Link]:
    layer, ours = "comment_decoder.transformer.layers.{}", "decoder.layers.{}"
    yield from _self_attention(f"{layer}.self_attn", f"{ours}.self_attention")
    yield from _same(f"{layer}.norm_sa", f"{ours}.self_norm")
    for index, memory in enumerate(("comments", "video")):
        yield from _cross_attention(f"{layer}.multihead_attn_{memory}", f"{ours}.cross_attentions.{index}")
        yield from _same(f"{layer}.norm_mha_{memory}", f"{ours}.cross_norms.{index}")
    yield from _same(f"{layer}.linear1", f"{ours}.feed_forward.0")
    yield from _same(f"{layer}.linear2", f"{ours}.feed_forward.3")
    yield from _same(f"{layer}.norm_ff", f"{ours}.feed_forward_norm")
    yield from _same("comment_decoder.fc", "embedding.output")


BERT: tuple[Link, ...] = tuple(_bert())
TABLE: tuple[Link, ...] = (*BERT, *_video(), *_decoder())
TOWER = {  # CLIP's text tower keeps the names that transformers gives it
    "video_encoder.clip.text_model.": "text_tower.text_model.",
    "video_encoder.clip.text_projection.": "text_tower.text_projection.",
}
SHARED = ("embeddings.", "context_encoder.bert.embeddings.")  # the same module under two names

# What a released checkpoint holds and the forward pass never reads.
UNUSED = (
    (r".*\.position_ids", "a buffer of transformers before 4.31"),
    (r"(video_encoder|comment_decoder)\.positional_embedding\.pe", "sinusoids, computed here; the decoder adds none"),
    (r"context_encoder\.bert\.pooler\..*", "the [CLS] state is read without BERT's pooler"),
    (r"context_encoder\.pretrain_prediction\..*", "the head of stage 1"),
    (r"video_encoder\.clip\.(vision_model\..*|visual_projection\..*|logit_scale)", "frames come as stored features"),
    (r"(attention_module|layer_norm|ffn)\..*", "a fusion that is defined and never called"),
)


def num_layers(names: set[str], link: Link) -> int:
    """How many layers a state dict has of this link; 1 where it is no part of a layer."""
    first = link.released[0][0]
    if "{}" not in first:
        return 1
    pattern = re.compile(re.escape(first).replace(r"\{\}", r"(\d+)"))
    found = {int(match[1]) for name in names if (match := pattern.fullmatch(name))}
    if found != set(range(len(found))):
        raise Mismatch(f"layers {sorted(found)} of {first} are not 0, 1, 2 ...", fix="give the whole state dict")
    return len(found)


def _rows(parts: Parts, layer: int, state: Mapping[str, Tensor]) -> Tensor:
    tensors = []
    for name, _ in parts:
        if (tensor := state.get(name.format(layer))) is None:
            raise Mismatch(f"the state dict has no {name.format(layer)}", fix="give a checkpoint of the released SFAT")
        tensors.append(tensor)
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _split(rows: Tensor, parts: Parts, layer: int) -> dict[str, Tensor]:
    shares = sum(share for _, share in parts)
    if len(parts) > 1 and len(rows) % shares:
        raise Mismatch(f"{parts[0][0].format(layer)} has {len(rows)} rows, no multiple of {shares}", fix="check it")
    sizes = [len(rows) * share // shares for _, share in parts]
    return {
        name.format(layer): part.clone().contiguous() for (name, _), part in zip(parts, rows.split(sizes), strict=True)
    }


def through(links: tuple[Link, ...], state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """Our tensors by these links, and the released names that were read."""
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    for link in links:
        for layer in range(num_layers(set(state), link)):
            ours |= _split(_rows(link.released, layer, state), link.ours, layer)
            used |= {name.format(layer) for name, _ in link.released}
    return ours, used


def from_released(state: Mapping[str, Tensor], *, text_tower: bool) -> dict[str, Tensor]:
    """Released names to those of `SfatModel`. Raises Mismatch for a name that is missing or unknown, and where
    the two names of the shared embeddings disagree."""
    state = dict(state)
    for name in [name for name in state if name.startswith(SHARED[0])]:
        first, tensor = SHARED[1] + name.removeprefix(SHARED[0]), state.pop(name)
        if not torch.equal(state.setdefault(first, tensor), tensor):
            raise Mismatch(f"{name} and {first} differ, and are one module", fix="give one of them")
    ours, used = through(TABLE, state)
    for name in sorted(set(state) - used):
        if any(re.fullmatch(pattern, name) for pattern, _ in UNUSED):
            continue
        start = next((start for start in TOWER if name.startswith(start)), None)
        if start is None:
            raise Mismatch(f"{name} is no parameter of the released SFAT", fix="see the table in its names.py")
        if text_tower:
            ours[TOWER[start] + name.removeprefix(start)] = state[name].clone().contiguous()
    if text_tower and not any(name.startswith("text_tower.") for name in ours):
        raise Mismatch("the state dict holds no CLIP text tower", fix="convert with --text-tower stored")
    return ours


def to_released(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names to the released ones; of the shared embeddings both names."""
    state: dict[str, Tensor] = {}
    for link in TABLE:
        layer = 0
        while link.ours[0][0].format(layer) in ours:
            state |= _split(_rows(link.ours, layer, ours), link.released, layer)
            layer += 1
            if "{}" not in link.ours[0][0]:
                break
    for theirs, start in TOWER.items():
        state |= {theirs + name.removeprefix(start): ours[name] for name in ours if name.startswith(start)}
    shared = {SHARED[0] + n.removeprefix(SHARED[1]): t for n, t in state.items() if n.startswith(SHARED[1])}
    return state | shared
