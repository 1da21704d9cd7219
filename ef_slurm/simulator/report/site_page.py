"""The report of a site's own history, one self-contained HTML page."""

from __future__ import annotations

from ef_slurm.simulator.report.drawings import efficiencies_chart, ratios_chart
from ef_slurm.simulator.report.html import Numbers, Section, Tile, page
from ef_slurm.simulator.report.series import window
from ef_slurm.simulator.site import LABELS, SITE_HEADINGS, SITE_POLICIES, SiteAnswer

_NOTE = (
    "GPU-hours as recorded are those of all runs, those that were cut included. Saved: less than "
    "plain Slurm. Growing into idle GPUs costs GPU-hours that nobody else wanted."
)


def site_page(answer: SiteAnswer) -> str:
    """The answer as HTML.

    The allocations drawn are those at the first deadline factor.
    """
    question = answer.question
    first = question.factors[0]
    results = answer.results[: len(SITE_POLICIES)]
    shown = window(results[0].jobs)
    named = [(LABELS[one.metrics.policy], one) for one in results]
    sections = [
        Section(
            f"Deadlines met at {factor:g} times the run time",
            "Of all jobs; as recorded, had there been these deadlines.",
            (
                (
                    "",
                    ratios_chart(
                        [
                            (LABELS[row.source], row.ratio)
                            for row in answer.rows
                            if row.deadline_factor == factor
                        ]
                    ),
                ),
            ),
        )
        for factor in question.factors
    ]
    sections.append(
        Section(
            f"Efficiency over time, deadlines at {first:g} times the run time",
            "Single-GPU equivalents of the work done, sum of T(n)/T(1), over the cluster's GPUs, "
            "by the assumed speed-up.",
            (("", efficiencies_chart(named, question.gpus, shown)),),
        )
    )
    return page(
        "A site's history replayed",
        "; ".join((answer.headline(), f"assumed: {answer.assumptions()}")),
        shown,
        _tiles(answer),
        results,
        sections,
        Numbers(SITE_HEADINGS, answer.cells(), (*answer.verdict(), _NOTE)),
    )


def _tiles(answer: SiteAnswer) -> list[Tile]:
    ours = [row for row in answer.rows if row.source == "elasticflow"]
    broken = sum(row.broken_promises or 0 for row in ours)
    return [
        *(
            Tile(f"{row.ratio:.1%}", f"deadlines met by ef-slurm at {row.deadline_factor:g}x")
            for row in ours
        ),
        Tile(f"{broken:,}", "broken promises", alarm=broken > 0),
        *(Tile(count, f"rows left out: {why}") for count, why in _left_out(answer)),
    ]


def _left_out(answer: SiteAnswer) -> list[tuple[str, str]]:
    parts = (what.partition(" ") for what in answer.left_out())
    return [(count, why) for count, _, why in parts]
