"""`candidates` and `bench` under `--protocol released-2025`: the released evaluation, defects included."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import api
from ..commenter import Chooser, Commenter
from ..errors import Damaged, Mismatch, MissingInput, UsageError
from ..user_model import is_user_model
from .options import emit, emit_plan

if TYPE_CHECKING:
    from ..benchmark.released.clips import ReleasedDataset
    from ..benchmark.released.protocol import ReleasedProtocol
    from ..dataset import Dataset
    from ..workspace import Workspace

NAME = "released-2025"
ONE_DECODE = "sfat-released"  # the model that can be scored by one shared decode
WHOLE_CONTEXT = 1000  # comments of a clip from which training draws: all of them


def candidates_released(
    workspace: Workspace, dataset: Dataset, *, sizes: Sequence[int], dry_run: bool, as_json: bool
) -> int:
    """What `videochat candidates --protocol released-2025` does."""
    from videochat.benchmark.released.clips import ReleasedDataset
    from videochat.benchmark.released.files import build_lists
    from videochat.benchmark.released.protocol import RELEASED

    if sizes and tuple(sizes) != (RELEASED.k,):
        raise UsageError(f"{NAME} has {RELEASED.k} candidates a clip", fix=f"leave out --k, or pass --k {RELEASED.k}")
    if dry_run:
        data = ReleasedDataset(dataset, RELEASED, seed=workspace.settings.seed)
        emit_plan("candidates", {"clips": list(data.assignment.values()).count("test")}, as_json)
        return 0
    with workspace.lock():
        _, manifest = build_lists(workspace, dataset)
    emit(manifest, as_json, describe(manifest))
    return 0


def describe(manifest: dict[str, Any]) -> str:
    """What the lists are and what their defects amount to."""
    facts, left_out = manifest["facts"], sum(manifest["left_out"].values())
    lines = [
        f"protocol {manifest['label']}: lists of {facts['num_clips']} test clips, {left_out} left out, "
        f"data {manifest['data_digest'][:4]}, split by {manifest['split_by']}, digest {manifest['digest'][:8]}"
    ]
    if facts["num_clips"]:
        lines += [
            f"  of 20 plausible strings {facts['duplicates_of_plausible']:.1f} repeat another, "
            f"{facts['own_context_of_plausible']:.1f} are the clip's own context, "
            f"{100 * facts['plausible_in_true_top']:.0f} % are as near as the true top 20 (NumPy {manifest['numpy']})",
            "  the truth is among its own negatives in "
            + ", ".join(
                f"{100 * facts[f'truth_repeated_{kind}']:.1f} % ({kind})" for kind in ("cosine", "popularity", "random")
            )
            + " of the clips",
        ]
    return "\n".join(lines)


def load_released(
    name: str,
    workspace: Workspace,
    data: ReleasedDataset,
    protocol: ReleasedProtocol,
    *,
    device: str = "auto",
    train: bool = False,
    options: dict[str, Any] | None = None,
    suffix: str = NAME,
) -> Commenter:
    """The Commenter `name`, trained on this protocol's clips (in a checkpoint of its own) and scored its way.

    suffix: of the checkpoint's folder. Raises MissingInput if there is no checkpoint and `train` is not said.
    """
    entry = api.entry_of(name)
    context = api.context_of(entry.name, workspace, data, device=device, options=options or {})
    if entry.train is not None and not is_user_model(name):
        context = dataclasses.replace(
            context,
            checkpoint=context.checkpoint.with_name(f"{context.checkpoint.name}-{suffix}"),
            options={**training_options(name, protocol), **context.options, "allow_seen_recordings": True},
        )
    try:
        return scored(entry.load(context), protocol)
    except (MissingInput, Mismatch, Damaged) as error:
        if entry.train is None:
            raise
        if not train:
            fix = f"run `videochat bench --protocol {NAME} --model {name} --train`"
            raise type(error)(error.what, fix=fix) from None
    entry.train(context)
    return scored(entry.load(context), protocol)


def training_options(name: str, protocol: ReleasedProtocol) -> dict[str, Any]:
    """What the protocol asks of the training: comments drawn at each read, where the model can."""
    if name != ONE_DECODE or protocol.context != "redrawn":
        return {}
    return {"train_context_draws": protocol.train_draws, "max_context_comments": WHOLE_CONTEXT}


def scored(commenter: Commenter | Chooser, protocol: ReleasedProtocol) -> Commenter:
    """The commenter as the protocol lets it score: by one decode, or by its likelihood of the cut candidate.

    Scorers without a likelihood are left as they are. Raises UsageError for a model that only chooses.
    """
    if not isinstance(commenter, Commenter):
        raise UsageError(f"{commenter.name} gives no scores, which {NAME} sorts", fix="choose --protocol v1")
    if getattr(commenter, "tokenizer", None) is None:
        return commenter
    from videochat.models.sfat.released_ranking import OneDecode, cut_to

    likelihood: Any = commenter
    if protocol.scoring == "one-decode" and getattr(likelihood.model.config, "norm", "pre") == "post":
        return OneDecode(likelihood, max_pieces=protocol.candidate_tokens)
    return cut_to(likelihood, protocol.candidate_tokens)


def bench_released(
    workspace: Workspace,
    dataset: Dataset,
    names: Sequence[str],
    *,
    device: str,
    train: bool,
    options: dict[str, Any],
    limit: int | None,
    wide: bool,
    score_files: Sequence[Any],
    dry_run: bool,
    as_json: bool,
) -> int:
    """What `videochat bench --protocol released-2025` does."""
    from videochat.benchmark.released.clips import ReleasedDataset
    from videochat.benchmark.released.files import build_lists
    from videochat.benchmark.released.protocol import RELEASED
    from videochat.benchmark.released.run import rank_released, to_text
    from videochat.benchmark.released.shortcuts import Reversed

    if score_files:
        raise UsageError(f"{NAME} takes no scores files", fix="leave out --scores, or choose --protocol v1")
    data = ReleasedDataset(dataset, RELEASED, seed=workspace.settings.seed)
    if dry_run:
        num_clips = list(data.assignment.values()).count("test")
        plan = {"models": ", ".join(names), "test_clips": min(num_clips, limit or num_clips)}
        emit_plan("bench", plan, as_json)
        return 0
    with workspace.lock():
        lists, manifest = build_lists(workspace, dataset)
        commenters = [
            load_released(name, workspace, data, RELEASED, device=device, train=train, options=options)
            for name in names
        ]
        others = [name for name in api.SCORERS if name not in names]
        scorers = {name: scored(api.load_model(name, workspace, dataset), RELEASED) for name in others}
        plain = {commenter.name: commenter for commenter in (*commenters, *scorers.values())}
        turned = [Reversed(plain[name]) for name in ("tfidf", "popularity", "length")]
        path, info = rank_released(
            workspace, dataset, lists, manifest, RELEASED, [*commenters, *scorers.values(), *turned], limit=limit
        )
    emit({"run": str(path), **info}, as_json, f"{to_text(info, wide=wide)}\n\nrun     {path}")
    return 0
