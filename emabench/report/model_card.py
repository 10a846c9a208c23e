"""The model card that stands beside the weights of a run: Markdown, with the header of a hub."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emabench.analysis.statistics import CONFIDENCE, Packed, share_interval
from emabench.records import RunRecord
from emabench.report.tables.evaluation_table import evaluated
from emabench.spec.paths import value_at
from emabench.store import RunStore
from emabench.table import Table, fixed, visible

_CARD = "README.md"
"""What hubs of models show."""
_PRIVATE = "data_dir"
"""The field, of any data set, that says where images lie here: nobody else's business."""
_GIVEN = re.compile(
    rf"(\b{_PRIVATE}=).*|(\b{_PRIVATE}['\"]?: *)"
    r"(?:'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"|[^,}\]]*)",
    re.DOTALL,
)
"""The field in a word of a command, by itself or in braces."""
_ACCURACIES = {"top1": "linear probe", "top5": "linear probe", "knn_top1": "kNN", "knn_top5": "kNN"}


@dataclass(frozen=True)
class CardAccuracies:
    """The accuracies of one evaluation of the weights.

    Attributes:
        evaluation: the run itself, or a separate evaluation of its weights.
        correct: which test images were classified rightly, by the accuracy's name.
    """

    evaluation: RunRecord
    correct: Mapping[str, Packed]


def accuracies_of(store: RunStore, run: RunRecord, *, network: str) -> list[CardAccuracies]:
    """Return what is known of the weights of one network: the run's own evaluation, and others."""
    found = []
    for each in (run, *store.evaluations(run.id)):
        if (value_at(each.spec, "evaluation.network") or "online") == network:
            correct = {name: store.correct(each.id, name) for name in _ACCURACIES}
            known = {name: bits for name, bits in correct.items() if bits is not None}
            found.append(CardAccuracies(each, known))
    return found


def card_place(weights: Path) -> Path:
    """Return where the card of a file of weights goes; nobody else's README is replaced.

    That is ``README.md`` beside it, or a file named after the weights where there is another one.
    """
    readme = weights.with_name(_CARD)
    own = weights.with_name(f"{weights.name}.md")
    if weights.name.casefold() == _CARD.casefold():
        return own
    if not readme.exists():
        return readme
    is_ours = readme.is_file() and _mark(weights) in readme.read_text("utf-8", errors="replace")
    return readme if is_ours else own


def model_card(
    run: RunRecord,
    weights: Path,
    *,
    network: str,
    digest: str,
    code: str,
    accuracies: Iterable[CardAccuracies],
) -> str:
    """Return the card of a run's weights.

    Args:
        run: the run.
        weights: the file beside which the card stands.
        network: whose backbone the file holds.
        digest: SHA-256 of the file.
        code: loads it.
        accuracies: of this network's backbone.
    """
    spec = _public(run.spec)
    method, scope = (value_at(spec, f"pretrain.{path}") for path in ("method.name", "ema.scope"))
    backbone, data = value_at(spec, "pretrain.backbone.name"), value_at(spec, "pretrain.data")
    header = {
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["emabench", "self-supervised-learning", str(method)],
    }
    rows = [row for each in accuracies for row in _rows(each, network)]
    sections = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}"
        "# license: not set; choose one before you publish\n---",
        _mark(weights),
        f"# {_code(backbone)}, trained with {_code(method)}, EMA scope {_code(scope)}",
        f"The backbone of the {network} network, without projector and classifier, trained for "
        f"{value_at(spec, 'pretrain.epochs')} epochs on {_code(data['dataset'])} "
        f"({data['image_size']} pixels), seed {value_at(spec, 'pretrain.seed')}.",
        "## Use\n\n" + _fenced("python", code),
        f"SHA-256 of `{weights.name}`: `{digest}`",
        "## Accuracy\n\n" + _accuracy(rows, network),
        "## Training\n\n" + _fenced("sh", _public_command(run.command)),
        _fenced("yaml", yaml.safe_dump(_plain(spec), sort_keys=False, allow_unicode=True)),
        Table(("", "value"), tuple(_origin(run))).to_markdown(),
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections) + "\n"


def _mark(weights: Path) -> str:
    return f"<!-- Card of {weights.name}, written by emabench weights -->"


def _rows(found: CardAccuracies, network: str) -> list[tuple[str, ...]]:
    run = found.evaluation
    what = evaluated(run.spec)
    dataset = what["dataset"] or value_at(run.spec, "pretrain.data.dataset")
    rows: list[tuple[str, ...]] = []
    for name, probe in _ACCURACIES.items():
        value = run.results.get(name)
        if value is None:
            continue
        images, interval = "", ""
        if name in found.correct:
            low, high = share_interval(found.correct[name])
            images = str(found.correct[name][1])
            interval = f"[{fixed(100 * low)}, {fixed(100 * high)}]"
        neighbours = f", k {what['knn_k']}" if probe == "kNN" else ""
        how = f"{probe}{neighbours}"
        rows.append((name, network, how, str(dataset), fixed(value), interval, images, run.id))
    return rows


def _accuracy(rows: Sequence[tuple[str, ...]], network: str) -> str:
    if not rows:
        return (
            f"The {network} network was not evaluated: "
            f"`emabench eval RUN --network {network}` does that."
        )
    interval = f"{100 * CONFIDENCE:.0f} % interval"
    headers = ("accuracy", "network", "by", "data set", "%", interval, "test images", "evaluation")
    return (
        Table(headers, tuple(rows), right=frozenset({"%", interval, "test images"})).to_markdown()
        + "\nThe interval (Wilson) is of the test images alone: other seeds give other weights, "
        "and are what a comparison needs."
    )


def _origin(run: RunRecord) -> Iterable[tuple[str, Any]]:
    yield "run", run.id
    yield "fingerprint", run.fingerprint
    yield "content of the data", run.identity.get("data")
    environment = run.environment
    if environment is not None:
        yield "device", f"{environment.device} ({environment.precision})"
        dirty = " with changes" if environment.dirty else ""
        if environment.commit is not None:
            yield "commit of emabench", f"{environment.commit}{dirty}"
        yield from environment.versions.items()
    yield from (("warning", warning) for warning in run.warnings)


def _public(value: Any) -> Any:
    """Return values of a spec without the places of images."""
    if isinstance(value, Mapping):
        return {name: _public(each) for name, each in value.items() if name != _PRIVATE}
    return list(map(_public, value)) if isinstance(value, list | tuple) else value


def _public_command(command: str | None) -> str:
    """Return a command with an ellipsis for the places of images."""
    try:
        words = shlex.split(command or "")
    except ValueError:  # written by somebody else
        words = []
    if not words:
        return "# its command is not known"
    flag = "--data-dir"
    shown = [
        "…" if before == flag else _GIVEN.sub(r"\1\2…", word)
        for before, word in zip(("", *words), words, strict=False)
    ]
    return shlex.join(shown).replace("'…'", "…")


def _plain(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec[name] for name in ("pretrain", "evaluation") if name in spec}


def _code(text: Any) -> str:
    return f"`{visible(str(text)).replace('`', '')}`"


def _fenced(language: str, text: str) -> str:
    """Return a block of code, whose text cannot end it."""
    longest = max((len(run) for run in text.split("\n") if set(run.strip()) == {"`"}), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"
