from pathlib import Path

import pytest
from setup_run import Run


def test_setup_says_what_it_will_build(setup: Run) -> None:
    result = setup("--version")
    assert result.returncode == 0
    assert "relprop: torch 2." in result.stderr
    assert "; C++ compiler " in result.stderr
    assert "; CUDA off: RELPROP_CUDA=0" in result.stderr


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RELPROP_CUDA": "yes"}, "RELPROP_CUDA must be auto, 0 or 1, got 'yes'"),
        ({"RELPROP_BINDINGS": "no"}, "RELPROP_BINDINGS must be 1 or 0, got 'no'"),
        (
            {"RELPROP_CUDA": "1", "CUDA_HOME": "/nonexistent"},
            "RELPROP_CUDA=1, but CUDA is off: no nvcc found (set CUDA_HOME)",
        ),
        ({"CXX": "/nonexistent/c++"}, "CXX names a compiler that is not there: /nonexistent/c++"),
    ],
)
def test_wrong_wish_fails_with_one_sentence(
    setup: Run, environment: dict[str, str], sentence: str
) -> None:
    result = setup("--version", **environment)
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1] == sentence


def test_without_torch_setup_says_how_to_get_on(setup: Run, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "torch.py").write_text("raise ImportError('no torch here')")
    result = setup("--version", PYTHONPATH=str(tmp_path / "hidden"))
    assert result.returncode != 0
    assert "torch could not be imported (no torch here). Install torch, then run: pip install " in (
        result.stderr
    )


def test_without_a_compiler_the_package_is_built_all_the_same(
    setup: Run, source_tree: Path
) -> None:
    result = setup("-q", "build", "--build-lib", "built", PATH="/nonexistent")
    assert result.returncode == 0, result.stderr
    assert "C++ compiler none found: relprop will run on plain PyTorch" in result.stderr
    assert (source_tree / "built" / "relprop" / "ops" / "library.py").exists()
    assert not list((source_tree / "built").rglob("*.so"))


def test_with_a_compiler_an_error_in_the_sources_is_an_error(setup: Run, source_tree: Path) -> None:
    source = source_tree / "csrc" / "cpu" / "rescale.cpp"
    source.write_text("#error this does not compile\n")
    result = setup("build_ext", "--build-lib", "built")
    assert result.returncode != 0
    assert "this does not compile" in result.stdout + result.stderr


def test_source_distribution_holds_every_source(setup: Run, source_tree: Path) -> None:
    result = setup("-q", "egg_info")
    assert result.returncode == 0, result.stderr
    listed = (source_tree / "relprop.egg-info" / "SOURCES.txt").read_text().splitlines()
    sources = [str(p.relative_to(source_tree)) for p in (source_tree / "csrc").rglob("*.*")]
    assert sources
    assert set(sources) <= set(listed)
    assert "relprop/py.typed" in listed
