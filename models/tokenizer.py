"""A byte-level BPE tokenizer, trained on the training split's chat; emotes are whole tokens.

    tokenizer = train_tokenizer(comments, vocab_size=4096)
    encode = encoder_of(tokenizer)
    encode("nice one", ("Kappa",), 24)      # begin, "nice", " one", <Kappa>, end

Byte-level: no text is unknown, emoji and every script included. Special tokens written in chat ("[EOS]") are read as
plain text, so nobody can end a comment from inside it. An emote is written `<code>`; rare ones are spelled in bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from videochat.errors import MissingInput, UsageError
from videochat.schema import Comment

SPECIAL = ("[PAD]", "[BOS]", "[EOS]", "[MASK]")
PAD, BOS, EOS, MASK = range(4)
MIN_EMOTE_COUNT = 3  # an emote becomes a token when it was used so often
MAX_EMOTES = 1000

Encode = Callable[[str, tuple[str, ...], int], tuple[int, ...]]


def emote_token(code: str) -> str:
    return f"<{code}>"


def train_tokenizer(comments: Iterable[Comment], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train on these comments. Texts are counted and sorted first, so the result depends on their counts alone."""
    texts: Counter[str] = Counter()
    emotes: Counter[str] = Counter()
    for comment in comments:
        texts[comment.text] += 1
        emotes.update(comment.emotes)
    chosen = _frequent(emotes)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocab_size - len(chosen), len(SPECIAL) + 256),
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for text in sorted(texts) for _ in range(texts[text])), trainer)
    tokenizer.add_tokens([AddedToken(emote_token(code), normalized=False, lstrip=True) for code in chosen])
    return wrap(tokenizer)


def _frequent(emotes: Counter[str]) -> list[str]:
    return sorted(code for code, count in emotes.most_common(MAX_EMOTES) if count >= MIN_EMOTE_COUNT)


def pretrained_tokenizer(name: str, comments: Iterable[Comment]) -> PreTrainedTokenizerFast:
    """A tokenizer of transformers by name or local folder, with the frequent emotes of `comments` as whole tokens.

    [CLS] and [SEP] serve as begin and end where it has no others; what is missing of begin, end, padding and mask is
    added. Raises MissingInput if it cannot be had, UsageError if it is not a fast one. None of its own code is run.
    """
    from transformers import AutoTokenizer

    from videochat.frames.weights import no_waiting_for_the_hub

    with no_waiting_for_the_hub() as reachable:
        try:
            found = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            if Path(name).is_dir():
                why = "that folder holds none that can be read"
            elif not reachable:
                why = "the hub cannot be reached from here, and it is not in its cache"
            fix = "give a local folder with tokenizer.json, or leave out --set tokenizer= to train one on the chat"
            raise MissingInput(f"no tokenizer {name!r}: {why}", fix=fix) from error
    if not isinstance(found, PreTrainedTokenizerFast):
        raise UsageError(f"{name} has no fast tokenizer", fix="take one with a tokenizer.json")
    roles = {
        "pad_token": found.pad_token or SPECIAL[PAD],
        "bos_token": found.bos_token or found.cls_token or SPECIAL[BOS],
        "eos_token": found.eos_token or found.sep_token or SPECIAL[EOS],
        "mask_token": found.mask_token or SPECIAL[MASK],
    }
    backend: Tokenizer = Tokenizer.from_str(found.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    backend.add_special_tokens([token for token in roles.values() if backend.token_to_id(token) is None])
    codes = _frequent(Counter(code for comment in comments for code in comment.emotes))
    backend.add_tokens([AddedToken(emote_token(code), normalized=False, lstrip=True) for code in codes])
    unknown = {"unk_token": found.unk_token} if found.unk_token else {}
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **roles, **unknown)


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        bos_token=SPECIAL[BOS],
        eos_token=SPECIAL[EOS],
        mask_token=SPECIAL[MASK],
        clean_up_tokenization_spaces=False,
    )


def encoder_of(tokenizer: PreTrainedTokenizerFast) -> Encode:
    """(text, emotes, most tokens) -> begin, at most so many tokens, end. Cuts from the right."""
    backend: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.encode_special_tokens = True  # "[EOS]" in a chat line is five characters, not an end
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id

    def encode(text: str, emotes: tuple[str, ...], max_tokens: int) -> tuple[int, ...]:
        line = " ".join([text, *(emote_token(code) for code in emotes)]) if emotes else text
        ids = backend.encode(line, add_special_tokens=False).ids
        return (bos, *ids[:max_tokens], eos)

    return encode


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)


def canonical(tokenizer: PreTrainedTokenizerFast) -> str:
    """The tokenizer as canonical JSON, for digests."""
    return json.dumps(json.loads(tokenizer.backend_tokenizer.to_str()), sort_keys=True, ensure_ascii=False)
