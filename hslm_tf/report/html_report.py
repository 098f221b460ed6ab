"""A report on runs: its sections, and its files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hslm_tf.data.atomic_write import atomic_write
from hslm_tf.data.dataset import RetrievalDataset
from hslm_tf.evaluation.protocols import Protocol
from hslm_tf.models.hslm import HSLM
from hslm_tf.report.ablation_section import ablation_section
from hslm_tf.report.data_table import markdown_text
from hslm_tf.report.failures_section import failures_section
from hslm_tf.report.mgcn_layers import mgcn_section
from hslm_tf.report.pages import Section, render, write_page
from hslm_tf.report.pointing import pointing_section
from hslm_tf.report.query_results import query_results, rank_section, score_section
from hslm_tf.report.recall_section import recall_section
from hslm_tf.report.retrieval_examples import retrieval_examples_section
from hslm_tf.report.run_sections import MeasuredRun, configuration_section, learning_curves_section
from hslm_tf.report.word_correlation import word_correlation_section
from hslm_tf.report.word_order import word_order_section


def report_sections(
    runs: Sequence[MeasuredRun],
    model: HSLM,
    dataset: RetrievalDataset,
    scores: np.ndarray,
    protocol: Protocol,
    failures: int,
    image_folder: str | os.PathLike[str] | None,
) -> list[Section]:
    """Makes all sections; the model and its scores are those of one of the runs."""
    results = query_results(scores, dataset.caption_to_image)
    sections = (
        recall_section(runs, dataset, protocol),
        ablation_section(runs, dataset),
        configuration_section(runs),
        learning_curves_section(runs),
        rank_section(results),
        score_section(results),
        failures_section(results, dataset, failures, image_folder),
        retrieval_examples_section(model, dataset, scores, image_folder),
        pointing_section(model, dataset),
        word_order_section(model, dataset),
        word_correlation_section(model, dataset),
        mgcn_section(model, dataset, image_folder),
    )
    return [section for section in sections if section is not None]


def write_report(
    folder: Path, title: str, text: Sequence[str], sections: Sequence[Section]
) -> None:
    """Writes `index.html`, `report.md` with all tables, and a CSV file of each."""
    tables = [table for section in sections for table in section.tables]
    body = render("report.html", title=title, text=text, sections=sections)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder) as draft:
        draft.mkdir()
        write_page(draft / "index.html", title, body)
        markdown = [f"# {markdown_text(title)}\n", *(table.markdown() for table in tables)]
        (draft / "report.md").write_text("\n".join(markdown), "utf-8")
        for table in tables:
            (draft / f"{table.name}.csv").write_text(table.csv(), "utf-8")
