"""Ask a small database a few questions and show where the logs are.

Offline by default, with a script in place of a language model. With a real one, through LiteLLM:

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

# What the scripted model says to each question: filters, aggregation, answer in words.
SCRIPT = {
    "Who works in Kraków?": ('works_in("Kraków")', None, "Ann and Chen work in Kraków."),
    "Who in Kraków earns more than 7000?": (
        'works_in("Kraków") AND earns_more_than(7000)',
        None,
        "Ann does.",
    ),
    "What is the average salary in each city?": (
        None,
        "average_salary_by_city()",
        "Kraków: 6800, Łódź: 5100.",
    ),
    "Who likes jazz?": ("UNSUPPORTED QUERY", None, ""),
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
        return select(STAFF.c.city, func.avg(STAFF.c.salary).label("average_salary")).group_by(
            STAFF.c.city
        )


async def scripted_reply(conversation: str) -> str:
    filters, aggregation, answer = next(
        script for question, script in SCRIPT.items() if question in conversation
    )
    wanted = aggregation if "aggregation" in conversation else filters
    if "Decision:" in conversation:
        return f"Decision: {wanted is not None}"
    if "You MUST use only these methods" in conversation:
        return wanted or ""
    return answer


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


async def main() -> None:
    collection = make_collection(make_llm(), {{ cookiecutter.handler_class }}())
    for question in SCRIPT:
        print(f"\nQuestion: {question}")
        try:
            with recording():
                result = await collection.ask(question, return_natural_response=True)
            print(f"Answer:   {result.textual_response}")
        except dbally.DbAllyError as error:
            print(f"Failed:   {error}")
        print(f"Log:      {newest_log()}")


def newest_log(
    log_dir: str = "{{ cookiecutter.log_directory }}",
) -> Path:
    files = (path for path in Path(log_dir).expanduser().rglob("*") if path.is_file())
    return max(
        files, key=lambda path: (path.stat().st_mtime_ns, path)
    )  # some clocks of disks tick slowly


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    asyncio.run(main())
