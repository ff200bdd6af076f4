"""Settings as documentation: small typed classes, one sentence and a unit each; the environment overrides one file.

A service subclasses ServiceSettings with SECTION. Field `timeout_seconds` of section `delivery` is read from
`DEPESCHE_DELIVERY_TIMEOUT_SECONDS`, then from `[delivery]` in `depesche.toml`, then its default. Section "" is the
suite's own: `DEPESCHE_PORT`, top level of the file.
"""

import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from libs.errors import FieldError, Invalid

FILE_NAME = "depesche.toml"


class ServiceSettings(BaseSettings):
    """Base of every settings class. An unknown name in the file is an error: it is a typing mistake."""

    SECTION: ClassVar[str] = ""
    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.model_config["env_prefix"] = prefix_of(cls)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *_: Any, **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return sources["env_settings"], sources["init_settings"]


S = TypeVar("S", bound=ServiceSettings)


def prefix_of(cls: type[ServiceSettings]) -> str:
    """Return the prefix of the class's environment variables: DEPESCHE_ or DEPESCHE_<SECTION>_."""
    return "DEPESCHE_" + (f"{cls.SECTION.upper()}_" if cls.SECTION else "")


def load(cls: type[S], file: Path | None = None) -> S:
    """Load settings from the environment, then the file, then the defaults. Raises Invalid naming each wrong one."""
    values = _section(cls, file)
    try:
        return cls(**values)
    except ValidationError as error:
        raise Invalid.many(
            [
                FieldError(f"{prefix_of(cls)}{'_'.join(str(p) for p in e['loc']).upper()}", e["msg"])
                for e in error.errors()
            ]
        ) from error


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as `depesche settings` shows it."""

    name: str
    value: str
    origin: str  # "default", "file" or "environment"
    description: str
    section: str


def describe(classes: Sequence[type[ServiceSettings]], file: Path | None = None) -> Iterator[Described]:
    """Yield every setting with its value (secrets masked), its origin and its sentence."""
    for cls in classes:
        settings = load(cls, file)
        given = _section(cls, file)
        for name, field in cls.model_fields.items():
            value = getattr(settings, name)
            variable = prefix_of(cls) + name.upper()
            yield Described(
                name=variable,
                value="********" if _secret(value) else _text(value),
                origin=_origin(variable, name in given),
                description=field.description or "",
                section=cls.SECTION or "suite",
            )


def _text(value: Any) -> str:
    """Format the value as the file would have it, so that it can be copied."""
    match value:
        case bool():
            return str(value).lower()
        case tuple() | list() | frozenset():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def _origin(variable: str, in_file: bool) -> str:
    if any(name.upper() == variable for name in os.environ):
        return "environment"
    return "file" if in_file else "default"


def _secret(value: Any) -> bool:
    if isinstance(value, SecretStr):
        return bool(value.get_secret_value())
    return isinstance(value, list | tuple) and any(_secret(item) for item in value)


def _section(cls: type[ServiceSettings], file: Path | None) -> dict[str, Any]:
    if file is None or not file.is_file():
        return {}
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} is not valid TOML: {error}") from error
    if cls.SECTION:
        section = document.get(cls.SECTION, {})
        return section if isinstance(section, dict) else {}
    return {name: value for name, value in document.items() if not isinstance(value, dict)}
