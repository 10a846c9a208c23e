"""Frozen records that cross the floors: plain values, no torch, no database rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

FEWEST_GRADIENT_SAMPLES = 4
"""Of an epoch, for a coefficient of variation: with one of two at zero it is always 1.41."""
DEFAULT_MAX_ATTEMPTS = 3
"""A job that failed this many times is not tried again."""


class JobKind(StrEnum):
    """What a job does."""

    PRETRAIN = "pretrain"
    LINEAR_EVAL = "linear_eval"
    BENCH = "bench"


TITLES = {JobKind.PRETRAIN: "run", JobKind.LINEAR_EVAL: "evaluation", JobKind.BENCH: "bench"}
"""What a user calls that which begins with a job of this kind."""


class JobState(StrEnum):
    """Where a job stands: queued → running → done, failed or cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to the job unless somebody asks for it."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Environment:
    """Where an attempt ran: everything that a cost or a bit of the weights can depend on."""

    device: str
    """Name of the device, for example ``AMD EPYC 7763`` or ``NVIDIA H100``."""
    device_kind: str
    """``cpu``, ``cuda``, ``mps``…"""
    device_count: int
    """Devices that worked on the attempt."""
    host: str
    """Name of the machine."""
    threads: int
    """CPU threads of torch."""
    precision: str
    """``fp32`` or ``bf16``."""
    compiled: bool
    """Whether torch.compile compiled the blocks."""
    versions: Mapping[str, str]
    """Of python, emabench, torch, torchvision, timm, numpy, and of CUDA where there is one."""
    platform: str
    """Operating system and processor."""
    commit: str | None = None
    """Commit of the code, where it runs from a checkout; None is unknown."""
    dirty: bool | None = None
    """Whether the checkout had changes that are in no commit."""


