"""Import files as they stream in: bytes to lines to rows, refused row by row, passed on in batches."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from libs import exact_json
from libs.errors import BadRequest, FieldError, Invalid, TooLarge, UnsupportedMedia
from libs.field_errors import sentence
from services.tokens.api.shapes import ImportRow
from services.tokens.api.translate import Translator
from services.tokens.domain.column_names import Meaning, named_columns
from services.tokens.domain.columns import Columns
from services.tokens.domain.imports import Batch, Refusal, Row
from services.tokens.domain.lines import CsvRecords, Line, Lines, Record
from services.tokens.handlers.imports import SenderGone
from services.tokens.settings import TokensSettings

_FORMATS = {
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json-lines": "ndjson",
}
_ARCHIVE = ("PK\x03\x04", "\x1f‹", "ÐÏ\x11à")  # zip (xlsx, ods), gzip, xls, as Windows-1252 reads them
_ROWS_BETWEEN_BREATHS = 25  # then the loop yields: parsing a thousand rows would block it for a tenth of a second


def format_of(content_type: str) -> tuple[str, str | None]:
    """Return csv, tsv or ndjson, and the charset if given. Raises UnsupportedMedia."""
    media, *parameters = (part.strip() for part in content_type.split(";"))
    made = _FORMATS.get(media.lower())
    if made is None:
        raise UnsupportedMedia("Send text/csv or application/x-ndjson as Content-Type.")
    named = dict(part.lower().partition("=")[::2] for part in parameters)
    return made, named.get("charset")


class RowReader:
    """Lines of one file in, rows and refusals out."""

    def __init__(self, format_: str, translator: Translator, named: Mapping[str, Meaning] | None = None) -> None:
        self._translator = translator
        self._named = named
        self._csv = None if format_ == "ndjson" else CsvRecords("\t" if format_ == "tsv" else None)
        self._columns: Columns | None = None
        self.read = 0

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        return self._columns.ignored if self._columns else ()

    def feed(self, line: Line) -> list[Row | Refusal]:
        """Return the rows that a line completes. Raises Invalid if a CSV's header cannot be used."""
        if self._csv is not None:
            record = self._csv.feed(line)
            return self._record(record) if record else []
        if line.problem is None and not line.text.strip():
            return []
        if not self.read and line.text.lstrip().startswith("["):
            raise Invalid("This is a JSON array; send one object per line, as jq -c '.[]' writes them.", pointer="row")
        self.read += 1
        if line.problem is not None:
            return [Refusal(self.read, line.number, "row", line.problem)]
        try:
            value = exact_json.loads(line.text)
        except BadRequest as error:
            pointer = error.errors[0].pointer if error.errors else "row"
            return [Refusal(self.read, line.number, pointer, error.detail)]
        if not isinstance(value, dict):
            return [Refusal(self.read, line.number, "row", "A row must be a JSON object.")]
        return self._row(value, line.number)

    def finish(self) -> list[Row | Refusal]:
        """Return what the end of the file completes. Raises Invalid for a CSV without a header."""
        if self._csv is None:
            return []
        record = self._csv.finish()
        found = self._record(record) if record else []
        if self._columns is None:
            raise Invalid("The file is empty; a CSV must start with a header.", pointer="header")
        return found

    def _record(self, record: Record) -> list[Row | Refusal]:
        if self._columns is None:
            if record.problem is not None:
                raise Invalid(record.problem, pointer="header")
            if record.cells and record.cells[0].startswith(_ARCHIVE):
                raise Invalid("This is a spreadsheet file or an archive; save it as CSV.", pointer="header")
            self._columns = Columns.read(record.cells, self._named)
            return []
        self.read += 1
        if record.problem is not None:
            return [Refusal(self.read, record.line, "row", record.problem)]
        try:
            value = self._columns.row(record.cells)
        except Invalid as error:
            return [Refusal(self.read, record.line, error.errors[0].pointer, error.detail)]
        return self._row(value, record.line)

    def _row(self, value: dict[str, Any], line: int) -> list[Row | Refusal]:
        try:
            change = self._translator.row(ImportRow.model_validate(value))
            topics = [self._place(("consents", at, "topic")) for at in range(len(change.statements))]
            return [Row(self.read, line, change, tuple(topics))]
        except ValidationError as error:
            return [
                Refusal(self.read, line, self._place(found["loc"]), sentence(found, ImportRow, found["loc"]))
                for found in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        except Invalid as error:
            return [Refusal(self.read, line, self._place(_path(found)), found.detail) for found in error.errors]

    def _place(self, path: tuple[str | int, ...]) -> str:
        if self._columns is not None:
            return self._columns.label(path)
        return "".join(f"/{part}" for part in path)


def _path(error: FieldError) -> tuple[str | int, ...]:
    return tuple(error.pointer.strip("/").split("/"))


async def batches(request: Request, translator: Translator, settings: TokensSettings) -> AsyncIterator[Batch]:
    """Yield the body of an import, in batches. Raises SenderGone, TooLarge, Invalid."""
    format_, charset = format_of(request.headers.get("content-type", ""))
    named = named_columns(request.query_params.getlist("column"))
    if named and format_ == "ndjson":
        raise Invalid("NDJSON has no columns; leave column out, or send CSV.", pointer="column")
    lines, reader = Lines(charset), RowReader(format_, translator, named)
    taken: list[Row | Refusal] = []
    start = size = 0
    async for whole in _lines(request, lines):
        for line in whole:
            taken += reader.feed(line)
            if reader.read - start >= settings.import_batch_rows:
                yield _batch(taken, reader, start, lines.bytes)
                taken, start = [], reader.read
            if reader.read > settings.import_max_rows:
                raise TooLarge(
                    f"An import may have at most {settings.import_max_rows:,} rows; send the rest in another one."
                )
            size += 1
            if size % _ROWS_BETWEEN_BREATHS == 0:
                await asyncio.sleep(0)
    taken += reader.finish()
    yield _batch(taken, reader, start, lines.bytes)


async def _lines(request: Request, lines: Lines) -> AsyncIterator[Iterator[Line]]:
    try:
        async for chunk in request.stream():
            yield lines.feed(chunk)
    except ClientDisconnect as error:
        raise SenderGone("The connection ended before the file did; rows already counted were imported.") from error
    yield lines.finish()


def _batch(taken: list[Row | Refusal], reader: RowReader, start: int, size: int) -> Batch:
    rows = tuple(item for item in taken if isinstance(item, Row))
    refusals = tuple(item for item in taken if isinstance(item, Refusal))
    return Batch(rows, refusals, reader.read - start, size, reader.ignored_columns)
