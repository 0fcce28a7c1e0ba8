"""A language model that answers from a script: for examples and tests, no network and no key."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property

from dbally.audit.events import LLMEvent
from dbally.llms.base import LLM
from dbally.llms.clients.base import LLMClient, LLMOptions
from dbally.prompt.template import ChatFormat

# From the text of a conversation to what the model answers.
Reply = Callable[[str], Awaitable[str]]


class ScriptedLLM(LLM[LLMOptions]):
    """Answers every conversation as `reply` does, whether that returns or raises."""

    _options_cls = LLMOptions  # db-ally asks for it

    def __init__(self, reply: Reply) -> None:
        super().__init__("scripted")
        self.reply = reply

    @cached_property
    def client(self) -> "ScriptedClient":
        return ScriptedClient(self.reply)


class ScriptedClient(LLMClient[LLMOptions]):
    """Calls `reply`, and counts words as tokens."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("scripted")
        self.reply = reply

    async def call(
        self,
        conversation: ChatFormat,
        options: LLMOptions,
        event: LLMEvent,
        json_mode: bool = False,
    ) -> str:
        await asyncio.sleep(0)  # let other tasks run, as a real model would

        text = "\n".join(message["content"] for message in conversation)
        answer = await self.reply(text)

        event.prompt_tokens = len(text.split())
        event.completion_tokens = len(answer.split())
        event.total_tokens = event.prompt_tokens + event.completion_tokens
        return answer