@dataclass(frozen=True)
class CostReading:
    """What one attempt cost. None is unknown, never 0.

    Times are wall-clock seconds of a monotonic clock, synchronised with the device at window
    edges. The phases do not overlap; ``total_s`` is all of them without ``queue_s``.
    """

    queue_s: float | None = None
    """Waiting in the queue."""
    init_s: float | None = None
    """Starting: imports, network, optimiser."""
    data_prep_s: float | None = None
    """Decoding and loading the images."""
    warmup_s: float | None = None
    """Training before the windows that count."""
    train_s: float | None = None
    """Training after the warm-up."""
    data_wait_s: float | None = None
    """The part of ``train_s`` spent waiting for data."""
    probe_s: float | None = None
    """Scoring the online probe."""
    monitor_s: float | None = None
    """Looking at the embeddings."""
    eval_s: float | None = None
    """Evaluating the frozen features."""
    checkpoint_s: float | None = None
    """Writing checkpoints and weights."""
    total_s: float | None = None
    """All phases without ``queue_s``."""
    throughput: float | None = None
    """Steady-state images per second: the median over windows after the warm-up."""
    throughput_p10: float | None = None
    """The 10th percentile over the same windows."""
    throughput_p90: float | None = None
    """The 90th percentile."""
    throughput_windows: int | None = None
    """Number of the windows."""
    step_ms: float | None = None
    """Median milliseconds per step over the same windows."""
    augment_ms: float | None = None
    """Augmenting the views, and what else is drawn, such as masks. This phase of a step and the six
    below are medians over sampled steps that no window counts."""
    online_forward_ms: float | None = None
    """Forward pass of the online network, predictor included."""
    target_forward_ms: float | None = None
    """Second forward pass: of the blocks from the first averaged one on."""
    loss_ms: float | None = None
    """The loss itself."""
    backward_ms: float | None = None
    """The backward pass."""
    optimizer_ms: float | None = None
    """Step of the optimiser, with the learning rate and clipping."""
    ema_update_ms: float | None = None
    """Update of the EMA copies."""
    sampled_steps: int | None = None
    """Steps that the phases were measured on."""
    steps: int | None = None
    """Optimiser steps that this attempt made."""
    flops_per_step: float | None = None
    """Floating-point operations of one step, one multiply-add = 2."""
    ema_bytes: int | None = None
    """Bytes that the EMA copies hold, buffers included."""
    ema_bytes_moved: int | None = None
    """Bytes that the EMA update of one step reads and writes; no counter of operations sees it."""
    device_peak_allocated: int | None = None
    """Bytes; the peak of the training phases, or of the evaluation."""
    device_peak_reserved: int | None = None
    """Bytes that the allocator held at its peak, used or not."""
    host_peak_rss: int | None = None
    """Bytes; the peak of the whole process."""
    energy_j: float | None = None
    """Joules of the device, whoever works on it; NULL where it has no counter."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Return every reading by its name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


COST_READINGS = tuple(each.name for each in fields(CostReading))
"""The names of what is measured of a cost."""
BENCH_STEPS = "step_ms:"
"""Begins the name of the metric of a bench that holds the milliseconds of every step of an arm,
before the number of the arm."""
USUAL_RESULTS = (
    "top1",
    "top5",
    "knn_top1",
    "knn_top5",
    "online_top1",
    "effective_rank",
    "embedding_std",
)
"""The names of results; besides, there is ``few_shot_<n>``."""
RUN_LABELS = ("id", "name", "state", "tag", "study", "note", "created")
"""What somebody called a run, and what became of it; it may have several tags and studies."""


@dataclass(frozen=True)
class AttemptRecord:
    """One try at a job."""

    number: int
    state: JobState
    started_at: datetime
    ended_at: datetime | None
    reason: str | None
    environment: Environment | None
    cost: CostReading | None


@dataclass(frozen=True)
class JobRecord:
    """One queued unit."""

    id: str
    kind: JobKind
    state: JobState
    fingerprint: str
    spec: Mapping[str, Any]
    depends_on: str | None
    attempt: int
    reason: str | None
    created_at: datetime
    priority: int = 0
    failures: int = 0
    """Attempts that failed since somebody asked for the job."""
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    device_kind: str | None = None
    plugins: tuple[str, ...] = ()
    """References of the plugins that a worker must have."""
    run_id: str = ""
    """Id of the run that the job belongs to."""
    attempts: tuple[AttemptRecord, ...] = ()


@dataclass(frozen=True)
class MetricPoint:
    """One value of one metric during training."""

    step: int
    epoch: int
    name: str
    value: float


@dataclass(frozen=True, repr=False)
class RunRecord:
    """A pretraining with its evaluation, or a separate evaluation, as a reader sees it."""

    id: str
    """Id of its first job: of the pretraining, unless it is a separate evaluation."""
    name: str | None
    smoke: bool
    command: str | None
    """The command that reproduces the run."""
    state: JobState
    spec: Mapping[str, Any]
    """The resolved experiment, as nested plain values."""
    identity: Mapping[str, Any]
    """What beside the spec identifies the run: device kind, precision, threads, data hash, the
    plugins that it uses, and the revisions that concern it."""
    fingerprint: str
    created_at: datetime
    results: Mapping[str, float] = field(default_factory=dict)
    """Final figures by name: top1, top5, knn_top1, online_top1… in percent."""
    cost: CostReading = CostReading()
    """Of all attempts of all jobs: times summed, rates of the last pretraining attempt."""
    environment: Environment | None = None
    jobs: tuple[JobRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    """Names of the studies that the run belongs to, sorted."""
    unreadable: str | None = None
    """Why its spec cannot be read: then ``spec`` is empty, and it is compared with nothing."""
    tags: tuple[str, ...] = ()
    """The words that somebody put on it, sorted."""
    note: str | None = None
    """What somebody wrote about it."""

    def __repr__(self) -> str:
        shown = [f"{n} {value:.4g}" for n, value in self.results.items() if n.endswith("top1")]
        return f"<{self.title}: {', '.join([self.state, *shown])}>"

    @property
    def kind(self) -> JobKind:
        """The kind of its first job: of a run, a pretraining."""
        return self.jobs[0].kind if self.jobs else JobKind.PRETRAIN

    @property
    def is_evaluation(self) -> bool:
        """Whether it is a separate evaluation, of weights that its spec names."""
        return self.kind is JobKind.LINEAR_EVAL

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen unless somebody asks for it.

        It is not its state: a run whose evaluation was cancelled may still be training.
        """
        return all(job.state.is_finished for job in self.jobs)

    @property
    def is_profiled(self) -> bool:
        """Whether a trace was written, so that what it cost is compared with nothing."""
        return bool(self.spec.get("profile"))

    @property
    def title(self) -> str:
        """What it is, and its id: what names it in a message."""
        return f"{TITLES[self.kind]} {self.id}"


