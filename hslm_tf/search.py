"""`python -m hslm_tf.search`: images that a sentence describes, and sentences for an image."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hslm_tf.command_line import one_line_errors, printable
from hslm_tf.extras import load_extra
from hslm_tf.retrieval.indexes import Backend, open_index

if TYPE_CHECKING:
    from hslm_tf.images.extractor import RegionFeatures
    from hslm_tf.report.gallery import Answer
    from hslm_tf.retrieval.collection import Collection, Hit


@dataclass(frozen=True)
class SearchArguments:
    """Search a collection: with captions for images, with --image for captions.

    Inner products of one vector an item find candidates, then the model scores these exactly.
    `python -m hslm_tf.index` trains projection heads for the vectors and writes collections. Given
    a run, its collection.h5 is searched; without one, its test split is encoded first.
    """

    where: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_COLLECTION")]
    """directory of a run, or file of a collection"""
    captions: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CAPTION")
    ] = ()
    """sentences to find images for"""
    image: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """id of an image of the collection, or file of a photograph, to find captions for; may be given
    more than once"""
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """answers to a query"""
    candidates: int = 100
    """items whose exact score is computed; 0 for all"""
    run: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """run whose model the collection was built with; needed where the run has moved"""
    split: str | None = None
    """split to encode where a run has no collection; by default its test split"""
    dataset: str | None = None
    """folder or HDF5 file of that split; by default the one that the run was trained on"""
    backbone: str | None = None
    """for photographs: network that made the collection's features, where it has moved"""
    weights: str | None = None
    """for photographs: file with the network's weights, where it has moved"""
    boxes: str | None = None
    """for photographs: detector or JSON of boxes, where it has moved, or lacks the photographs"""
    index: Backend = "brute-force"
    """what finds the candidates; faiss and milvus are extras"""
    uri: str | None = None
    """for milvus: a file ending in .db, or http://host:port"""
    name: str = "hslm"
    """for milvus: prefix of the names under which it stores vectors; use another for every
    collection"""
    json: bool = False
    """print JSON"""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE.html")] = None
    """write a gallery to this file; needs the extra `report`"""
    images: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """folder with the image files; by default the one that is stored in the collection"""


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    arguments = tyro.cli(SearchArguments, prog="python -m hslm_tf.search", args=args)
    with one_line_errors():
        _run(arguments)


