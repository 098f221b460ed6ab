"""Where the runs of an ablation lie, and what they came to."""

import re
from pathlib import Path

from hslm_tf.evaluation.ranks import RecallReport
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.runs.results import keep_recall, known_recall
from hslm_tf.runs.run_directory import RunDirectory

# A row has one result, whatever else its run is measured on.
_RESULT = {"measured by": "ablate"}


def ablation_run(folder: Path, row: int, seed: int) -> RunDirectory:
    """The run of a row with a seed."""
    return RunDirectory(folder / f"row-{row}-seed-{seed}")


def finished_runs(folder: Path) -> list[RunDirectory]:
    """The runs of an ablation that have been measured."""
    found = {}
    for path in folder.glob("row-*-seed-*"):
        run = RunDirectory(path)
        if (name := _name(run)) and read_recall(run) is not None:
            found[name] = run
    return [found[name] for name in sorted(found)]


def row_of(run: RunDirectory) -> int | None:
    """The row of Table 4 that a run was trained as."""
    name = _name(run)
    if name is None:
        return None
    parts, model = ABLATION_PARTS.get(name[0], {}), run.config().model
    same = parts and all(getattr(model, part) == on for part, on in parts.items())
    return name[0] if same else None


def read_recall(run: RunDirectory) -> RecallReport | None:
    """Reads what a run came to."""
    return known_recall(run, _RESULT)


def write_recall(run: RunDirectory, report: RecallReport) -> None:
    """Notes what a run came to."""
    keep_recall(run, _RESULT, report)


def _name(run: RunDirectory) -> tuple[int, int] | None:
    """Row and seed."""
    found = re.fullmatch(r"row-(\d+)-seed-(\d+)", run.path.resolve().name)
    return found and (int(found[1]), int(found[2]))
