"""Synthetic scenes whose captions say what is where: what each part of HSLM can tell apart.

    python -m benchmarks.scenes
    python -m benchmarks.scenes --captions two --rows 9 11 12

A scene has four objects in cells of a 3 x 3 grid. The grid lies anywhere in the picture, so that
one object's place alone says little. A caption names two objects and how one lies from the other;
with `--captions two` three objects and two relations. Every test scene also has its mirror image,
in which all relations are reversed. So only a model that compares the places of objects can prefer
the scene. Scenes are drawn from a seed, as many as are asked for.
"""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

import keras
import numpy as np
import tyro

from hslm_tf.command_line import one_line_errors
from hslm_tf.config import ModelConfig
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.data.pipeline import steps_per_epoch, training_batches
from hslm_tf.evaluation.scoring import score_matrix
from hslm_tf.models.hslm import HSLM
from hslm_tf.presets import ABLATION_PARTS
from hslm_tf.text.tokenizer import build_vocabulary
from hslm_tf.training import ContrastiveLoss

KINDS = (
    "ball bench bike bird boat bottle car cat chair child cup dog drum horse kite lamp man "
    "table tree woman"
).split()
COLOURS = "red green blue yellow white black".split()
RELATIONS = {
    "to the left of": (-1, 0),
    "to the right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
_OBJECTS, _CAPTIONS = 4, 5
# Columns of a region: which kind, which colour, and its place.
_KIND_WIDTH, _COLOUR_WIDTH, _PLACE_WIDTH = 32, 16, 16
_NOISE = 0.1
REGION_DIM = _KIND_WIDTH + _COLOUR_WIDTH + _PLACE_WIDTH


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Scenes before they become features and captions.

    Args:
        kinds: int `[scenes, 4]`, indices of `KINDS`, different within a scene.
        colours: int `[scenes, 4]`, indices of `COLOURS`.
        cells: int `[scenes, 4, 2]`, column and row in the grid, from 0 to 2.
        centres: float `[scenes, 2]`, where the middle of the grid lies, in cells.
    """

    kinds: np.ndarray
    colours: np.ndarray
    cells: np.ndarray
    centres: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """Where the objects lie, float `[scenes, 4, 2]`, in cells from the picture's middle."""
        return self.cells - 1 + self.centres[:, None]

    def with_mirror_images(self) -> "Scenes":
        """The scenes, and behind them their mirror images through the middle of their objects."""
        centres = 2 * self.places.mean(axis=1) - self.centres
        mirrored = dataclasses.replace(self, cells=2 - self.cells, centres=centres)
        return Scenes(
            *(
                np.concatenate([getattr(scenes, field.name) for scenes in (self, mirrored)])
                for field in dataclasses.fields(self)
            )
        )


@dataclasses.dataclass(frozen=True)
class Settings:
    """Train rows of Table 4 on synthetic scenes and measure which scene a caption finds."""

    rows: tuple[int, ...] = (1, 3, 5, 9, 11, 12)
    """Rows of the paper's Table 4."""

    captions: Literal["one", "two"] = "one"
    """Relations in a caption."""

    scenes: int = 10_000
    """Training scenes, with five captions each."""

    test_scenes: int = 250
    """Test scenes; their mirror images are searched, too."""

    epochs: int = 3
    """Passes over the training captions."""

    width: int = 64
    """Joint width."""

    batch_size: int = 128
    """Pairs in a batch."""

    learning_rate: float = 2e-3
    """Learning rate of Adam, which falls to zero as a cosine."""

    places: bool = True
    """Whether features say where a region is, as a box beside a detector's features would."""

    mgcn_layers: int = 4
    """Graph convolutions of the rows that have them."""

    seed: int = 0
    """Seed of scenes, weights and order."""


def draw_scenes(count: int, random: np.random.Generator) -> Scenes:
    """Draws scenes."""
    kinds = random.random((count, len(KINDS))).argsort(axis=1)[:, :_OBJECTS]
    cells = random.random((count, 9)).argsort(axis=1)[:, :_OBJECTS]
    return Scenes(
        kinds=kinds,
        colours=random.integers(len(COLOURS), size=kinds.shape),
        cells=np.stack([cells % 3, cells // 3], axis=-1),
        centres=random.uniform(-2, 2, size=(count, 2)),
    )


def features(scenes: Scenes, seed: int, with_places: bool = True) -> np.ndarray:
    """Region features, float32 `[scenes, 4, 64]`: kind, colour and place, noisy and rotated.

    Args:
        scenes: the scenes.
        seed: seed of what a kind and a colour look like and of the rotation; noise apart, equal
            objects of all scenes have equal features.
        with_places: whether features say where a region is; else zeros stand there.
    """
    random = np.random.default_rng((seed, 0))
    kinds = random.normal(size=(len(KINDS), _KIND_WIDTH)) / np.sqrt(_KIND_WIDTH)
    colours = random.normal(size=(len(COLOURS), _COLOUR_WIDTH)) / np.sqrt(_COLOUR_WIDTH)
    rotation = np.linalg.qr(random.normal(size=(REGION_DIM, REGION_DIM)))[0]
    angles = scenes.places[..., None] * np.pi / np.array([2, 4, 8])
    places = np.concatenate(
        [scenes.places[..., None] / 3, np.sin(angles), np.cos(angles[..., :1])], axis=-1
    )
    places = places.reshape(*scenes.kinds.shape, -1)
    places = np.pad(places, [(0, 0), (0, 0), (0, _PLACE_WIDTH - places.shape[-1])])
    places *= with_places
    clean = np.concatenate([kinds[scenes.kinds], colours[scenes.colours], places], axis=-1)
    # Scenes of another split get other noise.
    noise = np.random.default_rng((seed, len(clean))).normal(size=clean.shape) * _NOISE
    return ((clean + noise) @ rotation).astype(np.float32)


class Caption(NamedTuple):
    """A caption and what it says.

    Attributes:
        text: the words.
        kinds: the kind of each object that it names.
        colours: the colour of each, None where it is not named.
        relations: how each object lies from the next one, keys of `RELATIONS`.
    """

    text: str
    kinds: list[int]
    colours: list[int | None]
    relations: list[str]


def describe(
    scenes: Scenes, scene: int, num_relations: int, random: np.random.Generator
) -> Caption:
    """Says how some objects of a scene, drawn at random, lie from one another."""
    chosen = random.permutation(_OBJECTS)[: num_relations + 1]
    kinds = scenes.kinds[scene, chosen].tolist()
    colours = [
        colour if random.random() < 0.5 else None
        for colour in scenes.colours[scene, chosen].tolist()
    ]
    cells = scenes.cells[scene, chosen]
    relations = [
        str(random.choice([name for name in RELATIONS if holds(name, one, other)]))
        for one, other in itertools.pairwise(cells)
    ]
    names = [
        KINDS[kind] if colour is None else f"{COLOURS[colour]} {KINDS[kind]}"
        for kind, colour in zip(kinds, colours, strict=True)
    ]
    parts = [f"{relation} a {name}" for relation, name in zip(relations, names[1:], strict=True)]
    return Caption(f"a {names[0]} is {' that is '.join(parts)} .", kinds, colours, relations)


def holds(relation: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether cells, int `[..., 2]`, lie like this from other cells."""
    return (one - other) @ np.array(RELATIONS[relation]) > 0


def readers(scenes: Scenes, captions: Sequence[Caption]) -> dict[str, float]:
    """R@1 of readers who pick one of the scenes in which all that they read of a caption is true.

    Args:
        scenes: the scenes that are searched.
        captions: the captions, each of a scene that is among them.

    Returns:
        Percent, of a reader of the objects, and of one who reads their relations, too.
    """
    rows = np.arange(len(scenes.kinds))
    found = []
    for caption in captions:
        true, cells = np.ones(len(rows), bool), []
        for kind, colour in zip(caption.kinds, caption.colours, strict=True):
            here = scenes.kinds == kind
            if colour is not None:
                here &= scenes.colours == colour
            true &= here.any(axis=1)
            cells.append(scenes.cells[rows, here.argmax(axis=1)])
        objects = true.sum()
        for relation, pair in zip(caption.relations, itertools.pairwise(cells), strict=True):
            true &= holds(relation, *pair)
        found.append((1 / objects, 1 / true.sum()))
    names = ("reader of objects", "reader of relations")
    return dict(zip(names, 100 * np.mean(found, axis=0), strict=True))


def as_dataset(scenes: Scenes, captions: Sequence[Caption], settings: Settings) -> RetrievalDataset:
    """Scenes as a data set; the captions are those of the first scenes, five each."""
    images = np.arange(len(captions), dtype=np.int32) // _CAPTIONS
    return RetrievalDataset(
        name="scenes",
        source="synthetic scenes",
        region_features=features(scenes, settings.seed, settings.places),
        captions=[caption.text for caption in captions],
        caption_to_image=images,
    )


def splits(settings: Settings) -> tuple[RetrievalDataset, RetrievalDataset, dict[str, float]]:
    """Draws the training scenes, and the test scenes with their mirror images behind them."""
    random = np.random.default_rng((settings.seed, 1))
    relations = ("one", "two").index(settings.captions) + 1
    drawn = []
    for count in (settings.scenes, settings.test_scenes):
        scenes = draw_scenes(count, random)
        captions = [
            describe(scenes, scene, relations, random)
            for scene in range(count)
            for _ in range(_CAPTIONS)
        ]
        drawn.append((scenes, captions))
    (scenes, captions), (test_scenes, test_captions) = drawn
    searched = test_scenes.with_mirror_images()
    return (
        as_dataset(scenes, captions, settings),
        as_dataset(searched, test_captions, settings),
        readers(searched, test_captions),
    )


def train(row: int, settings: Settings, data: RetrievalDataset) -> tuple[HSLM, float]:
    """Trains a row of Table 4 with the contrastive loss on its whole score.

    Args:
        row: the row.
        settings: sizes and training.
        data: training scenes.

    Returns:
        The model, and the loss of its last epoch.
    """
    keras.utils.set_random_seed(settings.seed)
    config = ModelConfig(
        region_dim=REGION_DIM,
        joint_dim=settings.width,
        word_dim=settings.width,
        similarity_dim=settings.width // 2,
        attention="softmax",
        attention_scale=20.0,
        image_global="regions",
        balance_fusion=True,
        word_dropout=0.0,
        mgcn_layers=settings.mgcn_layers,
        **ABLATION_PARTS[row],
    )
    model = HSLM(config, build_vocabulary(data.captions).words)
    steps = settings.epochs * steps_per_epoch(data, settings.batch_size)
    warmup = min(100, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=settings.learning_rate, warmup_steps=warmup
    )
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=2.0), ContrastiveLoss())
    tokens = model.tokenizer.tokenize_all(data.captions)
    batches = training_batches(data, tokens, settings.batch_size, settings.seed)
    history = model.fit(batches, epochs=settings.epochs, shuffle=False, verbose=0)
    return model, history.history["loss"][-1]


def measure(model: HSLM, test: RetrievalDataset) -> tuple[float, float]:
    """Measures what captions find.

    Args:
        model: the model.
        test: scenes with captions, and as many mirror images behind them.

    Returns:
        R@1 of captions looking for scenes among scenes and mirror images, and how many of them
        prefer their scene to its mirror image, in percent.
    """
    scores = score_matrix(model, test)
    captions, scenes = np.arange(test.num_captions), test.caption_to_image
    right, mirrored = scores[scenes, captions], scores[scenes + len(scores) // 2, captions]
    others = scores.copy()
    others[scenes, captions] = -np.inf
    first = right > others.max(axis=0)
    return 100 * float(first.mean()), 100 * float((right > mirrored).mean())


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
        args: the arguments, by default those of the command line.
    """
    settings = tyro.cli(Settings, prog="python -m benchmarks.scenes", args=args)
    with one_line_errors():
        data, test, read = splits(settings)
        for name, recall in read.items():
            print(f"{name}: R@1 {recall:.1f}", flush=True)
        for row in settings.rows:
            started = time.perf_counter()
            model, loss = train(row, settings, data)
            recall, preferred = measure(model, test)
            print(
                f"row {row}: R@1 {recall:.1f}, the scene before its mirror image {preferred:.1f}%, "
                f"loss {loss:.2f}, {time.perf_counter() - started:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
