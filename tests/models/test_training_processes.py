"""Two processes train as one does: losses are summed and divided by the tokens of all (FACTS §10)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, torch
from pathlib import Path
from videochat.commenter import MODELS, LoadContext
from videochat.dataset import Dataset
from videochat.models import catalog
from videochat.workspace import Workspace
torch.set_num_threads(1)
root, name = Path(sys.argv[1]), sys.argv[2]
workspace = Workspace.open(root)
options = dict(width=32, epochs=2, mlm_epochs=0, batch_size=8, vocab_size=400, dropout=0.0, null_probability=0.0,
               responses_per_clip=99)
MODELS["sfat"].train(LoadContext(workspace=workspace, dataset=Dataset.open(root), options=options,
                                 checkpoint=root / name / "sfat"))
"""


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(tmp_path: Path, dummies) -> None:
    dummies.make_dataset(tmp_path / "w", num_channels=4, clips_per_recording=6, dim=8)
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, command in (("one", [sys.executable]), ("two", launch)):
        done = subprocess.run(
            [*command, str(script), str(tmp_path / "w"), name], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (
        [json.loads(line) for line in (tmp_path / "w" / name / "sfat" / "training.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(two) == 2
    for left, right in zip(one, two, strict=True):
        assert right["train_loss"] == pytest.approx(left["train_loss"], rel=1e-5, abs=2e-6)
        assert right["dev_loss"] == pytest.approx(left["dev_loss"], rel=1e-5, abs=2e-6)
