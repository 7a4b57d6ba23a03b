"""The language of each text, with the channel as prior; texts surely in another language are dropped.

Short chat is poorly identified ("lol", "gg", "nice play"), so nothing is decided by the text alone: the prior gives
the recording's declared language `language_prior`, then the recording's own texts move it (expectation-maximisation
over the mixture of languages), and a text goes only if it has enough words and another language is surer than
`language_threshold`. The score that is kept is the posterior probability, in [0, 1].
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .chat import Chat
from .identify import identifier
from .rules import drop

PRIOR_TEXTS = 50.0  # the declared language weighs as much as so many texts
EM_TEXTS = 4000  # the mixture is estimated from at most so many texts, evenly taken
EM_ROUNDS = 5
_ODD = "(?:[a-z][A-Z]|[0-9])"
_ODD_WORD = rf"[A-Za-z0-9]*{_ODD}[A-Za-z0-9]*"


def words_of(texts: pa.Array) -> pa.Array:
    """What a text says in words: letters alone, lower case, without words like "peepoHappy" (an emote of a channel)."""
    odd = pc.match_substring_regex(texts, _ODD)
    texts = pc.replace_with_mask(texts, odd, pc.replace_substring_regex(texts.filter(odd), _ODD_WORD, " "))
    texts = pc.replace_substring_regex(texts, r"[^\p{L}\p{M}']+", " ")
    return pc.ascii_trim_whitespace(pc.utf8_lower(texts))


@drop("language", "surely in another language than the recording's")
def language(chat: Chat) -> NDArray[np.bool_]:
    config = chat.config
    size = len(chat.texts)
    chat.language = np.full(size, -1, dtype=np.int16)
    chat.language_score = np.full(size, np.nan, dtype=np.float32)
    words = words_of(chat.texts)
    bytes_of = pc.binary_length(pc.replace_substring(words, " ", "")).to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero(chat.text_alive & (bytes_of >= config.language_min_bytes))
    if not len(chosen):
        return np.zeros(len(chat), dtype=bool)

    model = identifier()
    chat.languages = model.languages
    unique = words.take(pa.array(chosen)).dictionary_encode()
    likelihoods = model.log_likelihoods(unique.dictionary.to_pylist())
    target = chat.recording.language.partition("-")[0].casefold()
    prior = _prior(model.languages, target, config.language_prior)
    mixture = _mixture(likelihoods, prior)
    posterior = _posterior(likelihoods, mixture)
    best = posterior.argmax(axis=1)
    codes = unique.indices.to_numpy(zero_copy_only=False)
    chat.language[chosen] = best[codes]
    chat.language_score[chosen] = np.minimum(posterior[np.arange(len(best)), best], 1)[codes]
    chat.notes["languages"] = {
        code: round(float(share), 4)
        for share, code in sorted(zip(mixture, model.languages, strict=True), reverse=True)
        if share >= 0.005
    }
    if target not in model.languages:  # "" or a language that the model does not know: nothing to compare with
        return np.zeros(len(chat), dtype=bool)
    other = (chat.language != model.languages.index(target)) & (chat.language_score >= config.language_threshold)
    return chat.rows(other)


def _prior(languages: tuple[str, ...], target: str, share: float) -> NDArray[np.float64]:
    prior = np.full(len(languages), 1 / len(languages))
    if target in languages:
        prior[:] = (1 - share) / (len(languages) - 1)
        prior[languages.index(target)] = share
    return prior


def _mixture(likelihoods: NDArray[np.float32], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """The recording's mixture of languages (sums to 1): `prior`, moved by the texts."""
    sample = likelihoods[:: max(1, len(likelihoods) // EM_TEXTS)]
    mixture = prior
    for _ in range(EM_ROUNDS):
        mixture = PRIOR_TEXTS * prior + _posterior(sample, mixture).sum(axis=0)
        mixture = mixture / mixture.sum()
    return mixture


def _posterior(likelihoods: NDArray[np.float32], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    logits = likelihoods + np.log(prior)
    logits -= logits.max(axis=1, keepdims=True)
    posterior = np.exp(logits)
    result: NDArray[np.float64] = posterior / posterior.sum(axis=1, keepdims=True)
    return result
