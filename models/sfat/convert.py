"""A checkpoint of the authors' code, or any state dict with its names, as a checkpoint of `SfatModel`.

    convert(Path("checkpoint_0.0001_199e.pth"), Path("out"), tokenizer="prajjwal1/bert-mini")

Files are untrusted: safetensors, or torch's format with `weights_only`, which builds tensors and plain containers and
runs nothing else. The sizes are read off the tensors; how many heads there are cannot be, and is the released number.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from videochat.errors import Damaged, Mismatch, MissingInput

from .. import checkpoint
from .config import RELEASED, SfatConfig
from .model import SfatModel
from .names import TABLE, from_released, num_layers
from .pretrained import public_name, word_pieces

HEAD_WIDTH = 64  # of BERT and of CLIP's text tower: heads = width / 64


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch checkpoint (its "model", where training state lies beside)."""
    if not path.is_file():
        raise MissingInput(f"there is no file {path}", fix="give a .pth, .pt or .safetensors file")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise Damaged(f"{path} is no safetensors file: {error}", fix="fetch it again") from error
    try:
        with warnings.catch_warnings(action="ignore"):  # of old pickles: how to load them unsafely
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the foreign bytes provoke, and advises to trust them
        raise Damaged(
            f"{path} holds more than tensors, or is damaged ({type(error).__name__})",
            fix="only weights are read and nothing in it was run; save its state dict as safetensors",
        ) from error
    if isinstance(found, Mapping):
        for key in ("model", "state_dict", "model_state_dict"):
            if isinstance(found.get(key), Mapping):
                found = found[key]
                break
    tensors = {k: v for k, v in found.items() if isinstance(v, Tensor)} if isinstance(found, Mapping) else {}
    if not tensors or any(not isinstance(name, str) for name in tensors):
        raise Damaged(f"{path} holds no state dict", fix="save model.state_dict()")
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def config_of(state: Mapping[str, Tensor], **fields: Any) -> SfatConfig:
    """The config that these released tensors need. fields: what shapes cannot tell, such as num_heads."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    bert, video, decoder = "context_encoder.bert", "video_encoder", "comment_decoder"
    embeddings = f"{bert}.embeddings" if f"{bert}.embeddings.word_embeddings.weight" in shapes else "embeddings"
    layers = {link.released[0][0].split(".layer")[0]: num_layers(set(shapes), link) for link in TABLE}
    try:
        vocab_size, width = shapes[f"{embeddings}.word_embeddings.weight"]
        read: dict[str, Any] = {
            "vocab_size": vocab_size,
            "width": width,
            "clip_dim": shapes[f"{video}.fc.weight"][0],
            "max_positions": shapes[f"{embeddings}.position_embeddings.weight"][0],
            "num_context_layers": layers[f"{bert}.encoder"],
            "num_context_heads": max(1, width // HEAD_WIDTH),
            "context_feed_forward_width": shapes[f"{bert}.encoder.layer.0.intermediate.dense.weight"][0],
            "num_video_layers": layers[f"{video}.transformer"],
            "video_feed_forward_width": shapes[f"{video}.transformer.layers.0.linear1.weight"][0],
            "num_decoder_layers": layers[f"{decoder}.transformer"],
            "feed_forward_width": shapes[f"{decoder}.transformer.layers.0.linear1.weight"][0],
        }
    except (KeyError, ValueError) as error:
        raise Mismatch(
            f"the state dict lacks {error}", fix="give a checkpoint of the released SFAT; its names are in names.py"
        ) from error
    if "text_tower" not in fields:
        fields["text_tower"] = "tuned" if any(n.startswith(f"{video}.clip.text_model.") for n in shapes) else "stored"
    if fields["text_tower"] != "stored":
        read["clip_text"] = _clip_text(shapes, f"{video}.clip.")
    return SfatConfig(**{**RELEASED, **read, **fields})


def _clip_text(shapes: Mapping[str, tuple[int, ...]], start: str) -> dict[str, Any]:
    """The fields of CLIPTextConfig that the tower's tensors tell."""
    tower = f"{start}text_model."
    try:
        vocab_size, width = shapes[f"{tower}embeddings.token_embedding.weight"]
        return {
            "vocab_size": vocab_size,
            "hidden_size": width,
            "intermediate_size": shapes[f"{tower}encoder.layers.0.mlp.fc1.weight"][0],
            "num_hidden_layers": sum(n.startswith(tower) and n.endswith(".mlp.fc1.weight") for n in shapes),
            "num_attention_heads": max(1, width // HEAD_WIDTH),
            "max_position_embeddings": shapes[f"{tower}embeddings.position_embedding.weight"][0],
            "projection_dim": shapes[f"{start}text_projection.weight"][0],
            "bos_token_id": vocab_size - 2,
            "eos_token_id": 2,  # as in the published config; transformers then takes the highest id, the end token
            "pad_token_id": 0,
        }
    except (KeyError, ValueError) as error:
        raise Mismatch(f"the CLIP text tower lacks {error}", fix="convert with --text-tower stored") from error


def model_of(state: Mapping[str, Tensor], **fields: Any) -> SfatModel:
    """The model, in evaluation mode, with these released weights. fields: see `config_of`."""
    config = config_of(state, **fields)
    ours = from_released(state, text_tower=config.text_tower != "stored")
    model = SfatModel(config)
    if bad := sorted(name for name, tensor in ours.items() if not torch.isfinite(tensor).all()):
        raise Damaged(f"{bad[0]} holds numbers that are not finite", fix="take an earlier checkpoint")
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in ours.items()}, strict=True)
    except RuntimeError as error:
        raise Mismatch(f"the tensors do not fit together: {error}", fix="give the whole state dict") from error
    return model.eval()


