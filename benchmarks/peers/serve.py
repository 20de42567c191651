#!/usr/bin/env python3
"""Servers side by side, as their clients see them: `python3 -m alia.server` and `llama_cpp.server` on the same file and threads,
and libalia's engine alone, in turn, with many clients that stream at once.

    peers/bin/python benchmarks/peers/serve.py model.gguf --library build/release/capi/libalia.so --out runs.jsonl

The Python that runs it needs llama-cpp-python[server] and what bindings/python's alia.server needs. A round starts one after the
other, in an order that changes, and measures every number of clients: each sends its own prompt to /v1/completions and reads
the stream to its end. The engine gets the same prompts' tokens and is stepped. Ratios and differences belong to one round; their
median is what counts. The clients are one thread that looks at bytes only and, after the first text, not at each piece, so that it
takes little from the servers."""
import argparse
import ctypes
import datetime
import http.client
import json
import multiprocessing
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parents[2]
words = "la casa del río tiene una puerta verde y nadie sabe quién vive dentro desde aquel invierno tan largo".split()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, command, environment):
        self.port = free_port()
        command += ["--port", str(self.port)]
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while True:
            try:
                if self.answers():
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"serve.py: {' '.join(map(str, command))} does not answer")
            time.sleep(0.2)

    def answers(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"model": "model", "prompt": "a", "max_tokens": 1})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200

    def load(self, prompts, tokens):
        """Seconds to each first text, and to the last end."""
        start, firsts, buffers = time.monotonic(), {}, {}
        with selectors.DefaultSelector() as waiting:
            for number, prompt in enumerate(prompts):
                body = json.dumps({"model": "model", "prompt": prompt, "max_tokens": tokens, "stream": True, "temperature": 0}).encode()
                connection = socket.create_connection(("127.0.0.1", self.port))
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                                   b"Content-Length: %d\r\n\r\n" % len(body) + body)
                waiting.register(connection, selectors.EVENT_READ, number)
                buffers[number] = b""
            while waiting.get_map():
                for key, _ in waiting.select(600):
                    data, number = key.fileobj.recv(1 << 16), key.data
                    buffers[number] += data
                    if number not in firsts and b"data: {" in buffers[number]:
                        firsts[number] = time.monotonic() - start
                        key.fileobj.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1 << 14)  # the rest in large pieces, or at its end
                    if not data or b"data: [DONE]" in buffers[number][-40:]:
                        waiting.unregister(key.fileobj)
                        key.fileobj.close()
        if len(firsts) < len(prompts):
            sys.exit(f"serve.py: {min(buffers.values())[:300]!r}")
        return list(firsts.values()), time.monotonic() - start

    def close(self):
        self.process.terminate()
        self.process.wait()


class Engine:
    """libalia without a server: as many sequences as the server's, stepped."""

    def __init__(self, o):
        os.environ["ALIA_LIBRARY"] = str(Path(o.library).resolve())
        sys.path.insert(0, str(root / "bindings/python"))
        import alia
        from alia import _c
        self.c = _c
        self.model = alia.Model(o.model, threads=o.threads)
        self.handle = ctypes.c_void_p()
        options = _c.EngineOptions(context=4096, sequences=o.sequences, positions=o.positions)
        _c.lib.alia_engine_open(self.model._handle, ctypes.byref(options), ctypes.byref(self.handle))

    def load(self, prompts, tokens):
        c, number = self.c, ctypes.c_uint64()
        ids = [self.model.encode(prompt) for prompt in prompts]
        options = c.RequestOptions(max_tokens=tokens, temperature=0)
        events, count, firsts, left = (c.Event * 64)(), ctypes.c_uint32(), {}, len(prompts)
        for event in events:
            event.size = ctypes.sizeof(c.Event)
        start = time.monotonic()
        for one in ids:
            c.lib.alia_engine_submit(self.handle, (ctypes.c_int32 * len(one))(*one), len(one), ctypes.byref(options), ctypes.byref(number))
        while left:
            c.lib.alia_engine_step(self.handle, events, 64, ctypes.byref(count))
            for event in events[: count.value]:
                if event.text_length and event.request not in firsts:
                    firsts[event.request] = time.monotonic() - start
                left -= event.kind == c.EVENT_FINISHED
        return list(firsts.values()), time.monotonic() - start


