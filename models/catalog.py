"""The models by name. Importing this registers them in `videochat.commenter.MODELS`; torch is loaded when one is used.

One more variant of a model is one line here; one more model a folder and one line.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from videochat.commenter import MODELS, Commenter, LoadContext, ModelEntry

SFAT_VARIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "sfat": ({"pooling": "semantic"}, "SFAT: frames weighted by their CLIP similarity to the chat"),
    "sfat-mean": ({"pooling": "mean"}, "SFAT with all frames weighted alike"),
    "sfat-text": ({"pooling": "none"}, "SFAT without video"),
    "sfat-all": ({"pooling": "all"}, "SFAT with every frame as a memory of its own"),
    "sfat-oracle": ({"pooling": "oracle"}, "SFAT shown only the frames of the focal event (simulated data)"),
    "sfat-audio": (
        {"pooling": "semantic", "transcript": "scalar"},
        "SFAT with the transcript as a third memory, read through a gate that may close",
    ),
    "sfat-knowledge": (
        {"pooling": "semantic", "knowledge": "scalar"},
        "SFAT with facts retrieved for the chat as a third memory, read through a gate that may close",
    ),
}  # name -> (fields of its configuration, summary)


# name -> (module, summary) of the models that have no variants; the module offers train, load and RECIPE
TRAINED = {
    "sfat-released": ("sfat.released", "SFAT as the authors' released code has it, tensor for tensor"),
    "tte-style": ("tte.train", "TTE-style: chat, transcript and every frame, read in that order"),
    "livebot-style": ("livebot.train", "LiveBot-style: a Unified Transformer whose text encoder attends to the video"),
    "videoic-style": ("videoic.train", "VideoIC-style: a topic for each second of chat, two views of the video"),
    "video-chatgpt-style": ("video_chatgpt.train", "Video-ChatGPT-style: frames as tokens of a frozen language model"),
    "mllm": ("video_chatgpt.train", "a language model with LoRA that reads the frames weighted as SFAT's"),
    "klvcg-style": ("klvcg.train", "KLVCG-style: frames, slots of chat and retrieved knowledge in a cross encoder"),
}

TEXT_ONLY = {"use_video": False}
WITHOUT_VIDEO = ("tte-style", "livebot-style", "videoic-style", "klvcg-style")  # those that know `use_video`


def _load(context: LoadContext, *, module: str, name: str) -> Commenter:
    commenter: Commenter = import_module(f".{module}", __package__).load(context, name=name)
    return commenter


def _train(context: LoadContext, *, module: str, name: str, **variant: Any) -> None:
    import_module(f".{module}", __package__).train(context, name=name, **variant)


def _needs(context: LoadContext, *, module: str, **variant: Any) -> frozenset[str]:
    from .training_run import needs_of

    return needs_of(import_module(f".{module}", __package__).RECIPE, context, **variant)


def _load_zero_shot(context: LoadContext) -> Commenter:
    from .zero_shot import ClipZeroShot

    return ClipZeroShot(pooling=str(context.options.get("pooling", "mean")))


for _name, (_fields, _summary) in SFAT_VARIANTS.items():
    MODELS.add(
        _name,
        ModelEntry(
            name=_name,
            summary=_summary,
            load=partial(_load, module="sfat.train", name=_name),
            train=partial(_train, module="sfat.train", name=_name, **_fields),
            needs=partial(_needs, module="sfat.train", **_fields),
        ),
    )
for _name, (_module, _summary) in TRAINED.items():
    MODELS.add(
        _name,
        ModelEntry(
            name=_name,
            summary=_summary,
            load=partial(_load, module=_module, name=_name),
            train=partial(_train, module=_module, name=_name),
            needs=partial(_needs, module=_module),
            text_only=TEXT_ONLY if _name in WITHOUT_VIDEO else {},
        ),
    )
MODELS.add(
    "clip-zero-shot",
    ModelEntry(
        name="clip-zero-shot", summary="cosine of frames and candidate in CLIP, untrained", load=_load_zero_shot
    ),
)
