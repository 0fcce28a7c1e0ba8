"""A small db-ally application to test the handler in: a view over SQLite, and a scripted model.

It proves nothing by itself. Keep it as long as you keep any test.
"""

from pathlib import Path
from typing import Annotated, Any

import dbally
import sqlalchemy
from dbally import decorators
from dbally.audit.event_handlers.base import EventHandler
from dbally.collection.collection import Collection
from dbally.collection.results import ViewExecutionResult
from dbally.iql_generator.prompt import UnsupportedQueryError
from dbally.similarity import AbstractSimilarityIndex, SimilarityIndex
from dbally.similarity.fetcher import SimilarityFetcher
from dbally.similarity.store import SimilarityStore
from dbally.views.base import BaseView, IndexLocation
from scripted_llm import Reply, ScriptedLLM
from sqlalchemy import Column, Engine, MetaData, Select, String, Table

from {{ cookiecutter.package_name }} import Record, Recorder

STAFF = Table("staff", MetaData(), Column("name", String), Column("city", String))
ROWS = [{"name": "Ann", "city": "Kraków"}, {"name": "Bob", "city": "Łódź"}]


class TitleStore(SimilarityStore):
    """Finds every text in title case."""

    async def store(self, data: list[str]) -> None: ...

    async def find_similar(self, text: str) -> str:
        return text.title()


class NoFetcher(SimilarityFetcher):
    """Fetches nothing."""

    async def fetch(self) -> list[str]:
        return []


class StaffView(dbally.SqlAlchemyBaseView):
    """Names and cities."""

    def get_select(self) -> Select[Any]:
        return sqlalchemy.select(STAFF)

    @decorators.view_filter()
    def lives_in(self, city: Annotated[str, SimilarityIndex(TitleStore(), NoFetcher())]) -> Any:
        return STAFF.c.city == city

    @decorators.view_filter()
    def is_broken(self) -> Any:
        return sqlalchemy.text("no_such_column = 1")


class UnableView(BaseView):
    """Supports no question, so that a fallback is asked."""

    async def ask(self, *args: Any, **kwargs: Any) -> ViewExecutionResult:
        raise UnsupportedQueryError

    def list_similarity_indexes(self) -> dict[AbstractSimilarityIndex, list[IndexLocation]]:
        return {}


def make_engine(file: Path | str = ":memory:") -> Engine:
    """Return a database, in a file or in memory; one in memory is for one thread."""
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    STAFF.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(STAFF.insert(), ROWS)
    return engine


def say(iql: str = 'lives_in("kraków")', answer: str = "Ann does.") -> Reply:
    """Return what a model says that filters with `iql`, and calls every result `answer`."""

    async def reply(conversation: str) -> str:
        if "Decision:" in conversation:
            return "Decision: true"
        if "You MUST use only these methods" in conversation:
            return iql
        return answer

    return reply


async def away(conversation: str) -> str:
    """Say nothing: this model cannot be reached."""
    raise ConnectionError("the model is away")


def into(records: list[Record]) -> Recorder:
    """Return a handler whose records go into a list."""
    return Recorder(records.append)


def make_collection(
    engine: Engine,
    *handlers: EventHandler[Any, Any],
    name: str = "staff",
    reply: Reply | None = None,
    view: type[BaseView] | None = StaffView,
) -> Collection:
    """Return a collection with one view, or with none, whose model answers as `reply` says."""
    llm = ScriptedLLM(reply or say())
    collection = dbally.create_collection(name, llm, event_handlers=list(handlers))
    if view is StaffView:
        collection.add(StaffView, lambda: StaffView(engine))
    elif view is not None:
        collection.add(view)
    return collection
