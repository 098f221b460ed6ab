import numpy as np
import pytest

from benchmarks import scenes
from benchmarks.scenes import Caption, Scenes, Settings

# A red dog in the upper left corner, a blue cat in the middle, a white man right of it, a green
# tree below it.
KINDS = [scenes.KINDS.index(kind) for kind in ("dog", "cat", "man", "tree")]
COLOURS = [scenes.COLOURS.index(colour) for colour in ("red", "blue", "white", "green")]
SCENE = Scenes(
    np.array([KINDS]),
    np.array([COLOURS]),
    np.array([[[0, 0], [1, 1], [2, 1], [1, 2]]]),
    np.array([[0.5, -1.0]]),
)


def test_relations():
    def relations_of(one, other):
        cells = SCENE.cells[0]
        return [name for name in scenes.RELATIONS if scenes.holds(name, cells[one], cells[other])]

    assert relations_of(0, 1) == ["to the left of", "above"]
    assert relations_of(2, 1) == ["to the right of"]
    assert relations_of(3, 1) == ["below"]


def test_mirror_images_reverse_every_relation():
    both = SCENE.with_mirror_images()
    assert both.kinds.shape == (2, 4)
    there, back = both.cells[:, :, None] - both.cells[:, None]
    np.testing.assert_array_equal(there, -back)
    # Objects lie on the other side of the middle of them all, which stays.
    middle = np.broadcast_to(both.places[0].mean(axis=0), (4, 2))
    np.testing.assert_allclose(both.places[0] + both.places[1], 2 * middle)


@pytest.mark.parametrize("relations", [1, 2])
def test_captions_are_true(relations):
    random = np.random.default_rng(0)
    drawn = scenes.draw_scenes(20, random)
    for scene in range(20):
        caption = scenes.describe(drawn, scene, relations, random)
        assert len(caption.relations) == relations and len(caption.kinds) == relations + 1
        rows = [list(drawn.kinds[scene]).index(kind) for kind in caption.kinds]
        for place, relation in enumerate(caption.relations):
            assert scenes.holds(relation, *drawn.cells[scene, rows[place : place + 2]])
            assert relation in caption.text
        for row, colour in zip(rows, caption.colours, strict=True):
            assert colour in (None, drawn.colours[scene, row])


def test_readers():
    dog, cat = KINDS[:2]
    alike = Caption("a dog is above a cat .", [dog, cat], [None, None], ["above"])
    found = scenes.readers(SCENE.with_mirror_images(), [alike])
    assert found == {"reader of objects": 50.0, "reader of relations": 100.0}


def test_a_small_training(capsys):
    flags = "--rows 9 --scenes 60 --test-scenes 10 --epochs 1 --width 16 --captions two"
    scenes.main(flags.split())
    printed = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["reader of objects", "reader of relations", "row 9"]


@pytest.mark.slow
def test_words_that_attend_to_regions_read_relations():
    """Global vectors hardly know what is where, words that attend to regions do."""
    settings = Settings(rows=(1, 9))
    data, test, _ = scenes.splits(settings)
    first, last = (scenes.measure(scenes.train(row, settings, data)[0], test) for row in (1, 9))
    assert last[0] >= first[0] + 30
    assert last[1] > 95
