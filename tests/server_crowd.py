#!/usr/bin/env python3
"""server_crowd.py: alia.server under a crowd of clients: Debian's `wrk`, some of which are killed in the middle, and beside them clients
that are slow, rude, or leave. Memory, descriptors and threads stay as they are, and /health and the answers say what is so.
ALIA_LIBRARY names the library, ALIA_SERVER_SECONDS the length; ALIA_TEST_SEED repeats what is drawn."""
import asyncio
import collections
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from server_clients import USER, get, running, serving, tiny, until

#: Mostly good requests, as wrk takes them.
SCRIPT = """
local function number(most) return math.random(most) end
local function post(path, body)
  return wrk.format("POST", path, {["Content-Type"] = "application/json"}, body)
end
local kinds = {
  function() return post("/v1/completions", string.format('{"prompt": "%s", "max_tokens": %d}', string.rep("a", number(200)), number(40))) end,
  function() return post("/v1/completions", string.format('{"prompt": "ab", "n": 2, "stream": true, "max_tokens": %d}', number(40))) end,
  function() return post("/v1/chat/completions", '{"messages": [{"role": "user", "content": "hola"}], "logprobs": true, "max_tokens": 20}') end,
  function() return post("/v1/embeddings", '{"input": ["ab", "cd"]}') end,
  function() return post("/tokenize", '{"prompt": "hola"}') end,
  function() return post("/v1/completions", '{"prompt": "ab", "temprature": 1}') end,
  function() return wrk.format("GET", "/metrics") end,
  function() return wrk.format("GET", "/nothing") end,
}
function init() math.randomseed(SEED) end
function request() return kinds[number(#kinds)]() end
function done(summary)
  io.write(string.format('{"requests": %d, "refused": %d, "connect": %d, "timeout": %d}\\n',
    summary.requests, summary.errors.status, summary.errors.connect, summary.errors.timeout))
end
"""


