"""How a run uses more than one device."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from hslm_tf.data.pipeline import WHOLE_BATCH, Shares
from hslm_tf.models.hslm import HSLM
from hslm_tf.runs.run_directory import RunDirectory
from hslm_tf.training.staged_step import staged_step

StrategyName = Literal["mirrored", "multiworker"]


def make_strategy(
    name: StrategyName | None, devices: Sequence[str] = ()
) -> tf.distribute.Strategy | None:
    """Makes the distribution strategy of a run; that of several workers before anything else runs.

    Args:
        name: `"mirrored"` for the devices of this machine, `"multiworker"` for those of all
            machines that the environment variable TF_CONFIG lists; None: one device.
        devices: devices to mirror on, such as `"GPU:0"`; by default all GPUs.

    Returns:
        The strategy, or None.

    Raises:
        ValueError: if TF_CONFIG is missing or describes something else than workers, or devices
            are named without `"mirrored"`, twice, or are not there.
        ConnectionError: if workers cannot be reached.
    """
    if devices and name != "mirrored":
        raise ValueError(f"--devices goes with --strategy mirrored. Received: --strategy {name}")
    if name is None:
        return None
    if name == "mirrored":
        there = [d.name.removeprefix("/device:") for d in tf.config.list_logical_devices()]
        if len(set(devices)) < len(devices) or not set(devices) <= set(there):
            raise ValueError(
                f"--devices takes some of {', '.join(there)}, each once. "
                f"Received: --devices {' '.join(devices)}"
            )
        return tf.distribute.MirroredStrategy(list(devices) or None)
    _check_workers(os.environ.get("TF_CONFIG"))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise ConnectionError(f"The workers of TF_CONFIG do not meet: {error.message}") from error


class Devices:
    """The devices that share each batch of a run, and this process among others that have some.

    Args:
        strategy: what `make_strategy` returned; None: one device.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self._strategy = strategy
        self.replicas = 1 if strategy is None else strategy.num_replicas_in_sync

    @property
    def _worker(self) -> tuple[str, int] | None:
        """Type and number of this worker, where there are several."""
        resolver = self._strategy and self._strategy.cluster_resolver
        return (resolver.task_type, resolver.task_id) if resolver and resolver.task_type else None

    @property
    def has_workers(self) -> bool:
        """Whether there are processes of other workers."""
        return self._worker is not None

    @property
    def writes(self) -> bool:
        """Whether this process writes the run: of several workers only the first does."""
        if self._worker is None:
            return True
        jobs = self._strategy.cluster_resolver.cluster_spec().jobs
        return self._worker == ("chief" if "chief" in jobs else "worker", 0)

    def scope(self) -> contextlib.AbstractContextManager:
        """Where variables are made so that every device has them."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    @contextlib.contextmanager
    def own(self, run: RunDirectory) -> Iterator[RunDirectory]:
        """Gives a directory to write to.

        Args:
            run: the run's directory.

        Yields:
            The same, or in a process that writes no run another one that is removed afterwards.
        """
        if self.writes:
            yield run
            return
        with tempfile.TemporaryDirectory() as folder:
            yield RunDirectory(Path(folder))

    def batches(self, make: Callable[[Shares], tf.data.Dataset]) -> Iterable[Any]:
        """Makes the batches of this process.

        Args:
            make: called with the shares of each batch that this process needs.

        Returns:
            Batches for `step`.
        """
        if self._strategy is None:
            return make(WHOLE_BATCH)

        def of_process(context: tf.distribute.InputContext) -> tf.data.Dataset:
            made = self.replicas // context.num_input_pipelines
            return make(Shares(context.input_pipeline_id * made, made, self.replicas))

        return self._strategy.distribute_datasets_from_function(of_process)

    def step(self, model: HSLM) -> Callable[[Iterator[Any]], Any]:
        """Makes the training step, see `run_epochs`.

        Args:
            model: a compiled model, made in `scope`.

        Returns:
            To be called with an iterator of `batches`; returns the epoch means by name.
        """
        return staged_step(model, self._strategy)

    def check_agreement(self, run: RunDirectory, position: Sequence[int]) -> None:
        """Checks that all workers read the same checkpoint.

        Args:
            run: the run's directory.
            position: numbers that say where this worker stands.

        Raises:
            ValueError: if another worker stands elsewhere.
        """
        if not self.has_workers:
            return

        @tf.function
        def gathered() -> tf.Tensor:
            replica = tf.distribute.get_replica_context()
            return replica.all_gather(tf.identity([list(position)]), axis=0)

        all_positions = self._strategy.experimental_local_results(self._strategy.run(gathered))[0]
        if (all_positions != all_positions[0]).numpy().any():
            raise ValueError(
                f"{run.path}: workers read other checkpoints, after (epochs, steps) "
                f"{[tuple(found) for found in all_positions.numpy().tolist()]}. All of them must "
                "see the same directory"
            )


def _check_workers(text: str | None) -> None:
    expected = (
        '--strategy multiworker needs TF_CONFIG, such as {"cluster": {"worker": ["host1:2222", '
        '"host2:2222"]}, "task": {"type": "worker", "index": 0}}, with another index on each worker'
    )
    try:
        found = json.loads(text or "")
        jobs, kind, index = found["cluster"], found["task"]["type"], found["task"]["index"]
        workers = jobs[kind]
        is_worker = isinstance(workers, list) and workers[index : index + 1] != []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{expected}. Received: TF_CONFIG={text}") from error
    if not is_worker or not jobs.keys() <= {"chief", "worker"}:
        raise ValueError(
            f"{expected}; parameter servers and evaluators take no part. Received: TF_CONFIG={text}"
        )
