"""Export of a model: time, size and scores by precision, and the local server under load.

    python -m benchmarks.serving_load                                # random weights, paper's sizes
    python -m benchmarks.serving_load --run runs/f30k-1 --requests 0 # recall by precision too

Half of the requests are bad, one row in each, of every kind in turn; all are sent at once.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import rich
import tyro
from rich.table import Table

from hslm_tf.client import Client, RowError
from hslm_tf.presets import preset

PRECISIONS = ("float32", "float16", "bfloat16", "int8")
_ROWS = 2


@dataclass(frozen=True)
class Arguments:
    """Export of a model and the local server under load."""

    preset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "flickr30k"
    """Configuration whose sizes are taken, with random weights and captions of random words."""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Directory of a trained run instead, whose test split is measured for each precision."""
    dataset: str | None = None
    """Where the run's data are, if not where it was trained."""
    pairs: int = 64
    """Pairs to compare the exported model's scores with the model's own on."""
    requests: int = 1000
    """Concurrent requests to the local server."""
    clients: int = 100
    """Threads that send them."""
    precisions: tuple[str, ...] = PRECISIONS
    """Precisions to export in; the first one is served."""


def main(arguments: Arguments) -> None:
    """Runs the measurements and prints two tables."""
    import keras

    from hslm_tf.experiment import open_split
    from hslm_tf.model import HSLM
    from hslm_tf.run_directory import RunDirectory
    from hslm_tf.serving.savedmodel import in_float32

    dataset = None
    if arguments.run is None:
        config = preset(arguments.preset).model
        words = [f"word{number}" for number in range(8477)]
        model = HSLM(config, ("<pad>", "<start>", "<end>", "<unk>", *words))
    else:
        run = RunDirectory(arguments.run)
        dataset = open_split(run, dataset=arguments.dataset)
        model = in_float32(keras.saving.load_model(run.best_model, compile=False))
        words = sorted({word for caption in dataset.captions for word in caption.split()})
    with tempfile.TemporaryDirectory() as folder:
        exports(model, words, dataset, Path(folder), arguments)
        if arguments.requests:
            load(model, words, Path(folder) / arguments.precisions[0], arguments)


def exports(model, words, dataset, folder: Path, arguments: Arguments) -> None:
    """Exports in every precision; prints time, size, differences and recall."""
    import tensorflow as tf

    from hslm_tf.serving.savedmodel import export_model

    table = Table("precision", "export s", "MB", "largest |difference|", "R@1 i2t, t2i", "rsum")
    request = random_request(model.config, words, arguments.pairs, seed=0)
    expected = own_scores(model, request)
    for precision in arguments.precisions:
        started = time.perf_counter()
        path = export_model(model, folder / precision, precision=precision)
        seconds = time.perf_counter() - started
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        endpoint = tf.saved_model.load(str(path)).signatures["score"]
        scores = endpoint(**{name: tf.constant(value) for name, value in request.items()})["score"]
        row = [precision, f"{seconds:.1f}", f"{size / 1e6:.1f}"]
        row.append(f"{np.abs(scores - expected).max():.1e}")
        table.add_row(*row, *recalls(model, dataset, precision))
    rich.print(table)


def recalls(model, dataset, precision: str) -> list[str]:
    """Recall with weights rounded as the export stores them; it computes in float32 as well."""
    from hslm_tf.experiment import measure
    from hslm_tf.serving.precision import StoredWeights

    if dataset is None:
        return []
    exact = model.get_weights()
    stored = StoredWeights(model.weights, precision)
    model.set_weights([module().numpy() for module in stored.modules])
    report = measure(model, dataset)
    model.set_weights(exact)
    return [f"{report.i2t.r1:.2f}, {report.t2i.r1:.2f}", f"{report.rsum:.2f}"]


def load(model, words, versions: Path, arguments: Arguments) -> None:
    """Sends good and bad requests at once; prints how many were answered rightly."""
    templates = [random_request(model.config, words, _ROWS, seed) for seed in range(10)]
    expected = [own_scores(model, request) for request in templates]
    spoilers = list(bad_rows(model.config.max_tokens).values())
    command = [sys.executable, "-m", "hslm_tf.serving.local", versions, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().split("/v1/")[0]
            client = Client(url, timeout=600)
            client.encode_text(["warm up"])

            def ask(number: int) -> tuple[bool, float]:
                request = {key: value.copy() for key, value in templates[number % 10].items()}
                bad = number % 2 == 1
                if bad:
                    spoilers[number // 2 % len(spoilers)](request)
                started = time.perf_counter()
                try:
                    scores, rejected = client.score(**request), []
                except RowError as error:
                    scores, rejected = error.answer["score"], list(error.statuses)
                seconds = time.perf_counter() - started
                good = slice(0, _ROWS - bad)
                close = np.allclose(scores[good], expected[number % 10][good], atol=1e-4)
                return close and rejected == [f"row[{_ROWS - 1}]"] * bad, seconds

            started = time.perf_counter()
            with ThreadPoolExecutor(arguments.clients) as pool:
                answers = list(pool.map(ask, range(arguments.requests)))
            total = time.perf_counter() - started
            alive = server.poll() is None
        finally:
            server.terminate()
    right = sum(ok for ok, _ in answers)
    latencies = np.sort([seconds for _, seconds in answers])
    table = Table("requests", "right", "server alive", "requests/s", "median s", "99% s")
    row = [len(answers), right, alive, f"{len(answers) / total:.1f}"]
    row += [f"{np.quantile(latencies, share):.2f}" for share in (0.5, 0.99)]
    table.add_row(*map(str, row))
    rich.print(table)


def bad_rows(max_tokens: int) -> dict[str, Callable[[dict[str, np.ndarray]], None]]:
    """What spoils the last row of a request."""

    def put(name: str, value: object) -> Callable[[dict[str, np.ndarray]], None]:
        return lambda request: request[name].__setitem__(-1, value)

    return {
        "nan": put("regions", np.nan),
        "no regions": put("num_regions", 0),
        "empty": put("captions", b""),
        "not UTF-8": put("captions", b"caf\xe9"),
        "too long": put("captions", b"a " * max_tokens),
    }


def random_request(config, words: list[str], rows: int, seed: int) -> dict[str, np.ndarray]:
    """Random region features and captions of 5 to 15 random words."""
    rng = np.random.default_rng(seed)
    shape = (rows, config.max_regions, config.region_dim)
    captions = [" ".join(rng.choice(words, rng.integers(5, 16))).encode() for _ in range(rows)]
    return {
        "regions": rng.normal(size=shape).astype(np.float32),
        "num_regions": rng.integers(1, config.max_regions + 1, rows).astype(np.int32),
        "captions": np.array(captions, object),
    }


def own_scores(model, request: dict[str, np.ndarray]) -> np.ndarray:
    """The scores of the model itself, in this process."""
    mask = np.arange(request["regions"].shape[1]) < request["num_regions"][:, None]
    return model.score(request["regions"], list(request["captions"]), mask).numpy()


if __name__ == "__main__":
    main(tyro.cli(Arguments, prog="python -m benchmarks.serving_load"))