def convert(source: Path, folder: Path, *, tokenizer: str, **fields: Any) -> dict[str, Any]:
    """Write `source` as a checkpoint in `folder`; returns its training.json.

    tokenizer: see `pretrained.word_pieces`. fields: see `config_of`.
    """
    from videochat.files import digest_file

    state = read_state(source)
    model = model_of(state, **fields)
    pieces = word_pieces(tokenizer)
    if len(pieces) != model.config.vocab_size:
        raise Mismatch(
            f"{tokenizer} has {len(pieces)} word pieces, the weights {model.config.vocab_size}",
            fix="give the tokenizer that the weights were trained with",
        )
    config = model.config
    for kind in ("pad", "bos", "eos"):
        setattr(config, f"{kind}_token_id", getattr(pieces, f"{kind}_token_id"))
    config.decoder_start_token_id = config.bos_token_id
    config.bert = public_name(tokenizer)
    model.generation_config = GenerationConfig.from_model_config(config)
    info: dict[str, Any] = {
        "format": checkpoint.FORMAT,
        "converted": {"file": source.name, "sha256": digest_file(source)},
        "model": "sfat-released",
        "needs": sorted(config.needs),
        "clip_dim": config.clip_dim,
        "clip_fingerprint": None,
        "data_digest": "",
        "seed": 0,
        "train_recordings": [],
        "num_parameters": sum(p.numel() for p in model.parameters()),
    }
    checkpoint.write(folder, model, pieces, info, [], _card(info))
    return info


def _card(info: dict[str, Any]) -> str:
    return f"""---
library_name: transformers
license: other
---

# {info["model"]}, converted

Weights of `{info["converted"]["file"]}` (sha256 `{info["converted"]["sha256"][:12]}`), which carry the parameter names
of the SFAT authors' released code, as a checkpoint of `videochat.models.sfat`: {info["num_parameters"]:,}
parameters. What they were trained on, and under which licence they may be used, this tool does not know: ask whoever
made them. They expect CLIP ViT-B/32 features of {info["clip_dim"]} dimensions.
"""
