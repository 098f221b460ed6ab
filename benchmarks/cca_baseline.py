"""Linear CCA between mean-pooled regions and tf-idf captions, a baseline for every model.

Needs the extra `benchmarks`. Usage:

    python -m benchmarks.cca_baseline                              # the packaged sample
    python -m benchmarks.cca_baseline --data FOLDER --split dev

Two scores of the same projections are reported: the cosine of the first 32 components, and the
cosine of the first 128, each weighted by its correlation (after Gong et al., "A Multi-View
Embedding Space for Modeling Internet Images, Tags, and Their Semantics", IJCV 2014).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from hslm_tf.command_line import one_line_errors, print_table
from hslm_tf.data import RetrievalDataset, load_dataset, load_sample
from hslm_tf.evaluation import RecallReport, evaluate_scores, report_table

_IMAGES_PER_READ = 500


@dataclass(frozen=True)
class Settings:
    """Settings of the baseline.

    The defaults were chosen for the weighted cosine on the development splits of Flickr8k and of
    the sample together. The 32 components of the plain cosine were chosen to reproduce the rsum of
    200 on Flickr8k's development split that comes with these features; others are better.

    Args:
        min_count: words in fewer captions than this are left out.
        region_ridge: ridge on the regions' covariance, as a share of its mean variance.
        word_ridge: ridge on the words' covariance.
        components: components of the plain cosine.
        weighted_components: components of the weighted cosine.
    """

    min_count: int = 2
    region_ridge: float = 0.1
    word_ridge: float = 1e-3
    components: int = 32
    weighted_components: int = 128


_DEFAULTS = Settings()


@dataclass(frozen=True)
class LinearCCA:
    """Projections into the space of canonical components.

    Args:
        x_mean: `[x]`, the mean to subtract on the first side.
        y_mean: `[y]`, the same on the second side.
        x_weights: `[x, k]`, the projection of the first side.
        y_weights: `[y, k]`, that of the second side.
        correlations: `[k]`, in descending order.
    """

    x_mean: np.ndarray
    y_mean: np.ndarray
    x_weights: np.ndarray
    y_weights: np.ndarray
    correlations: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, y: Any, x_ridge: float, y_ridge: float) -> "LinearCCA":
        """Solves regularized CCA in closed form.

        Args:
            x: `[n, x]`, dense.
            y: `[n, y]`, sparse; never made dense, its mean is subtracted from the covariance.
            x_ridge: added to the diagonal of the covariance of `x`.
            y_ridge: added to the diagonal of the covariance of `y`.

        Returns:
            The projections.
        """
        from scipy.linalg import solve_triangular

        n = len(x)
        x_mean, y_mean = x.mean(axis=0), np.asarray(y.mean(axis=0)).ravel()
        x_root = _root(x.T @ x / n - np.outer(x_mean, x_mean), x_ridge)
        y_root = _root((y.T @ y).toarray() / n - np.outer(y_mean, y_mean), y_ridge)
        cross = (y.T @ x).T / n - np.outer(x_mean, y_mean)
        whitened = solve_triangular(x_root, cross, lower=True)
        whitened = solve_triangular(y_root, whitened.T, lower=True).T
        left, correlations, right = np.linalg.svd(whitened, full_matrices=False)
        return cls(
            x_mean,
            y_mean,
            solve_triangular(x_root, left, lower=True, trans="T"),
            solve_triangular(y_root, right.T, lower=True, trans="T"),
            correlations,
        )

    def scores(self, x: np.ndarray, y: Any, components: int, power: float) -> np.ndarray:
        """Cosines of projections whose components are weighted by `correlations ** power`.

        Args:
            x: `[n, x]`.
            y: `[m, y]`, sparse.
            components: how many components to keep.
            power: exponent of the weights; 0 is the plain cosine.

        Returns:
            `[n, m]`.
        """
        weights = self.correlations[:components] ** power
        x_side = (x - self.x_mean) @ self.x_weights[:, :components] * weights
        y_side = (y @ self.y_weights - self.y_mean @ self.y_weights)[:, :components] * weights
        return _unit_rows(x_side) @ _unit_rows(y_side).T


def baseline(
    train: RetrievalDataset, test: RetrievalDataset, settings: Settings
) -> dict[str, RecallReport]:
    """Fits on one split and measures on another.

    Args:
        train: the split to fit on.
        test: the split to measure on.
        settings: settings of the baseline.

    Returns:
        Reports of the plain and of the weighted cosine.

    Raises:
        ImportError: if scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise ImportError(
            "scikit-learn is not installed: pip install hslm-tf[benchmarks]"
        ) from error
    vectorizer = TfidfVectorizer(min_df=settings.min_count, sublinear_tf=True)
    words = vectorizer.fit_transform(train.captions)
    regions = mean_regions(train)
    x_ridge = settings.region_ridge * regions.var(axis=0).mean()
    cca = LinearCCA.fit(
        regions[train.caption_to_image], words, x_ridge=x_ridge, y_ridge=settings.word_ridge
    )
    queries, answers = mean_regions(test), vectorizer.transform(test.captions)
    kept = {"cosine": (settings.components, 0.0), "weighted": (settings.weighted_components, 1.0)}
    return {
        name: evaluate_scores(cca.scores(queries, answers, *how), test.caption_to_image)
        for name, how in kept.items()
    }


def mean_regions(dataset: RetrievalDataset) -> np.ndarray:
    """Means over the real regions.

    Args:
        dataset: a split.

    Returns:
        float64 `[num_images, F]`.
    """
    blocks = []
    for first in range(0, dataset.num_images, _IMAGES_PER_READ):
        images = np.arange(first, min(first + _IMAGES_PER_READ, dataset.num_images))
        regions, mask = dataset.read_images(images)
        blocks.append(regions.sum(axis=1, dtype=np.float64) / mask.sum(axis=1, keepdims=True))
    return np.concatenate(blocks)


def _root(covariance: np.ndarray, ridge: float) -> np.ndarray:
    from scipy.linalg import cholesky

    return cholesky(covariance + ridge * np.eye(len(covariance)), lower=True)


def _unit_rows(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def main(data: Path | None = None, split: str = "test", settings: Settings = _DEFAULTS) -> None:
    """Prints the baseline's table.

    Args:
        data: folder with a `train` split and `split`; the packaged sample without it.
        split: split to measure on.
        settings: settings of the baseline.
    """
    load_split = load_sample if data is None else lambda name: load_dataset(data, name)
    with one_line_errors():
        reports = baseline(load_split("train"), load_split(split), settings)
        title = f"Linear CCA, {data or 'packaged sample'}, {split}"
        print_table(report_table(reports, title=title))


if __name__ == "__main__":
    tyro.cli(main)
