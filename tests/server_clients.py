#!/usr/bin/env python3
"""server_clients.py FOLDER: alia.server asked by others' programs, which come from PyPI into FOLDER: the official client `openai`, as a
user would use it, and `schemathesis`, which draws requests from the server's own description. ALIA_LIBRARY names the library."""
import asyncio
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "tests/python"))
import tiny  # noqa: E402

LETTERS = {"logit_bias": {str(i): -100 for i in range(96) if not 6 <= i < 33}, "temperature": 1, "seed": 7}
PLAIN = {**LETTERS, "extra_body": {"ignore_eos": True}}
USER = [{"role": "user", "content": "ab"}]


def install(folder, package):
    if not folder.exists():
        subprocess.run(["/usr/bin/python3", "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--target", folder, package], check=True)
    return os.environ | {"PYTHONPATH": str(folder)}


@contextlib.contextmanager
def serving(model, *arguments, **environment):
    """Its address and the number of its process."""
    with tempfile.TemporaryFile("w+") as told:  # not a pipe, which a server that nobody reads would wait for
        process = subprocess.Popen(
            ["/usr/bin/python3", "-m", "alia.server", model, "--port", "0", "--name", "tiny", "--context", "8192", *arguments], stderr=told,
            stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(root / "bindings/python")} | environment)

        def said():
            return os.pread(told.fileno(), 1 << 24, 0).decode()

        try:
            until(lambda: process.poll() is not None or "http://127.0.0.1:" in said())
            assert process.poll() is None, said()
            url = re.search(r"http://127\.0\.0\.1:\d+", said())[0]
            until(lambda: get(url + "/health") == '{"status":"ready"}')
            yield url, process.pid
        finally:
            process.terminate()
            code = process.wait(60)
            assert code == 0 and "Exception in" not in said(), said()


def get(url, key="none"):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def until(reached):
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def running(url):
    return float(re.search(r"(?m)^alia_engine_running (\S+)$", get(url + "/metrics"))[1])


def raised(kind, call, **attributes):
    try:
        call()
    except kind as error:
        assert attributes.items() <= vars(error).items(), vars(error)
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def documented(url):
    """The programs of docs/server.md."""
    programs = re.findall(r"(?ms)^```python openai\n(.*?)^```$", (root / "docs/server.md").read_text())
    assert programs
    for program in programs:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(program.replace("http://127.0.0.1:8000", url), {})
        assert said.getvalue(), program


def answers(url):
    import openai

    client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    chat, text = client.chat.completions.create, client.completions.create
    ask = {"model": client.models.list().data[0].id, "messages": USER, "max_tokens": 12, **PLAIN}
    assert client.models.retrieve("tiny").owned_by == "alia"

    whole = chat(**ask, n=3, logprobs=True, top_logprobs=2)
    said = [choice.message.content for choice in whole.choices]
    assert len(set(said)) == 3 and whole.usage.completion_tokens == 36 and {c.finish_reason for c in whole.choices} == {"length"}
    for choice in whole.choices:
        assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
        assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in choice.logprobs.content)
    pieces, usage = ["", "", ""], None
    for chunk in chat(**ask, n=3, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces[choice.index] += choice.delta.content or ""
    assert pieces == said and usage == whole.usage, (pieces, said)
    [stopped] = chat(**ask, stop=[said[0][4]]).choices
    assert stopped.finish_reason == "stop" and stopped.message.content == said[0][: said[0].index(said[0][4])]

    told = text(model="tiny", prompt=["ab", "cd"], max_tokens=6, logprobs=1, **PLAIN)
    assert [c.index for c in told.choices] == [0, 1] and all(len(c.logprobs.tokens) == 6 for c in told.choices)
    parts = ["", ""]
    for chunk in text(model="tiny", prompt=["ab", "cd"], max_tokens=6, stream=True, **PLAIN):
        for choice in chunk.choices:
            parts[choice.index] += choice.text
    assert parts == [choice.text for choice in told.choices]

    vectors = client.embeddings.create(model="tiny", input=["ab", "cd"]).data
    plain = client.embeddings.create(model="tiny", input=["ab", "cd"], encoding_format="float").data
    assert len(vectors) == 2 and all(abs(a - b) < 1e-6 for v, p in zip(vectors, plain) for a, b in zip(v.embedding, p.embedding))

    async def several():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0) as later:
            asked = [later.chat.completions.create(**{**ask, "seed": 7 + i}) for i in range(3)]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]

    assert asyncio.run(several()) == said

    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": "Soria"})}}
    told = [*USER, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "snow"}]
    assert chat(**{**ask, "messages": told}, tools=[tool]).usage.prompt_tokens > whole.usage.prompt_tokens + 100
    raised(openai.BadRequestError, lambda: chat(**ask, tools=[tool], tool_choice="required"), code="invalid_value", param="tool_choice")
    raised(openai.BadRequestError, lambda: chat(**ask, user="me"), code="unsupported_field", param="user")
    raised(openai.BadRequestError, lambda: chat(**{**ask, "temperature": -1}), code="invalid_value", param="temperature")
    raised(openai.BadRequestError, lambda: text(model="tiny", prompt=[5] * 9000), code="context_length_exceeded", param="prompt")
    raised(openai.NotFoundError, lambda: chat(**{**ask, "model": "gpt"}), code="model_not_found")

    endless = {**ask, "max_tokens": 7000}
    start = time.monotonic()
    raised(openai.APITimeoutError, lambda: client.with_options(timeout=0.3).chat.completions.create(**endless))
    until(lambda: running(url) == 0)
    with chat(**endless, stream=True) as stream:
        next(iter(stream))
        assert running(url) == 1
    until(lambda: running(url) == 0)
    assert time.monotonic() - start < 10