@dataclass(frozen=True)
class RunQuery:
    """Which runs of a store somebody asks for; what is left out asks for nothing."""

    where: Mapping[str, Any] = field(default_factory=dict)
    """Complete field paths and the values that the resolved spec must have there; device,
    precision and threads may also match the identity of the run."""
    name: str | None = None
    """The name that the runs were given."""
    study: str | None = None
    """The study that the runs belong to."""
    ids: tuple[str, ...] = ()
    """Ids, unique beginnings of some, or ``@last``: these runs, separate evaluations and
    benches in this order, each once, whatever else is asked."""
    smoke: bool = False
    """Whether smoke runs are wanted too."""
    conditions: tuple[str, ...] = ()
    """What ``where`` and ``tests`` ask for as the user typed it."""
    tests: tuple[Callable[[RunRecord], bool], ...] = ()
    """What else the runs must meet."""

    @property
    def with_smoke(self) -> RunQuery:
        """The same, of smoke runs too: for who says how many were left out."""
        return replace(self, smoke=True)

    def words(self) -> list[str]:
        """Return how the runs were chosen, for the line that says the source."""
        conditions = self.conditions or (f"{path}={value}" for path, value in self.where.items())
        words = ["runs chosen by id"] if self.ids else []
        words += [] if self.study is None else [f"study {self.study}"]
        words += [] if self.name is None else [f"name {self.name}"]
        words += [f"where {condition}" for condition in conditions]
        return [*words, "with smoke runs"] if self.smoke else words


ANY_RUN = RunQuery()
"""Asks for nothing: all runs but smoke ones."""


@dataclass(frozen=True)
class WantedValues:
    """Which figures of runs somebody wants beside their records; by default, none."""

    means: tuple[str, ...] = ()
    """Names of metrics: the mean over training of each."""
    correct: tuple[str, ...] | None = ()
    """Names of results: which test images were classified rightly. None is all of them."""
    points: tuple[str, ...] | None = ()
    """Names of metrics: every value of each; a name that ends in ``:`` stands for all that begin
    so, None for all of them."""
    neighbours: bool = False
    """Whether others worked on the same device meanwhile."""
    benches: bool = False
    """Whether the finished benches of the store are wanted, with the milliseconds of every step."""


@dataclass(frozen=True)
class RunValues:
    """Figures of runs that their records do not hold; all of them may be empty."""

    series: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By name of a metric and run, the mean over training; runs without it are left out."""
    correct: Mapping[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    """By run and result, one bit per test image and the number of images, where they are known. The
    bits are in the order of the test set, the first in the highest bit of the first byte, as
    ``numpy.unpackbits`` reads them."""
    points: Mapping[str, Sequence[MetricPoint]] = field(default_factory=dict)
    """By run, the metrics in the order of steps."""
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By run, some others that worked on its device while it was trained; runs that had the device
    for themselves are left out."""
    benches: Sequence[RunRecord] = ()
    """The finished benches of the store, newest last; their steps are among ``points``."""


@dataclass(frozen=True)
class StoredRuns:
    """What a store holds at one moment: runs, and the values of them that were wanted."""

    runs: tuple[RunRecord, ...]
    values: RunValues


@dataclass(frozen=True)
class PlannedRun:
    """A resolved experiment, ready to be queued."""

    spec: Mapping[str, Any]
    """The resolved experiment, as nested plain values: ``pretrain``, ``evaluation``, ``smoke``, and
    for a separate evaluation ``weights``."""
    identity: Mapping[str, Any]
    """What beside the spec identifies the run: ``device_kind``, ``precision``, ``threads`` and
    ``data`` (the content hash of the images); ``evaluation_data`` where it is evaluated on others;
    ``weights`` (their SHA-256) for a separate evaluation; ``init`` and ``teacher`` (digests) of the
    weights that a training is given; ``plugins`` (name and digest of each
    that it uses), if it uses any; ``revisions`` and
    ``evaluation_revisions``, where a fix changed a number of such a run."""
    fingerprint: str
    """Identifies spec and identity together."""
    command: str
    name: str | None = None
    smoke: bool = False
    warnings: tuple[str, ...] = ()
    earlier_fingerprints: tuple[str, ...] = ()
    """Those of the same weights before their evaluation was mended, oldest first: where the store
    has one of them, the evaluation is to be repeated and the pretraining is not."""
    study: str | None = None
    """Name of the study that the run belongs to, also if it exists already; no part of the
    identity."""
    steps: int | None = None
    """Optimiser steps of the pretraining; None where nothing is planned in steps."""

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        """The kinds of its jobs in their order."""
        if self.spec.get("bench") is not None:
            return (JobKind.BENCH,)
        if self.is_evaluation:
            return (JobKind.LINEAR_EVAL,)
        if not self.spec.get("evaluation", {}).get("enabled", True):
            return (JobKind.PRETRAIN,)
        return (JobKind.PRETRAIN, JobKind.LINEAR_EVAL)

    @property
    def is_evaluation(self) -> bool:
        """Whether it is a separate evaluation: one job, on weights that are there already."""
        return self.spec.get("weights") is not None


