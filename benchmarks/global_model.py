r"""Global models that train in a minute, a baseline for fine-grained models.

    python -m benchmarks.global_model                                   # the packaged sample
    python -m benchmarks.global_model --data FOLDER --split dev
    python -m benchmarks.global_model --data FOLDER --split dev --text gru --pooling attention \
        --score similarity                                              # row 1 of Table 4

The mean of an image's regions and the mean of a caption's word vectors, each through one Dense
layer, compared by their cosine. The options lead from there to row 1 of the paper's Table 4.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
import tyro

from hslm_tf.command_line import print_table
from hslm_tf.data import RetrievalDataset, load_dataset, load_sample
from hslm_tf.data.blocks import row_blocks
from hslm_tf.data.pipeline import steps_per_epoch, training_batches
from hslm_tf.evaluation import RecallReport, evaluate_scores, report_table
from hslm_tf.layers import (
    AttentionPooling,
    BidirectionalGRU,
    L2Normalization,
    SimilarityFusion,
    SimilarityRepresentation,
)
from hslm_tf.text.tokenizer import CaptionTokenizer, build_vocabulary
from hslm_tf.text.word_vectors import load_word_vectors
from hslm_tf.training import ContrastiveLoss
from hslm_tf.training.trainer import RetrievalTrainer

_IMAGE_BLOCK_SIZE = 250


@dataclass(frozen=True)
class Settings:
    """Settings of a global model.

    Args:
        text: mean of the word vectors, or a bidirectional GRU over them.
        pooling: mean, or attention with the mean as its query.
        score: cosine, or Eq. 17 and a linear score.
        unit_rows: regions and words get unit length before they are pooled.
        width: joint width.
        word_width: width of a word vector.
        similarity_width: width of a similarity vector.
        dropout: dropout on region features and word vectors.
        scale: what scores are multiplied by in the contrastive loss.
        epochs: passes over the training captions.
        batch_size: pairs in a batch.
        learning_rate: learning rate of Adam; a tenth of it after two thirds of the epochs.
        word_vectors: file of pretrained word vectors.
        seed: seed of weights, order and dropout.
    """

    text: Literal["mean", "gru"] = "mean"
    pooling: Literal["mean", "attention"] = "mean"
    score: Literal["cosine", "similarity"] = "cosine"
    unit_rows: bool = False
    width: int = 512
    word_width: int = 512
    similarity_width: int = 64
    dropout: float = 0.2
    scale: float = 20.0
    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 5e-4
    word_vectors: Path | None = None
    seed: int = 0


_DEFAULTS = Settings()


class GlobalModel(RetrievalTrainer):
    """One vector an image, one vector a caption.

    Args:
        settings: what the model is made of.
        region_dim: width of a region feature.
        vocabulary_size: number of token ids.
    """

    def __init__(self, settings: Settings, region_dim: int, vocabulary_size: int) -> None:
        regions = keras.Input((None, region_dim), name="region_features")
        region_mask = keras.Input((None,), dtype="bool", name="region_mask")
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        word_mask = keras.ops.not_equal(token_ids, 0)

        image = keras.layers.Dropout(settings.dropout)(regions)
        image = keras.layers.Dense(settings.width)(image)
        image = _pooled(settings, image, region_mask, "image_pooling")
        words = keras.layers.Embedding(
            vocabulary_size,
            settings.word_width,
            embeddings_initializer=keras.initializers.RandomUniform(-0.1, 0.1),
            name="word_embedding",
        )(token_ids)
        words = keras.layers.Dropout(settings.dropout)(words)
        if settings.text == "gru":
            words = BidirectionalGRU(settings.width)(words, mask=word_mask)
        else:
            words = keras.layers.Dense(settings.width)(words)
        text = _pooled(settings, words, word_mask, "text_pooling")

        similarity, fusion = None, None
        if settings.score == "similarity":
            similarity = SimilarityRepresentation(settings.similarity_width)
            fusion = SimilarityFusion()
            vectors = similarity(text[:, None, None], image[:, None, None])
            score = fusion({"global": vectors})[:, 0, 0]
        else:
            score = keras.layers.Dot(axes=-1)([text, image])
        image_inputs = {"region_features": regions, "region_mask": region_mask}
        super().__init__({**image_inputs, "token_ids": token_ids}, {"score": score})
        self.similarity, self.fusion = similarity, fusion
        self.image_encoder = keras.Model(image_inputs, {"vector": image})
        self.text_encoder = keras.Model({"token_ids": token_ids}, {"vector": text})

    def score_all(self, images: dict, texts: dict) -> tf.Tensor:
        """Scores all images against all captions, `[n, m]`."""
        image, text = images["vector"], texts["vector"]
        if self.fusion is None:
            return tf.matmul(image, text, transpose_b=True)
        return self.fusion({"global": self.similarity(text[None, None], image[None, :, None])})[0]


def _pooled(
    settings: Settings, rows: keras.KerasTensor, mask: keras.KerasTensor, name: str
) -> keras.KerasTensor:
    if settings.unit_rows:
        rows = L2Normalization()(rows, mask=mask)
    if settings.pooling == "attention":
        return AttentionPooling(name=name)(rows, mask=mask)
    return L2Normalization()(keras.layers.GlobalAveragePooling1D(name=name)(rows, mask=mask))


def baseline(
    train: RetrievalDataset, test: RetrievalDataset, settings: Settings, verbose: int = 2
) -> RecallReport:
    """Trains on one split and measures on another, after the last epoch.

    Args:
        train: the split to train on.
        test: the split to measure on.
        settings: what the model is made of and how it learns.
        verbose: 2 prints a line an epoch, 0 nothing.

    Returns:
        The recall.
    """
    keras.utils.set_random_seed(settings.seed)
    vocabulary = build_vocabulary(train.captions).words
    tokenizer = CaptionTokenizer(vocabulary)
    model = GlobalModel(settings, train.region_dim, len(vocabulary))
    if settings.word_vectors is not None:
        vectors, found = load_word_vectors(settings.word_vectors, vocabulary, settings.word_width)
        model.text_encoder.get_layer("word_embedding").set_weights([vectors])
        print(f"{np.count_nonzero(found)} of {len(found)} words have pretrained vectors")
    steps = steps_per_epoch(train, settings.batch_size)
    drop = round(settings.epochs * 2 / 3) * steps
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [drop], [settings.learning_rate, settings.learning_rate / 10]
    )
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=2.0), ContrastiveLoss(settings.scale))
    model.fit(
        training_batches(
            train, tokenizer.tokenize_all(train.captions), settings.batch_size, settings.seed
        ),
        epochs=settings.epochs,
        shuffle=False,
        verbose=verbose,
    )
    return evaluate_scores(scores(model, test, tokenizer), test.caption_to_image)


def scores(model: GlobalModel, test: RetrievalDataset, tokenizer: CaptionTokenizer) -> np.ndarray:
    """Scores every image of a split against every caption, `[num_images, num_captions]`."""
    tokens = tokenizer.tokenize_all(test.captions).padded(np.arange(test.num_captions))
    texts = model.text_encoder({"token_ids": tf.constant(tokens)})
    blocks = []
    for rows in row_blocks(test.num_images, _IMAGE_BLOCK_SIZE):
        regions, mask = test.read_images(rows)
        inputs = {"region_features": tf.cast(regions, tf.float32), "region_mask": tf.constant(mask)}
        blocks.append(model.score_all(model.image_encoder(inputs), texts).numpy())
    return np.concatenate(blocks)


def main(data: Path | None = None, split: str = "test", settings: Settings = _DEFAULTS) -> None:
    """Prints the model's table.

    Args:
        data: folder with a `train` split and `split`; the packaged sample without it.
        split: split to measure on.
        settings: what the model is made of and how it learns.
    """
    load_split = load_sample if data is None else lambda name: load_dataset(data, name)
    report = baseline(load_split("train"), load_split(split), settings)
    print_table(report_table({"global model": report}, title=f"{data or 'sample'}, {split}"))


if __name__ == "__main__":
    tyro.cli(main)
