"""Questions with their choices, from plain files: one JSON object a line.

Three forms are read: `{"context": ..., "choices": [...], "answer": 0}`; minimal pairs as BLiMP has them
(`sentence_good`, `sentence_bad`); and, with an lm-eval definition, whatever rows it was written for.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from lilliput.errors import LilliputError
from lilliput.models import location
from lilliput.models.task.definition import Definition, read_definition

MAX_FILE_BYTES = 1 << 28


@final
@dataclass(frozen=True)
class Question:
    """A context, the continuations to choose from, and which of them is right."""

    name: str
    context: str
    choices: tuple[str, ...]
    answer: int


def read_questions(name: str, definition: str, n: int) -> tuple[Question, ...]:
    """The questions of a file or of all .jsonl files of a folder; at most `n` (0: all), as many of each file.

    Raises:
        LilliputError: there are none, or one is malformed.
    """
    return _read(name, definition, n, location.digest(name))


@lru_cache(maxsize=16)
def _read(name: str, definition: str, n: int, digest: str) -> tuple[Question, ...]:
    del digest  # what tells whether the files are still the same
    path = location.locate(name)
    files = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    if not files:
        raise LilliputError(f"{name!r} holds no .jsonl file")
    how = read_definition(definition) if definition else None
    found: list[Question] = []
    for number, file in enumerate(files):
        # What a short file could not give, the files after it do.
        share = (n - len(found)) // (len(files) - number) if n else 0
        found += _questions(file, how, share if n else None)
    if not found:
        raise LilliputError(f"{name!r} holds no question")
    return tuple(found)


def _questions(path: Path, how: Definition | None, n: int | None) -> list[Question]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise LilliputError(f"{path.name!r} has {path.stat().st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise LilliputError(f"{path.name!r} is not UTF-8 text (byte {error.start})") from None
    for number, line in enumerate(lines, 1):
        if n is not None and len(found) >= n:
            break
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise LilliputError(f"{path.name}:{number}: not a JSON object") from None
        where = f"{path.name}:{number}"
        if not isinstance(row, dict):
            raise LilliputError(f"{where}: not a JSON object")
        context, choices, answer = _form(row, where) if how is None else how.ask(row, where)
        if len(choices) < 2 or not 0 <= answer < len(choices) or not all(choices):
            raise LilliputError(f"{where}: {len(choices)} choices, answer {answer}; two or more are needed, none empty")
        found.append(Question(f"{path.stem}:{number}", context, choices, answer))
    return found


def _form(row: dict[str, Any], where: str) -> tuple[str, tuple[str, ...], int]:
    match row:
        case {"sentence_good": str(good), "sentence_bad": str(bad)}:
            return "", (good, bad), 0
        case {"choices": list(choices), "answer": int(answer), **rest} if all(isinstance(c, str) for c in choices):
            context = rest.get("context", "")
            if isinstance(context, str):
                return context, tuple(choices), answer
    raise LilliputError(
        f"{where}: of no known form (keys: {', '.join(map(str, list(row)[:6]))[:100]}); write context, choices and "
        "answer, sentence_good and sentence_bad, or name an lm-eval definition"
    )
