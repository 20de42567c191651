"""The server as a program."""
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from fixtures import WithModel, tiny, until

try:
    import prometheus_client  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as missing:
    raise unittest.SkipTest(f"alia.server needs {missing.name}") from None


class TestCommand(WithModel):
    def command(self, *arguments, **environment):
        return subprocess.Popen(
            [sys.executable, "-m", "alia.server", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(tiny.root / "bindings/python")} | environment,
        )

    @contextlib.contextmanager
    def running(self, *arguments, **environment):
        """A function that asks the server: the path and headers to the status and the body. Its `port` is the server's,
        and `told` what that said until it had ended."""
        process = self.command(self.folder, "--port", "0", "--context", "64", *arguments, **environment)
        lines = iter(process.stderr.readline, "")
        port = next(int(m[1]) for line in lines if (m := re.search(r"http://127\.0\.0\.1:(\d+)", line)))

        def ask(path, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", ask.port)
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            data = response.read()
            connection.close()
            return response.status, data

        ask.port = port
        until(lambda: ask("/health")[0] == 200)
        yield ask
        process.send_signal(signal.SIGTERM)
        ask.told = process.communicate(timeout=30)[1]
        self.assertEqual(process.returncode, 0, ask.told)
        self.assertNotIn("Traceback", ask.told)

    def test_it_serves_and_ends(self):
        with self.running("--name", "mine", ALIA_API_KEYS="k1, k2") as ask:
            self.assertEqual(ask("/v1/models")[0], 401)
            self.assertIn(b'"mine"', ask("/v1/models", Authorization="Bearer k2")[1])
            self.assertEqual(ask("/v1/models", Host="models.example", Authorization="Bearer k1")[0], 200)

    def test_what_is_no_http(self):
        """Is refused, and a line in the log; the server goes on."""
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        nonsense = [
            b"\x16\x03\x01\x02\r\n\r\n", b"GET / HTTP/one\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"a" * 70000,
            head + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n", head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        ]
        with self.running() as ask:
            for sent in nonsense:
                with socket.create_connection(("127.0.0.1", ask.port), timeout=30) as connection:
                    connection.sendall(sent)
                    self.assertIn(b"HTTP/1.1 400", connection.recv(1000))
                self.assertEqual(ask("/health"), (200, b'{"status":"ready"}'))
            with socket.create_connection(("127.0.0.1", ask.port), timeout=30) as connection:
                connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
                self.assertIn(b"HTTP/1.1 415", connection.recv(1000))
                connection.sendall(b"zz\r\n")  # in a body that was refused already
                while connection.recv(1000):
                    pass
        self.assertEqual(len(re.findall("(?m)^WARNING: .*Invalid HTTP request received.$", ask.told)), len(nonsense) + 1, ask.told)

    def test_names(self):
        with self.running() as ask:
            for host in ("localhost:8000", "LOCALHOST", "127.0.0.1", "[::1]:8000", "127.9.9.9:1"):
                self.assertEqual(ask("/v1/models", Host=host)[0], 200, host)
            for host in ("models.example", "127.0.0.1.example:8000", "", "[", "10.0.0.1", "localhost.example"):
                self.assertEqual(ask("/v1/models", Host=host)[0], 403, host)

    def test_it_refuses(self):
        with tempfile.NamedTemporaryFile("w") as empty:
            empty.write("# none\n")
            empty.flush()
            for arguments, wanted in ((["/nonexistent"], "/nonexistent"), ([self.folder, "--api-keys", empty.name], "holds no key"),
                                      ([self.folder, "--api-keys", "/nonexistent"], "/nonexistent")):
                out, told = self.command(*arguments).communicate(timeout=30)
                self.assertEqual((out, told.count("\n")), ("", 1), told)
                self.assertIn(wanted, told)
        out, told = self.command("--help").communicate(timeout=30)
        self.assertEqual(told, "")
        self.assertIn("python3 -m alia.server model.gguf", out)


if __name__ == "__main__":
    unittest.main()
