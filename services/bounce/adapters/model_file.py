"""A model as a file: one line of JSON metadata, then its weights as bytes. Also reads the replies it is trained on."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from services.bounce.adapters.shipped_rules import shipped_rules
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.learning import Example
from services.bounce.domain.model import BUCKETS, Model
from services.bounce.domain.rules.ruleset import Reply
from services.bounce.domain.status import codes_in

FOLDER = Path(__file__).parents[1] / "shipped_model"
SHIPPED = FOLDER / "bounces.model"
REPLIES = FOLDER / "replies.jsonl"
_FORM = 1
_NAMES = frozenset({"text", "category", "also", "reply", "enhanced", "provider", "about"})


class BadModel(ValueError):
    """A file of weights or replies that cannot be used; the message gives the line and the reason."""


def model_of(setting: str) -> Model | None:
    """Load by setting: `shipped`, `off`, or a path. Raises BadModel for an unusable file."""
    if setting == "off":
        return None
    return load_model(SHIPPED if setting == "shipped" else Path(setting))


def load_model(path: Path) -> Model:
    """Load a model; its digest is that of the file's bytes. Raises BadModel."""
    try:
        data = path.read_bytes()
        head, _, body = data.partition(b"\n")
        said = json.loads(head)
        if said["form"] != _FORM or said["buckets"] != BUCKETS:
            raise BadModel(f"{path} was made by another version; train it again with `depesche bounce train`")
        categories = tuple(said["categories"])
        weights = np.frombuffer(body, dtype=np.int8).reshape(BUCKETS, len(categories))
        scales = np.array([said["scales"][name] for name in categories])
        numbers = said["temperature"], dict(said["thresholds"])
        made_of = str(said.get("made_of", ""))  # models from earlier versions lack it
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}") from error
    except BadModel:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadModel(f"{path} is not a bounce model") from error
    if unknown := sorted(set(categories) - CATEGORIES.keys()):
        raise BadModel(f"{path} contains unknown categories: {', '.join(unknown)}")
    return Model(categories, weights, scales, *numbers, hashlib.sha256(data).hexdigest()[:16], made_of)


def save_model(model: Model, path: Path) -> str:
    """Write it to a temporary file and rename it; return the digest of the bytes."""
    head = {
        "form": _FORM,
        "buckets": BUCKETS,
        "categories": model.categories,
        "scales": dict(zip(model.categories, model.scales.tolist(), strict=True)),
        "temperature": model.temperature,
        "thresholds": model.thresholds,
        "made_of": model.made_of,
    }
    data = json.dumps(head, sort_keys=True).encode() + b"\n" + model.weights.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_bytes(data)
    beside.replace(path)
    return hashlib.sha256(data).hexdigest()[:16]


def shipped_examples() -> list[Example]:
    """Return the training data of the shipped model: the rules' examples, and replies written for the purpose."""
    told = [({**example, "category": rule.category}, rule.id) for rule in shipped_rules() for example in rule.examples]
    return [_example({"text": row.get("text", ""), **row}, where) for row, where in told] + list(examples_in(REPLIES))


def examples_in(path: Path) -> Iterator[Example]:
    """Yield reviewed replies: JSON lines or CSV with `text` and `category`, optionally `reply`, `enhanced`, `provider`,
    `also`. Raises BadModel with the line."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = (
                csv.DictReader(lines) if path.suffix == ".csv" else (json.loads(line) for line in lines if line.strip())
            )
            for number, row in enumerate(rows, 2 if path.suffix == ".csv" else 1):
                yield _example(row, f"{path}:{number}")
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadModel(f"{path}: {error}") from error


def _example(row: Mapping[str, Any], where: str) -> Example:
    text, category = (row.get("text"), row.get("category")) if isinstance(row, Mapping) else (None, None)
    if not isinstance(text, str) or category not in CATEGORIES:
        raise BadModel(f"{where}: a reply needs its text and one of the categories, not «{category}»")
    also = row.get("also") or ()
    also = tuple(also.split()) if isinstance(also, str) else tuple(also)
    reply, enhanced = codes_in(text)
    code = row.get("reply") or reply
    if not str(code or 0).isdigit():
        raise BadModel(f"{where}: «{code}» is not a reply code")
    told = Reply(text, int(code) if code else None, row.get("enhanced") or enhanced, row.get("provider") or None)
    return Example(told, str(category), also)
