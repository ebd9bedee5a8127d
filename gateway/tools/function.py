"""Python functions as tools: the schema comes from the signature, the values arrive as the declared types."""

import asyncio
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from gateway.realtime.settings import ToolDefinition
from gateway.tools.docstring import read_docstring
from gateway.tools.errors import ToolArgumentsError, ToolConfigurationError, ToolError, ToolFailedError
from gateway.tools.tool import Arguments, ToolContext, ToolPolicy, check_arguments, schema_of

Function = Callable[..., Any]
_VARIADIC: Final = frozenset((inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD))


class FunctionTool:
    """A Python function. A parameter of type `ToolContext` is filled by the gateway and never seen by the model.

    Args:
        name: what the model calls it.
        function: plain or a coroutine function, every parameter with a type.
        policy: how a call treats it.
        executor: where plain functions run.
        description: what the model is told; the docstring where there is none.

    Raises:
        ToolConfigurationError: the signature is not one that a schema can be made of.
    """

    def __init__(
        self, name: str, function: Function, policy: ToolPolicy, executor: Executor, description: str | None = None
    ) -> None:
        self._function = function
        self._executor = executor
        self._is_async = inspect.iscoroutinefunction(function)
        words, about = read_docstring(function)
        self._model, self._context_name = _model_of(name, function, about)
        self.policy = policy
        self.definition = ToolDefinition(name, description or words or name.replace("_", " "), schema_of(self._model))

    def check(self, arguments: str) -> Arguments:
        """See `Tool`. A validator of the function's own that raises what pydantic does not take has found a fault."""
        try:
            return check_arguments(self._model, arguments)
        except ToolArgumentsError:
            raise
        except (Exception, SystemExit) as error:
            raise ToolArgumentsError(_words(error)) from error

    async def run(self, arguments: Arguments, context: ToolContext) -> object:
        """See `Tool`. Whatever the function raises is its failure, not the call's, and not the process's."""
        values = dict(arguments)
        if self._context_name is not None:
            values[self._context_name] = context
        if self._is_async:
            return await self._await(values)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, values)

    # The edge to code that is not ours: its fault is told to the model and written into the log. Also what would end a
    # program, for a task that raises SystemExit takes the event loop with it, and one that raises what is no Exception
    # passes the edge where a call's faults end.

    def _call(self, values: Mapping[str, object]) -> object:
        """In a thread, which is neither cancelled nor interrupted by Ctrl-C: all that is raised is the function's."""
        try:
            return self._function(**values)
        except ToolError:
            raise
        except BaseException as error:
            raise _failure(error) from error

    async def _await(self, values: Mapping[str, object]) -> object:
        task = asyncio.current_task()
        try:
            return await self._function(**values)
        except (ToolError, KeyboardInterrupt):
            raise  # the interpreter itself raises the latter, wherever the operator's Ctrl-C meets it
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                raise  # the call has ended or the time is over; else the function has made it up
            raise _failure(error) from error


def load_function(reference: str) -> Function:
    """The function behind `module:function`. Raises ToolConfigurationError."""
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        # The same edge: a module may raise anything, and a script that guards nothing exits.
        raise ToolConfigurationError(f"{reference}: the module cannot be imported: {_words(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ToolConfigurationError(f"{reference}: {module_name} has no function {name}")
    return typing.cast("Function", function)


def _failure(error: BaseException) -> ToolFailedError:
    return ToolFailedError(_words(error))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _model_of(name: str, function: Function, about: Mapping[str, str]) -> tuple[type[BaseModel], str | None]:
    """The arguments as a pydantic model, and the name of the parameter that takes the context.

    `about` describes parameters whose annotation does not.
    """
    hints = _hints(name, function)
    fields: dict[str, Any] = {}
    context_name = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ToolConfigurationError(f"{name}: the parameter {parameter.name} cannot be filled by name")
        if parameter.name not in hints:
            raise ToolConfigurationError(f"{name}: the parameter {parameter.name} has no type")
        hint = hints[parameter.name]
        if hint is ToolContext:
            context_name = parameter.name
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        field = FieldInfo.from_annotated_attribute(hint, default)
        if field.description is None:
            field.description = about.get(parameter.name)
        fields[parameter.name] = (hint, field)
    try:
        model = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
        model.model_json_schema()
    except (PydanticUserError, NameError, TypeError) as error:
        raise ToolConfigurationError(f"{name}: no schema can be made of its signature: {error}") from error
    return model, context_name


def _hints(name: str, function: Function) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ToolConfigurationError(f"{name}: its types cannot be read: {_words(error)}") from error
