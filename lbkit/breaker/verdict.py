"""What an exception or a returned value says about the health of what was called.

    order  what came                                            result
    -----  ---------------------------------------------------  ------------------------------------------------
    1      no Exception: CancelledError, trio.Cancelled,        CANCELLED: the caller walked away
           GeneratorExit, KeyboardInterrupt, SystemExit
    2      an exception that `ignore` names                     CANCELLED: no verdict
    3      an exception that `success` names                    OK: an answer that the program takes for an error
    4      an exception that `failure` names                    ERROR
    5      any other exception                                  CANCELLED: nothing was said of it
    6      a value that `ignore_result` or `failure_result`     CANCELLED, ERROR
           says so of
    7      any other value                                      OK

A group of exceptions is judged by its members: one failure makes it a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lbkit.core.outcome import Result
from lbkit.errors import ConfigError

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
"""Exceptions by their classes, or by a function that says whether one of them belongs."""


class Verdict:
    """The table above for one set of options.

    Args:
        owner: Whose options they are, for messages.
        failure, success, ignore: Exceptions; see `Errors`.
        failure_result, ignore_result: Functions of a returned value, or None.

    Raises:
        ConfigError: One of them is something else.
    """

    __slots__ = ("_failure", "_failure_result", "_ignore", "_ignore_result", "_success", "hears_values")

    def __init__(
        self,
        owner: str,
        *,
        failure: Errors,
        success: Errors,
        ignore: Errors,
        failure_result: Callable[[Any], bool] | None,
        ignore_result: Callable[[Any], bool] | None,
    ) -> None:
        self._failure = _belongs(f"{owner}: failure", failure)
        self._success = _belongs(f"{owner}: success", success)
        self._ignore = _belongs(f"{owner}: ignore", ignore)
        for name, function in (("failure_result", failure_result), ("ignore_result", ignore_result)):
            if function is not None and not callable(function):
                raise ConfigError(f"{owner}: {name} must be a function of the returned value, not {function!r}")
        self._failure_result = failure_result
        self._ignore_result = ignore_result
        self.hears_values = failure_result is not None or ignore_result is not None

    def of_error(self, error: BaseException) -> Result:
        """Return what an exception means."""
        if isinstance(error, BaseExceptionGroup):
            members = {self.of_error(member) for member in error.exceptions}
            if Result.ERROR in members:
                return Result.ERROR
            return members.pop() if len(members) == 1 else Result.CANCELLED
        if not isinstance(error, Exception) or self._ignore(error):
            return Result.CANCELLED
        if self._success(error):
            return Result.OK
        return Result.ERROR if self._failure(error) else Result.CANCELLED

    def of_value(self, value: Any) -> Result:
        """Return what a returned value means."""
        if self._ignore_result is not None and self._ignore_result(value):
            return Result.CANCELLED
        if self._failure_result is not None and self._failure_result(value):
            return Result.ERROR
        return Result.OK


def _belongs(name: str, errors: object) -> Callable[[BaseException], bool]:
    classes = errors if isinstance(errors, tuple) else (errors,)
    if all(isinstance(one, type) and issubclass(one, BaseException) for one in classes):
        return lambda error: isinstance(error, classes)
    if callable(errors) and not isinstance(errors, type):
        return errors
    hint = "" if isinstance(errors, str) or not isinstance(errors, Iterable) else "; several classes are a tuple"
    raise ConfigError(f"{name} must be exception classes or a function of an exception, not {errors!r}{hint}")
