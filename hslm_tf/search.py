"""`python -m hslm_tf.search`: images that a sentence describes, and sentences for an image."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hslm_tf.command_line import command, load_extra, printable
from hslm_tf.data.dataset import ids_or_numbers
from hslm_tf.data.errors import DataError
from hslm_tf.data.hdf5_rows import dataset_at, open_hdf5, read_strings
from hslm_tf.data.loading import load_dataset
from hslm_tf.retrieval.indexes import Backend, open_index
from hslm_tf.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from hslm_tf.images.extractor import RegionFeatures
    from hslm_tf.report.explanation import ExplainedHit
    from hslm_tf.retrieval.collection import Collection, Hit


logger = logging.getLogger("hslm_tf")


@dataclass(frozen=True)
class _CollectionArguments:
    where: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_COLLECTION")]
    """directory of a run, whose collection.h5 or else test split is searched, or file of a
    collection"""


@dataclass(frozen=True)
class _SearchArguments:
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10
    """hits of a query"""
    num_candidates: int = 100
    """items whose exact score is computed; 0 for all"""
    run: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """run whose model the collection was built with; needed where the run has moved"""
    backend: Backend = "brute-force"
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
    """folder with the photographs of a gallery; by default the one that is stored in the
    collection"""


@dataclass(frozen=True)
class ByCaptionArguments(_SearchArguments, _CollectionArguments):
    """Find images for sentences; needs no name: `search RUN_OR_COLLECTION CAPTION`.

    Inner products of one vector an item find candidates, then the model scores these exactly.
    `python -m hslm_tf.index` fits the heads that make the vectors, and writes collections.
    """

    captions: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CAPTION")
    ] = ()
    """sentences to find images for"""


@dataclass(frozen=True)
class ByImageArguments(_SearchArguments, _CollectionArguments):
    """Find captions for images of the collection, or for photographs."""

    queries: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")] = ()
    """ids of images of the collection, or files of photographs"""
    backbone: str | None = None
    """for photographs: network that made the collection's features, where it has moved"""
    weights: str | None = None
    """for photographs: file with the network's weights, where it has moved"""
    boxes: str | None = None
    """for photographs: detector or JSON of boxes, where it has moved, or lacks the photographs"""


def by_caption(arguments: ByCaptionArguments) -> None:
    """Runs `by-caption`."""
    _check(arguments, arguments.captions, "CAPTION")
    collection = _open(arguments)
    _warn_of_words(arguments.captions, collection)
    hits = collection.search(arguments.captions, arguments.k, arguments.num_candidates or None)
    _show(arguments, collection, list(zip(arguments.captions, hits, strict=True)), {})


def by_image(arguments: ByImageArguments) -> None:
    """Runs `by-image`."""
    _check(arguments, arguments.queries, "IMAGE")
    _check_images(arguments)
    collection = _open(arguments)
    if not collection.captions:
        raise ValueError(f"{arguments.where} has no captions to find for an image")
    photographs = _photographs(arguments, collection)
    limits = arguments.k, arguments.num_candidates or None
    found = []
    for query in arguments.queries:
        if query in photographs:
            features = photographs[query]
            query_regions, mask = features.region_features, features.mask
            (hits,) = collection.search_by_image(query_regions, *limits, mask)
        else:
            (hits,) = collection.search_by_image([query], *limits)
        found.append((query, hits))
    _show(arguments, collection, found, photographs)


def _check(arguments: _SearchArguments, queries: tuple[str, ...], expected: str) -> None:
    """Refuses before anything long is begun."""
    if not arguments.where.exists():
        raise FileNotFoundError(f"{arguments.where}: there is no such run or collection")
    if not queries:
        raise ValueError(f"search {arguments.where} for what? Name at least one {expected}")
    if arguments.k < 1 or arguments.num_candidates < 0:
        raise ValueError("-k is at least 1, and --num-candidates at least 0")
    if arguments.where.is_dir() and arguments.run is not None:
        raise ValueError("--run says where the model of a collection's file is, not of a run")
    if arguments.images is not None and arguments.html is None:
        raise ValueError("--images needs --html")
    if arguments.images is not None and not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: there is no such folder")
    if arguments.html is not None:
        if not arguments.html.parent.is_dir():
            raise FileNotFoundError(f"{arguments.html}: there is no such folder")
        load_extra("jinja2", "report")


def _check_images(arguments: ByImageArguments) -> None:
    """Refuses a query that is neither a file nor an image, before the model is loaded."""
    names = [query for query in arguments.queries if not Path(query).is_file()]
    if not names:
        return
    known = set(_ids(arguments.where))
    for name in names:
        if name not in known:
            raise FileNotFoundError(
                f"{name!r} is no image of the collection, and there is no such file"
            )


