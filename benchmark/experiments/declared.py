"""The experiments by name: what is varied, what is compared with what, and where the question comes from.

One more experiment is one entry here. Source of the first three and of the questions: the paper (arXiv 2510.26978), its
ablations and its open questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from videochat.errors import UsageError
from videochat.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model of the registry with options, under a label of its own. x: its place on a numeric axis, if it has one.

    world: reference rate of the simulated world that it is trained and ranked in; None: the workspace's own data.
    """

    label: str
    model: str = "sfat"
    options: Mapping[str, Any] = field(default_factory=dict)
    x: float | None = None
    world: float | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """variants: at least two. pairs: (a, b): the differences a - b that answer the question. axis: name of x.

    needs: what the data must hold beyond what the models need. weights: show where the frame weights lie. told: options
    that tell the models of the variants apart.
    """

    name: str
    question: str
    source: str
    variants: tuple[Variant, ...]
    pairs: tuple[tuple[str, str], ...]
    axis: str = ""
    needs: frozenset[str] = frozenset()
    weights: bool = False
    told: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        labels = [variant.label for variant in self.variants]
        if (
            len(set(labels)) != len(labels)
            or not self.pairs
            or not {x for pair in self.pairs for x in pair} <= set(labels)
        ):
            raise UsageError(f"impossible experiment {self.name!r}", fix="labels once each, pairs of them")

    def variant(self, label: str) -> Variant:
        return next(variant for variant in self.variants if variant.label == label)

    @property
    def turned(self) -> frozenset[str]:
        """The options that the variants differ in: whoever set one for all of them would make the labels untrue."""
        return self.told.union(*(variant.options for variant in self.variants))


EXPERIMENTS: Registry[Experiment] = Registry("experiment")


def _add(experiment: Experiment) -> None:
    EXPERIMENTS.add(experiment.name, experiment)


def _against(baseline: str, *others: str) -> tuple[tuple[str, str], ...]:
    return tuple((baseline, other) for other in others)


_add(
    Experiment(
        name="pooling",
        question="Does weighting frames by their similarity to the chat help, and over what?",
        source="ablation of the weighted sum (mechanism 1): mean pooling in its place",
        variants=(
            Variant(label="semantic"),
            Variant(label="mean", options={"pooling": "mean"}),
            Variant(label="max", options={"pooling": "max"}),
            Variant(label="attention", options={"pooling": "attention"}),
            Variant(label="all-frames", options={"pooling": "all"}),
            Variant(label="text-only", options={"pooling": "none"}),
        ),
        pairs=_against("semantic", "mean", "max", "attention", "all-frames", "text-only"),
        weights=True,
    )
)
_add(
    Experiment(
        name="temperature",
        question="How sharp should the softmax over frames be?",
        source="the paper leaves its temperature unsaid; sweep over 0.1, 0.5, 1, 2, 5, and one that is learned",
        variants=(
            Variant(label="t0.1", x=0.1),  # the default
            *(
                Variant(label=f"t{value:g}", options={"frame_temperature": value}, x=value)
                for value in (0.5, 1.0, 2.0, 5.0)
            ),
            Variant(label="learned", options={"learn_temperature": True}),
        ),
        pairs=_against("t0.1", "t0.5", "t1", "t2", "t5", "learned"),
        axis="temperature",
        weights=True,
    )
)
_add(
    Experiment(
        name="attention-order",
        question="Does it matter whether the decoder reads the chat or the video first?",
        source="modality-specific cross-attention (mechanism 2), reversed; with one video vector the order can hardly "
        "matter (it adds the same vector everywhere), so it is tried with every frame kept, too",
        variants=(
            Variant(label="chat-first"),
            Variant(label="video-first", options={"cross_attention_order": "video_text"}),
            Variant(label="all-chat-first", options={"pooling": "all"}),
            Variant(label="all-video-first", options={"pooling": "all", "cross_attention_order": "video_text"}),
        ),
        pairs=(("chat-first", "video-first"), ("all-chat-first", "all-video-first")),
    )
)
_add(
    Experiment(
        name="context-size",
        question="How many context comments are worth reading?",
        source="the released code trains on 5 comments and ranks on 15",
        variants=(
            Variant(label="c15", x=15),  # the default
            *(
                Variant(label=f"c{count}", options={"max_context_comments": count}, x=count)
                for count in (1, 3, 5, 10, 30)
            ),
        ),
        pairs=_against("c15", "c1", "c3", "c5", "c10", "c30"),
        axis="context comments",
        weights=True,
    )
)
_add(
    Experiment(
        name="audio",
        question="Does what is said help, when a gate may close it?",
        source="open question 1: integrating audio degraded the results of the paper",
        variants=(Variant(label="sfat"), Variant(label="sfat-audio", model="sfat-audio")),
        pairs=(("sfat-audio", "sfat"),),
        needs=frozenset({"transcript"}),
        told=frozenset({"transcript"}),
    )
)
_add(
    Experiment(
        name="knowledge",
        question="Does retrieved knowledge help, when a gate may close it?",
        source="open question 2: static integration of knowledge introduced noise",
        variants=(Variant(label="sfat"), Variant(label="sfat-knowledge", model="sfat-knowledge")),
        pairs=(("sfat-knowledge", "sfat"),),
        told=frozenset({"knowledge"}),
    )
)
_add(
    Experiment(
        name="released",
        question="Which difference between the described and the released network costs what?",
        source="the released code is another network than the paper's text describes (models/sfat/README.md); each "
        "difference is made by itself, beginning from the described one, and the released one weighs by frozen CLIP",
        variants=(
            Variant(label="described"),
            Variant(
                label="learned-weighting",
                options={"weighting": "learned", "num_video_layers": 1, "num_video_heads": 4},
            ),
            Variant(label="softmax-each", options={"aggregation": "each"}),
            Variant(label="post-norm", options={"norm": "post"}),
            Variant(label="no-fusion", options={"num_fusion_layers": 0}),
            Variant(label="no-places", options={"context_positions": "none", "memory_marks": False}),
            Variant(label="padding-counts", options={"count_padding": True, "max_response_tokens": 8}),
            Variant(label="released", model="sfat-released"),
            Variant(
                label="released-frozen", model="sfat-released", options={"weighting": "cosine", "num_video_layers": 0}
            ),
        ),
        pairs=(
            *_against(
                "described",
                "learned-weighting",
                "softmax-each",
                "post-norm",
                "no-fusion",
                "no-places",
                "padding-counts",
                "released",
            ),
            ("released-frozen", "released"),
        ),
        weights=True,
    )
)
RATES = (0.0, 0.25, 0.5, 1.0)
_add(
    Experiment(
        name="reference-rate",
        question="How often must chat refer to the screen for the weighting to pay?",
        source="the assumption of mechanism 1: viewers talk about what is salient on screen. Simulated worlds, where "
        "the chat of this share of the clips refers to the screen",
        variants=tuple(
            Variant(label=f"{name}@{rate:g}", model=model, x=rate, world=rate)
            for rate in RATES
            for name, model in (("semantic", "sfat"), ("mean", "sfat-mean"))
        ),
        pairs=tuple((f"semantic@{rate:g}", f"mean@{rate:g}") for rate in RATES),
        axis="share of clips that refer to the screen",
        told=frozenset({"pooling"}),
    )
)
