"""How lm-eval's multiple-choice tasks ask a row of their data: their YAML definitions, read as data.

Templates run in Jinja's sandbox; a definition that names Python code (`!function`) is refused.
"""

import ast
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import yaml

from lilliput.errors import LilliputError, MissingDependency

_MAX_INCLUDES = 8
_ASKED = ("doc_to_text", "doc_to_choice", "doc_to_target")


@final
@dataclass(frozen=True)
class Definition:
    """The templates of a definition, by key, what stands between context and choice, and whose rows are made first."""

    name: str
    templates: dict[str, Any]
    delimiter: str
    rows: str = ""

    def ask(self, row: dict[str, Any], where: str) -> tuple[str, tuple[str, ...], int]:
        """Context, choices and the number of the right one.

        Raises:
            LilliputError: the row lacks what the definition asks for.
        """
        if self.rows:
            try:
                row = _ROWS[self.rows](row)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise LilliputError(f"{where}: no row of {self.rows}: {str(error)[:80]} is missing or wrong") from None
        context = str(self._filled("doc_to_text", row, where))
        choices = self._filled("doc_to_choice", row, where)
        if isinstance(choices, str):
            choices = _literal(choices, self.name, where)
        target = self._filled("doc_to_target", row, where)
        texts = [str(choice) for choice in choices]
        if isinstance(target, str) and target in texts and not target.isdigit():
            answer = texts.index(target)
        else:
            try:
                answer = int(target)
            except (TypeError, ValueError):
                raise LilliputError(f"{where}: {self.name} gives the answer {str(target)[:40]!r}") from None
        return context, tuple(self.delimiter + text for text in texts), answer

    def _filled(self, key: str, row: dict[str, Any], where: str) -> Any:
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import SandboxedEnvironment

        template = self.templates[key]
        if isinstance(template, list):
            return template
        if not isinstance(template, str):
            return template
        if template in row:  # lm-eval's rule: the name of a column stands for it
            return row[template]
        environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        try:
            return environment.from_string(template).render(**row)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise LilliputError(f"{where}: {self.name}'s {key} does not fit this row: {str(error)[:120]}") from None


def _hellaswag(row: dict[str, Any]) -> dict[str, Any]:
    """What lm-eval's own code makes of a row of HellaSwag: WikiHow's marks out, the second sentence begun."""

    def clean(text: str) -> str:
        text = text.strip().replace(" [title]", ". ")
        return re.sub(r"\[.*?\]", "", text).replace("  ", " ")

    query = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return {"query": clean(query), "choices": [clean(end) for end in row["endings"]], "label": str(int(row["label"]))}


_ROWS = {"hellaswag": _hellaswag}
"""Tasks whose definitions change their rows by code, which is not run: the same in ours."""


def read_definition(name: str) -> Definition:
    """The definition in a YAML file, or of that name in lm-eval's package, which is not imported.

    Raises:
        LilliputError: there is none, it is no multiple choice, or it needs code to be run.
        MissingDependency: lm-eval is not installed.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _in_package(name)
    found = _merged(path, _MAX_INCLUDES)
    if found.get("output_type", "multiple_choice") != "multiple_choice" or any(key not in found for key in _ASKED):
        raise LilliputError(f"{name}: {found.get('output_type', 'no')} task; multiple_choice with templates is read")
    templates = {key: found[key] for key in _ASKED}
    rows = str(found.get("task", name)) if isinstance(found.get("process_docs"), _Code) else ""
    return Definition(name, templates, str(found.get("target_delimiter", " ")), rows)


def _in_package(name: str) -> Path:
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise MissingDependency(
            f"{name!r} is a task of lm-eval, which is not installed; install it with: pip install 'lilliput[tasks]'"
        )
    for path in sorted((Path(spec.origin).parent / "tasks").rglob("*.yaml")):
        head = path.read_text(encoding="utf-8", errors="replace")
        # From the line's beginning: lists of groups name it too.
        if re.search(rf"^task: [\"']?{re.escape(name)}[\"']?\s*$", head, re.MULTILINE):
            return path
    raise LilliputError(f"lm-eval has no task {name!r} in one file of its own")


class _Loader(yaml.SafeLoader):
    """YAML as data; lm-eval's `!function` is kept as what it is, a name."""


@final
@dataclass(frozen=True)
class _Code:
    name: str


_Loader.add_constructor("!function", lambda loader, node: _Code(str(node.value)))


def _merged(path: Path, left: int) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise LilliputError(f"{path} cannot be read: {' '.join(str(error).split())[:160]}") from None
    if not isinstance(data, dict):
        raise LilliputError(f"{path} is no task definition")
    for key in (*_ASKED, "process_docs"):
        if isinstance(data.get(key), _Code) and not (key == "process_docs" and data.get("task") in _ROWS):
            raise LilliputError(f"{path.name}: its {key} is code ({data[key].name}), which is not run")
    include = data.pop("include", None)
    if include is None:
        return data
    if not left or not isinstance(include, str):
        raise LilliputError(f"{path}: an include that is no file, or too many of them")
    return {**_merged(path.parent / include, left - 1), **data}


def _literal(text: str, name: str, where: str) -> list[Any]:

    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        found = None
    if not isinstance(found, list):
        raise LilliputError(f"{where}: {name} gives choices that are no list")
    return found
