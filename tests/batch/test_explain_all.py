"""What is on disk is what `attribute` gives, whatever the batches."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("zarr")

import zarr

from relprop import LRP, DeepLift, InputXGradient
from relprop.batch import Batch, Explained, LocalEngine, Row, write_summary
from relprop.batch.engine import Method
from relprop.errors import InvalidInputError, InvalidTypeError
from tests.batch.in_memory import InMemory

Explain = Callable[..., list[Row]]


def stored(tmp_path: Path, name: str = "relevance") -> np.ndarray:
    return np.asarray(zarr.open_group(tmp_path / "out.zarr", mode="r")[name][:])


def test_relevance_on_disk_is_that_of_attribute_on_the_same_batches(
    explain: Explain, model: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    explain(InMemory(list(images)))
    target = model(images).argmax(1)
    expected = [
        LRP(model).attribute(x, target=t)
        for x, t in zip(images.split(3), target.split(3), strict=True)
    ]
    assert np.array_equal(stored(tmp_path), torch.cat(expected).numpy())


@pytest.mark.parametrize(
    ("method", "arguments", "explained"),
    [
        (LRP, {}, lambda f, x: f(x)),
        (InputXGradient, {}, lambda f, x: f(x)),
        (DeepLift, {"baselines": "blank"}, lambda f, x: f(x) - f(torch.zeros_like(x))),
    ],
)
def test_score_sum_and_shortfall_are_the_ones_of_every_item(
    explain: Explain,
    model: nn.Module,
    images: Tensor,
    tmp_path: Path,
    method: type[Method],
    arguments: dict[str, str],
    explained: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    targets = [i % 3 for i in range(len(images))]
    engine = LocalEngine(method(model), arguments, batch_size=4)
    rows = explain(InMemory(list(images), list(map(str, targets))), engine)
    with torch.no_grad():
        scores = explained(model, images)[range(len(images)), targets]
        predictions = model(images).argmax(1).tolist()
    sums = stored(tmp_path).sum((1, 2, 3))
    assert [row.prediction for row in rows] == predictions
    assert [row.target for row in rows] == targets
    np.testing.assert_allclose([row.score for row in rows], scores, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([row.sum for row in rows], sums, rtol=1e-12)
    for row in rows:
        assert row.score == pytest.approx(row.sum + row.shortfall, rel=1e-12)


def test_items_of_every_shape_have_an_array_with_their_rows(
    explain: Explain, model: nn.Module, tmp_path: Path
) -> None:
    sides = [(5, 6), (6, 5), (5, 6), (4, 4), (6, 5), (5, 6), (5, 6)]
    images = [torch.randn(2, *side, dtype=torch.float64) for side in sides]
    rows = explain(InMemory(images), LocalEngine(LRP(model), batch_size=1))
    for i, (row, x) in enumerate(zip(rows, images, strict=True)):
        expected = LRP(model).attribute(x[None], target=row.target)[0].numpy()
        found = stored(tmp_path, f"relevance_2x{x.shape[1]}x{x.shape[2]}")
        assert len(found) == len(images)
        assert np.array_equal(found[i], expected)
        others = [k for k in range(len(images)) if sides[k] != sides[i]]
        assert np.isnan(found[others]).all()


def test_mixed_shapes_share_batches_with_their_own_kind(explain: Explain, model: nn.Module) -> None:
    class Counting(LocalEngine):
        def explain(self, batches: Iterable[Batch]) -> Iterator[Explained]:
            for batch in batches:
                seen.append([item.index for item in batch.items])
                yield from super().explain([batch])

    seen: list[list[int]] = []
    images = [torch.randn(2, 5, 5 + i % 2, dtype=torch.float64) for i in range(8)]
    explain(InMemory(images), Counting(LRP(model), batch_size=3))
    assert sorted(seen) == [[0, 2, 4], [1, 3, 5], [6], [7]]


def test_items_that_cannot_be_read_or_explained_are_left_out(
    explain: Explain, images: Tensor, tmp_path: Path
) -> None:
    broken = images[2].clone()
    broken[0, 0, 0] = torch.nan
    tensors = [images[0], None, broken, *images[3:6], torch.empty(0)]
    rows = explain(InMemory(tensors, [None, None, None, "9", "1", "1", "1"]))
    assert [row.index for row in rows if row.error] == [1, 2, 3, 6]
    assert rows[1].error == "item-1: is damaged"
    assert rows[2].error.startswith("item-2: inputs must be finite")
    assert rows[3].error.startswith("item-3: target must be a number from 0 to 2; got '9'")
    assert rows[6].error == "item-6: cannot be read (KeyError: 'tag 274')"
    assert np.isnan(stored(tmp_path)[[1, 2, 3, 6]]).all()
    assert np.isfinite(stored(tmp_path)[[0, 4, 5]]).all()


def test_group_says_what_made_it_and_what_its_rows_are(
    explain: Explain, images: Tensor, tmp_path: Path
) -> None:
    explain(InMemory(list(images)), made={"model": "small"})
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["model"] == "small"
    assert group.attrs["items"] == [f"item-{i}" for i in range(7)]
    assert group.attrs["versions"]["torch"] == torch.__version__
    assert group.attrs["complete"] is True
    assert group["relevance"].chunks == (1, 2, 6, 6)
    assert list(group.array_keys()) == ["relevance"]


def test_as_many_go_together_as_fit_the_budget(model: nn.Module, images: Tensor) -> None:
    sizes = [
        LocalEngine(LRP(model), memory_budget=budget).batch_size(images[0])
        for budget in (1, 100_000, 200_000)
    ]
    assert sizes[0] == 1
    assert sizes[1] > 1
    assert abs(sizes[2] - 2 * sizes[1]) <= 1


def test_summary_holds_the_same_as_csv_and_as_parquet(
    explain: Explain, images: Tensor, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = explain(InMemory([*images, None]))
    for suffix in (".csv", ".parquet"):
        write_summary(rows, tmp_path / f"out{suffix}")
    with (tmp_path / "out.csv").open(newline="") as text:
        read = list(csv.DictReader(text))
    columns = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    for i, row in enumerate(rows):
        for name, column in columns.items():
            assert column[i] == getattr(row, name)
            assert read[i][name] == ("" if column[i] is None else str(column[i]))


def test_methods_without_a_sum_are_refused(model: nn.Module) -> None:
    with pytest.raises(InvalidTypeError, match="whose relevance has a sum to reach, one of LRP"):
        LocalEngine(model)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="batch_size must be at least 1"):
        LocalEngine(LRP(model), batch_size=0)
