"""Python functions as tools: what the model is told of them, and what reaches them."""

import asyncio
import enum
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import pytest
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypedDict

from gateway.tools.errors import ToolArgumentsError, ToolConfigurationError, ToolFailedError
from gateway.tools.function import FunctionTool, load_function
from gateway.tools.tool import ToolContext, ToolPolicy
from tests.fakes.line import SilentLine

EXECUTOR = ThreadPoolExecutor(1)


CONTEXT = ToolContext("c1", "t1", "+15551234567", "+15550001111", SilentLine())


def book_table(
    guests: Annotated[int, Field(ge=1, le=12, description="How many people.")],
    day: date,
    seat: Literal["inside", "garden"] = "inside",
) -> dict[str, object]:
    """Books a table."""
    return {"guests": guests, "day": day.isoformat(), "seat": seat}


async def who_calls(context: ToolContext) -> str:
    """Says who calls."""
    return context.caller


def tool(function: Any) -> FunctionTool:
    return FunctionTool(function.__name__, function, ToolPolicy(), EXECUTOR)


def test_the_schema_is_the_signature() -> None:
    definition = tool(book_table).definition
    assert definition.description == "Books a table."
    assert definition.parameters == {
        "type": "object",
        "properties": {
            "guests": {"type": "integer", "minimum": 1, "maximum": 12, "description": "How many people."},
            "day": {"type": "string", "format": "date"},
            "seat": {"type": "string", "enum": ["inside", "garden"], "default": "inside"},
        },
        "required": ["guests", "day"],
        "additionalProperties": False,
    }


class Seat(enum.Enum):
    INSIDE = "inside"
    GARDEN = "garden"


@dataclass
class Guest:
    name: str
    age: int | None = None


class Address(TypedDict):
    street: str
    number: NotRequired[int]


class Card(BaseModel):
    holder: str = Field(description="As printed on it.")


def order(seat: Seat, guests: list[Guest], address: Address, card: Card, note: str | None = None) -> str:
    """Takes an order.

    Only for tonight.

    Args:
        seat: Where to sit,
            if it does not rain.
        guests (list of Guest): Who comes: all of them.
        note: What the kitchen should know.

    Returns:
        What no model needs to know.
    """
    return f"{seat.name} {guests[0].name} {address['street']} {card.holder} {note}"


def test_all_kinds_of_types_become_a_schema() -> None:
    definition = tool(order).definition
    assert definition.description == "Takes an order.\n\nOnly for tonight."
    parameters: Any = definition.parameters
    assert parameters["required"] == ["seat", "guests", "address", "card"]
    properties, kinds = parameters["properties"], parameters["$defs"]
    assert properties["seat"] == {"$ref": "#/$defs/Seat", "description": "Where to sit, if it does not rain."}
    assert kinds["Seat"] == {"type": "string", "enum": ["inside", "garden"]}
    assert properties["guests"]["items"] == {"$ref": "#/$defs/Guest"}
    assert properties["guests"]["description"] == "Who comes: all of them."
    assert (kinds["Guest"]["required"], kinds["Address"]["required"]) == (["name"], ["street"])
    assert kinds["Card"]["properties"]["holder"]["description"] == "As printed on it."
    assert properties["note"]["anyOf"] == [{"type": "string"}, {"type": "null"}]


async def test_all_kinds_of_types_arrive_as_such() -> None:
    ordering = tool(order)
    arguments = (
        '{"seat": "garden", "guests": [{"name": "Ada"}], "address": {"street": "Mill Lane"}, "card": {"holder": "A L"}}'
    )
    assert await ordering.run(ordering.check(arguments), CONTEXT) == "GARDEN Ada Mill Lane A L None"
    with pytest.raises(ToolArgumentsError, match=r"guests\.0\.name"):
        ordering.check(arguments.replace('"name"', '"called"'))


def test_fields_of_sphinx_are_read_too() -> None:
    def seat(row: int, name: str) -> None:
        """Seats somebody.

        :param row: Counted from
            the window.
        :param str name: The guest's.
        :returns: nothing
        """

    definition = tool(seat).definition
    assert definition.description == "Seats somebody."
    properties: Any = definition.parameters["properties"]
    assert {name: field["description"] for name, field in properties.items()} == {
        "row": "Counted from the window.",
        "name": "The guest's.",
    }


def test_the_context_is_not_shown_to_the_model() -> None:
    assert tool(who_calls).definition.parameters["properties"] == {}


