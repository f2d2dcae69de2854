"""Settings that come from a YAML file: frozen values with ranges, and one sentence about what is wrong with a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
WholeNumber = Annotated[int, Field(ge=0)]


def _with_items(items: tuple) -> tuple:
    if not items:
        raise ValueError("is empty: write one or more items")
    return items


Filled = AfterValidator(_with_items)
"""Of a tuple: it has items. (A `min_length` of pydantic's counts items that were refused as missing.)"""


class Settings(BaseModel):
    """Fields that are known, in their ranges, and stay as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def flags_are_no_numbers(cls, value: Any, info) -> Any:
        """Python counts true as 1 and pydantic 1 as true."""
        flag = cls.model_fields[info.field_name].annotation is bool
        if flag and not isinstance(value, bool):
            raise ValueError(f"is {value!r}, not true or false")
        if isinstance(value, bool) and not flag:
            raise ValueError("is true or false, and this field is neither")
        return value


Kind = TypeVar("Kind", bound=Settings)


def build(kind: type[Kind], content: Any) -> Kind:
    """Plain data, as YAML holds it, as settings of this kind.

    Raises:
        ValueError: what is wrong with which fields.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ValueError(described(error, kind)) from None


def read_settings(kind: type[Kind], path: Path) -> Kind:
    """The settings of a YAML file.

    Raises:
        ValueError: the file cannot be read, or what is wrong with which of its fields.
    """
    import yaml

    try:
        return build(kind, yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def changed(settings: Kind, **changes: Any) -> Kind:
    """The settings with some fields replaced, checked like those of a file."""
    return build(type(settings), {**dict(settings), **changes})


def described(error: ValidationError, kind: type[Settings]) -> str:
    """One sentence: each field that is wrong, by its path, with what it should be."""
    return "; ".join(_complaint(entry, kind) for entry in error.errors())


def _complaint(entry: dict[str, Any], kind: type[Settings]) -> str:
    place = entry["loc"]
    if entry["type"] == "extra_forbidden":
        what = f"there is no such field, only {', '.join(_kind_at(kind, place[:-1]).model_fields)}"
    elif entry["type"] == "missing":
        what = "is missing"
    elif entry["type"] == "value_error":
        what = str(entry["ctx"]["error"])
    elif entry["type"] == "tuple_type":
        what = f"is {entry['input']!r}: write a list"
    elif entry["type"] == "model_type":
        what = f"is {entry['input']!r}: write its fields under it"
    else:
        what = f"{entry['msg'].replace('Input should', 'should')}, not {entry['input']!r}"
    return ": ".join(filter(None, (".".join(map(str, place)), what)))


def _kind_at(kind: type[Settings], place: tuple[str | int, ...]) -> type[Settings]:
    """The settings that a path of field names and list positions leads to."""
    for name in place:
        if isinstance(name, str):
            annotation = kind.model_fields[name].annotation
            candidates = (annotation, *get_args(annotation))
            kind = next(found for found in candidates if isinstance(found, type) and issubclass(found, Settings))
    return kind
