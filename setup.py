"""Builds the kernels: relprop._cpu, relprop._cuda where there is nvcc, and relprop._bindings.

RELPROP_CUDA=auto (the default) builds the CUDA kernels if torch has CUDA and nvcc of the same major
version is found; 1 insists on them, also under a torch without CUDA; 0 leaves them out.
RELPROP_BINDINGS=0 leaves out relprop._bindings, which says how the kernels were built and serves
one Python only: for wheels that every Python takes.
TORCH_CUDA_ARCH_LIST and MAX_JOBS mean what they mean to torch's own extensions.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension, setup

try:
    import torch
    from torch.utils import cpp_extension
except ImportError as error:
    raise SystemExit(
        f"relprop is built against the torch that will run it, and torch could not be imported "
        f"({error}). Install torch, then run: pip install --no-build-isolation ."
    ) from None

CSRC = Path("csrc")
HEADERS = sorted(str(path) for path in CSRC.rglob("*.h")) + sorted(map(str, CSRC.rglob("*.cuh")))
DEFAULT_ARCHITECTURES = "8.0;9.0+PTX"
# Loops must vectorise: nobody reads errno or floating-point exceptions. Multiplications and
# additions stay apart, so that every instruction set gives the same bits.
CXX_FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-g0",
]
NVCC_FLAGS = [
    "-O3",
    "--fmad=false",
    "-Xcompiler=-fvisibility=hidden",
    # torch takes the conversions of the half types away.
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
]


@dataclass(frozen=True)
class Configuration:
    """What will be built; where something will not be, why."""

    compiler: str | None
    cuda_home: str | None
    cuda: str

    def __str__(self) -> str:
        compiler = self.compiler or "none found: relprop will run on plain PyTorch"
        return f"relprop: torch {torch.__version__}; C++ compiler {compiler}; CUDA {self.cuda}"


def find_compiler() -> str | None:
    if sys.platform == "win32":
        return "MSVC"
    wanted = os.environ.get("CXX")
    if wanted:
        if shutil.which(wanted.split()[0]) is None:
            raise SystemExit(f"CXX names a compiler that is not there: {wanted}")
        return wanted
    return next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def find_cuda_home() -> str | None:
    """The folder above bin/nvcc: CUDA_HOME if that is set, else the usual place, else from PATH."""
    wanted = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    home = wanted or "/usr/local/cuda"
    if (Path(home) / "bin" / "nvcc").exists():
        return home
    nvcc = None if wanted else shutil.which("nvcc")
    return str(Path(nvcc).resolve().parent.parent) if nvcc else None


def nvcc_version(cuda_home: str) -> str:
    nvcc = Path(cuda_home) / "bin" / "nvcc"
    answer = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"release (\d+\.\d+)", answer)
    if found is None:
        raise SystemExit(f"{nvcc} --version does not say its release: {answer!r}")
    return found.group(1)


def why_no_cuda(wanted: str, cuda_home: str | None) -> str | None:
    """The reason to leave the CUDA kernels out; None to build them."""
    if wanted == "0":
        return "off: RELPROP_CUDA=0"
    if cuda_home is None:
        return "off: no nvcc found (set CUDA_HOME)"
    if wanted == "1":
        return None
    if torch.version.cuda is None:
        return "off: this torch has no CUDA (RELPROP_CUDA=1 builds the kernels all the same)"
    found = nvcc_version(cuda_home)
    if found.split(".")[0] != torch.version.cuda.split(".")[0]:
        return f"off: nvcc is {found}, torch was built with {torch.version.cuda}"
    return None


def wish(name: str, choices: tuple[str, ...]) -> str:
    """What a variable asks for; the first choice where it is not set."""
    wanted = os.environ.get(name, choices[0])
    if wanted not in choices:
        offered = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise SystemExit(f"{name} must be {offered}, got {wanted!r}")
    return wanted


def configure() -> Configuration:
    wanted = wish("RELPROP_CUDA", ("auto", "0", "1"))
    compiler = find_compiler()
    cuda_home = find_cuda_home()
    reason = why_no_cuda(wanted, cuda_home)
    if compiler is None:
        reason = "off: nvcc needs a C++ compiler"
    if wanted == "1" and reason is not None:
        raise SystemExit(f"RELPROP_CUDA=1, but CUDA is {reason}")
    if reason is not None or cuda_home is None:
        return Configuration(compiler, None, str(reason))
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", DEFAULT_ARCHITECTURES)
    architectures = os.environ["TORCH_CUDA_ARCH_LIST"]
    return Configuration(
        compiler, cuda_home, f"{nvcc_version(cuda_home)} for architectures {architectures}"
    )


def cpu_library() -> Extension:
    return cpp_extension.CppExtension(
        "relprop._cpu",
        sorted(map(str, (CSRC / "cpu").glob("*.cpp"))),
        extra_compile_args={"cxx": CXX_FLAGS},
        depends=HEADERS,
        py_limited_api=True,
    )


def cuda_library(cuda_home: str) -> Extension:
    # The runtime is linked statically, and of torch only the stable ABI is used: so the library
    # asks for no particular CUDA release at run time.
    cpp_extension.CUDA_HOME = cuda_home
    folders = [Path(cuda_home) / "lib64", Path(cuda_home) / "lib"]
    return cpp_extension.CppExtension(
        "relprop._cuda",
        sorted(map(str, (CSRC / "cuda").glob("*.cu"))),
        include_dirs=[str(Path(cuda_home) / "include")],
        library_dirs=[str(folder) for folder in folders if folder.exists()],
        libraries=["cudart_static", "rt", "dl", "pthread"],
        extra_compile_args={"cxx": CXX_FLAGS, "nvcc": NVCC_FLAGS},
        depends=HEADERS,
        py_limited_api=True,
    )


def bindings(configuration: Configuration) -> Extension:
    import pybind11

    return Extension(
        "relprop._bindings",
        [str(CSRC / "bindings.cpp")],
        include_dirs=[pybind11.get_include()],
        define_macros=[
            ("RELPROP_CUDA", f'"{configuration.cuda}"'),
            ("RELPROP_TORCH", f'"{torch.__version__}"'),
        ],
        extra_compile_args=["-O1", "-fvisibility=hidden", "-g0"],
        depends=HEADERS,
        language="c++",
    )


def for_others() -> bool:
    """Whether a wheel is built that other machines' Pythons take."""
    return wish("RELPROP_BINDINGS", ("1", "0")) == "0"


def extensions(configuration: Configuration) -> list[Extension]:
    if configuration.compiler is None:
        return []
    modules = [cpu_library()]
    if not for_others():
        modules.append(bindings(configuration))
    if configuration.cuda_home is not None:
        modules.append(cuda_library(configuration.cuda_home))
    return modules


class BuildKernels(cpp_extension.BuildExtension):
    """Builds the extensions; those for others without the paths of this machine's Python."""

    def build_extensions(self) -> None:
        # Some Pythons link everything with a run path to their own libraries.
        linkers = ("linker_so", "linker_so_cxx") if for_others() else ()
        for linker in vars(self.compiler).keys() & set(linkers):
            words = getattr(self.compiler, linker)
            kept = [word for word in words if not word.startswith("-Wl,-rpath")]
            setattr(self.compiler, linker, kept)
        super().build_extensions()


os.environ.setdefault("MAX_JOBS", "2")
configuration = configure()
print(configuration, file=sys.stderr)
modules = extensions(configuration)
setup(
    license="MIT",
    ext_modules=modules,
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if modules else {},
)