async def test_values_arrive_as_the_declared_types() -> None:
    booking = tool(book_table)
    arguments = booking.check('{"guests": 4, "day": "2026-11-22"}')
    assert arguments["day"] == date(2026, 11, 22)
    assert await booking.run(arguments, CONTEXT) == {"guests": 4, "day": "2026-11-22", "seat": "inside"}


async def test_a_coroutine_gets_the_context_of_its_call() -> None:
    assert await tool(who_calls).run({}, CONTEXT) == "+15551234567"


@pytest.mark.parametrize(
    "arguments",
    [
        '{"guests": 4, "day": "2026-11',  # cut short when the caller interrupted
        '{"guests": 4}',
        '{"guests": 400, "day": "2026-11-22"}',
        '{"guests": 4, "day": "2026-11-22", "price": 0}',
        '[4, "2026-11-22"]',
        "null",
        '{"guests": 4, "day": "' + "9" * 70_000 + '"}',
    ],
)
def test_arguments_that_are_not_of_the_schema_are_refused(arguments: str) -> None:
    with pytest.raises(ToolArgumentsError):
        tool(book_table).check(arguments)


@pytest.mark.parametrize("raised", [KeyError("no such day"), SystemExit(1), ValueError("not today")], ids=repr)
def test_a_validator_that_raises_refuses_the_arguments(raised: BaseException) -> None:
    def check_day(day: str) -> str:
        raise raised

    def book(day: Annotated[str, AfterValidator(check_day)]) -> None: ...

    with pytest.raises(ToolArgumentsError, match=str(raised)):
        tool(book).check('{"day": "Sat"}')


async def test_a_plain_function_does_not_stop_the_loop() -> None:
    threads = []

    def where() -> None:
        threads.append(threading.current_thread())

    await tool(where).run({}, CONTEXT)
    assert threads != [threading.current_thread()]


async def test_what_a_function_raises_is_its_failure() -> None:
    def fails() -> None:
        raise KeyError("no such guest")

    with pytest.raises(ToolFailedError, match="KeyError: 'no such guest'"):
        await tool(fails).run({}, CONTEXT)


class Unusual(BaseException):
    """What code outside sometimes derives its errors from."""


NO_EXCEPTIONS = [SystemExit("no such guest"), GeneratorExit(), asyncio.CancelledError(), Unusual("odd")]


@pytest.mark.parametrize("raised", [*NO_EXCEPTIONS, KeyboardInterrupt()], ids=repr)
async def test_what_would_end_a_program_is_a_plain_functions_failure(raised: BaseException) -> None:
    """Ctrl-C reaches the main thread alone: what a thread raises under its name is the function's own."""

    def ends() -> None:
        raise raised

    with pytest.raises(ToolFailedError) as told:
        await tool(ends).run({}, CONTEXT)
    assert str(told.value) == f"{type(raised).__name__}: {raised}"


@pytest.mark.parametrize("raised", NO_EXCEPTIONS, ids=repr)
async def test_what_would_end_a_program_is_a_coroutines_failure(raised: BaseException) -> None:
    async def ends() -> None:
        await asyncio.sleep(0)
        raise raised

    with pytest.raises(ToolFailedError) as told:
        await tool(ends).run({}, CONTEXT)
    assert str(told.value) == f"{type(raised).__name__}: {raised}"


async def test_the_operators_ctrl_c_is_no_coroutines_failure() -> None:
    async def works() -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            await tool(works).run({}, CONTEXT)
    finally:
        signal.signal(signal.SIGINT, before)


async def test_cancellation_is_not_a_failure() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(tool(waits).run({}, CONTEXT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def untyped(day) -> None:  # type: ignore[no-untyped-def]
    ...


def open_ended(*days: str) -> None: ...


def mistyped(day: "date.no_such_thing") -> None:  # type: ignore[name-defined]
    ...


@pytest.mark.parametrize("function", [untyped, open_ended, mistyped])
def test_a_signature_without_types_is_no_tool(function: Any) -> None:
    with pytest.raises(ToolConfigurationError):
        tool(function)


def test_a_reference_leads_to_its_function() -> None:
    assert load_function("json:dumps").__name__ == "dumps"
    with pytest.raises(ToolConfigurationError, match="cannot be imported"):
        load_function("no_such_module:f")
    with pytest.raises(ToolConfigurationError, match="has no function"):
        load_function("json:no_such_function")


@pytest.mark.parametrize("text", ["raise SystemExit(0)", "1 / 0", "def look_up(:", "raise ImportError('no')"])
def test_a_module_that_cannot_be_imported_is_a_fault_of_the_configuration(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_tools.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ToolConfigurationError, match="broken_tools:look_up: the module cannot be imported: "):
        load_function("broken_tools:look_up")
