"""A model to export, and requests for it, for the benchmarks of serving."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_step import random_words
from hslm_tf.presets import preset
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.serving.request_rows import Status

Request = dict[str, np.ndarray]


def model_to_export(name: str, run: Path | None) -> Any:
    """The best model of a run, or random weights of a preset's sizes.

    Args:
        name: the preset.
        run: directory of the run, or None.

    Returns:
        The model, computing in float32.
    """
    import keras

    from hslm_tf.models.hslm import HSLM
    from hslm_tf.serving.savedmodel import in_float32

    if run is None:
        keras.utils.set_random_seed(0)
        return HSLM(preset(name).model, random_words())
    return in_float32(keras.saving.load_model(RunDirectory(run).best_model, compile=False))


def random_request(model, rows: int, seed: int) -> Request:
    """Random region features, and captions of 5 to 15 random words of the vocabulary.

    Args:
        model: the model.
        rows: number of pairs.
        seed: seed of everything.

    Returns:
        Inputs of the endpoint `score`.
    """
    random, config = np.random.default_rng(seed), model.config
    shape = (rows, config.max_regions, config.region_dim)
    words = model.vocabulary[4:]
    captions = [
        " ".join(random.choice(words, random.integers(5, 16))).encode() for _ in range(rows)
    ]
    return {
        "region_features": random.normal(size=shape).astype(np.float32),
        "num_regions": random.integers(1, config.max_regions + 1, rows).astype(np.int32),
        "captions": np.array(captions, object),
    }


def own_scores(model, request: Request) -> np.ndarray:
    """The scores of the model itself, in this process.

    Args:
        model: the model.
        request: inputs of the endpoint `score`.

    Returns:
        Float32 `[rows]`.
    """
    mask = np.arange(request["region_features"].shape[1]) < request["num_regions"][:, None]
    return model.score(request["region_features"], list(request["captions"]), mask).numpy()


def bad_rows(max_tokens: int) -> dict[str, tuple[Callable[[Request], None], Status]]:
    """What spoils the last row of a request, by kind.

    Args:
        max_tokens: longest caption that the model reads.

    Returns:
        Functions that change a request in place, and the status that the row must get.
    """

    def put(name: str, value: object) -> Callable[[Request], None]:
        return lambda request: request[name].__setitem__(-1, value)

    return {
        "NaN": (put("region_features", np.nan), Status.NOT_FINITE),
        "no regions": (put("num_regions", 0), Status.NO_REGIONS),
        "too many regions": (put("num_regions", 1000), Status.TOO_MANY_REGIONS),
        "no words": (put("captions", b" "), Status.EMPTY_CAPTION),
        "not UTF-8": (put("captions", b"caf\xe9"), Status.INVALID_UTF8),
        "too many words": (put("captions", b"a " * max_tokens), Status.TOO_MANY_WORDS),
    }
