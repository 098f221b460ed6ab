"""Results of a pipeline, for tests; assertions within a pipeline cannot hold a model."""

import apache_beam as beam

from hslm_tf.beam.running import run_pipeline

_results: dict[int, list] = {}


def _keep(element: object, place: int) -> None:
    _results[place].append(element)


def kept_results(build) -> list[list]:
    """Runs a pipeline in this process; returns the elements of each collection that it builds."""
    _results.clear()

    def with_results(pipeline):
        for place, collection in enumerate(build(pipeline)):
            _results[place] = []
            _ = collection | f"Keep {place}" >> beam.Map(_keep, place)

    run_pipeline(with_results)
    return list(_results.values())
