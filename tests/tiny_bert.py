"""A BERT of random weights in a folder as Hugging Face has it, made for tests."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "photo", "of", "dog", "cat"]
PIECES += ["thing", "##1", "##2", "##3", "##s", "runs", "here", "over", "there", "sea", "near"]
WIDTH, LAYERS, HEADS, INNER, LONGEST = 8, 3, 2, 12, 64


def write_bert(folder: Path, seed: int = 0) -> Path:
    """Writes config.json, tokenizer_config.json, vocab.txt and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (len(PIECES), WIDTH),
        "embeddings.position_embeddings.weight": (LONGEST, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        **_norm("embeddings.LayerNorm"),
        **_dense("pooler.dense", WIDTH, WIDTH),
    }
    for layer in range(LAYERS):
        place = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _dense(f"{place}.attention.{part}", WIDTH, WIDTH)
        shapes |= _norm(f"{place}.attention.output.LayerNorm")
        shapes |= _dense(f"{place}.intermediate.dense", WIDTH, INNER)
        shapes |= _dense(f"{place}.output.dense", INNER, WIDTH)
        shapes |= _norm(f"{place}.output.LayerNorm")
    weights = {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    save_file(
        {name: array.astype(np.float32) for name, array in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    sizes = {
        "model_type": "bert",
        "vocab_size": len(PIECES),
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "max_position_embeddings": LONGEST,
    }
    (folder / "config.json").write_text(json.dumps(sizes))
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return folder


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    """The weights that `write_bert` wrote, in float64."""
    arrays = load_file(folder / "model.safetensors")
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def _dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
