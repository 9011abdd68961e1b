"""What there is to find, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice

from interactvlm.errors import InputError
from interactvlm.retrieval.names import table_category
from interactvlm.retrieval.retriever import Retriever
from interactvlm.retrieval.rows import MAX_TEXT, TableRow
from interactvlm.v1 import retrieval_service_pb2 as pb

__all__ = ["Listing", "Page", "decode_list", "encode_page", "read_page"]

_DEFAULT_SIZE, _LARGEST_SIZE = 100, 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """Which rows.

    Attributes:
        start: rows to pass over.
        size: rows wanted.
        category: only this one; "" for all.
        row_id: only this one; "" for all.
    """

    start: int
    size: int
    category: str
    row_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and where the next ones begin.

    Attributes:
        rows: in the order in which they were added, shared ones first.
        following: where the next page starts; None on the last.
        version: of the tables.
    """

    rows: tuple[TableRow, ...]
    following: int | None
    version: str


def decode_list(request: pb.ListMeshesRequest) -> Listing:
    """Check a request.

    Raises:
        InputError: a field is out of range, or the token is none of ours.
    """
    size = request.page_size or _DEFAULT_SIZE
    if not 1 <= size <= _LARGEST_SIZE:
        raise InputError("page_size", f"is {request.page_size}; it must be from 1 to {_LARGEST_SIZE}")
    token = request.page_token
    if token and not (token.isascii() and token.isdecimal() and len(token) <= 12):
        raise InputError("page_token", f"is {token[:32]!r}, which no answer has given")
    for field in ("category", "id"):
        if len(getattr(request, field)) > MAX_TEXT:
            raise InputError(field, f"has {len(getattr(request, field))} characters; the limit is {MAX_TEXT}")
    category = table_category(request.category) if request.category else ""
    return Listing(int(token or 0), size, category, request.id)


def read_page(tables: Sequence[Retriever], listing: Listing) -> Page:
    """The rows; every page is read from the beginning, so not for the event loop."""
    wanted = (row for row in _rows(tables, listing) if listing.category in ("", row.category))
    rows = tuple(islice(wanted, listing.start, listing.start + listing.size + 1))
    following = listing.start + listing.size if len(rows) > listing.size else None
    return Page(rows[: listing.size], following, "+".join(table.version for table in tables))


def encode_page(page: Page) -> pb.ListMeshesResponse:
    """As a message."""
    return pb.ListMeshesResponse(
        meshes=[pb.CatalogueMesh(**asdict(row)) for row in page.rows],
        next_page_token="" if page.following is None else str(page.following),
        index_version=page.version,
    )


def _rows(tables: Sequence[Retriever], listing: Listing) -> Iterator[TableRow]:
    if not listing.row_id:
        return chain.from_iterable(table.rows() for table in tables)
    found = (table.find(listing.row_id) for table in reversed(tables))  # one's own before the shared
    return islice((row for row in found if row is not None), 1)