def _ids(where: Path) -> list[str]:
    """The ids of what will be searched."""
    if where.is_dir():
        run = RunDirectory(where)
        if not run.collection.exists():
            data = run.config().data
            return ids_or_numbers(
                load_dataset(data.dataset, data.test_split, captions_optional=True)
            )
        where = run.collection
    with open_hdf5(where) as file:
        if "manifest" not in file.attrs:
            raise DataError(f"{where} has no manifest: it is not a collection")
        return read_strings(dataset_at(file, "ids"), f"{where}:/ids", strip=False)


def _open(arguments: _SearchArguments) -> "Collection":
    logger.info("Opening %s", arguments.where)
    # TensorFlow takes seconds to import: --help and mistakes in the arguments should not wait.
    from hslm_tf.runs.opening import searched_collection

    collection = searched_collection(arguments.where, arguments.run)
    collection.use_index(
        lambda side: open_index(arguments.backend, arguments.uri, f"{arguments.name}_{side}")
    )
    return collection


def _warn_of_words(captions: Sequence[str], collection: "Collection") -> None:
    """Says which sentences the model does not understand, or not to their end."""
    tokenizer = collection.model.tokenizer
    longest = collection.model.config.max_tokens - 2
    for caption in captions:
        words = tokenizer.read(caption)
        if words and not any(known for _, known in words):
            logger.warning("The model knows no word of %s", printable(repr(caption)))
        if len(words) > longest:
            logger.warning("The model truncates a caption of %d words to %d", len(words), longest)


def _photographs(
    arguments: ByImageArguments, collection: "Collection"
) -> dict[str, "RegionFeatures"]:
    """Features of those queries that are files and not in the collection."""
    known = set(collection.ids)
    files = [query for query in arguments.queries if query not in known]
    moved = arguments.backbone, arguments.weights, arguments.boxes
    if not files:
        if any(moved):
            raise ValueError("--backbone, --weights and --boxes are for photographs")
        return {}
    from hslm_tf.images.extraction_config import remembered_config
    from hslm_tf.images.extractor import RegionExtractor

    config = remembered_config(collection.encoded.extraction, str(arguments.where), *moved)
    extractor = RegionExtractor(config)
    return {file: extractor.extract_file(Path(file)) for file in files}


def _show(
    arguments: _SearchArguments,
    collection: "Collection",
    found: list[tuple[str, list["Hit"]]],
    photographs: dict[str, "RegionFeatures"],
) -> None:
    """Prints the hits of every query, and writes the gallery."""
    if arguments.html is not None:
        _write_html(arguments, collection, found, photographs)
        logger.info("Gallery: %s", arguments.html)
    if arguments.json:
        rows = [
            {"query": query, "answers": [_as_dict(collection, hit, arguments) for hit in hits]}
            for query, hits in found
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_tables(arguments, collection, found)


def _as_dict(collection: "Collection", hit: "Hit", arguments: _SearchArguments) -> dict:
    owners = collection.encoded.caption_to_image
    if isinstance(arguments, ByImageArguments):
        return {"caption": hit.item, "score": hit.score, "image": collection.ids[owners[hit.row]]}
    captions = [collection.captions[row] for row in (owners == hit.row).nonzero()[0]]
    return {"image": hit.item, "score": hit.score, "captions": captions}


def _print_tables(
    arguments: _SearchArguments, collection: "Collection", found: list[tuple[str, list["Hit"]]]
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
            caption = answer.get("caption") or next(iter(answer.get("captions", ())), "")
            cells = str(place), f"{hit.score:.4f}", shown(answer["image"]), shown(caption)
            table.add_row(*cells)
        rich.print(table)


def _write_html(
    arguments: _SearchArguments,
    collection: "Collection",
    found: list[tuple[str, list["Hit"]]],
    photographs: dict[str, "RegionFeatures"],
) -> None:
    from hslm_tf.report.explanation import HitExplainer, untrained_note
    from hslm_tf.report.gallery import write_gallery

    explainer = HitExplainer(collection)

    def explained(query: str, hits: list["Hit"]) -> list["ExplainedHit"]:
        if isinstance(arguments, ByCaptionArguments):
            return explainer.images(query, hits)
        if query in photographs:
            return explainer.captions_of_photograph(Path(query), photographs[query], hits)
        return explainer.captions(query, hits)

    queries = [(query, explained(query, hits)) for query, hits in found]
    folder = arguments.images or collection.image_folder
    write_gallery(arguments.html, queries, folder, untrained_note(collection.model))


main = command("search", by_caption, by_image)


if __name__ == "__main__":
    main()
