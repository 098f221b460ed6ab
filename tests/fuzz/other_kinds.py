"""Files that are no datasets: vocabularies, word vectors, boxes, photographs, collections, plans.

What imports TensorFlow or Beam is imported where it is used: every worker would wait for it.
"""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from hslm_tf.config import RunConfig
from hslm_tf.data.json_object import read_object
from hslm_tf.images.box_file import BoxFile
from hslm_tf.images.extraction_config import ExtractionConfig
from hslm_tf.images.photographs import ImageError, decode_photograph
from hslm_tf.report.run_sections import read_log
from hslm_tf.text.vocabulary import SPECIAL_WORDS, Vocabulary
from hslm_tf.text.word_vectors import load_word_vectors
from tests.fuzz.kinds import DATASETS, Kind
from tests.images import pictures

WORDS = (*SPECIAL_WORDS, "dog", "naïve", "cat", "runs")
VECTORS = np.random.default_rng(0).normal(size=(4, 5))


def _data(folder: Path, name: str) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    return folder / "data" / name


def _write_vectors(folder: Path) -> None:
    lines = [
        f"{word} {' '.join(map(str, row))}" for word, row in zip(WORDS[4:], VECTORS, strict=True)
    ]
    _data(folder, "vectors.txt").write_text("\n".join(["4 5", *lines]) + "\n", "utf-8")


def _write_npz_vectors(folder: Path) -> None:
    arrays = {"words": np.array(WORDS[4:]), "vectors": VECTORS}
    np.savez_compressed(_data(folder, "vectors.npz"), **arrays)


def _write_boxes(folder: Path) -> None:
    found = {f"{i}.jpg": [[0.1, 0.2, 0.5, 0.9, 0.87], [0, 0, 1, 1, 0.5]] for i in range(4)}
    _data(folder, "boxes.json").write_text(json.dumps(found))


def _read_boxes(folder: Path) -> Any:
    file = BoxFile(folder / "data" / "boxes.json")
    return {name: tuple(found) for name, found in file._detections.items()}


def _write_features(folder: Path) -> None:
    values = ExtractionConfig(fingerprint="ab").to_dict()
    _data(folder, "all_features.json").write_text(json.dumps(values))


def _read_features(folder: Path) -> Any:
    path = folder / "data" / "all_features.json"
    return ExtractionConfig.from_dict(read_object(path), str(path)).to_dict()


