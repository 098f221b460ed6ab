"""Streaming evaluation against ranks of the whole matrix, on scores from a table."""

import errno
import logging
import os
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from hslm_tf.data.atomic_write import locked
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation import evaluation_state, protocols, scoring
from hslm_tf.evaluation.evaluation_state import EvaluationState
from hslm_tf.evaluation.exact_recall import evaluate_models, evaluate_to_file
from hslm_tf.evaluation.protocols import evaluate_scores
from hslm_tf.evaluation.scoring import caption_order, score_matrix
from hslm_tf.models import encoding
from hslm_tf.text.tokenizer import TokenizedCaptions

IMAGES = 60
CAPTIONS_OF_A_BLOCK = 16


class TableModel:
    """Scores of images and captions, both known by their number, read from a table."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table
        self.tokenizer = SimpleNamespace(tokenize_all=self._tokenize_all)
        self.images_encoded = 0
        self.blocks: list[np.ndarray] = []

    def _tokenize_all(self, captions):
        numbers = np.array(captions, np.int32)
        lengths = 1 + numbers % 7
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return TokenizedCaptions(np.repeat(numbers, lengths) + 1, offsets, 0)

    def encode_image(self, regions, mask):
        self.images_encoded += len(regions)
        return {"regions": tf.constant(regions), "region_mask": tf.constant(mask)}

    def encode_tokens(self, token_ids):
        return {"numbers": token_ids[:, 0] - 1}

    def score_encoded(self, images, texts, image_block_size):
        self.blocks.append(texts["numbers"])
        rows = images["regions"][:, 0, 0].numpy().astype(int)
        return tf.constant(self.table[rows][:, texts["numbers"]])


def make(seed=0, levels=None):
    """A dataset with one to eight captions an image in any order, and a table of scores."""
    random = np.random.default_rng(seed)
    own = random.permutation(np.repeat(np.arange(IMAGES), random.integers(1, 9, IMAGES)))
    regions = np.broadcast_to(np.arange(IMAGES, dtype="float32")[:, None, None], (IMAGES, 2, 3))
    dataset = RetrievalDataset(
        "test", "somewhere", regions, [str(i) for i in range(len(own))], own.astype("int32")
    )
    table = random.normal(size=(IMAGES, len(own)))
    table[own, np.arange(len(own))] += 1.5
    if levels:
        table = np.round(table * levels)
    return dataset, table.astype("float32")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """COCO 1K is five folds of 12 images; blocks have 16 captions; every block is noted."""
    monkeypatch.setitem(protocols._IMAGES, "coco-1k", IMAGES)
    monkeypatch.setattr(scoring, "CAPTION_BLOCK_SIZE", CAPTIONS_OF_A_BLOCK)


def state_in(folder, identity=None):
    """A state that notes every block."""
    return EvaluationState(folder / "state.npz", identity or {}, interval=0.0)


class Killed(BaseException):
    pass


def killer(blocks):
    """A progress callback that stops the evaluation after some blocks."""
    left = [blocks]

    def progress(_):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return progress


@pytest.mark.parametrize("protocol", ["all", "coco-1k"])
@pytest.mark.parametrize("levels", [None, 1])
def test_report_is_that_of_the_matrix(protocol, levels):
    dataset, table = make(levels=levels)
    model, done = TableModel(table), []
    report = evaluate_models([model], dataset, protocol, progress=done.append)
    assert report == evaluate_scores(table, dataset.caption_to_image, protocol)
    assert 100 < report.rsum < 600
    assert sum(done) == dataset.num_captions and len(done) > 5
    assert model.images_encoded == IMAGES


def test_every_block_is_shown():
    dataset, table = make()
    seen = np.full_like(table, np.nan)

    def watch(scores, captions):
        seen[:, captions] = scores

    assert evaluate_models([TableModel(table)], dataset, watch=watch) == evaluate_models(
        [TableModel(table)], dataset
    )
    np.testing.assert_array_equal(seen, table)


def test_ensemble_averages_scores():
    dataset, table = make()
    other = make(seed=5)[1][:, : table.shape[1]]
    other = np.pad(other, ((0, 0), (0, table.shape[1] - other.shape[1])))
    report = evaluate_models([TableModel(table), TableModel(other)], dataset)
    assert report == evaluate_scores((table + other) / 2, dataset.caption_to_image)
    assert report != evaluate_scores(table, dataset.caption_to_image)


@pytest.mark.parametrize("protocol", ["all", "coco-1k"])
@pytest.mark.parametrize("blocks", [0, 1, 4, 9])
def test_a_killed_evaluation_goes_on(protocol, blocks, tmp_path, caplog):
    caplog.set_level(logging.INFO, "hslm_tf")
    dataset, table = make(levels=2)
    expected = evaluate_scores(table, dataset.caption_to_image, protocol)
    state = state_in(tmp_path / "new", {"weights": "1"})
    first = TableModel(table)
    with pytest.raises(Killed):
        evaluate_models([first], dataset, protocol, state, killer(blocks))
    assert state.path.exists() == (blocks > 0)
    assert len(first.blocks) >= blocks

    # Scored captions are not scored again: their scores would be wrong now.
    wrong, done = table.copy(), []
    for numbers in first.blocks[:blocks]:
        wrong[:, numbers] = 99
    later = TableModel(wrong)
    assert expected == evaluate_models([later], dataset, protocol, state, done.append)
    scored_again = np.concatenate(later.blocks)
    assert not np.isin(np.concatenate([[-1], *first.blocks[:blocks]]), scored_again).any()
    assert sum(done) == dataset.num_captions
    assert ("Continuing after" in caplog.text) == (blocks > 0)

    # Done is done, until somebody clears it.
    idle = TableModel(np.full_like(table, np.nan))
    assert expected == evaluate_models([idle], dataset, protocol, state)
    assert idle.images_encoded == 0
    state.clear()
    assert not state.path.exists()


def test_complete_folds_are_not_encoded_again(tmp_path):
    dataset, table = make()
    state = state_in(tmp_path)
    with pytest.raises(Killed):
        evaluate_models([TableModel(table)], dataset, "coco-1k", state, killer(9))
    model = TableModel(table)
    evaluate_models([model], dataset, "coco-1k", state)
    assert 0 < model.images_encoded < IMAGES


@pytest.mark.parametrize("blocks", [0, 3])
def test_matrix_goes_to_a_file_and_goes_on(blocks, tmp_path):
    dataset, table = make()
    file, state = tmp_path / "scores", state_in(tmp_path)
    with pytest.raises(Killed):
        evaluate_to_file([TableModel(table)], dataset, file, state=state, progress=killer(blocks))
    assert not file.exists()
    assert (tmp_path / "draft-scores").exists() == (blocks > 0)

    later = table.copy()
    later[:, caption_order(TableModel(table), dataset)[: CAPTIONS_OF_A_BLOCK * blocks]] = 99
    report = evaluate_to_file([TableModel(later)], dataset, file, "coco-1k", state)
    np.testing.assert_array_equal(np.load(file), table)
    np.testing.assert_array_equal(np.load(file), score_matrix(TableModel(table), dataset))
    assert report == evaluate_scores(table, dataset.caption_to_image, "coco-1k")
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_of_one_file_are_refused(tmp_path):
    dataset, table = make()
    file = tmp_path / "scores"
    with locked(tmp_path / "draft-scores", "taken"):
        with pytest.raises(BlockingIOError, match="scores: another process writes it"):
            evaluate_to_file([TableModel(table)], dataset, file)
    assert not file.exists()
    evaluate_to_file([TableModel(table)], dataset, file)
    np.testing.assert_array_equal(np.load(file), table)


def test_a_disk_that_is_full(monkeypatch, tmp_path):
    """Blocks are taken before they are mapped: a write into a map without them ends the process."""

    def full(file, offset, length):
        assert length > 4 * IMAGES
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    dataset, table = make()
    with pytest.raises(OSError, match="No space left on device: '.*scores'") as error:
        evaluate_to_file([TableModel(table)], dataset, tmp_path / "scores")
    assert "draft" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_state_without_its_draft_is_ignored(tmp_path):
    dataset, table = make()
    file, state = tmp_path / "scores", state_in(tmp_path)
    with pytest.raises(Killed):
        evaluate_to_file([TableModel(table)], dataset, file, state=state, progress=killer(3))
    (tmp_path / "draft-scores").unlink()
    evaluate_to_file([TableModel(table)], dataset, file, state=state)
    np.testing.assert_array_equal(np.load(file), table)


def test_a_foreign_or_broken_state_is_ignored_in_one_line(tmp_path, caplog):
    dataset, table = make()
    mine = state_in(tmp_path, {"weights": "1", "captions": "2"})
    with pytest.raises(Killed):
        evaluate_models([TableModel(table)], dataset, state=mine, progress=killer(3))
    other = EvaluationState(mine.path, {"weights": "3", "captions": "2"})
    assert other.load() == {}
    assert caplog.messages == [
        f"{mine.path}: ignored, it was left by an evaluation with other weights"
    ]
    caplog.clear()
    assert mine.load() and not caplog.messages
    for content in (b"", b"no zip", mine.path.read_bytes()[:1000]):
        mine.path.write_bytes(content)
        assert mine.load() == {}
    assert len(caplog.messages) == 3 and all("broken" in line for line in caplog.messages)
    report = evaluate_models([TableModel(table)], dataset, state=mine)
    assert report == evaluate_scores(table, dataset.caption_to_image)


def test_a_run_that_may_only_be_read_is_evaluated(tmp_path, caplog):
    dataset, table = make()
    (tmp_path / "file").touch()
    state = state_in(tmp_path / "file")
    report = evaluate_models([TableModel(table)], dataset, state=state)
    assert report == evaluate_scores(table, dataset.caption_to_image)
    assert len(caplog.messages) == 1 and "could not be continued" in caplog.messages[0]


def test_states_are_written_only_now_and_then(tmp_path, monkeypatch):
    state, now = EvaluationState(tmp_path / "state.npz", {}, interval=60.0), [0.0]
    monkeypatch.setattr(evaluation_state.time, "monotonic", lambda: now[0])
    state._written = 0.0
    written = []
    for now[0] in (10.0, 59.0, 61.0, 100.0, 122.0):
        state.save_if_due(lambda: written.append(now[0]) or {})
    assert written == [61.0, 122.0]


@pytest.mark.parametrize("protocol", ["all", "coco-1k"])
def test_nan_is_one_error(protocol, tmp_path):
    dataset, table = make()
    table[0, np.flatnonzero(dataset.caption_to_image == 0)[0]] = np.nan
    with pytest.raises(ValueError, match="NaN for image 0 and caption"):
        evaluate_models([TableModel(table)], dataset, protocol)
    with pytest.raises(ValueError, match="NaN for image 0 and caption"):
        evaluate_to_file([TableModel(table)], dataset, tmp_path / "scores", protocol)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_found_before_scoring(tmp_path):
    dataset, table = make()
    with pytest.raises(ValueError, match="'5k' is defined on 5000 images"):
        evaluate_models([None], dataset, "5k")
    alone = RetrievalDataset("test", "somewhere", dataset.region_features, ["0"], np.array([0]))
    with pytest.raises(ValueError, match="59 images without one, the first is image 1"):
        evaluate_to_file([None], alone, tmp_path / "scores")


def test_images_are_encoded_in_batches_into_one_tensor(monkeypatch):
    dataset, table = make()
    for size in (1, 7, IMAGES, 100):
        monkeypatch.setattr(encoding, "IMAGE_BLOCK_SIZE", size)
        encoded = encoding.encode_images(TableModel(table), dataset)
        np.testing.assert_array_equal(encoded["regions"], dataset.region_features)
        assert encoded["region_mask"].dtype == tf.bool and np.all(encoded["region_mask"])
