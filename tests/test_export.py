import keras
import numpy as np
import pytest
import tensorflow as tf

from hslm_tf import export
from hslm_tf.retrieval.collection import Collection
from hslm_tf.runs.splits import open_split
from tests.tiny_run import fails


def test_exports_a_run(finished_run, tmp_path, capsys):
    out = tmp_path / "served"
    export.main([str(finished_run.path), "--out", str(out), "--precision", "int8"])
    assert capsys.readouterr().out.startswith(f"{out / '1'}: int8, ")
    names = {path.name for path in out.iterdir()}
    assert names == {"1", "batching_params.pbtxt", "models.config"}
    loaded = tf.saved_model.load(str(out / "1"))
    assert "search" not in loaded.signatures
    answer = loaded.signatures["encode_text"](captions=tf.constant(["A photo of thing3 here."]))
    assert not answer["status"].numpy().any()


def test_bakes_a_collection_in(finished_run, tmp_path):
    """The exported search answers as the collection does in this process."""
    model = keras.saving.load_model(finished_run.best_model)
    collection = Collection.build(model, open_split(finished_run), dtype="float32")
    file, out = str(tmp_path / "collection.h5"), str(tmp_path / "served")
    collection.save(file)
    flags = ["--collection", file, "--top-k", "2", "--num-candidates", "5"]
    export.main([str(finished_run.path), "--out", out, *flags])
    captions = ["A photo of thing3 here.", "A photo of thing5 again."]
    expected = collection.search(captions, k=2, num_candidates=5)
    loaded = tf.saved_model.load(f"{out}/1")
    answer = loaded.signatures["search"](captions=tf.constant(captions))
    ids = [[hit.item.encode() for hit in hits] for hits in expected]
    np.testing.assert_array_equal(answer["ids"].numpy(), np.array(ids, object))
    scores = [[hit.score for hit in hits] for hits in expected]
    np.testing.assert_allclose(answer["scores"], scores, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["{folder}/none", "--out", "{folder}/out"], "none holds no run"),
        (["{run}", "--out", "{folder}/out", "--version", "-1"], "A version is 0 or more"),
        (["{run}", "--out", "{folder}/file"], "file"),
        (["{run}", "--out", "{folder}/out", "--top-k", "3"], "need --collection"),
    ],
)
def test_mistakes_are_one_line(finished_run, tmp_path, capsys, flags, message):
    (tmp_path / "file").write_text("")
    flags = [flag.format(run=finished_run.path, folder=tmp_path) for flag in flags]
    assert message in fails(flags, capsys, export)
    assert not (tmp_path / "out").exists()