def _write_log(folder: Path) -> None:
    with open(_data(folder, "log.csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "loss", "val_rsum"])
        writer.writerows([[epoch, 1 / (1 + epoch), "NA" if epoch % 2 else 7] for epoch in range(9)])


def _write_photograph(folder: Path) -> None:
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tiff", "ppm"):
        pictures.write(_data(folder, f"a.{suffix}"))


def _read_photographs(folder: Path) -> Any:
    found = {}
    for path in sorted((folder / "data").iterdir()):
        try:
            found[path.name] = decode_photograph(path.read_bytes())
        except ImageError as error:
            # As `RegionExtractor.extract_file` names it.
            raise ImageError(f"{path}: {error}") from error
    return found


def _write_collection(folder: Path) -> None:
    from tests.tiny_collection import build, make_dataset, make_model

    model = make_model()
    model.save(folder / "model.keras")
    build(model, make_dataset(6)).save(_data(folder, "a.h5"))


_MODELS: dict[Path, Any] = {}


def _model(folder: Path) -> Any:
    import keras

    # The path's own: every worker has a folder of its own.
    if folder not in _MODELS:
        _MODELS[folder] = keras.saving.load_model(folder / "model.keras")
    return _MODELS[folder]


def _read_collection(folder: Path) -> Any:
    from hslm_tf.retrieval.collection import Collection

    collection = Collection.load(folder / "data" / "a.h5", _model(folder), verify=True)
    return [
        (hit.item, hit.row, hit.score) for hit in collection.search(["a red dog", "the cat"], 6)[0]
    ]


def _write_heads(folder: Path) -> None:
    from hslm_tf.retrieval.projection_heads import new_heads

    new_heads(8, 4, concepts=4).save(_data(folder, "projection_heads.keras"))


def _read_heads(folder: Path) -> Any:
    from hslm_tf.retrieval.projection_heads import read_heads

    return [weight.numpy() for weight in read_heads(folder / "data/projection_heads.keras").weights]


def _write_shard(folder: Path) -> None:
    from hslm_tf.beam.files import write_shard

    arrays = {"ids": np.array(["ü", "b"]), "regions": np.ones((2, 3, 4), np.float16)}
    write_shard(str(_data(folder, "shard-00000-of-00001.npz")), arrays)


def _read_shard(folder: Path) -> Any:
    from hslm_tf.beam.files import ShardArray

    path, rows = str(folder / "data/shard-00000-of-00001.npz"), np.array([1, 0])
    parts = (("ids", (2,), "<U1"), ("regions", (2, 3, 4), "float16"))
    return [ShardArray(path, name, shape, dtype)[rows] for name, shape, dtype in parts]


PLAN = {"format": 1, "source": {"split": "all"}, "images": 7, "shard_size": 3, "model": "ab"}


def _write_plan(folder: Path) -> None:
    _data(folder, "plan.json").write_text(json.dumps(PLAN, indent=1))


def _read_plan(folder: Path) -> None:
    from hslm_tf.beam.work_folder import check_plan

    check_plan(str(folder / "data" / "plan.json"), PLAN)


def _write_state(folder: Path) -> None:
    state = {"photographs": 9, "rows": 7, "skipped": [["a", "b"], ["c", "d"]], "written": ["ims"]}
    _data(folder, "state.json").write_text(json.dumps(state))


def _read_state(folder: Path) -> Any:
    from hslm_tf.images.extraction import _read_state

    return _read_state(folder / "data" / "state.json")


OTHERS = (
    Kind(
        "vocabulary",
        lambda folder: Vocabulary(WORDS).save(_data(folder, "vocab.json")),
        ("vocab.json",),
        lambda folder: Vocabulary.load(folder / "data" / "vocab.json").words,
    ),
    *(
        Kind(
            f"word vectors, {name.removeprefix('vectors.')}",
            write,
            (name,),
            lambda folder, name=name: load_word_vectors(folder / "data" / name, WORDS, 6),
        )
        for name, write in (("vectors.txt", _write_vectors), ("vectors.npz", _write_npz_vectors))
    ),
    Kind("boxes in a JSON", _write_boxes, ("boxes.json",), _read_boxes),
    Kind("how features were made", _write_features, ("all_features.json",), _read_features),
    Kind(
        "configuration of a run",
        lambda folder: RunConfig().save(_data(folder, "config.json")),
        ("config.json",),
        lambda folder: dataclasses.asdict(RunConfig.load(folder / "data" / "config.json")),
    ),
    Kind("log of a run", _write_log, ("log.csv",), lambda f: read_log(f / "data" / "log.csv")),
    Kind(
        "photographs",
        _write_photograph,
        ("a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tiff", "a.ppm"),
        _read_photographs,
    ),
    Kind(
        "collection",
        _write_collection,
        ("a.h5",),
        _read_collection,
        checked=True,
        ends_process=True,
    ),
    Kind("projection heads", _write_heads, ("projection_heads.keras",), _read_heads, checked=True),
    Kind("shard of Beam", _write_shard, ("shard-00000-of-00001.npz",), _read_shard, checked=True),
    Kind("plan of Beam", _write_plan, ("plan.json",), _read_plan, checked=True),
    Kind("state of an extraction", _write_state, ("state.json",), _read_state),
)
KINDS = {kind.name: kind for kind in (*DATASETS, *OTHERS)}
