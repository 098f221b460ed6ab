"""A client of an exported model on a model server, by REST or gRPC.

    from hslm_tf.serving.client import Client

    client = Client("http://localhost:8501")  # or grpc://localhost:8500
    client.score(region_features, ["a dog runs"])

REST needs NumPy and urllib3 only.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hslm_tf.serving.request_rows import ALL_REGIONS, Status, pad_images
from hslm_tf.serving.transport import Arrays, GrpcTransport, RestTransport, ServerError

__all__ = ["Client", "Hit", "RowError", "ServerError"]


class Hit(NamedTuple):
    """An image that answers a caption."""

    id: str
    score: float


class RowError(ValueError):
    """Some rows of a request have no answer.

    Attributes:
        statuses: what is wrong, by the name of the row, such as `"captions[3]"`.
        answer: the whole answer; NaN in the bad rows.
    """

    def __init__(self, statuses: Mapping[str, Status], answer: Arrays) -> None:
        parts = [f"{row}: {status.meaning}" for row, status in statuses.items()]
        super().__init__("; ".join(parts))
        self.statuses = dict(statuses)
        self.answer = answer


class Client:
    """Asks an exported model on a model server.

    Every call raises `ServerError` if the server refuses the request or cannot be reached, and
    `TimeoutError` if there is no answer in time.

    Args:
        url: `http://host:port` or `https://...` for REST, `grpc://host:port` for gRPC.
        model: name of the model.
        version: number of the version; None for the one that the server chooses.
        timeout: seconds to wait for an answer.
        retries: how often a request that the server could not take is sent again.

    Raises:
        ImportError: if the URL is of gRPC and `tensorflow-serving-api` is not installed.
        ValueError: if the URL is of another kind.
    """

    def __init__(
        self,
        url: str,
        model: str = "hslm",
        version: int | None = None,
        timeout: float = 10.0,
        retries: int = 2,
    ) -> None:
        scheme, _, target = url.partition("://")
        self._transport: RestTransport | GrpcTransport
        if scheme in ("http", "https"):
            self._transport = RestTransport(url, model, version, timeout, retries)
        elif scheme == "grpc":
            self._transport = GrpcTransport(target, model, version, timeout, retries)
        else:
            raise ValueError(f"A URL starts with http, https or grpc. Received: {url=}")

    def encode_text(self, captions: Sequence[str | bytes]) -> Arrays:
        """Encodes captions.

        Args:
            captions: n captions.

        Returns:
            `"words"` `[n, max_tokens, joint_dim]`, boolean `"word_mask"`, `"vector"` `[n, dim]`.

        Raises:
            RowError: if a caption is empty, too long or not UTF-8.
        """
        answer = self._predict("encode_text", {"captions": _strings(captions)})
        return _checked(answer, status="captions")

    def encode_image(
        self, region_features: np.ndarray, num_regions: Sequence[int] | np.ndarray | None = None
    ) -> Arrays:
        """Encodes images.

        Args:
            region_features: `[n, regions, region_dim]`.
            num_regions: `[n]`, how many rows of each image are real, -1 for all of them; None for
                all rows of all images.

        Returns:
            `"regions"` `[n, max_regions, joint_dim]`, boolean `"region_mask"`, `"vector"`
            `[n, dim]`, and `"image_global"` `[n, joint_dim]` of a model that pools the regions.

        Raises:
            RowError: if an image has no regions or features that are not finite.
            ValueError: if `region_features` have another shape than the model's.
        """
        answer = self._predict("encode_image", self._images(region_features, num_regions))
        return _checked(answer, status="region_features")

    def score(
        self,
        region_features: np.ndarray,
        captions: Sequence[str | bytes],
        num_regions: Sequence[int] | np.ndarray | None = None,
    ) -> np.ndarray:
        """Scores image i against caption i.

        Args:
            region_features: `[n, regions, region_dim]`.
            captions: n captions.
            num_regions: `[n]`, how many rows of each image are real, -1 for all of them; None for
                all rows of all images.

        Returns:
            Scores `[n]`.

        Raises:
            RowError: if an image or a caption cannot be read.
            ValueError: if the shapes are wrong.
        """
        inputs = {**self._images(region_features, num_regions), "captions": _strings(captions)}
        if len(inputs["region_features"]) != len(captions):
            raise ValueError(
                "Aligned scoring needs one caption an image. "
                f"Received: len(region_features)={len(region_features)}, "
                f"len(captions)={len(captions)}"
            )
        return _checked(self._predict("score", inputs), status="row")["score"]

    def score_matrix(self, images: Arrays, captions: Sequence[str | bytes]) -> np.ndarray:
        """Scores every image against every caption.

        Args:
            images: what `encode_image` returned for n images.
            captions: m captions.

        Returns:
            Scores `[n, m]`.

        Raises:
            RowError: if an image or a caption cannot be read.
        """
        inputs = {
            "regions": np.asarray(images["regions"], np.float32)[None],
            "region_mask": np.asarray(images["region_mask"], bool)[None],
            "captions": _strings(captions)[None],
        }
        answer = self._predict("score_matrix", inputs)
        answer = {name: value[0] for name, value in answer.items()}
        return _checked(answer, image_status="images", caption_status="captions")["scores"]

    def search(self, captions: Sequence[str | bytes], k: int | None = None) -> list[list[Hit]]:
        """Finds the images that answer captions best, where a collection was exported.

        Args:
            captions: n captions.
            k: number of answers; None for as many as the model was exported for.

        Returns:
            For every caption its images, the best first.

        Raises:
            RowError: if a caption is empty, too long or not UTF-8.
            ValueError: if `k` is not among what the model was exported for.
        """
        answer = self._predict("search", {"captions": _strings(captions)})
        answer = _checked(answer, status="captions")
        most = answer["ids"].shape[1]
        if k is not None and not 1 <= k <= most:
            raise ValueError(f"The model gives 1 to {most} images a caption. Received: {k=}")
        return [
            [Hit(_text(name), float(score)) for name, score in zip(ids, scores, strict=True)][:k]
            for ids, scores in zip(answer["ids"], answer["scores"], strict=True)
        ]

    @cached_property
    def _image_shape(self) -> tuple[int, int]:
        wanted = self._transport.inputs("score")
        shape = wanted.get("region_features", ())
        if len(shape) != 3:
            raise _other_model("score", wanted, ("region_features", "num_regions", "captions"))
        return shape[1:]

    def _predict(self, endpoint: str, inputs: Arrays) -> Arrays:
        try:
            return self._transport.predict(endpoint, inputs)
        except ServerError as error:
            try:
                wanted = self._transport.inputs(endpoint)
            except (ServerError, TimeoutError):
                raise error from None
            if wanted.keys() == inputs.keys():
                raise
            raise _other_model(endpoint, wanted, inputs) from error

    def _images(self, features: np.ndarray, num_regions: object) -> Arrays:
        # A wrong shape is never sent: on the server it could fail the requests of others.
        if num_regions is None:
            num_regions = np.full(len(features), ALL_REGIONS)
        features, counts = pad_images(features, num_regions, *self._image_shape)
        return {"region_features": features, "num_regions": counts}


def _strings(captions: Sequence[str | bytes]) -> np.ndarray:
    if isinstance(captions, str | bytes) or not len(captions):
        raise ValueError(f"`captions` must be a list of captions. Received: {captions=}")
    # Lone surrogates are sent as they are: the model answers that the row is not UTF-8.
    texts = [
        text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        for text in captions
    ]
    return np.array(texts, object)


def _other_model(endpoint: str, wanted: Iterable[str], sent: Iterable[str]) -> ServerError:
    return ServerError(
        f"the endpoint {endpoint} of the model takes {', '.join(wanted) or 'nothing'}, and is sent "
        f"{', '.join(sent)}: export the run with this version of hslm_tf"
    )


def _checked(answer: Arrays, **names: str) -> Arrays:
    """Takes the statuses out of an answer and raises if there is a bad one."""
    if missing := names.keys() - answer.keys():
        raise ServerError(f"the answer has {sorted(answer)} and lacks {sorted(missing)}")
    bad = {
        f"{row}[{number}]": Status(code)
        for key, row in names.items()
        for number, code in enumerate(answer[key])
        if code
    }
    if bad:
        raise RowError(bad, answer)
    return {name: value for name, value in answer.items() if name not in names}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
