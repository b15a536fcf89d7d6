"""What exceptions and values say: the table, row by row."""

import asyncio

import pytest
import trio

from lbkit.breaker.verdict import Verdict
from lbkit.core.outcome import Result
from lbkit.errors import ConfigError

OK, ERROR, NOTHING = Result.OK, Result.ERROR, Result.CANCELLED


def verdict(failure=Exception, success=(), ignore=(), failure_result=None, ignore_result=None):
    return Verdict(
        "Guard('payments', ...)",
        failure=failure, success=success, ignore=ignore, failure_result=failure_result, ignore_result=ignore_result,
    )  # fmt: skip


def trio_cancelled():
    return trio.Cancelled._create(source="deadline")


@pytest.mark.parametrize(
    "make", [asyncio.CancelledError, trio_cancelled, GeneratorExit, KeyboardInterrupt, SystemExit, BaseException]
)
def test_what_is_no_exception_says_nothing(make):
    """Even for who counts everything."""
    error = make()
    assert verdict().of_error(error) is NOTHING
    assert verdict(failure=BaseException).of_error(error) is NOTHING
    assert verdict(failure=lambda error: True, success=lambda error: True).of_error(error) is NOTHING


@pytest.mark.parametrize(
    ("options", "error", "result"),
    [
        ({}, ValueError(), ERROR),
        ({}, TimeoutError(), ERROR),
        ({"failure": ConnectionError}, ConnectionResetError(), ERROR),
        ({"failure": ConnectionError}, ValueError(), NOTHING),
        ({"failure": (ConnectionError, TimeoutError)}, TimeoutError(), ERROR),
        ({"failure": lambda error: "5" in str(error)}, ValueError("503"), ERROR),
        ({"failure": lambda error: "5" in str(error)}, ValueError("404"), NOTHING),
        ({"ignore": ValueError}, ValueError(), NOTHING),
        ({"ignore": lambda error: True}, ValueError(), NOTHING),
        ({"success": ValueError}, ValueError(), OK),
        ({"success": ValueError}, KeyError(), ERROR),
        ({"success": ValueError, "ignore": Exception}, ValueError(), NOTHING),
        ({"success": ValueError, "failure": ValueError}, ValueError(), OK),
        ({"failure": ()}, ValueError(), NOTHING),
    ],
)
def test_options_go_from_ignore_to_success_to_failure(options, error, result):
    """What none of them names is ignored."""
    assert verdict(**options).of_error(error) is result


@pytest.mark.parametrize(
    ("errors", "result"),
    [
        ([ConnectionError()], ERROR),
        ([KeyError(), ConnectionError()], ERROR),
        ([asyncio.CancelledError(), ConnectionError()], ERROR),
        ([asyncio.CancelledError(), asyncio.CancelledError()], NOTHING),
        ([ValueError()], OK),
        ([ValueError(), asyncio.CancelledError()], NOTHING),
        ([KeyError(), ExceptionGroup("inner", [ConnectionError()])], ERROR),
    ],
)
def test_a_group_is_judged_by_its_members(errors, result):
    """One failure among them is one."""
    made = verdict(failure=ConnectionError, success=ValueError)
    assert made.of_error(BaseExceptionGroup("outer", errors)) is result


def test_values_are_judged_by_functions():
    """Ignore goes first; without functions every value is a success."""
    made = verdict(failure_result=lambda status: status >= 500, ignore_result=lambda status: status == 503)
    assert [made.of_value(status) for status in (200, 500, 503)] == [OK, ERROR, NOTHING]
    assert verdict().of_value(None) is OK
    assert (made.hears_values, verdict().hears_values) == (True, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure": 5}, {"failure": "ValueError"}, {"failure": int}, {"success": None}, {"ignore": [ValueError]},
        {"ignore": (ValueError, 5)}, {"failure_result": 500}, {"ignore_result": "x"},
    ],
)  # fmt: skip
def test_other_things_are_refused(wrong):
    """With the guard's name and the option's."""
    with pytest.raises(ConfigError, match=rf"Guard\('payments', ...\): {next(iter(wrong))} must be "):
        verdict(**wrong)


@pytest.mark.parametrize("option", ["failure", "success", "ignore"])
def test_several_classes_are_a_tuple_and_the_text_says_so(option):
    """As in `except` and `isinstance`."""
    with pytest.raises(ConfigError, match=rf"{option} must be exception classes .*; several classes are a tuple$"):
        verdict(**{option: [ValueError, KeyError]})
