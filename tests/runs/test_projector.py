"""Vectors for TensorBoard's page Projector, read as the page reads them."""

import csv
import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig
from tensorboard.plugins.projector.projector_plugin import _read_tensor_tsv_file

from hslm_tf import embed, train
from hslm_tf.fingerprint import model_fingerprint
from hslm_tf.models.hslm import HSLM
from hslm_tf.retrieval.projection_heads import new_heads
from hslm_tf.runs.opening import load_model
from hslm_tf.runs.projector import metadata_of, write_projector
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.runs.splits import load_split
from tests.tiny_run import IMAGES, WHOLE, fails


@pytest.fixture
def dev(run_flags):
    dataset = load_split(train.parse(run_flags).config, "dev")
    ids = [f"{number}.png" for number in range(IMAGES)]
    return dataclasses.replace(dataset, image_ids=ids)


def config_of(run):
    text = (run.tensorboard / "projector_config.pbtxt").read_text()
    (embedding,) = text_format.Parse(text, ProjectorConfig()).embeddings
    return embedding


def vectors_of(run):
    return _read_tensor_tsv_file(str(run.tensorboard / config_of(run).tensor_path))


def rows_of(run):
    with open(run.tensorboard / config_of(run).metadata_path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def check_rows(rows, dataset):
    count = dataset.num_images
    assert [row["kind"] for row in rows] == ["image"] * count + ["caption"] * dataset.num_captions
    assert [row["image"] for row in rows[:count]] == dataset.image_ids
    assert [row["text"] for row in rows[count:]] == dataset.captions
    for row, image in zip(rows[count:], dataset.caption_to_image, strict=True):
        assert row["image"] == dataset.image_ids[image]
    assert rows[1]["text"] == f"[image] {dataset.captions[5]}"


@pytest.mark.parametrize("pooled", ["attended", "regions"])
def test_global_vectors_or_means_in_the_order_of_the_rows(pooled, dev, run_flags, tmp_path):
    config = train.parse([*run_flags, *WHOLE, "--image-global", pooled]).config.model
    model = HSLM(config, ("<pad>", "<start>", "<end>", "<unk>", "photo", "sea", "thing3"))
    run = RunDirectory(tmp_path)
    write_projector(run, model, dev)
    embedding = config_of(run)
    assert embedding.tensor_name == "dev: images and captions"
    assert not embedding.sprite.image_path
    check_rows(rows_of(run), dev)

    images = model.encode_image(*dev.read_images(np.arange(IMAGES)))
    texts = model.encode_text(dev.captions)
    if pooled == "regions":
        expected = images["image_global"], texts["text_global"]
    else:
        heads = new_heads(config.joint_dim, None)
        expected = heads.image_vectors(images), heads.text_vectors(texts)
    np.testing.assert_allclose(vectors_of(run), np.concatenate(expected), rtol=1e-3, atol=1e-5)


def test_first_images_alone_and_their_tiles(dev, run_flags, tmp_path):
    photos = tmp_path / "photos"
    for number in range(IMAGES):
        picture = np.full((9, 9, 3), 20 * number, np.uint8)
        tf.io.write_file(str(photos / f"{number}.png"), tf.io.encode_png(picture))
    model = HSLM(train.parse(run_flags).config.model, ("<pad>", "<start>", "<end>", "<unk>"))
    run = RunDirectory(tmp_path / "run")
    write_projector(run, model, dev, images=photos, limit=7)
    assert len(vectors_of(run)) == 7 + 35
    check_rows(rows_of(run), dev.subset(0, 7))

    sprite = config_of(run).sprite
    assert list(sprite.single_image_dim) == [64, 64]
    picture = tf.io.decode_jpeg(tf.io.read_file(str(run.tensorboard / sprite.image_path))).numpy()
    # As many rows as columns, a power of two.
    assert picture.shape == (8 * 64, 8 * 64, 3)
    tiles = picture.reshape(8, 64, 8, 64, 3).swapaxes(1, 2).reshape(64, 64, 64, 3).astype(int)
    expected = 20 * np.concatenate([np.arange(7), dev.caption_to_image[:35]])
    np.testing.assert_allclose(tiles[:42, 32, 32, 0], expected, atol=3)
    assert (np.abs(tiles[:7, 1, 32] - tiles[:7, 32, 32]) < 20).all()
    np.testing.assert_allclose(tiles[7:42, 1, 32].mean(axis=0), [0xE6, 0x9F, 0x00], atol=40)
    assert (tiles[43:, 8:, 8:] > 250).all()


def test_no_caption_breaks_the_table(dev):
    hostile = ["a\tb", "c\nd", "e\r\nf", '"g', "h\u2028i\x85j", "<script>", "", "x | y"]
    dataset = dataclasses.replace(
        dev.subset(0, 2), captions=[*hostile, "k", "l"], image_ids=["one\ttwo", "three"]
    )
    lines = metadata_of(dataset).split("\n")
    assert lines.pop() == ""
    cells = [line.split("\t") for line in lines]
    assert len(cells) == 1 + 2 + 10 and {len(row) for row in cells} == {3}
    assert [row[0] for row in cells[3:]] == [" ".join(text.split()) for text in dataset.captions]
    assert [row[2] for row in cells[1:4]] == ["one two", "three", "one two"]
    assert metadata_of(dataset).splitlines() == lines


def test_a_training_leaves_vectors_and_the_command_replaces_them(run, capsys):
    assert len(vectors_of(run)) == 6 * IMAGES
    model = load_model(run.path)
    embed.main([str(run.path), "--split", "test", "--limit", "3"])
    assert capsys.readouterr().out.strip() == str(run.tensorboard / "projector")
    assert config_of(run).tensor_name == "test: images and captions"
    assert vectors_of(run).shape == (18, model.config.joint_dim)

    heads = new_heads(model.config.joint_dim, 4, teacher_fingerprint=model_fingerprint(model))
    heads.save(run.projection_heads)
    embed.main([str(run.path)])
    images = model.encode_image(*load_split(run.config(), "dev").read_images(np.arange(IMAGES)))
    expected = heads.image_vectors(images)
    np.testing.assert_allclose(vectors_of(run)[:IMAGES], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--limit", "0"], "--limit must be at least 1"),
        (["--images", "nowhere"], "nowhere: there is no such folder"),
        (["--images", "."], "comes without ids"),
        (["--split", "val"], "holds no region features of the split 'val'"),
    ],
)
def test_a_mistake_is_one_error(flags, message, finished_run, capsys):
    assert message in fails([finished_run.path, *flags], capsys, embed)
