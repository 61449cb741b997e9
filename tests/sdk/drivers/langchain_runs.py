# mypy: disable-error-code="misc, untyped-decorator"
# LangChain's classes are unknown to the type checker: they are installed in the client's environment only.
"""Traces LangChain and LangGraph with models that follow a script; prints what should be stored."""

import asyncio
import operator
import os
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn, TypedDict

import langsmith
from expectations import Expectations  # type: ignore[import-not-found]  # It lies beside this program.
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_core.tracers import LangChainTracer
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

THREAD = "thread-langgraph-1"
USAGE = {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16, "input_token_details": {"cache_read": 3}}
GREETING = "Bonjour 👋, 你好"

client = langsmith.Client()
expectations = Expectations(client)


class KeptRuns(dict[str, Any]):
    """The tracer's map of runs in progress: it takes a run in when it starts and gives it up when it ends."""

    def __setitem__(self, run_id: str, run: Any) -> None:
        expectations.keep(run)
        super().__setitem__(run_id, run)

    def pop(self, run_id: str, *default: Any) -> Any:
        run = super().pop(run_id, *default)
        if run is not None:
            # LangGraph gives a message its id after the tool's run, which returned it, was sent.
            expectations.note_outputs(run)
        return run


tracer = LangChainTracer(project_name=os.environ["LANGSMITH_PROJECT"], client=client, run_map=KeptRuns())


def config(**more: Any) -> dict[str, Any]:
    return {"callbacks": [tracer], **more}


class ScriptedChatModel(BaseChatModel):
    """Says what it is told to say, one reply after the other, with token usage; streams word by word."""

    replies: list[Any]
    said: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _next(self) -> AIMessage:
        reply = self.replies[self.said % len(self.replies)]
        self.said += 1
        if isinstance(reply, Exception):
            raise reply
        return AIMessage(**reply, usage_metadata=USAGE)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next())])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> Iterator[ChatGenerationChunk]:
        words = str(self._next().content).split(" ")
        for number, word in enumerate(words):
            usage = USAGE if number == len(words) - 1 else None
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=f"{word} ", usage_metadata=usage))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk


class ShelfRetriever(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(page_content=f"About {query}", metadata={"shelf": 7})]


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool
def break_down(reason: str) -> str:
    """Fail."""
    raise ValueError(f"broken: {reason}")


def model(*replies: Any) -> ScriptedChatModel:
    return ScriptedChatModel(replies=list(replies) or [{"content": GREETING}])


def chain() -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")])
    return (prompt | model() | StrOutputParser()).with_config(run_name="ask")


def chains() -> None:
    metadata = {"session_id": THREAD, "n": [1, None]}
    chain().invoke({"question": "Who?"}, config(tags=["chain"], metadata=metadata))
    list(chain().stream({"question": "Streamed?"}, config(run_name="streamed")))
    asyncio.run(chain().ainvoke({"question": "Awaited?"}, config(run_name="awaited")))
    chain().batch([{"question": f"Number {number}"} for number in range(4)], config(run_name="batched"))
    both = RunnableParallel(a=RunnableLambda(len), b=RunnableLambda(str.upper))
    both.invoke("both", config(run_name="parallel"))
    ShelfRetriever().invoke("shelves", config(run_name="shelf"))
    multiply.invoke({"a": 6, "b": 7}, config())


@langsmith.traceable(name="traced inside", client=client)
def traced_inside(text: str) -> dict[str, Any]:
    expectations.keep()
    return {"length": len(text)}


def traceable_inside() -> None:
    RunnableLambda(lambda text: traced_inside(text)["length"]).invoke("four", config(run_name="around"))


def failing() -> None:
    broken = ChatPromptTemplate.from_template("{question}") | model(RuntimeError("the model is out"))
    _must_fail(lambda: broken.invoke({"question": "?"}, config(run_name="failing chain")))
    _must_fail(lambda: break_down.invoke({"reason": "on purpose"}, config()))


def agents() -> None:
    call = {"name": "multiply", "args": {"a": 6, "b": 7}, "id": "call_1"}
    answers = model({"content": "", "tool_calls": [call]}, {"content": "It is 42."})
    agent = create_agent(answers, tools=[multiply], name="calculator")
    agent.invoke({"messages": [HumanMessage("6 times 7?", id="question-1")]}, config())


# A graph with two nodes and a conditional edge, one that fails, and one that waits for a person.


class State(TypedDict):
    steps: Annotated[list[str], operator.add]
    count: int


def plan(state: State) -> dict[str, Any]:
    return {"steps": ["planned"], "count": state["count"] + 1}


def go_on_or_end(state: State) -> str:
    return "second" if state["count"] < 3 else END


def act(state: State) -> dict[str, Any]:
    return {"steps": [f"acted {model().invoke(GREETING).content}"]}


def ask(state: State) -> dict[str, Any]:
    return {"steps": [interrupt({"question": "Go on?"})]}


def give_up(state: State) -> NoReturn:
    raise ValueError("the node gave up")


def graph(second: Any, checkpointer: Any = None) -> Any:
    builder = StateGraph(State)
    builder.add_node("plan", plan)
    builder.add_node("second", second)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", go_on_or_end, ["second", END])
    builder.add_edge("second", END)
    return builder.compile(checkpointer=checkpointer, name=f"graph of {second.__name__}")


def graphs() -> None:
    graph(act).invoke({"steps": [], "count": 0}, config())
    graph(act).invoke({"steps": [], "count": 5}, config(run_name="cut short"))
    _must_fail(lambda: graph(give_up).invoke({"steps": [], "count": 0}, config()))
    waiting = graph(ask, MemorySaver())
    there = config(configurable={"thread_id": f"{THREAD}-{uuid.uuid4()}"})
    waiting.invoke({"steps": [], "count": 0}, there)
    waiting.invoke(Command(resume="yes"), there)


def _must_fail(action: Any) -> None:
    try:
        action()
    except (RuntimeError, ValueError):
        return
    raise AssertionError("What should fail did not.")


def main() -> None:
    chains()
    traceable_inside()
    failing()
    agents()
    graphs()
    expectations.report()


if __name__ == "__main__":
    main()
