"""Make the bundled reference model: SFAT trained on a sample world of its own seed, in `models/sfat/reference/`.

    OMP_NUM_THREADS=1 python -m videochat.models.sfat.make_reference --data /tmp/reference-world

The workspace must be one of `videochat sample --seed 2510` with the sample CLIP, built into shards; its seed is kept
for this, so that no workspace of a user tests on recordings that the reference was trained on. Commit what it writes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from videochat.commenter import LoadContext
from videochat.dataset import Dataset
from videochat.errors import Mismatch
from videochat.workspace import Workspace

from .train import REFERENCE, train

REFERENCE_SEED = 2510  # of the world, after the paper's arXiv number; the training's seed is 0


def make_reference(root: Path, target: Path = REFERENCE) -> Path:
    """Train on the workspace `root`; replaces `target` when all went well. Raises Mismatch for another world."""
    workspace, dataset = Workspace.open(root), Dataset.open(root)
    if not dataset.simulated or workspace.settings.seed != REFERENCE_SEED:
        raise Mismatch(
            f"{root} is no sample world of seed {REFERENCE_SEED}",
            fix=f"make it with `videochat sample --seed {REFERENCE_SEED}` and the steps up to `videochat build`",
        )
    with tempfile.TemporaryDirectory() as folder:
        context = LoadContext(workspace=workspace, dataset=dataset, checkpoint=Path(folder) / "sfat", seed=0)
        train(context, name="sfat", pooling="semantic")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(context.checkpoint, target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the built workspace of the reference world")
    print(make_reference(parser.parse_args().data))


if __name__ == "__main__":
    main()