class Apart:
    """A contender in a process of its own, whose memory is as fresh as a server's."""

    def __init__(self, kind, *arguments):
        self.process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), Apart.begin, (kind, *arguments))

    @staticmethod
    def begin(kind, *arguments):
        Apart.contender = kind(*arguments)

    @staticmethod
    def load_there(prompts, tokens):
        return Apart.contender.load(prompts, tokens)

    def load(self, prompts, tokens):
        return self.process.submit(Apart.load_there, prompts, tokens).result()

    def close(self):
        self.process.shutdown()


def load(contender, clients, prompt_words, tokens, salt):
    """Seconds to the first text (median) and answers a second, of so many clients at once; several times where they are few."""
    firsts, seconds, times = [], 0, max(1, 16 // clients)
    for time_ in range(times):
        first, took = contender.load(
            [f"{salt} {time_} {i}: " + " ".join(words[(i * 7 + j * (i + 3)) % len(words)] for j in range(prompt_words)) for i in range(clients)],
            tokens)
        firsts += first
        seconds += took
    return statistics.median(firsts), clients * times / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--library", required=True, help="libalia.so")
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--prompt", type=int, default=60, help="words")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--positions", type=int, default=16384)
    parser.add_argument("--only", default="alia,engine,peer")
    parser.add_argument("--out", help="a file to which results are added, as JSON lines")
    o = parser.parse_args()
    python = {"PYTHONPATH": str(root / "bindings/python"), "ALIA_LIBRARY": str(Path(o.library).resolve())}
    size = ["--sequences", str(o.sequences), "--positions", str(o.positions), "--context", "4096"]
    contenders = {
        "alia": lambda: Server([sys.executable, "-m", "alia.server", o.model, "--name", "model", "--threads", str(o.threads), *size], python),
        "engine": lambda: Apart(Engine, o),
        "peer": lambda: Server([sys.executable, "-m", "llama_cpp.server", "--model", o.model, "--model_alias", "model", "--n_threads", str(o.threads),
                                "--n_threads_batch", str(o.threads), "--n_ctx", "4096"], {}),
    }
    names = o.only.split(",")
    counts = [int(n) for n in o.clients.split(",")]
    seen = {n: {name: [] for name in names} for n in counts}
    for round_number in range(o.rounds):
        for name in sorted(names, reverse=round_number % 2 == 1):
            contender = contenders[name]()
            try:
                load(contender, 1, o.prompt, o.tokens, "warm")
                for n in counts:
                    seen[n][name].append(load(contender, n, o.prompt, o.tokens, f"{round_number}"))
            finally:
                contender.close()
    for n in counts:
        alia = seen[n]["alia"]
        result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "file": Path(o.model).name,
                  "measure": "serve", "clients": n, "prompt_words": o.prompt, "tokens": o.tokens, "threads": o.threads, "rounds": o.rounds,
                  "first_text_seconds": {name: round(statistics.median(f for f, _ in seen[n][name]), 6) for name in names},
                  "answers_per_second": {name: round(statistics.median(a for _, a in seen[n][name]), 4) for name in names},
                  "rates": {name: [round(a, 4) for _, a in seen[n][name]] for name in names},
                  "throughput": {f"over_{name}": round(statistics.median(a[1] / b[1] for a, b in zip(alia, seen[n][name])), 4)
                                 for name in names if name != "alia"}}
        if "engine" in names:
            result["first_text_over_engine_seconds"] = round(statistics.median(a[0] - b[0] for a, b in zip(alia, seen[n]["engine"])), 6)
        print(json.dumps(result), flush=True)
        if o.out:
            with open(o.out, "a") as f:
                f.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
