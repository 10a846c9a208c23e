"""EMA scopes: which blocks of the encoder the target network averages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emabench.errors import SpecError, UnknownNameError, UsageError

PROJECTOR = "projector"
"""Name of the head's block; in a run it is the last one."""

_BACKBONE = "backbone"
_WORDS = ("none", PROJECTOR, _BACKBONE, "full", "encoder")
_RESERVED = ("none", "full", "encoder")
_WRITABLE = re.compile(r"[^\s.+:]([^.+:]*[^\s.+:])?")


@dataclass(frozen=True)
class EmaScope:
    """A set of blocks, in the order of the encoder.

    Attributes:
        blocks: all blocks of the encoder, first to last, the projector included.
        averaged: the blocks that the target averages, in the same order.
    """

    blocks: tuple[str, ...]
    averaged: tuple[str, ...]

    def __post_init__(self) -> None:
        check_block_names(self.blocks)
        if self.averaged != tuple(name for name in self.blocks if name in self.averaged):
            raise UsageError(
                f"{self.averaged} are not blocks among {self.blocks}, in their order",
                hint="let EmaScope.parse(text, blocks) read the scope",
            )

    @classmethod
    def parse(cls, text: str, blocks: Sequence[str]) -> EmaScope:
        """Read a scope such as ``none``, ``projector``, ``from:layer3`` or ``layer1+projector``.

        Args:
            text: the scope as the user wrote it.
            blocks: all blocks of the encoder, first to last, the projector included.

        Raises:
            UnknownNameError: the scope names something that is no block of this encoder.
            SpecError: the scope is empty, or joins ``none`` with blocks.
            UsageError: a block has a name that no scope can tell from others.
        """
        blocks = tuple(blocks)
        check_block_names(blocks)
        parts = [part.strip() for part in text.split("+")]
        if not all(parts):
            raise SpecError(
                f"EMA scope {text!r} has an empty part", hint="for example layer4+projector"
            )
        if "none" in parts:
            if len(parts) > 1:
                raise SpecError(
                    f"EMA scope {text!r} joins 'none' with blocks",
                    hint="drop 'none', or keep it alone",
                )
            return cls(blocks, ())
        chosen = {name for part in parts for name in _blocks_of(part, blocks)}
        return cls(blocks, tuple(name for name in blocks if name in chosen))

    @property
    def canonical(self) -> str:
        """The one spelling of this scope: equal sets of blocks have equal spellings."""
        if not self.averaged:
            return "none"
        if self.averaged == self.blocks:
            return "full"
        if self.averaged == (PROJECTOR,):
            return PROJECTOR
        if self.averaged == tuple(name for name in self.blocks if name != PROJECTOR):
            return _BACKBONE
        start = len(self.blocks) - len(self.averaged)
        if self.averaged == self.blocks[start:]:
            return f"from:{self.averaged[0]}"
        return "+".join(self.averaged)

    def without(self, name: str) -> EmaScope:
        """Return the same scope without one of its blocks."""
        return EmaScope(self.blocks, tuple(each for each in self.averaged if each != name))

    @property
    def first(self) -> int | None:
        """Index of the first averaged block; None for the empty scope."""
        return self.blocks.index(self.averaged[0]) if self.averaged else None


def check_block_names(names: Sequence[str]) -> None:
    """Check that a scope can name each block, and means nothing else by it.

    Raises:
        UsageError: a name is empty, doubled, has one of ``.+:`` in it, or is a word of scopes.
    """
    if not names:
        raise UsageError("an encoder needs a block", hint="give at least one named module")
    for name in names:
        if not isinstance(name, str) or not _WRITABLE.fullmatch(name):
            raise UsageError(
                f"a block cannot be named {name!r}: EMA scopes could not write it",
                hint="use a name without '.', '+', ':' and outer spaces",
            )
        if name in _RESERVED:
            raise UsageError(
                f"a block cannot be named {name!r}: that is an EMA scope", hint="rename the block"
            )
        if names.count(name) > 1:
            raise UsageError(f"two blocks are named {name!r}", hint="rename one of them")
    if _BACKBONE in names and set(names) - {_BACKBONE, PROJECTOR}:
        raise UsageError(
            "a block cannot be named 'backbone' beside others than 'projector': the EMA scope "
            "'backbone' is all blocks but the projector",
            hint="rename the block, or name the head 'projector'",
        )


def every_scope(blocks: Sequence[str]) -> list[str]:
    """Return the canonical scopes worth a study: none, each block, each suffix, backbone, full."""
    words = ["none", *blocks, *(f"from:{name}" for name in blocks), "backbone", "full"]
    return list(dict.fromkeys(EmaScope.parse(word, blocks).canonical for word in words))


def _blocks_of(part: str, blocks: tuple[str, ...]) -> tuple[str, ...]:
    if part in ("full", "encoder"):
        return blocks
    if part == _BACKBONE:
        return tuple(name for name in blocks if name != PROJECTOR)
    if part in blocks:
        return (part,)
    prefix, _, start = part.partition(":")
    if prefix == "from" and start:
        if start not in blocks:
            raise UnknownNameError("block", start, blocks)
        return blocks[blocks.index(start) :]
    raise UnknownNameError("EMA scope or block", part, [*_WORDS, "from:<block>", *blocks])
