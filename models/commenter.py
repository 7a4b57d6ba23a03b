"""A trained likelihood model as a Commenter: scores, frame weights and comments, whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from videochat.commenter import ClipScores, ClipView, TextTable
from videochat.progress import progress

from .batches import Collator, empty_view
from .generation import SaysSomething, comments_of, method_options
from .scoring import BATCH_CLIPS, candidate_log_likelihoods

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

SCORE_CLIPS = 256  # clips between two movements of the progress bar


class LikelihoodCommenter:
    """Implements `videochat.commenter.Commenter`.

    score is the log-likelihood; num_tokens and null_log_likelihood let the benchmark try its other rules.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: PreTrainedTokenizerFast,
        collator: Collator,
        *,
        device: str = "cpu",
        seed: int = 0,
        checkpoint_digest: str | None = None,
    ) -> None:
        self.name = name
        self.needs: frozenset[str] = collator.needs
        self.model = model.to(device).eval()
        self.tokenizer = tokenizer
        self.collator = collator
        self.device = device
        self.seed = seed
        self.checkpoint_digest = checkpoint_digest
        self._ids: dict[str, tuple[int, ...]] = {}
        self._null: dict[str, float] = {}

    def score(
        self, clips: Sequence[ClipView], candidates: Sequence[Sequence[int]], texts: TextTable
    ) -> list[ClipScores]:
        """Rows of `texts` as candidates of each clip. Float rounding apart, a clip's scores depend on it alone."""
        wanted = sorted({texts.texts[row] for rows in candidates for row in rows})
        for text in wanted:
            if text not in self._ids:
                self._ids[text] = self.collator.response_ids(text)
        self._fill_null([text for text in wanted if text not in self._null])
        ids = [[self._ids[texts.texts[row]] for row in rows] for rows in candidates]
        found: list[NDArray[np.float64]] = []
        with progress(what=f"score {self.name}", total=len(clips), unit="clip") as bar:
            for start in range(0, len(clips), SCORE_CLIPS):
                part = slice(start, start + SCORE_CLIPS)
                found += candidate_log_likelihoods(
                    self.model, self.collator, clips[part], ids[part], device=self.device
                )
                bar.update(len(clips[part]))
        return [
            ClipScores(
                score=log_likelihood,
                log_likelihood=log_likelihood,
                num_tokens=np.array([len(row) - 1 for row in rows], dtype=np.int32),
                null_log_likelihood=np.array([self._null[texts.texts[row]] for row in clip], dtype=np.float64),
            )
            for log_likelihood, rows, clip in zip(found, ids, candidates, strict=True)
        ]

    def _fill_null(self, texts: Sequence[str]) -> None:
        """The likelihood on an empty clip, once for each text."""
        for start in range(0, len(texts), SCORE_CLIPS):
            part = texts[start : start + SCORE_CLIPS]
            rows = [[self._ids[text] for text in part]]
            values = candidate_log_likelihoods(self.model, self.collator, [empty_view()], rows, device=self.device)[0]
            self._null.update(zip(part, values.tolist(), strict=True))

    @torch.inference_mode()
    def frame_weights(self, clips: Sequence[ClipView]) -> list[NDArray[np.float32]]:
        """For each clip the weights of its frames, float32 (N,), summing to 1; [] for a model that weighs none."""
        if "frames" not in self.needs or not hasattr(self.model, "weigh_frames"):
            return []
        out: list[NDArray[np.float32]] = []
        for start in range(0, len(clips), BATCH_CLIPS):
            part = clips[start : start + BATCH_CLIPS]
            batch = {k: v.to(self.device) for k, v in self.collator.clips(part).items()}
            weights = self.model.weigh_frames(batch).float().cpu().numpy()
            out += [row[: 0 if c.frames is None else len(c.frames)] for row, c in zip(weights, part, strict=True)]
        return out

    def gates(
        self, clips: Sequence[ClipView], answers: Sequence[str] | None = None, *, stream: str = ""
    ) -> list[float]:
        """For each clip how far the gate before its transcript or knowledge is open, in [0, 1]: the mean over layers
        and over the tokens of its answer (without answers: where one begins); 0 where nothing was said or found. [] for
        a model without. stream: "transcript" or "knowledge", for a model with both."""
        if not getattr(self.model, "has_gate", False):
            return []
        out: list[float] = []
        texts = answers if answers is not None else [""] * len(clips)
        for start in range(0, len(clips), BATCH_CLIPS):
            part = clips[start : start + BATCH_CLIPS]
            response = self.collator.responses(texts[start : start + len(part)], range(len(part)))
            batch = {k: v.to(self.device) for k, v in self.collator.clips(part).items()}
            given = {k: v.to(self.device) for k, v in response.items()}
            out += self.model.gate_means(batch, **given, stream=stream).tolist()
        return out

    @torch.inference_mode()
    def generate(
        self, clips: Sequence[ClipView], *, max_new_tokens: int = 20, seed: int | None = None, **options: Any
    ) -> list[str]:
        """One comment a clip, never empty: greedy, or sampled where `seed` is given; options go to transformers'
        `generate` (num_beams, temperature, top_k, top_p)."""
        from transformers import LogitsProcessorList

        config = method_options(self.tokenizer, max_new_tokens=max_new_tokens, seed=seed, options=options)
        config.decoder_start_token_id = self.tokenizer.bos_token_id
        start = getattr(self.model, "generation_start", 1)  # tokens before the comment in what `generate` returns
        rule = SaysSomething(self.tokenizer, start=start, max_new_tokens=max_new_tokens)
        out: list[str] = []
        with progress(what=f"generate {self.name}", total=len(clips), unit="clip") as bar:
            for start in range(0, len(clips), BATCH_CLIPS):
                part = clips[start : start + BATCH_CLIPS]
                batch = {k: v.to(self.device) for k, v in self.collator.clips(part).items()}
                ids = self.model.generate(
                    **batch, generation_config=config, logits_processor=LogitsProcessorList([rule])
                )
                out += comments_of(self.tokenizer, ids)
                bar.update(len(part))
        return out
