"""The thresholds of cleaning. They are part of the stamp: changing one rebuilds the comments."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CleaningConfig:
    """Defaults come from 29 real English Twitch VODs (94 k comments), looked at by eye.

    max_chars: longer texts are dropped ("over-long"); 99.9 % of real comments have fewer than 263 characters.
    elongation_keep: runs of >= 3 equal characters are cut to this many (digits stay, full stops keep three).
    copypasta_min_chars, copypasta_keep, copypasta_keep_author: of texts with the same key of at least so many
        characters, the first so many in the recording (and by one author) stay.
    repeat_window_ms: an author's own words again within this time are dropped ("repeat").
    bot_min_chars, bot_min_repeats: an author who posts one text of at least so many characters at least so often ...
    bot_gap_tolerance, bot_gap_share, bot_min_gap_ms: ... where so large a share of the gaps lies within the tolerance
        (relative) of their median, and that median is at least so long, is a bot (a timer).
    bot_answer_ms, bot_answer_share, bot_min_answers: an author with at least so many comments that come within so many
        ms after somebody's !command, which is at least that share of his comments, is a bot.
    language_prior: probability given to the recording's declared language before the text is looked at.
    language_min_bytes: texts with fewer UTF-8 bytes of words (12 = 12 Latin letters, 6 Cyrillic ones, 4 ideographs)
        are not identified and stay.
    language_threshold: a text is dropped only if it is in another language with at least this probability, all others
        taken together.
    """

    max_chars: int = 300
    elongation_keep: int = 2
    copypasta_min_chars: int = 30
    copypasta_keep: int = 3
    copypasta_keep_author: int = 2
    repeat_window_ms: int = 30_000
    bot_min_chars: int = 20
    bot_min_repeats: int = 5
    bot_gap_tolerance: float = 0.02
    bot_gap_share: float = 0.6
    bot_min_gap_ms: int = 60_000
    bot_answer_ms: int = 3_000
    bot_answer_share: float = 0.75
    bot_min_answers: int = 5
    language_prior: float = 0.5
    language_min_bytes: int = 12
    language_threshold: float = 0.9

    def __post_init__(self) -> None:
        if self.elongation_keep < 2:
            raise UsageError(f"elongation_keep is {self.elongation_keep}", fix="a whole number of at least 2")
        whole = ("max_chars", "copypasta_keep", "copypasta_keep_author", "bot_min_repeats")
        for name in whole:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", fix="a whole number of at least 1")
        for name in ("language_prior", "language_threshold", "bot_gap_share", "bot_answer_share"):
            if not 0 < getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", fix="a number between 0 and 1, both excluded")
