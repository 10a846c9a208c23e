"""What a frozen backbone is worth: features once, then nearest neighbours and a linear probe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emabench.data.images import Dataset
from emabench.device import Device
from emabench.evaluation.features import check_features, extract_features
from emabench.evaluation.few_shot import few_shot_results
from emabench.evaluation.knn import correct_at, knn_scores
from emabench.evaluation.linear import fit_linear_probe
from emabench.events import Listener, Notice, PhaseProgress
from emabench.spec import LinearEvalSpec


def accuracies(
    spec: LinearEvalSpec,
    dataset: Dataset,
    model: nn.Module,
    device: Device,
    *,
    seed: int,
    on_event: Listener,
) -> tuple[dict[str, float], dict[str, bytes]]:
    """Score nearest neighbours and the linear probe on the features of a frozen model.

    Args:
        spec: which classifiers.
        dataset: the images; normalised with the statistics of its own training images.
        model: maps images [N, 3, S, S] to features [N, D]; on the device.
        device: where to compute, and in which precision.
        seed: draws the held-out images unless the spec has a seed of its own.
        on_event: listens; a penalty at the edge of those to choose from is said.

    Returns:
        Figures by name, accuracies in percent; and for each accuracy one byte per test image, 1
        where it was right. Without held-out images there is no accuracy on them.

    Raises:
        WeightsError: the features are not finite.
    """

    def features(part: str) -> tuple[Tensor, Tensor]:
        found, labels = extract_features(
            model,
            dataset.train if part == "training" else dataset.test,
            mean=dataset.mean,
            std=dataset.std,
            device=device,
            batch_size=spec.batch_size,
            on_progress=lambda d, n: on_event(PhaseProgress(f"{part} features", d, n)),
        )
        check_features(found, model, part=part)
        return found, labels

    train, test = features("training"), features("test")
    classes = len(dataset.classes)
    on_event(PhaseProgress("nearest neighbours"))
    votes = knn_scores(spec.knn, train, test[0], classes)
    on_event(PhaseProgress("linear probe"))
    probe = fit_linear_probe(spec.linear, *train, classes, seed if spec.seed is None else spec.seed)
    if probe.edge is not None:
        on_event(
            Notice(
                f"linear probe: the best penalty is the {probe.edge} one, "
                f"{probe.weight_decay:g}, so one beyond it may be better: add some to "
                "evaluation.linear.weight_decays"
            )
        )
    scores = probe.scores(test[0])
    right = {
        "top1": correct_at(scores, test[1], 1),
        "top5": correct_at(scores, test[1], 5),
        "knn_top1": correct_at(votes, test[1], 1),
        "knn_top5": correct_at(votes, test[1], 5),
    }
    results = {name: 100 * int(bits.sum()) / len(bits) for name, bits in right.items()}
    results["probe_weight_decay"] = probe.weight_decay
    if probe.holdout_top1 is not None:
        results["holdout_top1"] = probe.holdout_top1
    if spec.few_shot:
        on_event(PhaseProgress("few labels"))
        results |= few_shot_results(spec.few_shot, train, test)
    flags = {name: bits.to(torch.uint8).cpu().numpy().tobytes() for name, bits in right.items()}
    return results, flags
