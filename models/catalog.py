"""The models by name. Importing this registers them in `videochat.commenter.MODELS`; torch is loaded when one is used.

One more variant of a model is one line here; one more model a folder and one line.
"""

from __future__ import annotations

from functools import partial

from videochat.commenter import MODELS, Commenter, LoadContext, ModelEntry

SFAT_VARIANTS = {
    "sfat": ("semantic", "SFAT: frames weighted by their CLIP similarity to the chat"),
    "sfat-mean": ("mean", "SFAT with all frames weighted alike"),
    "sfat-text": ("none", "SFAT without video"),
    "sfat-all": ("all", "SFAT with every frame as a memory of its own"),
    "sfat-oracle": ("oracle", "SFAT shown only the frames of the focal event (simulated data)"),
}


def _load_sfat(context: LoadContext, *, name: str) -> Commenter:
    from .sfat.train import load

    return load(context, name=name)


def _train_sfat(context: LoadContext, *, name: str, pooling: str) -> None:
    from .sfat.train import train

    train(context, name=name, pooling=pooling)


def _load_zero_shot(context: LoadContext) -> Commenter:
    from .zero_shot import ClipZeroShot

    return ClipZeroShot(pooling=str(context.options.get("pooling", "mean")))


for _name, (_pooling, _summary) in SFAT_VARIANTS.items():
    MODELS.add(
        _name,
        ModelEntry(
            name=_name,
            summary=_summary,
            load=partial(_load_sfat, name=_name),
            train=partial(_train_sfat, name=_name, pooling=_pooling),
        ),
    )
MODELS.add(
    "clip-zero-shot",
    ModelEntry(
        name="clip-zero-shot", summary="cosine of frames and candidate in CLIP, untrained", load=_load_zero_shot
    ),
)
