"""How the runs of a report are configured."""

import dataclasses
from collections.abc import Sequence

from hslm_tf.config import RunConfig
from hslm_tf.report.data_table import DataTable
from hslm_tf.report.measured_run import MeasuredRun
from hslm_tf.report.section import Section, plain_section


def configuration_section(runs: Sequence[MeasuredRun]) -> Section:
    """Shows in what the runs differ, and every field of the first."""
    fields = [_fields(run.config) for run in runs]
    first = fields[0]
    tables, text = [], []
    if len(runs) > 1:
        differing = [name for name in first if len({values[name] for values in fields}) > 1]
        rows = [[name, *(values[name] for values in fields)] for name in differing]
        text.append(
            "The runs differ in the fields of the first table; all others are those of "
            f"{runs[0].name}."
            if rows
            else f"The runs have the same configuration, that of {runs[0].name}."
        )
        if rows:
            columns = ("field", *(run.name for run in runs))
            texts = frozenset(range(len(columns)))
            title = "What differs between the runs"
            tables.append(DataTable("differences", title, columns, rows, text_columns=texts))
    tables.append(
        DataTable(
            "configuration",
            f"Configuration of {runs[0].name}",
            ("field", "value"),
            list(first.items()),
            text_columns=frozenset({0, 1}),
        )
    )
    return plain_section("configuration", "Configuration", text, tables)


def _fields(config: RunConfig) -> dict[str, str]:
    return {
        f"{section}.{name}": str(value)
        for section, fields in dataclasses.asdict(config).items()
        for name, value in fields.items()
    }
