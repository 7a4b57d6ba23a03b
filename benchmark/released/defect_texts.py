"""What each defect of the released evaluation is, and how to read its figures: the words of docs/defects.md."""

from __future__ import annotations

from dataclasses import dataclass

from .protocol import SETS

MODELS = "*models*"  # stands for all models with weights

INTRODUCTION = """# The defects, one at a time

The evaluation that the authors of SFAT released is imitated here as protocol `released-2025`, from what is known of its
code, with every defect as a switch. This page turns one switch at a time from *released* to *mended* and shows what it
is worth on the same clips and the same models. Made by `videochat defects`; no figure is typed.

**How to read.** R@1 and MRR of ten candidates; chance is .100 and .293. *Difference* is mended minus released, paired
by clip, with a 95 % interval over clusters where there are ten or more. Everything but the switch is as released, ties
by the sort with the truth first included: figures near 1 for a scorer that scores most candidates alike are that tie
rule at work (defects 6 and 7), not knowledge. Figures are means over clips but for the last defect. A scorer with a
minus is the other upside down; `recording-frequency` counts the recording's comments, which no model may. Nothing on
this page is comparable with the paper's tables.
"""


@dataclass(frozen=True, kw_only=True)
class Defect:
    """switch: of the protocol. shown: scorers of the table; sets: its sets. text: what it is. reading: how to read."""

    switch: str
    title: str
    text: str
    reading: str
    shown: tuple[str, ...]
    sets: tuple[str, ...] = SETS


DEFECTS = (
    Defect(
        switch="truth",
        title="The truth is the response most like the context",
        text="Of a clip's responses the one with the highest TF-IDF cosine to the joined context is asked for. A word "
        "overlap then tells the truth from negatives that were not chosen so, and a clip without overlap asks for an "
        "arbitrary response. Mended: the response is drawn by a hash.",
        reading="Where TF-IDF loses, the choice of the truth had given it that; a truth drawn by hash is further from "
        "the context than negatives that were chosen by similarity, so the reversed scorer gains.",
        shown=("tfidf", "-tfidf", MODELS),
    ),
    Defect(
        switch="own_context",
        title="The clip's own context is in the pool of negatives",
        text="Comments that the model has just read stand among the candidates, and a model that copies them is "
        "punished, one that avoids them rewarded. Mended: nothing of the own context is a negative.",
        reading="What is nearest to the joined context is the context itself.",
        shown=("tfidf", "-tfidf", "recording-frequency", MODELS),
        sets=("cosine",),
    ),
    Defect(
        switch="duplicates",
        title="Duplicates are kept",
        text="One string may stand several times among the ten, the truth's own string too; a copy of the truth that "
        "counts as wrong ties with it. Mended: each string once, none equal to the truth.",
        reading="A repeated negative leaves fewer alternatives; a repeated truth ties with itself, and the sort "
        "decides.",
        shown=("tfidf", "-tfidf", "-popularity", "length", MODELS),
    ),
    Defect(
        switch="selection",
        title="The nearest strings are not the nearest",
        text="`argpartition(similarity, -1)[::-1]` guarantees its first element alone. What follows depends on NumPy "
        "and on the processor, so one code makes different test sets on different machines. Mended: sorted exactly.",
        reading="Where this NumPy's argpartition happens to sort, there is nothing to gain or lose; the set of an "
        "older NumPy cannot be had here.",
        shown=("tfidf", "-tfidf", MODELS),
        sets=("cosine",),
    ),
    Defect(
        switch="order",
        title="The truth stands first",
        text="The truth is candidate 0 of every clip. Alone that is harmless; with ties it decides. Mended: shuffled "
        "by a hash, ties still left to the sort.",
        reading="Whoever scores many candidates alike loses what the first place gave: the constant scorer falls from "
        "all to chance.",
        shown=("constant", "popularity", "-popularity", "length", "tfidf", "-tfidf", MODELS),
        sets=("random",),
    ),
    Defect(
        switch="ties",
        title="Ties fall as the sort has them",
        text="`torch.argsort` is not stable, and equal scores come back in an order that depends on the length of the "
        "list, the device and the version. It is not always in the truth's favour: it is decided by the sort and the "
        "order. Mended: the expectation over all orders of the tied.",
        reading="The difference is what the sort had decided.",
        shown=("constant", "popularity", "-popularity", "length", "tfidf", "-tfidf", MODELS),
        sets=("random",),
    ),
    Defect(
        switch="candidate_tokens",
        title="Candidates are cut to three word pieces",
        text="Five ids with begin and end leave three word pieces of a comment; candidates with one beginning tie. "
        "Mended: as many pieces as the model was trained on, still by one decode where that is the scoring.",
        reading="Simple scorers read whole texts and do not notice.",
        shown=(MODELS,),
    ),
    Defect(
        switch="scoring",
        title="One decode is shared by all candidates",
        text="The logits come from one free-running greedy decode that never sees the candidate, so a score is a sum "
        "of unigrams, one for each place; a word in the second place is never judged after the candidate's own first. "
        "Mended: the likelihood of each candidate, of its first three pieces as before.",
        reading="Models that have no such decode are ranked by their likelihood either way, and are left out here.",
        shown=(MODELS,),
    ),
    Defect(
        switch="context",
        title="Contexts are drawn anew at every read",
        text="Fifteen comments are drawn with replacement from the context in each evaluation, unseeded: one model has "
        "as many figures as there are evaluations. Mended: the context as it was said; "
        "`sfat-released`, whose training draws five comments at each read, is trained anew without.",
        reading="How far a figure moves from draw to draw, with nothing else changed, stands above; a model that "
        "hardly uses its context does not move.",
        shown=("tfidf", "-tfidf", MODELS),
    ),
    Defect(
        switch="frames",
        title="The frames show the time of the answers",
        text="The 30 frames span the whole clip, its last ten seconds included, in which the answers were written; "
        "the ten seconds before the clip are not shown. Mended: the 30 frames that end before the answers, in training "
        "too.",
        reading="Where chat reacts within the window, the future shows what is talked about; a model that hardly looks "
        "gains nothing by it. In the sample world what is asked about was shown before the answers. Text-only data has "
        "no row.",
        shown=(MODELS,),
    ),
    Defect(
        switch="split",
        title="The split is of clips, not of recordings",
        text="Clips are shuffled 90/10, so that the same stream, even the neighbouring half minute, lies on both "
        "sides. Mended: training clips of other recordings, as many as before; the tested clips are the same.",
        reading="What is lost, where anything is, was known from the same stream: its phrases, its people, its scene. "
        "`popularity` may rise instead: fewer strings were seen in training, those counted 0 tie, and the first place "
        "wins the ties.",
        shown=("popularity", "-popularity", "tfidf", MODELS),
    ),
    Defect(
        switch="averaging",
        title="Metrics are means of batch means",
        text="Each batch of 32 counts alike, so the clips of a last, short batch count more. Mended: the mean over "
        "clips.",
        reading="No interval: the one number is another average of the same ranks.",
        shown=("random", "tfidf", "-tfidf", "length", MODELS),
        sets=("random",),
    ),
)
