"""Pages of the site that are written from the code: every key of a configuration, every module, the command line."""

import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import physgen
from physgen.config import json_schema
from physgen.domains.contract import list_domains

REFERENCE = Path(__file__).parent / "reference"
ROOMS = (
    "ensemble", "diagnostics", "figures", "diffusion", "networks", "lattice", "domains", "config", "runs", "stages",
    "report", "tracking", "storage", "processes", "units", "session",
)  # fmt: skip
COMMANDS = (
    "", "simulate", "import", "train", "sample", "evaluate", "certify", "compare", "average", "ui", "sync", "config",
)  # fmt: skip


def write_reference() -> None:
    """Write the pages; they are ignored by git."""
    REFERENCE.mkdir(exist_ok=True)
    (REFERENCE / "configuration.md").write_text(_configuration())
    (REFERENCE / "modules.rst").write_text(_modules())
    (REFERENCE / "commands.md").write_text(_commands())


def _configuration() -> str:
    parts = [
        "# Every key of a configuration\n",
        "`physgen config explain DOMAIN KEY` says the same on the command line. A key that is not listed is refused.\n",
    ]
    for domain in list_domains():
        schema = json_schema(domain)
        definitions = schema.get("$defs", {})
        parts.append(f"## {domain}\n")
        for name, entry in schema["properties"].items():
            section = _resolve(entry, definitions)
            if "properties" not in section:
                parts.append(f"### `{name}`\n\n{_line(name, section)}\n")
                continue
            rows = ["| key | default | what |", "|---|---|---|"]
            rows += [_row(key, _resolve(value, definitions)) for key, value in section["properties"].items()]
            parts.append(f"### `{name}`\n\n{section.get('description', '')}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _resolve(entry: dict, definitions: dict) -> dict:
    """An entry of the schema with its reference followed."""
    if "$ref" in entry:
        return definitions[entry["$ref"].rsplit("/", 1)[1]] | {k: v for k, v in entry.items() if k != "$ref"}
    if len(entry.get("allOf", [])) == 1:
        return _resolve(entry["allOf"][0], definitions) | entry
    return entry


def _line(name: str, entry: dict) -> str:
    default = f" Default: `{entry['default']}`." if "default" in entry else ""
    return f"{entry.get('description', entry.get('title', name))}.{default}"


def _row(key: str, entry: dict) -> str:
    words = entry.get("description", "")
    if "enum" in entry:
        words = f"{words} ({', '.join(map(str, entry['enum']))})".strip()
    cell = words.replace("|", "\\|").replace("\n", " ")
    return f"| `{key}` | `{entry.get('default', '')}` | {cell} |"


def _modules() -> str:
    title = "Every module"
    names = []
    for room in ROOMS:
        module = import_module(f"physgen.{room}")
        names.append(f"physgen.{room}")
        if hasattr(module, "__path__"):
            names += [
                m.name for m in pkgutil.walk_packages(module.__path__, f"physgen.{room}.") if "__main__" not in m.name
            ]
    skip = {"physgen.tracking.served_model"}  # a script that MLflow runs
    listing = "\n".join(f"   {name}" for name in names if name not in skip)
    return f"{title}\n{'=' * len(title)}\n\n.. autosummary::\n   :toctree: generated\n\n{listing}\n"


def _commands() -> str:
    parts = ["# The command line\n"]
    for words in (
        [],
        ["train"],
        ["sample"],
        ["evaluate"],
        ["certify"],
        ["compare"],
        ["import"],
        ["simulate"],
        ["config"],
        ["ui"],
        ["sync"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "physgen.cli", *words, "--help"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            parts.append(f"## physgen {' '.join(words)}\n\n```text\n{done.stdout.strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(f"physgen {physgen.__version__}")
    write_reference()
