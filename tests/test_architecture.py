"""The walls of the house: who may import whom, what may stand where."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "physgen"
FILES = sorted(PACKAGE.rglob("*.py"))
DOMAINS = sorted(p.name for p in (PACKAGE / "domains").iterdir() if (p / "__init__.py").exists())

LEAVES = {"physgen.errors", "physgen.provenance", "physgen.units", "physgen.lazy", "physgen.threads", "physgen"}
ALLOWED = {  # room -> the rooms of physgen it may import, besides itself and the leaves
    "errors": set(),
    "lazy": set(),
    "provenance": set(),
    "units": set(),
    "progress": set(),
    "threads": set(),
    "lattice": set(),
    "processes": set(),
    "storage": {"processes"},
    "ensemble": {"storage"},
    "networks": {"lattice"},
    "diffusion": {"networks", "lattice"},
    "diagnostics": {"ensemble", "lattice"},
    "figures": {"ensemble", "diagnostics", "processes"},
    "tracking": {"storage", "processes"},
    "domains/contract": {"ensemble", "diffusion", "networks", "diagnostics", "lattice"},
    "domains/doors": {"ensemble"},
    "domains/building": {"networks"},
    "domains/any_field": {"domains", "diffusion", "lattice"},
    "domains/law": set(),
    "domains/known": {"ensemble"},
    "domains/quenched": set(),
    "domains/repeated": set(),
    "domains/lattice_bonds": {"ensemble", "lattice"},
    "domains/integration": set(),
    "domains/cluster_means": set(),
    "domains/cluster_roots": set(),
    "domains/lattice_field": {"ensemble", "diffusion"},
    "config": {"domains", "diffusion"},
    "runs": {"config", "domains", "diffusion", "ensemble", "storage", "processes"},
    "report": {"figures", "ensemble", "diagnostics", "storage"},
    "stages": {
        "config", "domains", "runs", "report", "figures", "diagnostics", "ensemble", "diffusion", "tracking",
        "storage", "processes", "progress",
    },
    "session": {
        "config", "domains", "runs", "stages", "report", "figures", "ensemble", "storage", "tracking", "progress",
    },
    "cli": {"config", "domains", "stages", "tracking", "progress", "processes"},
}  # fmt: skip
A_DOMAIN = {
    "networks",
    "diagnostics",
    "ensemble",
    "lattice",
    "diffusion.circle",  # a kind of value, like those of diffusion.values
    "diffusion.exact",
    "diffusion.symmetry",
    "diffusion.values",
    "domains.building",
    "domains.quenched",  # what several of them share, as the contract is what all share
    "domains.integration",
    "domains.cluster_means",
    "domains.cluster_roots",
    "domains.lattice_bonds",
    "processes",
}
HEAVY = {"mlflow": "tracking", "matplotlib": "figures", "astropy": "units", "pydantic": "config"}
BARE = {"torch", "numpy", "scipy"}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    inside = parts[0] == "domains" and parts[1] != "__init__"
    return "/".join(parts[:2]) if inside else parts[0]


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            found.add(node.module)
            if node.module == "physgen" or node.module.startswith("physgen."):
                found |= {f"{node.module}.{a.name}" for a in node.names if (PACKAGE / a.name).exists()}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path):
    here = room(path)
    for name in imports(path):
        if not name.startswith("physgen.") or name in LEAVES:
            continue
        there = name.split(".")[1]
        if here == "__init__":
            continue  # the public names, imported lazily
        if here.startswith("domains/") and here not in ALLOWED:
            own = name.startswith(f"physgen.{here.replace('/', '.')}") or name == "physgen.domains"
            own = own or name == "physgen.domains.contract"
            shared = any(f"{name}.".startswith(f"physgen.{shared}.") for shared in A_DOMAIN)
            assert own or shared, f"{path}: a domain may not import {name}"
        elif here != "domains":
            assert there == here.split("/")[0] or there in ALLOWED[here], f"{path}: {here} may not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_domain_is_named_outside_its_folder(path):
    if room(path).startswith("domains"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant):
            assert node.value not in DOMAINS, f"{path}:{node.lineno} names the domain {node.value!r}"


def words_of_units() -> set[str]:
    """What the domains call their independent units and the dims that count draws."""
    from physgen.domains.contract import get_domain

    found = set()
    for name in DOMAINS:
        domain = get_domain(name)
        found |= {domain.split_by, *getattr(domain, "exchangeable", ()), *getattr(domain, "unit_within", ())}
    return found - {"sample"}


def test_no_unit_of_a_domain_is_named_outside_its_folder():
    """What is independent is read from the ensemble's attributes: a third physics has other words."""
    words = words_of_units()
    assert len(words) >= 3
    for path in FILES:
        if room(path).startswith("domains"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant):
                assert node.value not in words, f"{path}:{node.lineno} names the unit {node.value!r}"


