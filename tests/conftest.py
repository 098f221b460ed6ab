import functools
import random
import sys

import pytest

from hslm_tf import train
from hslm_tf.runs.run_directory import RunDirectory
from tests.quick_graphs import quick_graphs
from tests.tiny_run import LIGHT, SIZES, WHOLE, copy_of, write_dataset

# Folders whose tests run graphs as users do; so do commands in processes of their own.
COMPUTING = ("layers", "models", "evaluation", "retrieval", "serving")

COMMON = "--word-vectors None --validate-every 1".split()
# Everything random is on: what a resumed run must carry over.
RANDOM = "--drop-words 0.2 --drop-regions 0.2 --region-dropout 0.1 --feature-dropout 0.1".split()
CURRICULUM = "--contrastive-epochs 0 --random-epochs 0 --growing-epochs 4 --ema 0".split()
CURRICULUM += "--schedule step --learning-rate 1e-3 --decay-epochs 3 --seed 7".split()


@pytest.fixture(autouse=True, scope="module")
def graphs(request):
    with quick_graphs(request.path.parent.name not in COMPUTING):
        yield


@pytest.fixture(autouse=True)
def same_start():
    """Weights do not depend on the tests before, and no test leaves its policy behind."""
    # Keras draws its seeds here. Its own function would also clear TensorFlow's cache of kernels.
    random.seed(0)
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def loaded_once():
    """The commands of a module load every model once, and so build its graphs once."""
    from hslm_tf.runs import opening

    with pytest.MonkeyPatch.context() as patch:
        # Not `load_model`, which other modules hold by its name.
        patch.setattr(opening, "load_whole", functools.cache(opening.load_whole))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HSLM_TF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="session")
def run_flags(dataset_folder):
    return ["--dataset", str(dataset_folder), *SIZES, *LIGHT, *COMMON, *RANDOM, *CURRICULUM]


def trained(tmp_path_factory, name, *flags):
    """A run by the train command."""
    run = RunDirectory(tmp_path_factory.mktemp("runs") / name)
    with quick_graphs():
        train.main([*flags, "--out", str(run.path)])
    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, run_flags):
    """A run of four epochs by the train command; tests must leave it as it is."""
    return trained(tmp_path_factory, "finished", *run_flags, "--epochs", "4")


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory, run_flags):
    """One epoch of the model with every part; tests must leave it as it is."""
    return trained(tmp_path_factory, "whole", *run_flags, *WHOLE, "--epochs", "1")


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of `finished_run` that a test may change."""
    return copy_of(finished_run, tmp_path / "run")
