"""What users put around an `ask`: `recording` and `unrecorded`."""

from collections.abc import Callable, Coroutine
from contextvars import ContextVar, Token
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, Self, TypeVar
from weakref import WeakValueDictionary

from .contexts import RequestContext

_NO_EFFECT = "was entered in another context and had no effect; as a dependency of a web framework, use `async def`"
_P = ParamSpec("_P")
_T = TypeVar("_T")


class recording:  # lower case, as it reads like `suppress`
    """Labels the requests begun in this block, and records the error that ends one at once and exactly.

    A handler alone cannot: db-ally drops a failed request after its exception has left `ask`, and
    does not say what it was. Write `with recording(user="ann") as made:` around an `ask`, or in a
    middleware around many, or decorate a coroutine function. A block in another adds to its labels;
    tasks and threads that are started in it take part. The exception goes on unchanged.

    Args:
        labels: what the requests are to be found by; of 2,000 characters in all.

    Attributes:
        request_id: of the request begun last in it; `None` before.
        labels: those of this block and of the blocks around it.

    Raises:
        TypeError: it decorates something else; it is entered twice; or it was left in another context
            than it was entered in, as a generator is that a framework runs in threads, and had no effect.
    """

    is_recorded = True

    def __init__(self, **labels: object) -> None:
        self.request_id: str | None = None
        self.labels = self._own_labels = labels
        self._is_used = False
        self._outer: recording | None = None
        self._token: Token[recording | None] | None = None
        self._requests: WeakValueDictionary[str, RequestContext] = WeakValueDictionary()

    def add(self, request: RequestContext) -> None:
        """Take a request in that was begun in this block."""
        self._is_used = True
        if self.is_recorded:
            self.request_id = request.identity.request_id
            self._requests[self.request_id] = request
            if self._outer:
                self._outer.add(request)

    def __enter__(self) -> Self:
        if self._token:
            raise TypeError(f"this {type(self).__name__}() is entered already; make another for each block")
        self._outer = current_block.get()
        self.labels = (self._outer.labels if self._outer else {}) | self._own_labels
        self.is_recorded = type(self).is_recorded and (self._outer is None or self._outer.is_recorded)
        self._token = current_block.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        token, self._token = self._token, None
        try:
            current_block.reset(token)  # type: ignore[arg-type]  # it has been entered
        except ValueError:
            if error is None and not self._is_used:
                raise TypeError(f"{type(self).__name__}() {_NO_EFFECT}") from None
        if error is not None:
            unfinished = [request for request in [*self._requests.values()] if request.is_open]
            for request in unfinished:
                request.fail(error, is_alone=len(unfinished) == 1)

    def __call__(self, function: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
        """Return a coroutine function that runs `function` in a block of its own each time."""
        if not iscoroutinefunction(function):
            raise TypeError(f"{function!r} is no coroutine function; write `with {type(self).__name__}():` inside it")

        @wraps(function)
        async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with type(self)(**self._own_labels):
                return await function(*args, **kwargs)

        return run


class unrecorded(recording):
    """Records nothing of the requests begun in this block; used as `recording` is, but without labels."""

    is_recorded = False

    def __init__(self) -> None:
        super().__init__()


current_block: ContextVar[recording | None] = ContextVar("current_block", default=None)
