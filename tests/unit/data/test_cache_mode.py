from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from emabench.data.cache import cache_mode
from emabench.data.cache.cache_mode import CacheMode, parse_bytes, settle_mode
from emabench.errors import UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4096", 4096),
        ("3K", 3 * 2**10),
        ("512MiB", 512 * 2**20),
        (" 1.5 gb ", 3 * 2**29),
        ("2T", 2 * 2**40),
        ("0", 0),
        ("17B", 17),
    ],
)
def test_bytes_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "much", "-1", "4 X", "1e9", "MiB", "1,5G"])
def test_what_is_no_number_of_bytes_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not a number of bytes") as caught:
        parse_bytes(text)
    assert "--cache-budget" in (caught.value.hint or "")


def test_unknown_mode_proposes_a_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMABENCH_CACHE_MODE", "disc")
    with pytest.raises(UnknownNameError, match="unknown cache mode 'disc'") as caught:
        settle_mode(1, folder=tmp_path, is_cached=False)
    assert "disk" in (caught.value.hint or "")


@pytest.mark.parametrize("mode", ["disk", "ram", "none"])
def test_what_the_user_says_counts(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMABENCH_CACHE_MODE", mode)
    monkeypatch.setenv("EMABENCH_CACHE_BUDGET", "1")
    assert settle_mode(2**60, folder=tmp_path, is_cached=True).value == mode


def settled(needed: int, folder: Path, *, is_cached: bool = False) -> tuple[CacheMode, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mode = settle_mode(needed, folder=folder, is_cached=is_cached)
    return mode, [str(each.message) for each in caught]


def test_disk_has_room_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert settled(10, tmp_path / "not" / "yet") == (CacheMode.DISK, [])


def test_more_than_half_of_the_disk_is_not_taken(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    mode, told = settled(free, tmp_path)
    assert mode in (CacheMode.RAM, CacheMode.NONE)
    assert "has no room" in told[0]
    # Except by what lies there already.
    assert settled(free, tmp_path, is_cached=True) == (CacheMode.DISK, [])


def test_budget_bounds_disk_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMABENCH_CACHE_BUDGET", "1M")
    assert settled(2**20, tmp_path) == (CacheMode.DISK, [])
    for is_cached in (False, True):
        mode, told = settled(2**20 + 1, tmp_path, is_cached=is_cached)
        assert mode is CacheMode.NONE
        assert "decoded again for every batch" in told[0]


def test_memory_stands_in_for_a_disk_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    mode, told = settled(10, blocked)
    assert mode is CacheMode.RAM
    assert f"{blocked} cannot be written" in told[0]
    monkeypatch.setenv("EMABENCH_CACHE_BUDGET", "9")
    assert settled(10, blocked)[0] is CacheMode.NONE


def test_a_folder_that_cannot_even_be_looked_at_is_no_cache(tmp_path: Path) -> None:
    mode, _ = settled(10, tmp_path / ("x" * 300))
    assert mode in (CacheMode.RAM, CacheMode.DISK)  # by what the version of Python makes of it


def test_read_ahead_takes_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_mode.read_ahead_bytes() == 2**30
    monkeypatch.setenv("EMABENCH_CACHE_BUDGET", "64M")
    assert cache_mode.read_ahead_bytes() == 2**26
