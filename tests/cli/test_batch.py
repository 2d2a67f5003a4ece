"""What `relprop batch` does with data sets of every kind, and with what is wrong about them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import Tensor

pytest.importorskip("zarr")

import zarr

import relprop
from relprop.cli.images import Preprocessing, read_picture
from relprop.cli.program import program

SIDE = 8
"""What the small network takes."""
OF_ANY_SIZE = """\
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )
"""
Run = Callable[..., Result]
Check = Callable[..., None]


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: list[object]) -> Run:
    """Runs `relprop batch` on the small model, into `out.zarr` of an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, model: list[object] = small) -> Result:
        words = ["batch", "--output", "out.zarr", *map(str, (*model, *arguments))]
        return CliRunner().invoke(program, words)

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three pictures, one of them within another folder, and two other files."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    rng = np.random.default_rng(0)
    for name, side in (("b.png", (9, 12)), ("a.png", (12, 9)), ("more/c.jpg", (10, 10))):
        save(folder / name, rng.integers(0, 256, (*side, 3), dtype=np.uint8))
    (folder / "notes.txt").write_text("buy milk")
    (folder / ".hidden" / "d.png").write_text("not to be seen")
    return folder


def save(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def built(network: Path) -> torch.nn.Module:
    namespace: dict[str, object] = {}
    exec(network.read_text(), namespace)
    model = namespace["build"]()  # type: ignore[operator]
    assert isinstance(model, torch.nn.Module)
    return model.eval()


def inputs(paths: list[Path]) -> Tensor:
    """What the small network sees in pictures."""
    expected = Preprocessing(SIDE)
    return torch.cat([expected.tensor(expected.crop(read_picture(path))) for path in paths])


def relevance(name: str = "relevance") -> np.ndarray:
    return np.asarray(zarr.open_group("out.zarr", mode="r")[name][:])


def summary(path: str = "out.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def test_folder_of_pictures(batch: Run, photos: Path, network: Path) -> None:
    result = batch("photos", "--batch-size", 8)
    assert result.exit_code == 0, result.output
    assert "explained 3 of 3 items" in result.stdout
    model, x = built(network), inputs([photos / n for n in ("a.png", "b.png", "more/c.jpg")])
    likeliest = model(x).argmax(1)
    expected = relprop.LRP(model, "epsilon_plus_flat").attribute(x, target=likeliest)
    assert np.array_equal(relevance(), expected.numpy())
    rows = summary()
    assert [row["item"] for row in rows] == ["a.png", "b.png", "more/c.jpg"]
    assert [int(row["target"]) for row in rows] == likeliest.tolist()
    sums = expected.double().sum((1, 2, 3)).numpy()
    np.testing.assert_allclose([float(row["sum"]) for row in rows], sums, rtol=1e-12)
    attributes = zarr.open_group("out.zarr", mode="r").attrs
    assert attributes["method"] == "lrp"
    assert attributes["options"]["composite"] == "epsilon_plus_flat"


def test_table_of_paths_and_targets(batch: Run, photos: Path, network: Path) -> None:
    Path("names.txt").write_text("tiger cat\ntabby cat\ndog, hound\n")
    table = photos / "labels.csv"
    table.write_text("target,path\ndog,b.png\n,a.png\n1,b.png\n")
    options = ["--method", "deep-lift", "--baseline", "blank", "--classes", "names.txt"]
    result = batch(table, *options, "--target", "tiger", "--batch-size", 3)
    assert result.exit_code == 0, result.output
    assert [(r["item"], r["target"]) for r in summary()] == [
        ("b.png", "2"),
        ("a.png", "0"),
        ("b.png", "1"),
    ]
    x = inputs([photos / name for name in ("b.png", "a.png", "b.png")])
    expected = relprop.DeepLift(built(network)).attribute(x, "blank", target=[2, 0, 1])
    assert np.array_equal(relevance(), expected.numpy())


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_array_of_inputs(batch: Run, network: Path, kind: str) -> None:
    x = torch.randn(5, 3, SIDE, SIDE)
    if kind == "npy":
        np.save("x.npy", x.numpy())
    else:
        zarr.save_array("x.zarr", x.numpy())
    result = batch(f"x.{kind}", "--target", 1, "--batch-size", 5)
    assert result.exit_code == 0, result.output
    expected = relprop.LRP(built(network)).attribute(x, target=1)
    assert np.array_equal(relevance(), expected.numpy())
    assert [row["item"] for row in summary()] == list("01234")


def test_pictures_of_all_sizes_as_a_whole(batch: Run, photos: Path, network: Path) -> None:
    network.write_text(OF_ANY_SIZE)
    result = batch("photos", "--whole", "--target", 0, "--batch-size", 2)
    assert result.exit_code == 0, result.output
    whole = Preprocessing(size=None)
    for i, (name, shape) in enumerate(
        [("a.png", "3x12x9"), ("b.png", "3x9x12"), ("more/c.jpg", "3x10x10")]
    ):
        x = whole.tensor(whole.crop(read_picture(photos / name)))
        expected = relprop.LRP(built(network)).attribute(x, target=0)
        assert np.array_equal(relevance(f"relevance_{shape}")[i], expected[0].numpy())


def test_broken_pictures_are_named_recorded_and_skipped(batch: Run, photos: Path) -> None:
    (photos / "aa.png").write_text("buy milk")
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(whole[: len(whole) // 2])
    result = batch("photos")
    assert result.exit_code == 1
    assert "aa.png: is not a picture in any format" in result.stderr
    assert "b.png: is damaged or cut short" in result.stderr
    assert "Error: 2 of 4 items could not be explained" in result.stderr
    errors = {row["item"]: row["error"] for row in summary()}
    assert [name for name, error in errors.items() if not error] == ["a.png", "more/c.jpg"]
    assert "is damaged" in errors["b.png"]
    assert np.isnan(relevance()[[1, 2]]).all()
    assert np.isfinite(relevance()[[0, 3]]).all()


def test_failures_are_mended_by_resuming(batch: Run, photos: Path) -> None:
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_text("buy milk")
    assert batch("photos").exit_code == 1
    (photos / "b.png").write_bytes(whole)
    result = batch("photos", "--resume")
    assert result.exit_code == 0, result.output
    assert "explained 3 of 3 items, 1 of them now" in result.stdout
    assert np.isfinite(relevance()).all()
    assert not any(row["error"] for row in summary())


def test_target_of_one_row_that_does_not_exist(batch: Run, photos: Path) -> None:
    (photos / "labels.csv").write_text("path,target\na.png,7\nb.png,1\ngone.png,1\n")
    result = batch(photos / "labels.csv")
    assert result.exit_code == 1
    assert "a.png: there is no class 7: the model has 3" in result.stderr
    assert "gone.png: there is no such file" in result.stderr
    assert [bool(row["error"]) for row in summary()] == [True, False, True]


def test_summary_as_parquet(batch: Run, photos: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert batch("photos", "--summary", "table.parquet").exit_code == 0
    columns = ["item", "prediction", "target", "score", "sum", "shortfall", "seconds", "error"]
    assert parquet.read_table("table.parquet").column_names == columns
    assert not Path("out.csv").exists()


def test_existing_output_is_refused(batch: Run, photos: Path, assert_refused: Check) -> None:
    assert batch("photos").exit_code == 0
    before = relevance()
    assert_refused(batch("photos"), "out.csv: exists already")
    Path("out.csv").unlink()
    assert_refused(batch("photos"), "out.zarr: exists already; continue it with --resume")
    assert np.array_equal(relevance(), before)
    other = batch("photos", "--composite", "epsilon", "--resume")
    assert_refused(other, "options composite 'epsilon_plus_flat', not 'epsilon'")


def test_resuming_what_is_done_does_nothing(batch: Run, photos: Path) -> None:
    assert batch("photos", "--resume").exit_code == 0
    before = summary()
    result = batch("photos", "--resume")
    assert result.exit_code == 0, result.output
    assert "explained 3 of 3 items, 0 of them now" in result.stdout
    assert summary() == before


def test_weights_that_changed_are_not_mixed(
    batch: Run, photos: Path, assert_refused: Check, network: Path
) -> None:
    assert batch("photos").exit_code == 0
    network.write_text(network.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    assert_refused(batch("photos", "--resume"), "made with weights_sha256")


def test_summary_never_replaces_what_it_was_made_from(
    batch: Run, photos: Path, assert_refused: Check
) -> None:
    table = Path("out.csv")
    table.write_text("path\nphotos/a.png\n")
    refused = batch(table, "--resume")
    assert_refused(refused, "out.csv: cannot be the summary and a source")
    assert_refused(batch("photos", "--resume"), "out.csv: exists already")
    assert table.read_text() == "path\nphotos/a.png\n"


def test_program_that_was_exported_for_one_input_at_a_time(
    batch: Run, photos: Path, network: Path
) -> None:
    program = torch.export.export(built(network), (torch.zeros(1, 3, SIDE, SIDE),))
    torch.export.save(program, "model.pt2")
    model = ["--model", "model.pt2", "--size", SIDE]
    result = batch("photos", "--target", 1, "--batch-size", 3, model=model)
    assert result.exit_code == 0, result.output
    x = inputs([photos / name for name in ("a.png", "b.png", "more/c.jpg")])
    expected = [relprop.LRP(program).attribute(one[None], target=1)[0].numpy() for one in x]
    assert np.array_equal(relevance(), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone"], "gone: there is no such file or folder"),
        (["empty"], "empty: holds no pictures"),
        (["photos", "photos"], "photos: a folder must be the only source"),
        (["notes.csv"], "must have a column 'path', and may have a column 'target'"),
        (["bare.csv"], "bare.csv: has no rows below its first line"),
        (["text.npy"], "text.npy: is no NumPy array, damaged, or cut short"),
        (["cut.npy"], "cut.npy: is no NumPy array, damaged, or cut short"),
        (["bytes.npy"], "must hold floating-point numbers; got uint8"),
        (["group.zarr"], "group.zarr: is a Zarr group; name one of its arrays"),
        (["torn.zarr"], "torn.zarr: is no Zarr array that can be read"),
        (["photos", "--summary", "out.txt"], "must end in .csv or .parquet"),
        (["photos", "--summary", "no/out.csv"], "there is no folder no"),
        (["photos", "--output", "no/out.zarr"], "there is no folder no"),
        (["photos", "--memory-budget", "lots"], "memory_budget must be a positive number"),
        (["photos", "--target", "7"], "there is no class 7: the model has 3"),
        (["photos", "--size", "20"], "the model failed on an input of shape (1, 3, 20, 20)"),
        (["photos", "--batch-size", "0"], "0 is not in the range"),
        (["photos", "--method", "magic"], "'magic' is not one of"),
    ],
)
def test_wrong_usage(
    batch: Run, photos: Path, assert_refused: Check, arguments: list[str], words: str
) -> None:
    Path("empty").mkdir()
    Path("notes.csv").write_text("file,target\na.png,1\n")
    Path("bare.csv").write_text("path\n")
    Path("text.npy").write_text("buy milk")
    np.save("bytes.npy", np.zeros((2, 3, 8, 8), np.uint8))
    np.save("cut.npy", np.zeros((2, 3, 8, 8), np.float32))
    Path("cut.npy").write_bytes(Path("cut.npy").read_bytes()[:-9])
    zarr.create_group("group.zarr").create_array("x", shape=(2, 3, 8, 8), dtype="float32")
    Path("torn.zarr").mkdir()
    Path("torn.zarr/zarr.json").write_text('{"zarr_format": 3, "node')
    result = batch(*arguments)
    assert_refused(result, words)
    assert not Path("out.zarr").exists()
    assert not Path("out.zarr.journal").exists()


def test_damaged_chunk_of_an_array_is_skipped(batch: Run) -> None:
    array = zarr.create_array("x.zarr", shape=(3, 3, 8, 8), chunks=(1, 3, 8, 8), dtype="float32")
    array[:] = 1.0
    (Path("x.zarr") / "c" / "1" / "0" / "0" / "0").write_bytes(b"torn")
    result = batch("x.zarr")
    assert result.exit_code == 1
    assert "x.zarr: example 1 is damaged or cut short" in result.stderr
    assert [bool(row["error"]) for row in summary()] == [False, True, False]


def test_package_that_is_missing(
    batch: Run, photos: Path, assert_refused: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert_refused(batch("photos", "--summary", "out.parquet"), "pip install 'relprop[parquet]'")
    for module in [name for name in sys.modules if name.startswith("relprop.batch")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "relprop.cli.data_set", raising=False)
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert_refused(batch("photos"), "this needs zarr", "pip install 'relprop[batch]'")