@dataclass(frozen=True)
class QueuedRun:
    """What became of a planned run in the store."""

    id: str
    pretrain_job: str | None
    """None: it is a separate evaluation, or a bench."""
    eval_job: str
    """The last job; where nothing is evaluated it is the pretraining."""
    existed: bool
    """Whether the store already held an identical run (whatever its state)."""
    state: JobState
    """Of the run as a whole: done only if pretraining and evaluation are."""
    kind: JobKind = JobKind.PRETRAIN
    """Of its first job."""
    name: str | None = None
    """Its label: one that existed keeps the label it has."""
    mended: Literal["repeated", "kept"] | None = None
    """What becomes of an evaluation that was mended since: it is repeated, or kept as it is where
    the weights are gone."""

    @property
    def title(self) -> str:
        """What it is, and its id: what names it in a message."""
        return f"{TITLES[self.kind]} {self.id}"


@dataclass(frozen=True)
class Claim:
    """The right to work on one attempt of one job; every write of a worker carries it."""

    job_id: str
    kind: JobKind
    attempt: int
    spec: Mapping[str, Any]
    depends_on: str | None
    queued_s: float
    run_id: str = ""
    """Id of the run that the job belongs to."""
    threads: int | None = None
    """CPU threads that the run was resolved for."""
    weights: str | None = None
    """SHA-256 of the weights that a separate evaluation was resolved for."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Digests of the weights that a training was resolved for: ``init``, ``teacher``."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Digests of the images that the run was resolved for: of those that it trains on (``data``),
    and of those that it is evaluated on, by title (``""`` for the first)."""
    plugins: tuple[str, ...] = ()
    """References of the plugins that the job needs."""
    revisions: tuple[str, ...] = ()
    """Names of the changes of numbers that concern the pretraining, as far as it is done."""


@dataclass(frozen=True)
class RunningAttempt:
    """An attempt that somebody works on, as an observer of the store sees it."""

    job_id: str
    run_id: str
    kind: JobKind
    number: int
    host: str
    pid: int
    device: str | None
    started_at: datetime
    heartbeat: int
    """Counts on while the process lives."""
    process_gone: bool
    """Whether the process, of this host, ended without a word."""
    spec: Mapping[str, Any]
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    images_per_second: float | None = None


@dataclass(frozen=True)
class QueueRecord:
    """The queue at one moment."""

    counts: Mapping[JobState, int]
    """Jobs by state, every state named."""
    running: tuple[RunningAttempt, ...]
    """In the order in which they started."""
    queued: tuple[JobRecord, ...]
    """The next ones, in the order in which they will be claimed."""
    failed: tuple[JobRecord, ...]
    """The newest ones that failed for good, without those that only needed another one."""
    plugins: Mapping[str, int] = field(default_factory=dict)
    """By the reference of a plugin, how many queued jobs need a worker that has it."""


@dataclass(frozen=True)
class StudyPlan:
    """What a study fixed before its first run.

    Attributes:
        study: its name.
        smoke: whether it is about smoke runs.
        pairs: numbers of pairs at which it looks; a single one is a fixed number of pairs.
        levels: of the interval at each look.
        terms: what it asks: ``metrics``, ``margin``, ``by``, ``along``, ``baseline``, the number of
            ``questions``, and ``seeds``; early plans lack ``along`` and ``seeds``.
        planned_at: when it was fixed.
        done_before: runs of the study that were done already then.
    """

    study: str
    smoke: bool
    pairs: tuple[int, ...]
    levels: tuple[float, ...]
    terms: Mapping[str, Any]
    planned_at: datetime
    done_before: int = 0


@dataclass(frozen=True)
class TakenLook:
    """Somebody looked at the runs of a study.

    Attributes:
        study: its name.
        smoke: whether at smoke runs.
        taken_at: when.
        taken_by: the command.
        pairs: most pairs of any question.
        verdicts: by the label of the arm: ``n``, its pairs, and ``verdict``.
    """

    study: str
    smoke: bool
    taken_at: datetime
    taken_by: str
    pairs: int
    verdicts: Mapping[str, Any]


@dataclass(frozen=True)
class StudyLooks:
    """What a store knows of the looks at some studies."""

    plans: tuple[StudyPlan, ...] = ()
    taken: tuple[TakenLook, ...] = ()

    def plan(self, study: str | None, *, smoke: bool) -> StudyPlan | None:
        """Return the plan of a study, if there is one."""
        fitting = (p for p in self.plans if (p.study, p.smoke) == (study, smoke))
        return next(fitting, None)
