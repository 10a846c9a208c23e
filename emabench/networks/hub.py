"""The pretrained weights of timm's models: the one place that asks the hub."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import timm

from emabench.errors import NotFoundError, first_line

_FILE = "model.safetensors"


def hub_file(name: str) -> Path:
    """Return the file with the pretrained weights of a model, from the hub's cache if it is there.

    Then the hub is not asked, not even whether it has another one today: a run knows its weights by
    their digest.

    Args:
        name: of a timm model, perhaps with the tag of its weights: ``resnet50.a1_in1k``.

    Raises:
        NotFoundError: timm knows none, or they cannot be had.
    """
    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if known is None or not known.hf_hub_id:
        raise NotFoundError(
            f"timm has no pretrained weights of backbone {name}",
            hint="emabench backbones lists its models; or name a file, or a run",
        )
    from huggingface_hub import hf_hub_download  # of timm; only here
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = known.hf_hub_id.partition("@")
    get = partial(hf_hub_download, repository, _FILE, revision=revision or None)
    try:
        try:
            file = get(local_files_only=True)
        except LocalEntryNotFoundError:
            file = get()
    except Exception as error:  # offline, not there, not allowed: the hub has a class for each
        raise NotFoundError(
            f"cannot get the weights {repository} from the hub: {first_line(error)}",
            hint="is there a network? a file of weights needs none",
        ) from None
    return Path(file)
