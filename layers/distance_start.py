"""Initial weights of Eq. 17 and 22 with which the score falls with the distance of two vectors.

The l2 norm of Eq. 17 removes the length of `W (m1 - m2)^2`. So with b = 0 the squared distance
D = |m1 - m2|^2 is lost: with random weights the score does not depend on how far apart two vectors
are. Here half of W's columns start near 1 with b = 0, so that they give D. The other half starts
near 0 with b = 1, so that they give a constant to compare with. The weights of the score start at
-1 for the first half and 1 for the second, divided by the square root of half the units. Then the
score starts as `(1 - D) / sqrt(1 + D^2)`. The equations are the paper's; only the start differs.
"""

import keras
from keras import ops

STARTS = ("distance", "random")
NOISE = 0.1


@keras.saving.register_keras_serializable(package="hslm_tf")
class DistanceKernel(keras.initializers.Initializer):
    """Starts W of Eq. 17 `[width, units]`: half of its columns near 1, the rest near 0."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self.random = keras.initializers.RandomNormal(stddev=NOISE, seed=seed)

    def __call__(self, shape: tuple, dtype: str | None = None) -> keras.KerasTensor:
        return self.random(shape, dtype=dtype) + _first_half(shape, dtype)

    def get_config(self) -> dict:
        return {"seed": self.seed}


@keras.saving.register_keras_serializable(package="hslm_tf")
class DistanceBias(keras.initializers.Initializer):
    """Starts b of Eq. 17 `[units]`: 0 where columns measure the distance, 1 elsewhere."""

    def __call__(self, shape: tuple, dtype: str | None = None) -> keras.KerasTensor:
        return 1 - _first_half(shape, dtype)

    def get_config(self) -> dict:
        return {}


@keras.saving.register_keras_serializable(package="hslm_tf")
class FallingScore(keras.initializers.Initializer):
    """Starts the weights of the score `[units, 1]`: a smaller distance gives a higher score."""

    def __call__(self, shape: tuple, dtype: str | None = None) -> keras.KerasTensor:
        units = shape[0]
        falling = 1 - 2 * _first_half((units,), dtype)
        return ops.reshape(falling, shape) * max(units // 2, 1) ** -0.5

    def get_config(self) -> dict:
        return {}


def _first_half(shape: tuple, dtype: str | None) -> keras.KerasTensor:
    """1 in the first half of the last axis, 0 in the rest."""
    units = shape[-1]
    first = ops.cast(ops.arange(units) < units // 2, dtype or keras.config.floatx())
    return ops.broadcast_to(first, shape)
