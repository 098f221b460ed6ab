"""The pipeline that encodes: shards of a source, through the exported model, to shard files."""

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference
from apache_beam.pvalue import TaggedOutput

from hslm_tf.beam.elements import ImageFeatures, Rejected, Shard, ShardItems
from hslm_tf.beam.files import write_shard
from hslm_tf.beam.image_encoder import ImageEncoder
from hslm_tf.retrieval.encodings import StorageType
from hslm_tf.serving.request_rows import Status

REJECTED = "rejected"


class Source(Protocol):
    """A source of images; it is sent to the workers."""

    def read(self, shard: Shard) -> tuple[ShardItems, ImageFeatures]:
        """Reads a shard."""


class EncodeShards(beam.PTransform):
    """Encodes shards and writes each to its file, with its rejected images.

    A shard is one element from beginning to end: nothing is shuffled, a worker holds one shard at a
    time, and a file that is there is complete. Takes shards; returns two collections, `"written"`
    with the shards and `"rejected"`, the dead-letter output, with the `Rejected` images.

    Args:
        source: where the images come from.
        model: folder of a version of the exported model, which every worker can read.
        folder: where the files of the shards go, a path or an address.
        dtype: type that local features are kept in.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     source = SplitSource("photos", "mine")
        ...     shards = pipeline | beam.Create(shards_of(1000, 256))
        ...     done = shards | EncodeShards(source, "served/hslm/1", "shards", "float16")
        ...     done["rejected"] | beam.Map(print)
    """

    def __init__(self, source: Source, model: str, folder: str, dtype: StorageType) -> None:
        super().__init__()
        self._source, self._model, self._folder, self._dtype = source, model, folder, dtype

    def expand(self, shards: beam.PCollection[Shard]) -> Any:
        """Builds the steps."""
        encoder = KeyedModelHandler(ImageEncoder(self._model, max_batch_size=1))
        write = beam.ParDo(_Write(self._folder, self._dtype))
        outputs = (
            shards
            # Without it a runner may fuse the list of shards with the work, on one worker.
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.Map(self._source.read)
            | "Encode" >> RunInference(encoder)
            | "Write" >> write.with_outputs(REJECTED, main="written")
        )
        return {name: outputs[name] for name in ("written", REJECTED)}


class _Write(beam.DoFn):
    def __init__(self, folder: str, dtype: StorageType) -> None:
        super().__init__()
        self._folder, self._dtype = folder, dtype
        self._counters = [Metrics.counter("hslm_tf", name) for name in ("encoded", REJECTED)]

    def process(
        self, element: tuple[ShardItems, PredictionResult]
    ) -> Iterator[Shard | TaggedOutput[Literal["rejected"], Rejected]]:
        items, encoded = element[0], dict(element[1].inference)
        with np.errstate(over="ignore"):
            for name in {"regions", "image_global"} & encoded.keys():
                encoded[name] = encoded[name].astype(self._dtype)
        status, vectors = encoded.pop("status"), encoded.pop("vector")
        fits = np.isfinite(encoded["regions"]).all(axis=(1, 2))
        good = (status == Status.OK) & fits
        rejected = list(items.rejected)
        for place in np.flatnonzero(~good):
            reason = f"a local feature does not fit {self._dtype}"
            if status[place] != Status.OK:
                reason = Status(status[place]).meaning
            rejected.append(Rejected(int(items.rows[place]), items.ids[place], reason))
        arrays = {"rows": items.rows, "ids": np.array(items.ids, np.str_), "vectors": vectors}
        arrays |= encoded | ({} if items.boxes is None else {"boxes": items.boxes})
        arrays = {name: values[good] for name, values in arrays.items()}
        # Rejected images are in the file, so that they are not lost where a restart skips it.
        rejected.sort()
        for name, dtype in (("row", np.int64), ("id", np.str_), ("reason", np.str_)):
            values = [getattr(image, name) for image in rejected]
            arrays[f"rejected_{name}s"] = np.array(values, dtype)
        write_shard(FileSystems.join(self._folder, items.shard.file_name), arrays)
        for counter, number in zip(self._counters, (good.sum(), len(rejected)), strict=True):
            counter.inc(int(number))
        yield items.shard
        for image in rejected:
            yield TaggedOutput(REJECTED, image)