# words of one physics that no list of the domains holds
OF_ONE_PHYSICS = (
    r"cosmolog\w*", r"redshifts?", r"omega_?[mb]", r"sigma_?8", r"halo(?:es|s)?", r"overdens\w*", "quijote", "camels",
    "initial[ _]conditions", r"spins?", r"couplings?", r"disorder\w*", r"replicas?", r"temperatures?", r"simulations?",
)  # fmt: skip
OF_ANY_PHYSICS = {"chain", "points", "images"}  # a unit of spins, and a Markov chain anywhere; domains, and plain words
ISING = {"spin", "spins", "coupling", "couplings", "temperature", "disordered"}
MADE = {"simulation"}  # the facts that `physgen simulate` writes of its cost
SPEAKS = {  # file or room -> words that it may say
    "diffusion": ISING,  # exact laws of Ising models are members of the core, which calls +-1 values spins
    "networks": {"spin", "spins", "couplings", "temperature"},  # message passing of +-1 values on bonds
    "domains/quenched.py": {"disorder", "replica", "replicas", "couplings", "temperature", "temperatures"},
    "domains/lattice_bonds.py": {
        "disorder",
        "replica",
        "replicas",
        "coupling",
        "couplings",
        "temperature",
        "temperatures",
    },
    "domains/cluster_means.py": {"couplings", "spins"},  # of two domains whose ferromagnets are one law
    "ensemble/from_array.py": {"simulation", "simulations"},  # a public argument, named after the commonest unit
    "report/evaluation_prose.py": MADE,
    "stages/data.py": MADE,
}


def said(path: Path) -> list[tuple[int, str]]:
    """(line, text) of every string, docstring and identifier."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        text = {
            ast.Constant: "value", ast.Name: "id", ast.Attribute: "attr", ast.FunctionDef: "name", ast.ClassDef: "name",
            ast.arg: "arg", ast.keyword: "arg", ast.alias: "name",
        }.get(type(node))  # fmt: skip
        if text and isinstance(getattr(node, text), str):
            found.append((getattr(node, "lineno", 0), getattr(node, text)))
    return found


def words_of_physics() -> re.Pattern[str]:
    """Names, units and labels that the domains state themselves, and ``OF_ONE_PHYSICS``."""
    from physgen.domains.contract import get_domain

    labels = {label for name in DOMAINS for label in get_domain(name).labels}
    words = "|".join(
        [*map(re.escape, sorted((labels | words_of_units() | set(DOMAINS)) - OF_ANY_PHYSICS)), *OF_ONE_PHYSICS]
    )
    return re.compile(rf"(?<![a-z])({words})(?![a-z])", re.IGNORECASE)


def test_no_word_of_a_physics_is_said_outside_its_folder():
    """In no string, docstring or identifier: what a reader is told of his physics comes from the domain."""
    pattern = words_of_physics()
    wrong, used = [], set()
    for path in FILES:
        here = path.relative_to(PACKAGE)
        if room(path) in {f"domains/{name}" for name in DOMAINS}:
            continue
        speaker = next((s for s in SPEAKS if here.as_posix().startswith(s)), "")
        allowed = SPEAKS[speaker] if speaker else set()
        for line, text in said(path):
            found = {match.group(1).lower() for match in pattern.finditer(text)}
            used |= {(speaker, word) for word in found & allowed}
            wrong += [f"{here}:{line}: {word!r} in {text[:60]!r}" for word in sorted(found - allowed)]
    assert not wrong, "\n".join(wrong)
    idle = [f"{speaker}: {word}" for speaker in SPEAKS for word in SPEAKS[speaker] if (speaker, word) not in used]
    assert not idle, f"allowed and never said: {idle}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_room(path):
    for name in imports(path):
        top = name.split(".")[0]
        if top in HEAVY:
            home = room(path) == HEAVY[top] or (top == "astropy" and room(path).startswith("domains/"))
            assert home, f"{path} imports {top}, which belongs to {HEAVY[top]}"
        assert top not in {"torchvision", "lightning", "accelerate", "wandb"}, f"{path} imports {top}"


@pytest.mark.parametrize("folder", ["diffusion", "networks", "diagnostics", "lattice"])
def test_the_core_imports_on_a_bare_gpu_machine(folder):
    """torch, numpy and scipy are all that a compute node needs to have."""
    for path in (PACKAGE / folder).rglob("*.py"):
        for name in imports(path, top_level_only=True):
            top = name.split(".")[0]
            assert top in BARE | {"physgen"} | sys.stdlib_module_names, f"{path} needs {top} at import"


def test_the_core_runs_without_the_other_libraries():
    modules = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for folder in ("diffusion", "networks", "diagnostics", "lattice")
        for p in (PACKAGE / folder).rglob("*.py")
        if p.stem != "__init__"
    ]
    code = (
        "import sys\n"
        "for gone in ('mlflow', 'astropy', 'pydantic', 'matplotlib', 'xarray', 'h5netcdf', 'numba', 'yaml'):\n"
        "    sys.modules[gone] = None\n"
        f"import importlib\nfor name in {modules!r}:\n    importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom physgen.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'mlflow', 'xarray', 'numpy', 'astropy', 'matplotlib', 'scipy', 'pydantic', 'h5py'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_files_functions_and_names_stay_small():
    for path in FILES:
        text = path.read_text()
        assert path.stem not in {"utils", "util", "helpers", "common", "base", "misc"}, path
        assert text.count("\n") <= 330, f"{path} has {text.count(chr(10))} lines: split it"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.lineno + 1
                assert length <= 60, f"{path}:{node.lineno} {node.name} has {length} lines: split it"
