"""How projection heads learn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DistillationConfig:
    """How the heads learn."""

    dim: int = 256
    """width of the vectors"""
    attentions: int = 4
    """number of attentions of a head"""
    concepts: int = 256
    """number of learned concepts of a head"""
    steps: int = 1000
    """blocks of images and captions that the model scores"""
    images_a_step: int = 128
    """images of a block"""
    captions_a_step: int = 256
    """captions of a block"""
    replay_steps: int = 1
    """further steps on blocks that are scored already, for every new block"""
    max_images: int = 6000
    """images of the split to use, drawn at random; their encodings are held in memory"""
    learning_rate: float = 1e-3
    """initial learning rate of Adam, falling to zero along a cosine"""
    temperature: float = 0.06
    """what the model's scores are divided by, in standard deviations of a block's scores"""
    seed: int = 0
    """seed of all draws"""

    def __post_init__(self) -> None:
        sizes = "dim", "attentions", "concepts", "steps", "images_a_step", "captions_a_step"
        for name in (*sizes, "max_images", "replay_steps"):
            least = 0 if name == "replay_steps" else 1
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}. Received: {name}={getattr(self, name)}"
                )
        if self.temperature <= 0:
            raise ValueError(
                f"temperature must be positive. Received: temperature={self.temperature}"
            )
