#!/usr/bin/env python3
"""Servers side by side, as their clients see them: `python -m alia.server` and `llama_cpp.server` on the same file and threads,
in turn, with many clients that stream at once.

    peers/bin/python benchmarks/peers/serve.py model.gguf --library build/release/capi/libalia.so --out runs.jsonl

The Python that runs it needs llama-cpp-python[server] and what bindings/python's alia.server needs. A round starts one server
after the other, in an order that changes, and measures every number of clients: each sends its own prompt to
/v1/completions and reads the stream to its end. Ratios belong to one round; their median is what counts."""
import argparse
import datetime
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

root = Path(__file__).resolve().parents[2]
words = "la casa del río tiene una puerta verde y nadie sabe quién vive dentro desde aquel invierno tan largo".split()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, command, port, environment):
        self.port = port
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while True:
            try:
                answer = self.ask("GET", "/v1/models")
                answer.read()
                if answer.status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"serve.py: {' '.join(map(str, command))} does not answer")
            time.sleep(0.2)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse()

    def stream(self, prompt, tokens):
        """Seconds to the first text, and how many pieces came."""
        start = time.monotonic()
        answer = self.ask("POST", "/v1/completions", {"model": "model", "prompt": prompt, "max_tokens": tokens, "stream": True, "temperature": 0})
        if answer.status != 200:
            sys.exit(f"serve.py: {answer.status}: {answer.read()[:300]}")
        first, pieces = None, 0
        for line in answer:
            if line.startswith(b"data: {") and json.loads(line[6:]).get("choices"):
                first = first or time.monotonic() - start
                pieces += 1
        return first, pieces

    def close(self):
        self.process.terminate()
        self.process.wait()


def load(server, clients, prompt_words, tokens, salt):
    """Seconds to the first text (median) and answers a second, of so many clients at once."""
    firsts, problems = [], []

    def client(i):
        try:
            prompt = f"{salt} {i}: " + " ".join(words[(i * 7 + j * (i + 3)) % len(words)] for j in range(prompt_words))
            firsts.append(server.stream(prompt, tokens)[0])
        except (OSError, SystemExit, ValueError) as e:
            problems.append(str(e))
    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    start = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if problems:
        sys.exit(problems[0])
    return statistics.median(firsts), clients / (time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--library", required=True, help="libalia.so")
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--prompt", type=int, default=60, help="words")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", help="a file to which results are added, as JSON lines")
    o = parser.parse_args()
    python = {"PYTHONPATH": str(root / "bindings/python"), "ALIA_LIBRARY": str(Path(o.library).resolve())}
    commands = {
        "alia": lambda port: Server([sys.executable, "-m", "alia.server", o.model, "--port", str(port), "--threads", str(o.threads)], port, python),
        "peer": lambda port: Server([sys.executable, "-m", "llama_cpp.server", "--model", o.model, "--port", str(port), "--n_threads", str(o.threads),
                                     "--n_threads_batch", str(o.threads), "--n_ctx", "4096"], port, {}),
    }
    counts = [int(n) for n in o.clients.split(",")]
    seen = {n: {"alia": [], "peer": []} for n in counts}
    for round_number in range(o.rounds):
        for name in sorted(commands, reverse=round_number % 2 == 1):
            server = commands[name](free_port())
            load(server, 1, o.prompt, o.tokens, "warm")
            for n in counts:
                seen[n][name].append(load(server, n, o.prompt, o.tokens, f"{round_number}"))
            server.close()
    for n in counts:
        alia, peer = seen[n]["alia"], seen[n]["peer"]
        result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "file": Path(o.model).name,
                  "measure": "serve", "clients": n, "prompt_words": o.prompt, "tokens": o.tokens, "threads": o.threads,
                  "first_text_seconds": {"alia": statistics.median(f for f, _ in alia), "peer": statistics.median(f for f, _ in peer)},
                  "answers_per_second": {"alia": statistics.median(a for _, a in alia), "peer": statistics.median(a for _, a in peer)},
                  "ratio": statistics.median(a[1] / p[1] for a, p in zip(alia, peer))}
        print(json.dumps(result))
        if o.out:
            with open(o.out, "a") as f:
                f.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
