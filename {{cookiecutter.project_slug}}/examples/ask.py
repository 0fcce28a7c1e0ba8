"""Ask a small database a few questions, and show where each request is recorded.

It works offline: a script takes the place of a language model. With a real one, through LiteLLM:

    DBALLY_MODEL=gpt-4o-mini OPENAI_API_KEY=... uv run --with litellm python examples/ask.py
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import dbally
import sqlalchemy
from dbally import decorators
from dbally.collection.collection import Collection
from dbally.llms.base import LLM
from scripted_llm import ScriptedLLM
from sqlalchemy import Column, Integer, MetaData, Select, String, Table, func, select

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }}, recording

STAFF = Table(
    "staff",
    MetaData(),
    Column("name", String),
    Column("city", String),
    Column("salary", Integer),
)
ROWS = [
    {"name": "Ann", "city": "Kraków", "salary": 7200},
    {"name": "Bob", "city": "Łódź", "salary": 5100},
    {"name": "Chen", "city": "Kraków", "salary": 6400},
]

# What the scripted model says to each question.
SCRIPT = {
    "Who works in Kraków?": {
        "filters": 'works_in("Kraków")',
        "answer": "Ann and Chen work in Kraków.",
    },
    "Who in Kraków earns more than 7000?": {
        "filters": 'works_in("Kraków") AND earns_more_than(7000)',
        "answer": "Ann does.",
    },
    "What is the average salary in each city?": {
        "aggregation": "average_salary_by_city()",
        "answer": "Kraków: 6800, Łódź: 5100.",
    },
    "Who likes jazz?": {
        "filters": "UNSUPPORTED QUERY",
    },
}


class StaffView(dbally.SqlAlchemyBaseView):
    """Staff: their names, cities and salaries."""

    def get_select(self) -> Select[Any]:
        return select(STAFF)

    @decorators.view_filter()
    def works_in(self, city: str) -> sqlalchemy.ColumnElement[bool]:
        return STAFF.c.city == city

    @decorators.view_filter()
    def earns_more_than(self, salary: int) -> sqlalchemy.ColumnElement[bool]:
        return STAFF.c.salary > salary

    @decorators.view_aggregation()
    def average_salary_by_city(self) -> Select[Any]:
        average = func.avg(STAFF.c.salary).label("average_salary")
        return select(STAFF.c.city, average).group_by(STAFF.c.city)


async def scripted_reply(conversation: str) -> str:
    """Answer what db-ally asks: is this step needed, what is its query, how to word the result."""
    question = next(question for question in SCRIPT if question in conversation)
    script = SCRIPT[question]
    step = "aggregation" if "aggregation" in conversation else "filters"

    if "Decision:" in conversation:
        return f"Decision: {step in script}"
    if "You MUST use only these methods" in conversation:
        return script[step]
    return script["answer"]


def make_llm() -> LLM[Any]:
    model = os.environ.get("DBALLY_MODEL")
    if not model:
        return ScriptedLLM(scripted_reply)

    from dbally.llms.litellm import LiteLLM

    return LiteLLM(model)


def make_collection(llm: LLM[Any], handler: {{ cookiecutter.handler_class }}) -> Collection:
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    STAFF.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(STAFF.insert(), ROWS)

    collection = dbally.create_collection("staff", llm, event_handlers=[handler])
    collection.add(StaffView, lambda: StaffView(engine))
    return collection


def find_file(log_dir: str, request_id: str) -> Path:
    """Return the file that a request is recorded in, whatever files are called."""
    for path in Path(log_dir).rglob("*"):
        if path.is_file() and request_id.encode() in path.read_bytes():
            return path
    raise FileNotFoundError(f"no file in {log_dir} has the request {request_id}")


async def main() -> None:
    handler = {{ cookiecutter.handler_class }}()
    collection = make_collection(make_llm(), handler)

    for question in SCRIPT:
        print(f"\nQuestion: {question}")
        try:
            with recording() as block:
                result = await collection.ask(question, return_natural_response=True)
            print(f"Answer:   {result.textual_response}")
        except dbally.DbAllyError as error:
            print(f"Failed:   {error}")

        print(f"Request:  {block.request_id}")
        print(f"Log:      {find_file(handler.log_dir, str(block.request_id))}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    asyncio.run(main())
