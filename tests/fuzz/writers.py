"""Everything that writes a file, ready to be called when there is no room for it."""

from collections.abc import Callable
from pathlib import Path

from hslm_tf.data.convert import convert
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.text.vocabulary import Vocabulary
from tests.fuzz.other_kinds import WORDS

# Given a folder, what is called without room; what is written before lies in the folder.
Writer = Callable[[Path], Callable[[], object]]
# More than the temporary file of projection heads, and less than a collection.
_ROOM_OF_HEADS = 100_000


def data_writers(folder: Path) -> dict[str, Writer]:
    """What writes data, without TensorFlow."""

    def converter(name: str) -> Writer:
        def prepared(place: Path) -> Callable[[], object]:
            # `convert` makes the folder, and leaves it.
            (place / "data").mkdir()
            return lambda: convert(folder / "source", place / name, progress=False)

        return prepared

    def vocabulary(place: Path) -> Callable[[], object]:
        Vocabulary(WORDS).save(place / "vocab.json")
        larger = Vocabulary([*WORDS, *(f"word{number}" for number in range(99))])
        return lambda: larger.save(place / "vocab.json")

    return {
        "convert to a folder": converter("data"),
        "convert to HDF5": converter("data/a.h5"),
        "vocabulary": vocabulary,
    }


def model_writers(folder: Path) -> dict[str, Writer]:
    """What writes what models make."""
    from hslm_tf.beam.files import write_file
    from hslm_tf.report.explanation import ExplainedHit
    from hslm_tf.report.gallery import write_gallery
    from hslm_tf.report.html_report import write_report
    from hslm_tf.retrieval.collection import Collection
    from hslm_tf.retrieval.projection_heads import new_heads
    from hslm_tf.serving.savedmodel import export_model
    from tests.tiny_collection import build, make_dataset, make_model

    model, dataset = make_model(), make_dataset(200)
    collection = build(model, dataset)
    queries = [("a dog", [ExplainedHit("im1", "a dog runs", 0.5)])]

    def replaced(place: Path) -> Callable[[], object]:
        collection.save(place / "a.h5")
        return lambda: collection.save(place / "a.h5")

    return {
        f"collection {_ROOM_OF_HEADS}": lambda place: lambda: collection.save(place / "a.h5"),
        "collection without any room": lambda place: lambda: collection.save(place / "a.h5"),
        f"collection again {_ROOM_OF_HEADS}": replaced,
        "features beside": lambda place: lambda: _build(Collection, model, dataset, place),
        "projection heads": lambda place: lambda: new_heads(8, 4).save(place / "heads.keras"),
        "model server": lambda place: lambda: export_model(model, place),
        "gallery": lambda place: lambda: write_gallery(place / "a.html", queries),
        "report": lambda place: lambda: write_report(place / "report", "A title", [], []),
        "shard": lambda place: lambda: write_file(str(place / "a.npz"), bytes(5000)),
    }


def _build(collection: type, model: object, dataset: RetrievalDataset, place: Path) -> None:
    """Encodes with features in a temporary file."""
    collection.build(model, dataset, memmap_dir=place)
