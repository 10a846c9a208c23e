"""The rows of a comparison: each arm, paired seed by seed with the arm it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from emabench.analysis.arms import Arm, image_fields
from emabench.analysis.baseline import Baselines, reference_arm
from emabench.analysis.cautions import Caution
from emabench.analysis.factor import Factor
from emabench.analysis.looking.corrected import shared_risk
from emabench.analysis.looking.looks import Looks
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.selection import Arms
from emabench.analysis.statistics import (
    ImageError,
    Interval,
    IntervalRule,
    Paired,
    holm,
    image_error,
    interval_of,
    paired_difference,
    paired_ratio,
    summary,
)
from emabench.analysis.verdicts import (
    Headline,
    Judged,
    Verdict,
    headline,
    in_words,
    is_flat,
    judge,
    turned,
)
from emabench.records import RunRecord
from emabench.table import show_value


@dataclass(frozen=True)
class MetricCell:
    """One metric of one arm: ``values`` in the order of the seeds, None where unknown.

    Attributes:
        mean: over the seeds that are known, in the unit of the metric.
        sd: sample standard deviation; None for one seed.
        values: one per seed of the row.
        baseline: the comparison with the baseline; None without a pair.
        verdict: what its interval says; None for fewer than two pairs.
        words: the verdict for people, with the margin: ``not worse (margin 0.5)``.
        corrected: the verdict corrected for all questions of this metric that the comparison asks;
            None where it asks no other.
        image_error: what the finite test set adds; None where the images are not known.
    """

    mean: float | None
    sd: float | None
    values: tuple[float | None, ...]
    baseline: Paired | None = None
    verdict: Verdict | None = None
    words: str | None = None
    corrected: Verdict | None = None
    image_error: ImageError | None = None

    @property
    def is_identical(self) -> bool:
        """Whether all pairs agree on every test image."""
        error, paired = self.image_error, self.baseline
        agree = error is not None and error.gained == error.lost == 0
        return agree and paired is not None and not any(paired.differences)


@dataclass(frozen=True)
class ArmRow:
    """One arm of a comparison.

    Attributes:
        label: what tells it from the other rows, short: ``projector``, ``moco full decay=0.9``.
        method: name of the method.
        ema_scope: canonical.
        value: of the factor.
        differing: by path, the fields that are not the same in all rows, method and scope aside.
        runs: in the order of their seeds.
        seeds: ascending.
        metrics: by name.
        is_baseline: whether others are compared with it.
        reference: index of the row that it is compared with; None where there is none.
        unpaired: its seeds that the reference lacks.
        missing: seeds of the reference that it lacks.
        headline: whether it is cheaper and not worse; None without a reference, or where the
            metrics hold no accuracy or no cost.
    """

    label: str
    method: str
    ema_scope: str
    value: Any
    differing: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, MetricCell]
    is_baseline: bool = False
    reference: int | None = None
    unpaired: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    headline: Headline | None = None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.seeds)

    @property
    def used(self) -> tuple[int, int]:
        """Of how many seeds the figures are: the fewest and the most among the metrics.

        Those of a metric that is compared are its pairs; no value at all is no figure.
        """
        counts = [
            sum(value is not None for value in cell.values)
            if cell.baseline is None or cell.baseline.over == "steps"
            else cell.baseline.n
            for cell in self.metrics.values()
        ]
        known = [count for count in counts if count]
        return (min(known), max(known)) if known else (0, 0)


@dataclass(frozen=True)
class Terms:
    """What is asked of every arm, as ``comparison.compare`` takes it."""

    metrics: Sequence[MetricInfo]
    margins: Mapping[str, float]
    interval: Interval
    measured: MetricValues
    factor: Factor
    baseline: Any
    looks: Looks | None = None

    def rule(self, metric: MetricInfo) -> IntervalRule:
        """Return how far the intervals of a metric reach; nobody waits for the steps of a bench."""
        over_seeds = metric.over == "seeds"
        return IntervalRule(self.interval, self.looks) if over_seeds else IntervalRule()


def build_rows(arms: Arms, terms: Terms, cautions: list[Caution]) -> list[ArmRow]:
    """Compare every arm with its baseline, if it has one.

    Args:
        arms: that take part.
        terms: by what, and with what.
        cautions: gets a line for every arm without a baseline.

    Returns:
        The rows, in the order of the arms.
    """
    references = _references(arms.arms, terms, cautions)
    rows = [_row(place, arms, references.get(place), terms) for place in range(len(arms.arms))]
    return _with_corrected_verdicts(_corrected(rows, terms.metrics), terms)


def _references(arms: Sequence[Arm], terms: Terms, found: list[Caution]) -> dict[int, int]:
    """Return, by the index of an arm, that of the arm it is compared with."""
    if terms.baseline is None:
        return {}
    baselines = Baselines(arms, terms.baseline, terms.factor)
    places = {id(arm): place for place, arm in enumerate(arms)}
    references = {}
    for place, arm in enumerate(arms):
        reference = reference_arm(arm, baselines, found)
        if reference is not None:
            references[place] = places[id(reference)]
    return references


def _row(place: int, arms: Arms, index: int | None, terms: Terms) -> ArmRow:
    arm, reference = arms.arms[place], None if index is None else arms.arms[index]
    cells = {metric.name: _cell(arm, metric, reference, terms) for metric in terms.metrics}
    value = terms.factor.value(arm.fields)
    is_baseline = terms.baseline is not None and show_value(value) == show_value(terms.baseline)
    others: Mapping[int, RunRecord] = arm.runs if reference is None else reference.runs
    return ArmRow(
        label=arm.label,
        method=arm.method,
        ema_scope=arm.scope,
        value=value,
        differing={path: arm.fields.get(path) for path in arms.differing},
        runs=tuple(arm.runs.values()),
        seeds=tuple(arm.runs),
        metrics=cells,
        is_baseline=is_baseline and reference is None,
        reference=index,
        unpaired=tuple(seed for seed in arm.runs if seed not in others),
        missing=tuple(seed for seed in others if seed not in arm.runs),
        headline=None if reference is None else _headline(cells, terms),
    )


def _cell(arm: Arm, metric: MetricInfo, reference: Arm | None, terms: Terms) -> MetricCell:
    read = terms.measured.value
    values = {seed: read(metric, run) for seed, run in arm.runs.items()}
    known = summary([value for value in values.values() if value is not None])
    sd = known.sd if metric.over == "seeds" else None
    cell = MetricCell(known.mean, sd, tuple(values.values()))
    if reference is None:
        return cell
    if metric.over == "steps":
        paired = terms.measured.by_bench.ratio(arm.runs.values(), reference.runs.values())
    else:
        paired = _by_seed(arm, metric, reference, terms)
    margin = terms.margins.get(metric.name)
    seeds = () if paired is None else paired.seeds
    error = _image_error(arm, reference, metric, seeds, terms.measured)
    cell = replace(cell, baseline=paired, image_error=error)
    verdict = judge(paired, metric, margin, identical=cell.is_identical)
    return replace(cell, verdict=verdict, words=in_words(verdict, metric, margin))


def _by_seed(arm: Arm, metric: MetricInfo, reference: Arm, terms: Terms) -> Paired | None:
    """Pair the runs of two arms."""
    read = terms.measured.value
    pairs = [
        (seed, value, other)
        for seed, run in arm.runs.items()
        if seed in reference.runs
        and (value := read(metric, run)) is not None
        and (other := read(metric, reference.runs[seed])) is not None
    ]
    ours, theirs = [v for _, v, _ in pairs], [other for _, _, other in pairs]
    if metric.kind == "ratio":
        paired = paired_ratio(ours, theirs, terms.interval, looks=terms.looks)
    else:
        step = _resolution(arm, metric, terms.measured)
        paired = paired_difference(ours, theirs, terms.interval, looks=terms.looks, resolution=step)
    if paired is None:
        return None
    return replace(paired, seeds=tuple(seed for seed, _, _ in pairs[: paired.n]))


def _resolution(arm: Arm, metric: MetricInfo, measured: MetricValues) -> float | None:
    """Return the accuracy of a single test image in percent; None where their number is unknown."""
    known = (measured.correct.get((run.id, metric.name)) for run in arm.runs.values())
    images = max((each[1] for each in known if each is not None), default=0)
    return 100 / images if images else None


def _image_error(
    arm: Arm, reference: Arm, metric: MetricInfo, seeds: Sequence[int], measured: MetricValues
) -> ImageError | None:
    """Return the error of the test set; None unless it is known of every pair."""
    if image_fields(arm.texts) != image_fields(reference.texts):
        return None
    pairs = []
    for seed in seeds:
        one = measured.correct.get((arm.runs[seed].id, metric.name))
        two = measured.correct.get((reference.runs[seed].id, metric.name))
        if one is None or two is None:
            return None
        pairs.append((one, two))
    return image_error(pairs)


def _headline(cells: Mapping[str, MetricCell], terms: Terms) -> Headline | None:
    """Return the headline by the first accuracy and the first cost that were asked for."""
    judged = {
        metric.role: Judged(
            metric,
            terms.margins.get(metric.name),
            cells[metric.name].baseline,
            cells[metric.name].verdict,
        )
        for metric in reversed(terms.metrics)
    }
    if "accuracy" not in judged or "cost" not in judged:
        return None
    return headline(judged["accuracy"], judged["cost"], show_value(terms.baseline))


def _corrected(rows: Sequence[ArmRow], metrics: Sequence[MetricInfo]) -> list[ArmRow]:
    """Return the rows with the p of every metric corrected for the number of comparisons."""
    found = list(rows)
    for metric in metrics:
        places, compared = [], []
        for place, row in enumerate(found):
            paired = row.metrics[metric.name].baseline
            if paired is not None:
                places.append(place)
                compared.append(paired)
        if len(compared) < 2:
            continue
        corrected = holm([paired.p for paired in compared])
        for place, paired, p in zip(places, compared, corrected, strict=True):
            row = found[place]
            cell = replace(row.metrics[metric.name], baseline=replace(paired, p_holm=p))
            found[place] = replace(row, metrics={**row.metrics, metric.name: cell})
    return found


def _with_corrected_verdicts(rows: Sequence[ArmRow], terms: Terms) -> list[ArmRow]:
    """Return the rows with the verdicts that hold for all questions of a metric together."""
    found = list(rows)
    for metric in terms.metrics:
        asked = {
            place: paired
            for place, row in enumerate(found)
            if (paired := row.metrics[metric.name].baseline) is not None
        }
        if len(asked) < 2 or terms.interval == "bca":
            continue

        def interval(
            paired: Paired, risk: float, metric: MetricInfo = metric
        ) -> tuple[float, float] | None:
            ends = None if is_flat(paired) else interval_of(paired, terms.rule(metric), risk)
            return None if ends is None else turned(ends, metric)

        risk = shared_risk([partial(interval, paired) for paired in asked.values()])
        for place, paired in asked.items():
            row, cell = found[place], found[place].metrics[metric.name]
            if cell.verdict is None:
                continue
            ends = interval(paired, risk)
            margin = terms.margins.get(metric.name)
            verdict = judge(paired, metric, margin, identical=cell.is_identical, bounds=ends)
            cell = replace(cell, corrected=verdict)
            found[place] = replace(row, metrics={**row.metrics, metric.name: cell})
    return found
