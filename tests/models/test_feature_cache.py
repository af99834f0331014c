"""Features on disk are the ones that were computed, and a broken file costs only time."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch

from greaves.base.errors import StoreError
from greaves.models.families.pocket_lalm import pocket as load_pocket
from greaves.models.feature_cache import FeatureCache

KEY = "ab" * 32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_comes_back_is_what_was_put_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    rows = torch.randn(7, 5, dtype=dtype)[:, 1:]
    FeatureCache(tmp_path / "cache").put(KEY, rows)
    found = FeatureCache(tmp_path / "cache").get(KEY)
    assert found is not None
    assert found.dtype is dtype
    assert torch.equal(found, rows)


@pytest.mark.parametrize("content", [b"", b"\x80\x02.", b"{}" * 40, None])
def test_a_broken_file_is_a_miss_and_is_replaced(tmp_path: Path, content: bytes | None) -> None:
    cache = FeatureCache(tmp_path)
    assert cache.get(KEY) is None
    cache.put(KEY, torch.ones(2, 3))
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-5] if content is None else content)
    assert cache.get(KEY) is None
    cache.put(KEY, torch.ones(2, 3))
    assert cache.get(KEY) is not None
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [file.name]


def _write(folder: str) -> int:
    cache, misses = FeatureCache(Path(folder)), 0
    for number in range(60):
        rows = torch.full((40, 64), float(number))
        found = cache.get(f"{number:064x}")
        misses += found is None
        assert found is None or torch.equal(found, rows)
        cache.put(f"{number:064x}", rows)
    return misses


def test_several_processes_write_one_folder_and_none_reads_half_a_file(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(_write, [str(tmp_path)] * 4, chunksize=1)
    assert _write(str(tmp_path)) == 0
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"taken/.*cannot be written"):
        FeatureCache(tmp_path / "taken").put(KEY, torch.ones(1, 1))


def test_a_second_model_object_never_runs_the_audio_tower(
    tmp_path: Path, mirror_folder: Path
) -> None:
    clips = [str(path) for path in sorted((mirror_folder / "clips").iterdir())[:3]]
    first, second = load_pocket(), load_pocket()
    passes: list[Any] = []
    second.network.model.audio_tower.register_forward_hook(lambda *_: passes.append(1))
    first.feature_cache = second.feature_cache = FeatureCache(tmp_path / "cache")
    wanted = first.features(clips)
    found = second.features(clips)
    assert not passes
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