def _run(arguments: SearchArguments) -> None:
    if bool(arguments.captions) == bool(arguments.image):
        raise ValueError("ask with captions, or with --image, not both")
    if arguments.k < 1 or arguments.candidates < 0:
        raise ValueError("-k is at least 1, and --candidates at least 0")
    if not arguments.where.exists():
        raise FileNotFoundError(f"{arguments.where}: there is no such run or collection")
    chosen = arguments.split or arguments.dataset
    if arguments.where.is_dir() and arguments.run is not None:
        raise ValueError("--run says where the model of a collection's file is, not of a run")
    if not arguments.where.is_dir() and chosen:
        raise ValueError("--split and --dataset are for a run, not for a collection's file")
    if arguments.html is not None and not arguments.html.parent.is_dir():
        raise FileNotFoundError(f"{arguments.html}: there is no such folder")
    if arguments.images is not None and arguments.html is None:
        raise ValueError("--images needs --html")
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    if arguments.html is not None:
        # Before anything that takes long.
        load_extra("jinja2", "report")

    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.runs.opening import searched_collection

    collection = searched_collection(
        arguments.where, arguments.run, arguments.split, arguments.dataset
    )
    if arguments.image and not collection.captions:
        raise ValueError(f"{arguments.where} has no captions to find for an image")
    collection.use_index(
        lambda side: open_index(arguments.index, arguments.uri, f"{arguments.name}_{side}")
    )
    limits = arguments.k, arguments.candidates or None
    if arguments.captions:
        answers = collection.search(arguments.captions, *limits)
        found = list(zip(arguments.captions, answers, strict=True))
        photographs = {}
    else:
        photographs = _photographs(arguments, collection)
        found = [
            (image, _captions_of(collection, image, photographs.get(image), limits))
            for image in arguments.image
        ]
    if arguments.html is not None:
        _write_html(arguments, collection, found, photographs)
    if arguments.json:
        rows = [
            {"query": query, "answers": [_as_dict(collection, hit, arguments) for hit in hits]}
            for query, hits in found
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_tables(arguments, collection, found)


def _photographs(
    arguments: SearchArguments, collection: "Collection"
) -> dict[str, "RegionFeatures"]:
    """Features of those images that are files and not in the collection."""
    known = set(collection.ids)
    files = [image for image in arguments.image if image not in known]
    for file in files:
        if not Path(file).is_file():
            raise FileNotFoundError(
                f"{file!r} is no image of the collection, and there is no such file"
            )
    moved = arguments.backbone, arguments.weights, arguments.boxes
    if not files:
        if any(moved):
            raise ValueError("--backbone, --weights and --boxes are for photographs")
        return {}
    from hslm_tf.images.asking import PhotographReader

    reader = PhotographReader(collection.encoded.extraction, str(arguments.where), *moved)
    return {file: reader.read(Path(file)) for file in files}


def _captions_of(
    collection: "Collection",
    image: str,
    features: "RegionFeatures | None",
    limits: tuple[int, int | None],
) -> list["Hit"]:
    if features is None:
        return collection.search_by_image([image], *limits)[0]
    return collection.search_by_image(features.region_features, *limits, features.mask)[0]


def _as_dict(collection: "Collection", hit: "Hit", arguments: SearchArguments) -> dict:
    if arguments.captions:
        return {"image": hit.item, "score": hit.score, "captions": _captions(collection, hit.row)}
    image = collection.ids[collection.encoded.caption_to_image[hit.row]]
    return {"caption": hit.item, "score": hit.score, "image": image}


def _captions(collection: "Collection", image: int) -> list[str]:
    own = (collection.encoded.caption_to_image == image).nonzero()[0]
    return [collection.captions[row] for row in own]


def _print_tables(
    arguments: SearchArguments, collection: "Collection", found: list[tuple[str, list["Hit"]]]
) -> None:
    import rich
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    def shown(text: str) -> str:
        return escape(printable(text))

    for query, hits in found:
        table = Table(title=shown(query), title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("", justify="right")
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("image", no_wrap=True)
        table.add_column("caption")
        for place, hit in enumerate(hits, 1):
            answer = _as_dict(collection, hit, arguments)
            caption = answer["caption"] if arguments.image else next(iter(answer["captions"]), "")
            cells = str(place), f"{hit.score:.4f}", shown(answer["image"]), shown(caption)
            table.add_row(*cells)
        rich.print(table)


def _write_html(
    arguments: SearchArguments,
    collection: "Collection",
    found: list[tuple[str, list["Hit"]]],
    photographs: dict[str, "RegionFeatures"],
) -> None:
    from hslm_tf.report.explanation import UNTRAINED, words_look
    from hslm_tf.report.found_answers import FoundAnswers
    from hslm_tf.report.gallery import write_gallery

    answers = FoundAnswers(collection)

    def explained(query: str, hits: list["Hit"]) -> list["Answer"]:
        if arguments.captions:
            return answers.images(query, hits)
        if query in photographs:
            return answers.captions_of_photograph(Path(query), photographs[query], hits)
        return answers.captions(query, hits)

    pages = [(query, explained(query, hits)) for query, hits in found]
    model = collection.model
    untrained = model.config.cross_attention and not words_look(model)
    folder = arguments.images or collection.image_folder
    write_gallery(arguments.html, pages, folder, UNTRAINED if untrained else "")


if __name__ == "__main__":
    main()
