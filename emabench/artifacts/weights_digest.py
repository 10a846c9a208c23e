"""The digest that a safetensors file carries in its own header, where other readers see metadata.

It is the SHA-256 of the file as it is with 64 zeros in the place of the digest: every byte counts.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from typing import IO

_KEY = "emabench_sha256"
_ENTRY = re.compile(rb'"emabench_sha256":"([0-9a-f]{64})"')
_DIGEST = re.compile("[0-9a-f]{64}")
_ZEROS = b"0" * 64
_MOST_HEADER_BYTES = 100_000_000
"""What safetensors itself reads at most."""


def with_digest(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Give a safetensors file its metadata, and the digest as the last of them.

    Args:
        content: a whole file.
        metadata: replaces what it has; kept in this order, which safetensors does not.
    """
    (length,) = struct.unpack_from("<Q", content)
    tensors = json.loads(content[8 : 8 + length])
    header = {"__metadata__": {**metadata, _KEY: _ZEROS.decode()}}
    header |= {name: value for name, value in tensors.items() if name != "__metadata__"}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    unsigned = b"".join([struct.pack("<Q", len(text)), text, content[8 + length :]])
    digest = hashlib.sha256(unsigned).hexdigest().encode()
    entry = _ENTRY.search(unsigned)
    assert entry is not None
    return unsigned[: entry.start(1)] + digest + unsigned[entry.end(1) :]


def check_digest(file: IO[bytes]) -> bool:
    """Read a whole safetensors file; return whether it carries a digest.

    Raises:
        ValueError: it carries one that is not its own, or is no such file.
    """
    length = file.read(8)
    (count,) = struct.unpack("<Q", length) if len(length) == 8 else (0,)
    if not 0 < count <= _MOST_HEADER_BYTES:
        raise ValueError("it has no header")
    header = file.read(count)
    metadata = json.loads(header).get("__metadata__", {})
    if _KEY not in metadata:
        # Beside the spec of a pretraining such a value is the digest, under a damaged name.
        if "spec" in metadata and any(map(_DIGEST.fullmatch, metadata.values())):
            raise ValueError("its digest is lost")
        return False
    entry = _ENTRY.search(header)
    if entry is None:
        raise ValueError("its digest is malformed")
    unsigned = header[: entry.start(1)] + _ZEROS + header[entry.end(1) :]
    digest = hashlib.sha256(length + unsigned)
    while block := file.read(2**20):
        digest.update(block)
    if digest.hexdigest().encode() != entry[1]:
        raise ValueError("its digest is of other content")
    return True
