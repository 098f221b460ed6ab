"""One trained model under other forms of cross-attention, without training again.

    python -m benchmarks.attention_forms RUN --split dev

The vectors of words and regions stay as they are, only how a word weighs the regions is exchanged.
Printed are recall, where nouns point (where a detector's classes lie beside the features), and the
time of the exact scores, for every form in turn.
"""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import keras
import tyro

from hslm_tf.command_line import one_line_errors, print_table
from hslm_tf.evaluation import report_table
from hslm_tf.evaluation.exact_recall import evaluate
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.pointing import measure_pointing, read_detections
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import open_split

FORMS: dict[str, dict[str, Any]] = {
    "global vectors alone": {"cross_attention": False, "local_alignment": False},
    "sigmoid, 10": {"attention": "sigmoid", "attention_scale": 10.0},
    "softmax, 10": {"attention": "softmax", "attention_scale": 10.0},
    "softmax, 20": {"attention": "softmax", "attention_scale": 20.0},
    "softmax, 40": {"attention": "softmax", "attention_scale": 40.0},
    "leaky softmax, 9 (SGRAF)": {"attention": "leaky_softmax", "attention_scale": 9.0},
    "leaky softmax, 20": {"attention": "leaky_softmax", "attention_scale": 20.0},
    "hard (CHAN)": {"attention": "hard"},
    "softmax, 20, not balanced": {
        "attention": "softmax",
        "attention_scale": 20.0,
        "balance_fusion": False,
    },
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure one trained model under other forms of cross-attention."""

    run: Annotated[Path, tyro.conf.Positional]
    """Directory of a run whose image has a global vector of its own."""

    split: str = "dev"
    """Split to measure on."""

    dataset: str | None = None
    """Folder or HDF5 file, instead of the one that the run was trained on."""


def with_form(model: HSLM, changes: dict[str, Any]) -> HSLM:
    """Makes a model with the weights of another one and another form of attention.

    Args:
        model: the trained model; its image has a global vector of its own.
        changes: fields of its configuration to replace.

    Returns:
        The model. The scale of attention is that of the configuration, not the trained one.

    Raises:
        ValueError: if the image has no global vector of its own.
    """
    if not model.config.pools_regions:
        raise ValueError(
            "Forms of attention can be exchanged where the image's global vector pools its regions "
            f"(--image-global regions). Received: image_global={model.config.image_global}"
        )
    config = dataclasses.asdict(dataclasses.replace(model.config, **changes))
    changed = HSLM.from_config({**model.get_config(), "config": config})
    changed.image_encoder.set_weights(model.image_encoder.get_weights())
    changed.text_encoder.set_weights(model.text_encoder.get_weights())
    trained = {variable.path: variable for variable in model.matcher.variables}
    for variable in changed.matcher.variables:
        if not variable.path.startswith("cross_attention"):
            variable.assign(trained[variable.path])
    return changed


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.attention_forms", args=args)
    with one_line_errors():
        run = RunDirectory(arguments.run)
        data = open_split(run, arguments.split, arguments.dataset)
        model = keras.saving.load_model(run.best_model)
        detections = read_detections(data)
        reports = {}
        for name, changes in FORMS.items():
            changed = with_form(model, changes)
            started = time.perf_counter()
            reports[name] = evaluate(changed, data)
            seconds = time.perf_counter() - started
            points = ""
            if detections is not None and changed.config.cross_attention:
                right = measure_pointing(changed, data, detections).right
                points = f", pointing {100 * right.mean():.1f}%"
            print(f"{name}: rsum {reports[name].rsum:.1f}, {seconds:.0f} s{points}", flush=True)
        print_table(report_table(reports, title=f"{arguments.run}, {data.name}"))


if __name__ == "__main__":
    main()
