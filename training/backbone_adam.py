"""Adam with a learning rate of its own for what is pretrained."""

import keras
import tensorflow as tf

# The paths of a pretrained network's variables begin with it.
BACKBONE_SCOPE = "text_backbone"


@keras.saving.register_keras_serializable(package="hslm_tf")
class BackboneAdam(keras.optimizers.Adam):
    """Adam that moves a pretrained network more slowly than the rest, as VSE-infinity does.

    Args:
        backbone_rate: learning rate of variables under `BACKBONE_SCOPE`, as a share of
            `learning_rate`.
        frozen_steps: steps in which these do not move yet.
        **kwargs: arguments of `keras.optimizers.Adam`.

    Raises:
        ValueError: if `backbone_rate` is not in (0, 1] or `frozen_steps` is negative.
    """

    def __init__(self, backbone_rate: float = 0.1, frozen_steps: int = 0, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < backbone_rate <= 1:
            raise ValueError(
                f"`backbone_rate` must be in (0, 1]. Received: backbone_rate={backbone_rate}"
            )
        if frozen_steps < 0:
            raise ValueError(
                f"`frozen_steps` must be 0 or more. Received: frozen_steps={frozen_steps}"
            )
        self.backbone_rate = backbone_rate
        self.frozen_steps = int(frozen_steps)

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._is_pretrained = [v.path.startswith(f"{BACKBONE_SCOPE}/") for v in variables]

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        if self._is_pretrained[self._get_variable_index(variable)]:
            moves = tf.cast(self.iterations >= self.frozen_steps, learning_rate.dtype)
            learning_rate = learning_rate * self.backbone_rate * moves
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "backbone_rate": self.backbone_rate,
            "frozen_steps": self.frozen_steps,
        }