def limits(url):
    import openai

    client = openai.OpenAI(base_url=url + "/v1", api_key="right", max_retries=0)
    ask = {"model": "tiny", "messages": USER, "max_tokens": 7000, **PLAIN}
    wrong = client.with_options(api_key="wrong")
    raised(openai.AuthenticationError, lambda: wrong.chat.completions.create(**ask), code="invalid_api_key")
    asked = [threading.Thread(target=raised, args=(openai.APIStatusError, lambda: client.chat.completions.create(**ask))) for _ in range(2)]
    for thread in asked:  # one runs, one waits
        thread.start()
    until(lambda: "alia_engine_waiting 1.0" in get(url + "/metrics", "right"))
    raised(openai.RateLimitError, lambda: client.chat.completions.create(**ask), code="queue_full")
    for thread in asked:
        thread.join()
    start = time.monotonic()
    late = raised(openai.APIStatusError, lambda: client.with_options(max_retries=2).chat.completions.create(**ask), code="time_limit")
    assert late.status_code == 408 and time.monotonic() - start < 3  # it was not asked again
    partly = client.chat.completions.create(**ask, stream=True)
    raised(openai.APIError, lambda: [chunk for chunk in partly], code="time_limit")


def drawn(url, folder, examples):
    """Whatever is drawn, the answer is one that the description tells of, and what breaks the schema is refused."""
    done = subprocess.run(
        ["/usr/bin/python3", "-m", "schemathesis.cli", "run", url + "/openapi.json", "--phases", "coverage,fuzzing", "--max-examples", examples,
         "--exclude-checks", "positive_data_acceptance,unsupported_method", "--no-color"],
        env=install(folder / "schemathesis", "schemathesis"), cwd=folder, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, "\n".join(line[:500] for line in (done.stdout + done.stderr).splitlines())
    print(f"schemathesis: {re.search(r'(?m)^ *([0-9]+ generated.*)$', done.stdout)[1]}")


def main(folder):
    folder = Path(folder).resolve()
    os.environ["ALIA_LIBRARY"] = str(Path(os.environ["ALIA_LIBRARY"]).resolve())
    sys.path.insert(0, install(folder / "openai", "openai")["PYTHONPATH"])
    with tempfile.TemporaryDirectory() as model:
        tiny.write(model)
        with serving(model) as (url, _):
            documented(url)
            answers(url)
        with serving(model, "--queue", "1", "--sequences", "1", "--time-limit", "1", ALIA_API_KEYS="right") as (url, _):
            limits(url)
        print("openai: answers, streams, errors, time-outs and disconnects")
        with serving(model, "--max-tokens", "20") as (url, _):
            drawn(url, folder, os.environ.get("ALIA_SERVER_EXAMPLES", "20"))


if __name__ == "__main__":
    main(*sys.argv[1:])
