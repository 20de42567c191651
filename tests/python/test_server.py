"""The server: a real one on a free port, asked over HTTP."""
import asyncio
import base64
import contextlib
import http.client
import json
import re
import socket
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from fixtures import WithModel, alia, forced, tiny, until

try:
    import prometheus_client  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn
except ImportError as missing:
    raise unittest.SkipTest(f"alia.server needs {missing.name}") from None
from alia import _c
from alia._answers import Prepared
from alia._dispatch import Dispatcher
from alia.server import app, fields, schema
from alia.server.connection import connection
from alia.server.errors import APIError
from alia.server.keys import Keys
from alia.server.limits import Limits
from alia.server.openapi import description
from alia.server.stream import EventStream

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
USER = [{"role": "user", "content": "ab"}]
#: Nothing but letters, so that texts are worth comparing.
LETTERS = {"logit_bias": {str(i): -100 for i in range(96) if not 6 <= i < 33}, "temperature": 1, "ignore_eos": True}
PLAIN = {"bias": {int(i): b for i, b in LETTERS["logit_bias"].items()}, "temperature": 1.0, "ignore_eos": True}
TOOL = {"type": "function", "function": {"name": "tiempo", "description": "d", "parameters": {"type": "object", "properties": {"ciudad": {"type": "string"}}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "tiempo", "arguments": '{"ciudad": "Cádiz", "n": 1.0}'}}
#: Takes longer than any test, in a context that has the room.
ENDLESS = {"max_tokens": 60000, "ignore_eos": True}
ROOM = 1 << 16


class WithServer(WithModel):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(cls.serving())

    @classmethod
    @contextlib.contextmanager
    def serving(cls, *, path=None, limits=Limits(), keys=Keys(), ready=True, loop="auto", **engine):
        server = app.Server(path or cls.folder, name="tiny", model={}, engine={"context": 512, "sequences": 16, **engine}, limits=limits, keys=keys)
        listening = socket.create_server(("127.0.0.1", 0))
        server.port = listening.getsockname()[1]
        running = uvicorn.Server(uvicorn.Config(server.app, log_level="critical", loop=loop, http=connection(limits.body_seconds)))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: running.started and (server.health.is_ready or not ready))
            yield server
        finally:
            running.should_exit = True
            thread.join(30)
            listening.close()
        assert not thread.is_alive(), "the server did not end"

    def send(self, method, path, body=None, server=None, key=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", (server or self.server).port, timeout=60)
        self.addCleanup(connection.close)
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        given = {"Content-Type": "application/json"} if method == "POST" else {}
        given |= {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(method, path, data, given | (headers or {}))
        response = connection.getresponse()
        response.connection = connection
        return response

    def get(self, path, **options):
        response = self.send("GET", path, **options)
        return response.status, response.read().decode()

    def post(self, path, body, status=200, **options):
        response = self.send("POST", path, body, **options)
        answer = json.loads(response.read())
        self.assertEqual(response.status, status, answer)
        return answer

    def refused(self, path, body, status, code, param=None, **options):
        error = self.post(path, body, status, **options)["error"]
        self.assertEqual((error["code"], error["param"]), (code, param), error)
        kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
        self.assertEqual((error["type"], sorted(error)), (kind, ["code", "message", "param", "type"]))
        return error["message"]

    def events(self, path, body, **options):
        response = self.send("POST", path, {"stream": True, **body}, **options)
        self.assertEqual((response.status, response.getheader("Content-Type")), (200, "text/event-stream; charset=utf-8"))
        blocks = response.read().decode().split("\n\n")
        self.assertEqual(blocks.pop(), "")
        self.assertTrue(all(block.startswith("data: ") and "\n" not in block for block in blocks))
        return [block.removeprefix("data: ") for block in blocks]

    def chunks(self, path, body, **options):
        *chunks, done = self.events(path, body, **options)
        self.assertEqual(done, "[DONE]")
        return [json.loads(chunk) for chunk in chunks]


class TestAnswers(WithServer):
    def test_completions(self):
        answer = self.post(TEXT, {"prompt": "ab", "n": 3, "seed": 5, "max_tokens": 12, "logprobs": 2, **LETTERS})
        wanted = self.server.engine.complete("ab", n=3, seed=5, max_tokens=12, logprobs=2, **PLAIN)
        self.assertEqual([c["text"] for c in answer["choices"]], [w.text for w in wanted])
        self.assertEqual(len({w.text for w in wanted}), 3)
        self.assertEqual([c["finish_reason"] for c in answer["choices"]], ["length"] * 3)
        self.assertEqual((answer["object"], answer["model"]), ("text_completion", "tiny"))
        self.assertEqual([answer["usage"][k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")], [3, 36, 39])
        for choice, completion in zip(answer["choices"], wanted):
            logprobs = choice["logprobs"]
            self.assertEqual("".join(logprobs["tokens"]), completion.text)
            self.assertTrue(np.allclose(logprobs["token_logprobs"], completion.logprobs))
            self.assertEqual([len(top) for top in logprobs["top_logprobs"]], [2] * 12)
            self.assertEqual(logprobs["text_offset"], list(range(12)))
        self.assertEqual(self.post(TEXT, {"prompt": [1, 7, 8], "seed": 6, "max_tokens": 12, **LETTERS})["choices"][0]["text"], wanted[1].text)
        self.assertEqual(self.post(TEXT, {"prompt": "ab", **LETTERS})["usage"]["completion_tokens"], 16)

    def test_pieces_of_streams(self):
        """With and without uvloop, and as versions and methods of HTTP frame them."""
        body = {"prompt": "ab", "seed": 5, "max_tokens": 12, "stream": True, **LETTERS}

        def text(events):
            return "".join(json.loads(event)["choices"][0]["text"] for event in events)

        wanted = text(self.events(TEXT, body)[:-1])
        self.assertEqual(len(wanted), 12)
        with self.serving(loop="asyncio") as plain:
            self.assertEqual(text(self.events(TEXT, body, server=plain)[:-1]), wanted)
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as old:
            data = json.dumps(body).encode()
            old.sendall(b"POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            head, _, events = old.makefile("rb").read().partition(b"\r\n\r\n")
        self.assertNotIn(b"chunked", head.lower())
        *events, done, end = events.decode().split("\n\n")
        self.assertEqual((text(event.removeprefix("data: ") for event in events), done, end), (wanted, "data: [DONE]", ""))
        kept = self.send("POST", TEXT, body)  # on one connection: a stream, a whole answer, and a head alone
        self.assertTrue(kept.read().endswith(b"data: [DONE]\n\n"))
        for method, status in (("GET", 200), ("HEAD", 200), ("GET", 200)):
            kept.connection.request(method, "/health")
            answer = kept.connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("Transfer-Encoding")), (status, None))
            self.assertEqual(answer.read() != b"", method == "GET")

    def test_several_prompts(self):
        prompts = ["ab", "cd", "e"]
        options = {"max_tokens": 6, "seed": 3, "n": 2, **LETTERS}
        apart = [c["text"] for p in prompts for c in self.post(TEXT, {"prompt": p, **options})["choices"]]
        together = self.post(TEXT, {"prompt": prompts, **options})
        self.assertEqual([(c["index"], c["text"]) for c in together["choices"]], list(enumerate(apart)))
        ids = [self.model.encode(p) for p in prompts]
        self.assertEqual([c["text"] for c in self.post(TEXT, {"prompt": ids, **options})["choices"]], apart)
        self.assertEqual(together["usage"]["prompt_tokens"], sum(map(len, ids)))

    def test_fields(self):
        """Each field of sampling reaches the engine."""
        options = {"max_tokens": 8, "seed": 3, **LETTERS}
        fields = {"temperature": 0.5, "top_p": 0.5, "top_k": 3, "min_p": 0.3, "repetition_penalty": 2.0, "frequency_penalty": 5.0,
                  "presence_penalty": -5.0, "min_tokens": 4}
        plain = self.post(TEXT, {"prompt": "ab", **options})["choices"][0]["text"]
        for name, value in fields.items():
            got = self.post(TEXT, {"prompt": "ab", **options, name: value})["choices"][0]["text"]
            [wanted] = self.server.engine.complete("ab", **{"max_tokens": 8, "seed": 3, **PLAIN, name: value})
            self.assertEqual(got, wanted.text, name)
        texts = {self.post(TEXT, {"prompt": "ab", "max_tokens": 8, **LETTERS})["choices"][0]["text"] for _ in range(3)}
        self.assertGreater(len(texts), 1)  # seeds are drawn
        for stop in (plain[3], [plain[3], "never"]):
            cut = self.post(TEXT, {"prompt": "ab", **options, "stop": stop})["choices"][0]
            self.assertEqual((cut["text"], cut["finish_reason"]), (plain[: plain.index(plain[3])], "stop"))
        token = self.model.encode(plain[2], add_special=False)[0]
        cut = self.post(TEXT, {"prompt": "ab", **options, "stop_token_ids": [token]})["choices"][0]
        self.assertEqual((cut["text"], cut["finish_reason"]), (plain[: plain.index(plain[2])], "stop"))
        null = {name: None for name in schema.COMPLETION["properties"] if name not in ("prompt", *options)}
        self.assertEqual(self.post(TEXT, {"prompt": "ab", **options, **null})["choices"][0]["text"], plain)
        self.assertEqual(self.post(TEXT, {"prompt": "ab", **options, "n": 1.0, "echo": False, "store": False, "best_of": 1})["choices"][0]["text"], plain)

    def test_chat(self):
        options = {"max_tokens": 12, "seed": 5, **LETTERS}
        messages = [{"role": "developer", "content": "be kind"}, {"role": "user", "content": [{"type": "text", "text": "wh"}, {"type": "text", "text": "at"}]}]
        answer = self.post(CHAT, {"messages": messages, **options, "logprobs": True, "top_logprobs": 1})
        [choice] = answer["choices"]
        wanted = self.server.engine.ask("what", system="be kind", max_tokens=12, seed=5, **PLAIN)
        self.assertEqual(choice["message"], {"role": "assistant", "content": wanted, "refusal": None})
        content = choice["logprobs"]["content"]
        self.assertEqual(bytes(b for token in content for b in token["bytes"]).decode(), wanted)
        self.assertEqual(len({len(token["top_logprobs"]) for token in content}), 1)
        self.assertTrue(all(token["logprob"] <= token["top_logprobs"][0]["logprob"] <= 0 for token in content))
        same = self.post(CHAT, {"messages": messages, **options, "max_tokens": None, "max_completion_tokens": 12})
        self.assertEqual(same["choices"][0]["message"]["content"], wanted)
        template = "{% for m in messages %}{{ m.role + m.content }}{% if m.content == 'no' %}{{ raise_exception('not so') }}{% endif %}{% endfor %}{{ more }}"
        with tempfile.TemporaryDirectory() as folder:
            tiny.write(folder)
            (Path(folder) / "chat_template.jinja").write_text(template)
            with self.serving(path=folder) as server:
                asked = {"messages": messages[1:], **options, "chat_template_kwargs": {"more": "xy"}}
                [wanted] = server.engine.complete("userwhatxy", max_tokens=12, seed=5, **PLAIN)
                self.assertEqual(self.post(CHAT, asked, server=server)["choices"][0]["message"]["content"], wanted.text)
                no = {"messages": [{"role": "user", "content": "no"}]}
                self.assertIn("not so", self.refused(CHAT, no, 400, "chat_template", "messages", server=server))
        hostile = self.post(CHAT, {"messages": [{"role": "user", "content": "<|im_end|>"}], **options})
        self.assertGreater(hostile["usage"]["prompt_tokens"], self.post(CHAT, {"messages": USER, **options})["usage"]["prompt_tokens"] + 5)

    def test_tools(self):
        """Tools, calls and results reach the template; the answer stays text."""
        options = {"max_tokens": 6, "seed": 5, **LETTERS}
        sent = [*USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c1", "content": "sol"}]
        taken = [*USER, {"role": "assistant", "content": None, "tool_calls": [{**CALL, "function": {"name": "tiempo", "arguments": {"ciudad": "Cádiz", "n": 1.0}}}]},
                 sent[2]]

        def asked(messages, told, server, **more):
            """Whether this is what the model was asked."""
            answer = self.post(CHAT, {"messages": messages, **options, **more}, server=server)
            ids = server.engine.model.encode_chat(taken if messages is sent else messages, tools=told)
            [wanted] = server.engine.complete(ids, max_tokens=6, seed=5, **PLAIN)
            self.assertEqual((answer["choices"][0]["message"]["content"], answer["usage"]["prompt_tokens"]), (wanted.text, len(ids)))
            self.assertEqual(answer["choices"][0]["finish_reason"], "length")

        with self.serving(context=2048) as server:
            for choice in ({}, {"tool_choice": "auto"}):
                asked(USER, [TOOL], server, tools=[TOOL], **choice)
                asked(sent, [TOOL], server, tools=[TOOL], **choice)
            asked(USER, [], server, tools=[TOOL], tool_choice="none")
        shows = "{% for m in messages %}{{ m.role + (m.content or '') }}{{ m.name }}{{ m.tool_calls and m.tool_calls[0].function.arguments.ciudad }}{% endfor %}"
        for template, refused in (("{{ messages[0].content }}", True), (shows + "{{ tools and tools[0].function.name }}", False)):
            with tempfile.TemporaryDirectory() as folder:
                tiny.write(folder)
                (Path(folder) / "chat_template.jinja").write_text(template)
                with self.serving(path=folder) as server:
                    named = [{**USER[0], "name": "ana"}]
                    if refused:
                        self.refused(CHAT, {"messages": USER, "tools": [TOOL]}, 400, "unsupported_field", "tools", server=server)
                        self.refused(CHAT, {"messages": named}, 400, "unsupported_field", "messages[0].name", server=server)
                        self.refused(CHAT, {"messages": sent}, 400, "unsupported_field", "messages[1].tool_calls", server=server)
                    else:
                        asked(named, [], server)
                        asked(sent, [TOOL], server, tools=[TOOL])

    def test_stream_is_the_whole(self):
        body = {"n": 2, "seed": 9, "max_tokens": 20, **LETTERS}
        for path, asked in ((TEXT, {"prompt": ["ab", "c"], "logprobs": 1}), (CHAT, {"messages": USER, "logprobs": True, "top_logprobs": 1})):
            whole = self.post(path, {**body, **asked})
            *chunks, last = self.chunks(path, {**body, **asked, "stream_options": {"include_usage": True}})
            self.assertEqual((last["choices"], last["usage"]["completion_tokens"]), ([], whole["usage"]["completion_tokens"]))
            self.assertTrue(all(chunk["usage"] is None and chunk["id"] == last["id"] for chunk in chunks))
            for wanted in whole["choices"]:
                mine = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == wanted["index"]]
                self.assertEqual([choice["finish_reason"] for choice in mine], [None] * (len(mine) - 1) + ["length"])
                logprobs = [choice["logprobs"] for choice in mine if choice["logprobs"]]
                if path == CHAT:
                    self.assertEqual(mine[0]["delta"], {"role": "assistant", "content": ""})
                    text = "".join(choice["delta"].get("content", "") for choice in mine)
                    self.assertEqual(text, wanted["message"]["content"])
                    self.assertEqual(sum((part["content"] for part in logprobs), []), wanted["logprobs"]["content"])
                else:
                    self.assertEqual("".join(choice["text"] for choice in mine), wanted["text"])
                    for name, value in wanted["logprobs"].items():
                        self.assertEqual(sum((part[name] for part in logprobs), []), value)
            self.assertNotIn("usage", self.chunks(path, {**body, **asked})[-1])

    def test_no_character_is_split(self):
        """Wherever an answer ends, its chunks are together what it is whole."""
        ids = self.model.encode(tiny.TEXT, add_special=False)

        def forcing(prompt, options):
            options.flags |= _c.REQUEST_CHOOSE
            return Prepared(prompt, options, hook=forced(ids))

        with mock.patch.object(fields, "Prepared", forcing):
            for cut in [*range(1, len(ids), 3), len(ids)]:
                options, wanted = {"max_tokens": cut, "ignore_eos": True}, self.model.decode(ids[:cut])
                self.assertEqual(self.post(TEXT, {"prompt": "a", **options})["choices"][0]["text"], wanted)
                pieces = [choice["text"] for chunk in self.chunks(TEXT, {"prompt": "a", **options}) for choice in chunk["choices"]]
                self.assertEqual("".join(pieces), wanted)
                deltas = [choice["delta"].get("content", "") for chunk in self.chunks(CHAT, {"messages": USER, **options}) for choice in chunk["choices"]]
                self.assertEqual("".join(deltas), wanted)
            self.assertEqual(wanted, tiny.TEXT)
            self.assertTrue(2 < sum(map(bool, pieces)) < len(ids))

    def test_other_routes(self):
        [card] = json.loads(self.get("/v1/models")[1])["data"]
        self.assertEqual((card["id"], card["object"]), ("tiny", "model"))
        self.assertEqual(json.loads(self.get("/v1/models/tiny")[1]), card)
        self.assertEqual(self.get("/v1/models/other/one")[0], 404)
        tokens = self.post("/tokenize", {"prompt": "ab", "add_special_tokens": False})
        self.assertEqual(tokens, {"tokens": [7, 8], "count": 2, "context": 512})
        self.assertEqual(self.post("/tokenize", {"prompt": "ab"})["tokens"], [1, 7, 8])
        wanted = self.server.engine.embed(["ab", "cd"])
        both = self.post("/v1/embeddings", {"input": ["ab", "cd"]})
        self.assertTrue(np.allclose([one["embedding"] for one in both["data"]], wanted, atol=1e-6))
        self.assertEqual(both["usage"], {"prompt_tokens": 6, "total_tokens": 6})
        coded = self.post("/v1/embeddings", {"input": [1, 9, 10], "encoding_format": "base64", "pooling": "last"})
        vector = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4")
        self.assertTrue(np.allclose(vector, self.server.engine.embed("cd", pooling="last"), atol=1e-6))
        response = self.send("GET", "/")
        self.assertIn(b"<form", response.read())
        self.assertIn("default-src 'none'", response.getheader("Content-Security-Policy"))

    def test_document_names_every_field(self):
        for page in ("server.md", "server.es.md"):
            text = (tiny.root / "docs" / page).read_text()
            for body in (schema.CHAT, schema.COMPLETION, schema.EMBEDDING, schema.TOKENIZE):
                self.assertEqual([name for name in body["properties"] if f"`{name}`" not in text and f"`{name}:" not in text], [], page)

    def test_description(self):
        told = json.loads(self.get("/openapi.json")[1])
        self.assertEqual(told, description(alia.__version__))
        routes = {route.path.replace(":path", "") for route in self.server.app.routes}
        self.assertEqual(set(told["paths"]), routes - {"/", "/openapi.json"})


class TestRefusals(WithServer):
    def test_fields(self):
        chat, text = {"messages": USER}, {"prompt": "ab"}
        cases = [
            (CHAT, chat | {"tools": []}, "invalid_value", "tools"),
            (CHAT, chat | {"tools": [TOOL | {"type": "web_search"}]}, "unsupported_value", "tools[0].type"),
            (CHAT, chat | {"tools": [{**TOOL, "function": {**TOOL["function"], "strict": True}}]}, "unsupported_value", "tools[0].function.strict"),
            (CHAT, chat | {"tools": [TOOL], "tool_choice": "required"}, "invalid_value", "tool_choice"),
            (CHAT, chat | {"tool_choice": "auto"}, "invalid_value", "tool_choice"),
            (CHAT, chat | {"tools": [TOOL], "parallel_tool_calls": True}, "unsupported_field", "parallel_tool_calls"),
            (CHAT, chat | {"user": "someone"}, "unsupported_field", "user"),
            (CHAT, chat | {"temprature": 1}, "unsupported_field", "temprature"),
            (CHAT, chat | {"response_format": {"type": "json_object"}}, "unsupported_value", "response_format"),
            (CHAT, chat | {"messages": [{"role": "function", "content": "x"}]}, "invalid_value", "messages[0].role"),
            (CHAT, chat | {"messages": [{"role": "user", "content": "x", "name": "y"}]}, "unsupported_field", "messages[0].name"),
            (CHAT, chat | {"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "invalid_value", "messages[0].tool_calls"),
            (CHAT, chat | {"messages": [{"role": "user", "content": "x", "tool_call_id": "1"}]}, "invalid_value", "messages[0].tool_call_id"),
            (CHAT, chat | {"messages": [{"role": "assistant", "content": None}]}, "missing_field", "messages[0].content"),
            *((CHAT, chat | {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": arguments}}]}]}, "invalid_value",
               "messages[0].tool_calls[0].function.arguments") for arguments in ("", "[]", '{"a": NaN}', "{" * 100000)),
            (CHAT, chat | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "unsupported_value", "messages[0].content[0].type"),
            (CHAT, chat | {"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
            (CHAT, chat | {"messages": [{"role": "user"}]}, "missing_field", "messages[0].content"),
            (CHAT, chat | {"messages": []}, "invalid_value", "messages"),
            (CHAT, {"temperature": 1}, "missing_field", "messages"),
            (CHAT, chat | {"top_logprobs": 2}, "invalid_value", "top_logprobs"),
            (CHAT, chat | {"logprobs": 2}, "invalid_type", "logprobs"),
            (CHAT, chat | {"max_tokens": 2, "max_completion_tokens": 3}, "invalid_value", "max_completion_tokens"),
            (CHAT, chat | {"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
            (CHAT, chat | {"stream": True, "stream_options": {"other": True}}, "unsupported_field", "stream_options.other"),
            (TEXT, text | {"suffix": "x"}, "unsupported_field", "suffix"),
            (TEXT, text | {"echo": True}, "unsupported_value", "echo"),
            (TEXT, text | {"best_of": True}, "unsupported_value", "best_of"),
            (TEXT, text | {"temperature": -1}, "invalid_value", "temperature"),
            (TEXT, text | {"temperature": "hot"}, "invalid_type", "temperature"),
            (TEXT, text | {"max_tokens": True}, "invalid_type", "max_tokens"),
            (TEXT, text | {"n": 129}, "invalid_value", "n"),
            (TEXT, text | {"seed": 2**63}, "invalid_value", "seed"),
            (TEXT, text | {"stop": ""}, "invalid_value", "stop"),
            (TEXT, text | {"stop": ["a"] * 65}, "invalid_value", "stop"),
            (TEXT, text | {"stop": ["ñ" * 1000]}, "invalid_value", "stop"),
            (TEXT, text | {"logit_bias": {"a": 1}}, "invalid_value", "logit_bias.a"),
            (TEXT, text | {"logit_bias": {"5": 101}}, "invalid_value", "logit_bias.5"),
            (TEXT, text | {"logit_bias": {"5000": 1}}, "invalid_value", "logit_bias"),
            (TEXT, text | {"prompt": [5000]}, "invalid_value", "prompt"),
            (TEXT, text | {"prompt": [[5], "a"]}, "invalid_type", "prompt[1]"),
            (TEXT, text | {"prompt": 5}, "invalid_type", "prompt"),
            (TEXT, text | {"prompt": [-1]}, "invalid_value", "prompt[0]"),
            (TEXT, text | {"prompt": None}, "invalid_type", "prompt"),
            (TEXT, text | {"max_tokens": 1.5}, "invalid_type", "max_tokens"),
            ("/v1/embeddings", {"input": [[5000]]}, "invalid_value", "input"),
            ("/v1/embeddings", {"input": "ab", "dimensions": 5}, "unsupported_field", "dimensions"),
            ("/tokenize", {"prompt": ["ab"]}, "invalid_type", "prompt"),
        ]
        before = self.server.engine.counters["steps"]
        for path, body, code, param in cases:
            with self.subTest(path=path, body=body):
                self.refused(path, body, 400, code, param)
        self.assertEqual(self.server.engine.counters["steps"], before)
        self.assertIn("temperature", self.refused(CHAT, chat | {"temprature": 1}, 400, "unsupported_field", "temprature"))
        self.refused(TEXT, text | {"model": "gpt"}, 404, "model_not_found", "model")

    def test_bodies(self):
        for body in (b"", "{", "[]", "5", '{"prompt": NaN}', "\ufeff{}".encode(), "[" * 100000, '{"n": ' + "1" * 5000 + "}"):
            with self.subTest(body=body[:20]):
                self.refused(TEXT, body, 400, "invalid_json")
        self.refused(TEXT, b'{"prompt": "\xff"}', 400, "invalid_json")
        self.refused(TEXT, r'{"prompt": "\ud800"}', 400, "invalid_value", "prompt")
        self.refused(TEXT, r'{"\ud800": 1}', 400, "unsupported_field", "?")
        self.refused(TEXT, {"prompt": "ab"}, 415, "unsupported_media_type", headers={"Content-Type": "text/plain"})
        self.assertEqual(json.loads(self.get("/none")[1])["error"]["code"], "not_found")
        self.assertEqual(json.loads(self.get(TEXT)[1])["error"]["code"], "method_not_allowed")

    def test_nesting(self):
        """Up to some depth it is answered, and refused beyond: what was parsed is also written for the template."""
        def ask(depth):
            tool = {**TOOL, "function": {**TOOL["function"], "parameters": "DEEP"}}
            body = json.dumps({"messages": USER, "tools": [tool], "max_tokens": 1}).replace('"DEEP"', '{"a": ' + "[" * depth + "]" * depth + "}")
            response = self.send("POST", CHAT, body, server=server)
            answer = json.loads(response.read())
            return response.status, answer.get("error", {}).get("code")

        with self.serving(context=8192) as server:
            seen = [ask(depth) for depth in (2, *range(800, 1040, 5))]
        self.assertEqual((seen[0], seen[-1]), ((200, None), (400, "invalid_json")))
        self.assertEqual({status for status, _ in seen}, {200, 400}, seen)

    def test_context(self):
        before = self.server.engine.counters["steps"]
        self.refused(TEXT, {"prompt": [5] * 500}, 400, "context_length_exceeded", "prompt")  # and 16 more
        self.refused(TEXT, {"prompt": "ab", "max_tokens": 510}, 400, "context_length_exceeded", "prompt")
        self.refused(CHAT, {"messages": [{"role": "user", "content": "a" * 600}]}, 400, "context_length_exceeded", "messages")
        self.refused("/v1/embeddings", {"input": "a" * 600}, 400, "context_length_exceeded", "input")
        self.assertEqual(self.server.engine.counters["steps"], before)
        self.assertEqual(self.post(TEXT, {"prompt": [5] * 500, "max_tokens": 12, **LETTERS})["usage"]["total_tokens"], 512)
        full = self.post(CHAT, {"messages": [{"role": "user", "content": "a" * 400}], **LETTERS})
        self.assertEqual(full["choices"][0]["finish_reason"], "length")


class TestLimits(WithServer):
    def test_limits(self):
        with self.serving(limits=Limits(body=2000, seconds=0.3, tokens=60000, prompts=2), context=ROOM) as server:
            given = {"server": server}
            self.refused(TEXT, {"prompt": "a" * 3000}, 413, "body_too_large", **given)
            self.refused(TEXT, iter([b" " * 1500] * 2), 413, "body_too_large", **given)
            self.refused(TEXT, {"prompt": "ab", "max_tokens": 60001}, 400, "too_many_tokens", "max_tokens", **given)
            self.refused(TEXT, {"prompt": ["a", "b", "c"]}, 400, "too_many_prompts", "prompt", **given)
            self.refused(TEXT, {"prompt": "ab", **ENDLESS}, 408, "time_limit", **given)
            *_, last = self.events(TEXT, {"prompt": "ab", **ENDLESS}, **given)
            self.assertEqual(json.loads(last)["error"]["code"], "time_limit")
        with self.serving(limits=Limits(body_seconds=0.2)) as server:
            slow = socket.create_connection(("127.0.0.1", server.port))
            self.addCleanup(slow.close)
            slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
            answer = slow.makefile("rb").read()
            self.assertIn(b"HTTP/1.1 408", answer)
            self.assertIn(b"body_timeout", answer)
            for head in (b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /"):  # whose head, or next one's, does not come
                silent = socket.create_connection(("127.0.0.1", server.port), timeout=20)
                self.addCleanup(silent.close)
                start = time.monotonic()
                silent.sendall(head)
                answer = silent.makefile("rb").read()
                self.assertEqual(b"200 OK" in answer, b"health HTTP" in head)
                self.assertLess(time.monotonic() - start, 15)
        with self.serving(limits=Limits(tokens=5)) as server:
            self.assertEqual(self.post(CHAT, {"messages": USER, **LETTERS}, server=server)["usage"]["completion_tokens"], 5)

    def test_queue(self):
        with self.serving(limits=Limits(queue=1), sequences=1, context=ROOM) as server:
            running = self.send("POST", TEXT, {"prompt": "ab", "stream": True, **ENDLESS}, server=server)
            until(lambda: server.engine.counters["running"] == 1)
            waiting = self.asked(server, {"prompt": "ab", **ENDLESS})
            until(lambda: server.engine.counters["waiting"] == 1)
            refused = self.send("POST", TEXT, {"prompt": "ab"}, server=server)
            self.assertEqual((refused.status, refused.getheader("Retry-After")), (429, "1"))
            self.assertEqual(json.loads(refused.read())["error"]["code"], "queue_full")
            waiting.close()
            until(lambda: server.engine.counters["waiting"] == 0)
            running.close()
            running.connection.close()
            until(lambda: server.engine.counters["running"] == 0)
            many = self.post(TEXT, {"prompt": ["a"] * 5, "max_tokens": 2}, server=server)  # larger than the queue, which is empty
            self.assertEqual(len(many["choices"]), 5)

    def asked(self, server, body, path=TEXT):
        """A connection on which something was asked."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        self.addCleanup(connection.close)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection

    def test_disconnect(self):
        """Within one step, while it generates and while it reads a prompt."""
        cancelled, cancel = [], Dispatcher.cancel

        def counted(dispatcher, request):
            cancel(dispatcher, request)
            cancelled.append(server.engine.counters["steps"])

        with mock.patch.object(Dispatcher, "cancel", counted), self.serving(context=ROOM, chunk=1) as server:
            def settled():
                until(lambda: cancelled and not server.engine.counters["running"])
                self.assertLessEqual(server.engine.counters["steps"], cancelled.pop() + 2)  # the one that ran, and one that ends it
                self.assertEqual(cancelled, [])

            counters = lambda: server.engine.counters  # noqa: E731
            stream = self.send("POST", CHAT, {"messages": USER, "stream": True, **LETTERS, **ENDLESS}, server=server)
            self.assertIn(b"assistant", stream.readline())
            until(lambda: counters()["running"])
            stream.close()
            stream.connection.close()
            settled()
            whole = self.asked(server, {"prompt": "ab", **ENDLESS})
            until(lambda: counters()["running"])
            whole.close()
            settled()
            self.assertLess(counters()["generated_tokens"], 60000)
            for path, body in ((TEXT, {"prompt": [5] * 60000}), (TEXT, {"prompt": [6] * 60000, "stream": True}),
                               ("/v1/embeddings", {"input": [7] * 60000})):
                before = counters()
                reading = self.asked(server, body, path)
                until(lambda: counters()["prompt_tokens"] > before["prompt_tokens"] + 10)
                reading.close()
                settled()
                self.assertLess(counters()["prompt_tokens"] - before["prompt_tokens"], 60000)
                self.assertEqual(counters()["generated_tokens"], before["generated_tokens"])
            until(lambda: 'alia_http_answers_total{route="/v1/completions",status="499"} 3.0' in self.get("/metrics", server=server)[1])

    def test_clients_that_do_not_read(self):
        ended = []

        async def never(*_):
            await asyncio.Event().wait()

        async def parts():
            yield b""

        asyncio.run(EventStream(parts(), 0.05, app.from_library, lambda: ended.append(1))({}, never, never))
        self.assertEqual(ended, [1])


class TestServer(WithServer):
    def test_health(self):
        self.assertEqual(self.get("/health"), (200, '{"status":"ready"}'))
        go = threading.Event()

        def slow(*arguments, progress, **options):
            progress("weights", 1, 2)
            go.wait(30)
            return alia.Model(*arguments, progress=False, **options)

        with mock.patch.object(app, "Model", slow), self.serving(ready=False) as server:
            until(lambda: server.health.report()["phase"] == "weights")
            status, told = self.get("/health", server=server)
            self.assertEqual((status, json.loads(told)), (503, {"status": "starting", "phase": "weights", "done": 1, "total": 2}))
            self.refused(TEXT, {"prompt": "a"}, 503, "not_ready", server=server)
            go.set()
            until(lambda: self.get("/health", server=server)[0] == 200)
            server.engine.close()
            with self.assertLogs("alia.server.app", "ERROR"):
                self.refused(TEXT, {"prompt": "a"}, 503, "unavailable", server=server)
            status, told = self.get("/health", server=server)
            self.assertEqual((status, json.loads(told)["status"]), (503, "failing"))
            self.refused(TEXT, {"prompt": "a"}, 503, "not_ready", server=server)
        with self.assertLogs("alia.server.app", "ERROR"), self.serving(ready=False, positions=1 << 50) as server:
            until(lambda: server.health.report()["status"] == "failing")
            self.assertEqual(self.get("/health", server=server)[0], 503)
            self.assertIn("alia_ready 0.0", self.get("/metrics", server=server)[1])

    def test_ending_while_it_loads(self):
        def endless(*_, progress, **__):
            while True:
                progress("weights", 0, 0)
                time.sleep(0.01)

        with mock.patch.object(app, "Model", endless), self.assertNoLogs("alia.server.app"), self.serving(ready=False):
            pass

    def test_metrics(self):
        def read():
            return {name: float(value) for name, value in re.findall(r"(?m)^(\w[^ ]*) (\S+)$", self.get("/metrics")[1])}

        before = read()
        self.post(CHAT, {"messages": USER, "max_tokens": 5, "ignore_eos": True})
        self.refused(CHAT, {"messages": USER, "user": "x"}, 400, "unsupported_field", "user")
        after = read()
        new = {name: value - before.get(name, 0) for name, value in after.items()}
        self.assertEqual(new[f'alia_http_answers_total{{route="{CHAT}",status="200"}}'], 1)
        self.assertEqual(new[f'alia_http_answers_total{{route="{CHAT}",status="400"}}'], 1)
        self.assertEqual(new[f'alia_first_token_seconds_count{{route="{CHAT}"}}'], 1)
        self.assertEqual(new[f'alia_answer_seconds_count{{route="{CHAT}"}}'], 1)
        self.assertGreater(new["alia_engine_generated_tokens_total"], 0)
        self.assertEqual((after["alia_ready"], after["alia_engine_running"]), (1, 0))

    def test_keys(self):
        keys = Keys(["one", "clé-2"])
        self.assertRaises(APIError, keys.salt, None)
        self.assertNotEqual(keys.salt("Bearer one"), keys.salt("bearer " + "clé-2".encode().decode("latin-1")))
        self.assertNotIn("one", keys.salt("Bearer one"))
        with self.serving(keys=keys) as server:
            for path in ("/v1/models", "/metrics", "/v1/models/tiny"):
                self.assertEqual([self.get(path, server=server, key=k)[0] for k in (None, "two", "one")], [401, 401, 200])
            self.assertEqual([self.get(path, server=server)[0] for path in ("/", "/health", "/openapi.json")], [200] * 3)
            for key in (None, "two", "on", "onee"):
                self.refused(TEXT, {"prompt": "a"}, 401, "invalid_api_key", server=server, key=key)
            long = {"prompt": [1] + [7] * 200, "max_tokens": 1}

            def cached(key):
                return self.post(TEXT, long, server=server, headers={"Authorization": b"Bearer " + key.encode()})["usage"]["prompt_tokens_details"]["cached_tokens"]

            self.assertEqual([cached("one"), cached("one") > 0], [0, True])
            self.assertEqual(cached("clé-2"), 0)


if __name__ == "__main__":
    unittest.main()
