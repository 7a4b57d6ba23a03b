"""Pretrained parts by name or folder: BERT with its word pieces, CLIP's text tower.

The released code starts from `prajjwal1/bert-mini` and `openai/clip-vit-base-patch32`. Where they cannot be had the
error says so; without them the model trains from scratch, with a tokenizer of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from videochat.errors import Damaged, Mismatch, MissingInput
from videochat.frames.weights import no_waiting_for_the_hub

from ..checkpoint import quiet
from .names import BERT, through

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from .model import SfatModel

PIECES = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "mask_token": "[MASK]",
}
CLIP_FIELDS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings", "projection_dim", "hidden_act", "layer_norm_eps", "bos_token_id", "eos_token_id",
    "pad_token_id",
)  # fmt: skip


def _fetched(what: str, name: str, fetch: Callable[[], Any]) -> Any:
    with quiet(), no_waiting_for_the_hub() as reachable:
        try:
            return fetch()
        except (OSError, ValueError, ImportError) as error:
            why = (str(error).strip().splitlines() or [""])[0][:200]
            if not reachable and not Path(name).exists():
                why = "the hub cannot be reached from here, and it is not in its cache"
            raise MissingInput(
                f"{what} {name!r} cannot be loaded: {why}",
                fix="give a local folder with its files, or a name that the hub can be asked for",
            ) from error


def public_name(source: str) -> str:
    """A name on the hub as it is; of a local path its last part, so that no checkpoint tells where it was made."""
    path = Path(source)
    return path.resolve().name if path.exists() else source


def word_pieces(source: str) -> PreTrainedTokenizerFast:
    """BERT's lower-case word pieces, with [CLS] and [SEP] as begin and end.

    source: a vocab.txt, a folder with one or with tokenizer.json, or a name on the hub.
    """
    from transformers import PreTrainedTokenizerFast

    path = Path(source)
    path = path / "vocab.txt" if (path / "vocab.txt").is_file() else path
    if path.is_file():
        words = path.read_text(encoding="utf-8").splitlines()
        vocabulary = {word: row for row, word in enumerate(words)}
    else:
        from transformers import AutoTokenizer

        vocabulary = _fetched("the tokenizer", source, lambda: AutoTokenizer.from_pretrained(source)).get_vocab()
    if missing := [token for token in PIECES.values() if token not in vocabulary]:
        raise Damaged(f"the vocabulary of {source} lacks {', '.join(missing)}", fix="give BERT's")
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=PIECES["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **PIECES)


def bert_fields(name: str) -> dict[str, Any]:
    """The fields of SfatConfig that a pretrained BERT settles."""
    from transformers import BertConfig

    config = _fetched("BERT", name, lambda: BertConfig.from_pretrained(name))
    return {
        "width": config.hidden_size,
        "num_context_layers": config.num_hidden_layers,
        "num_context_heads": config.num_attention_heads,
        "context_feed_forward_width": config.intermediate_size,
        "max_positions": config.max_position_embeddings,
    }


def load_bert(model: SfatModel, name: str) -> None:
    """Embeddings and context encoder from a pretrained BERT."""
    from transformers import BertModel

    bert = _fetched("BERT", name, lambda: BertModel.from_pretrained(name, add_pooling_layer=False))
    state = {f"context_encoder.bert.{key}": value for key, value in bert.state_dict().items()}
    ours, _ = through(BERT, state)
    wanted = model.state_dict()
    for key, value in ours.items():
        if wanted[key].shape != value.shape:
            raise Mismatch(
                f"{key} is {tuple(value.shape)} in {name}, {tuple(wanted[key].shape)} here",
                fix="leave the sizes to the pretrained model, and use its own word pieces",
            )
    model.load_state_dict(ours, strict=False)


def clip_text_fields(name: str) -> dict[str, Any]:
    """The fields of CLIPTextConfig of a pretrained CLIP."""
    from transformers import CLIPTextConfig

    config = _fetched("CLIP", name, lambda: CLIPTextConfig.from_pretrained(name))
    return {field: getattr(config, field) for field in CLIP_FIELDS}


def load_text_tower(model: SfatModel, name: str) -> None:
    from transformers import CLIPTextModelWithProjection

    tower = _fetched("CLIP", name, lambda: CLIPTextModelWithProjection.from_pretrained(name))
    model.text_tower.load_state_dict(tower.state_dict())
