"""Stage 1 on a model: its token embedding and context encoder learn the training split's chat by MLM.

Any model with a `TokenEmbedding` called `embedding` and a `ContextEncoder` called `context_encoder` can have it; two
whose encoders have the same shape share one result (see `videochat.models.mlm`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from videochat.commenter import LoadContext
from videochat.files import digest_json

from . import mlm
from .batches import comment_text
from .encoder import ContextEncoder, MlmModel, TokenEmbedding
from .layers import initialise
from .tokenizer import canonical, encoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from .training_run import TrainingSettings


def pretrain_context(
    model: Any, context: LoadContext, settings: TrainingSettings, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """Give `model` a pretrained embedding and context encoder, the same for all variants. Returns the log."""
    if not settings.mlm_epochs:
        return []
    config = model.config
    shape = {
        "width": config.width,
        "num_heads": config.num_heads,
        "hidden_width": config.feed_forward_width,
        "num_layers": config.num_context_layers,
        "dropout": config.dropout,
    }
    torch.manual_seed(context.seed)
    pretrained = MlmModel(TokenEmbedding(config.vocab_size, config.width), ContextEncoder(**shape))
    pretrained.apply(lambda module: initialise(module, config.width))
    encode = encoder_of(tokenizer)
    keys = {comment_text(c) for clip in context.dataset.clips("train") for c in (*clip.context, *clip.responses)}
    log = mlm.pretrain(
        pretrained,
        [encode(*key, config.max_comment_tokens) for key in sorted(keys)],
        settings=settings.mlm,
        seed=context.seed,
        identity={
            "data": context.dataset.digest,
            "tokenizer": digest_json(canonical(tokenizer)),
            "max_comment_tokens": config.max_comment_tokens,
            **shape,
        },
        folder=context.checkpoint.parent,
        device=context.device,
    )
    model.embedding.load_state_dict(pretrained.embedding.state_dict())
    model.context_encoder.load_state_dict(pretrained.encoder.state_dict())
    return log