class Crowd:
    """Clients over plain sockets. Each does one thing, and says in `seen` what came of it."""

    def __init__(self, port, draw):
        self.port, self.draw, self.seen = port, draw, collections.Counter()
        self.kinds = [self.asks, self.leaves, self.dies, self.sends_slowly, self.says_nothing, self.reads_slowly, self.talks_nonsense, self.promises_too_much,
                      self.sends_several]

    def request(self):
        draw, path = self.draw, self.draw.choice(["/v1/completions", "/v1/chat/completions", "/v1/embeddings"])
        body = {"max_tokens": draw.randrange(1, 60), "n": draw.choice([1, 3]), "stream": draw.random() < 0.5, "ignore_eos": True}
        if path == "/v1/completions":
            body["prompt"] = [draw.randrange(6, 30)] * draw.randrange(1, 400)
        elif path == "/v1/embeddings":
            body = {"input": [draw.randrange(6, 30)] * draw.randrange(1, 400)}
        else:
            body["messages"] = USER * draw.randrange(1, 20)
        return self.head(path, len(json.dumps(body))) + json.dumps(body).encode(), body

    @staticmethod
    def head(path, length):
        return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                f"Content-Length: {length}\r\n\r\n").encode()

    async def asks(self, reader, writer):
        sent, body = self.request()
        writer.write(sent)
        answer = await reader.read()
        assert answer[9:12] in (b"200", b"429"), answer[:300]
        assert answer[9:12] != b"200" or not body.get("stream") or b"[DONE]" in answer, answer[-300:]
        return "answered" if answer[9:12] == b"200" else "refused"

    async def leaves(self, reader, writer):
        writer.write(self.request()[0])
        await asyncio.sleep(self.draw.random() * 0.3)
        return "left"

    async def dies(self, reader, writer):
        """The connection is reset, anywhere in the request or behind it."""
        sent, _ = self.request()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(sent[:self.draw.randrange(len(sent) + 1)])
        await asyncio.sleep(self.draw.random() * 0.3)
        writer.transport.abort()
        return "died"

    async def sends_slowly(self, reader, writer):
        sent, _ = self.request()
        step = len(sent) // 10 + 1
        for at in range(0, len(sent), step):
            writer.write(sent[at:at + step])
            await asyncio.sleep(0.05)
        answer = await reader.read()
        assert answer[9:12] in (b"200", b"408", b"429"), answer[:300]
        return "slow, answered" if answer[9:12] == b"200" else "slow, refused"

    async def says_nothing(self, reader, writer):
        """Or half a head, or half a body: the server ends it."""
        start = self.draw.choice([b"", b"POST /v1/comp", self.head("/v1/completions", 50) + b"{"])
        writer.write(start)
        answer = await reader.read()
        assert answer[9:12] == (b"408" if b"{" in start else b""), answer
        return "silent, closed"

    async def reads_slowly(self, reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        body = json.dumps({"prompt": "ab", "max_tokens": 200, "ignore_eos": True, "stream": True, "logprobs": 20})
        writer.write(self.head("/v1/completions", len(body)) + body.encode())
        for _ in range(20):
            if not await reader.read(100):
                break
            await asyncio.sleep(0.05)
        return "read slowly, left"

    async def talks_nonsense(self, reader, writer):
        draw = self.draw
        writer.write(draw.choice([
            draw.randbytes(200), b"GET\r\n\r\n", b"GET / HTTP/one\r\n\r\n", b"A" * 100000, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
            self.head("/v1/completions", 7) + b"\xff\xfe{}[]\0", self.head("/v1/completions", -1), self.head("/v1/none", 2) + b"{}",
            b"BREW /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            self.head("/v1/completions", 20000) + b"[" * 20000,
        ]))
        answer = await reader.read()
        assert answer[9:12] in (b"", b"400", b"403", b"404", b"405"), answer[:300]
        return "nonsense, refused"

    async def promises_too_much(self, reader, writer):
        writer.write(self.head("/v1/completions", 1 << 40) + b"{" * self.draw.randrange(100000))
        answer = await reader.read()
        assert answer[9:12] == b"413", answer[:300]
        return "too long, refused"

    async def sends_several(self, reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5 + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        assert answer.count(b"HTTP/1.1 200") == 6, answer
        return "several at once"

    async def client(self, end):
        while time.monotonic() < end:
            kind = self.draw.choice(self.kinds)
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                self.seen[await kind(reader, writer)] += 1
            except ConnectionError:  # what the server has closed while more was written
                self.seen["cut off"] += 1
                assert kind in (self.talks_nonsense, self.promises_too_much, self.says_nothing, self.sends_slowly), kind.__name__
            finally:
                writer.close()

    async def watch(self, end):
        """Every answer of /health, during all this, says that the server is ready."""
        slowest = 0.0
        while time.monotonic() < end:
            start = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            assert answer.endswith(b'{"status":"ready"}'), answer
            slowest = max(slowest, time.monotonic() - start)
            await asyncio.sleep(0.1)
        return slowest

    async def press(self, seconds):
        end = time.monotonic() + seconds
        *_, slowest = await asyncio.gather(*(self.client(end) for _ in range(40)), self.watch(end))
        return slowest


def wrk(url, script, seconds):
    return subprocess.Popen(["wrk", "-t1", "-c16", f"-d{max(1, round(seconds))}s", "--timeout", "120s", "-s", script, url], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)


def press(url, script, seconds, crowd):
    """One wrk stays, others are killed, and the crowd is there all the time. Gives what the first one counted, and the slowest /health."""
    async def all_of_them():
        async def dying():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                doomed = wrk(url, script, seconds)
                await asyncio.sleep(crowd.draw.uniform(0.2, 1))
                doomed.kill()
                doomed.wait()
                doomed.stdout.close()
                crowd.seen["wrk killed"] += 1

        _, slowest = await asyncio.gather(dying(), crowd.press(seconds))
        return slowest

    stays = wrk(url, script, seconds)
    slowest = asyncio.run(all_of_them())
    counted = json.loads(stays.communicate(timeout=300)[0].splitlines()[-1])
    assert stays.returncode == 0 and counted["requests"] > 0 and counted["connect"] == counted["timeout"] == 0, counted
    return counted, slowest


def sizes(process):
    """Resident KiB, descriptors and threads."""
    status = Path(f"/proc/{process}/status").read_text()
    resident, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))
    return resident, len(os.listdir(f"/proc/{process}/fd")), threads


def main():
    if not shutil.which("wrk"):
        print("a crowd: skipped, as there is no wrk (apt install wrk)")
        return
    os.environ["ALIA_LIBRARY"] = str(Path(os.environ["ALIA_LIBRARY"]).resolve())
    seconds, seed = float(os.environ.get("ALIA_SERVER_SECONDS", "5")), int(os.environ.get("ALIA_TEST_SEED", "1"))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "requests.lua"
        script.write_text(SCRIPT.replace("SEED", str(seed)))
        model = Path(folder) / "model"
        tiny.write(model)
        with serving(model, "--queue", "32", "--positions", "16384", "--body-time-limit", "2") as (url, process):
            def idle():
                metrics = get(url + "/metrics")
                return running(url) == 0 and "alia_engine_waiting 0.0" in metrics and sizes(process)[1] <= quiet[1] + 1  # ours

            def ask():
                return get(url + "/v1/models/tiny"), get(url + "/health")

            quiet, told = sizes(process), ask()
            crowd = Crowd(int(url.rsplit(":", 1)[1]), random.Random(seed))
            press(url, script, seconds / 2, crowd)
            until(idle)
            before = sizes(process)
            counted, slowest = press(url, script, seconds, crowd)
            until(idle)
            after = sizes(process)
            assert ask() == told
            assert after[0] < before[0] + 16384 and after[1] <= before[1] + 1 and after[2] <= before[2], (quiet, before, after)
    print("a crowd:", ", ".join(f"{what} {count}" for what, count in sorted(crowd.seen.items())))
    print(f"wrk: {counted['requests']} answers, {counted['refused']} of them refusals; /health within {slowest:.2f} s")
    print(f"resident {before[0] / 1024:.1f} MiB, then {after[0] / 1024:.1f}; descriptors {before[1]}, then {after[1]}; threads {before[2]}, then {after[2]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
