"""The models under transformers' own names for them, so that a checkpoint folder says which class it is.

from transformers import AutoModelForSeq2SeqLM
from videochat.models import auto
auto.register()
model = AutoModelForSeq2SeqLM.from_pretrained("videochat-data/checkpoints/sfat")
"""

from __future__ import annotations

from importlib import import_module

FOLDERS = (
    "sfat",
    "tte",
    "livebot",
    "videoic",
    "klvcg",
)  # those whose config.json holds all of a model


def register() -> list[str]:
    """Tell AutoConfig, AutoModel and AutoModelForSeq2SeqLM of every model here; returns their model types.

    May be called again. Nothing is registered on import.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM

    found = []
    for folder in FOLDERS:
        recipe = import_module(f".{folder}.train", __package__).RECIPE
        model, config = recipe.model, recipe.model.config_class
        AutoConfig.register(config.model_type, config, exist_ok=True)
        for auto in (AutoModel, AutoModelForSeq2SeqLM):
            auto.register(config, model, exist_ok=True)
        found.append(config.model_type)
    return found
