#!/usr/bin/env python3
"""The programs of capi/examples, as their users run them: examples.py FOLDER MODEL

FOLDER holds the programs, ask_c and ask_cpp and so on; MODEL has a tokenizer. C and C++ print the same, and all agree with each other."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

folder, model = Path(sys.argv[1]), sys.argv[2]
texts = ["uno dos tres", "hola, hola", "a b c"]


def run(program, *arguments, code=0):
    """What both languages print, on standard output and error."""
    both = [subprocess.run([folder / f"{program}_{language}", *map(str, arguments)], capture_output=True, timeout=300)
            for language in ("c", "cpp")]
    for done in both:
        assert done.returncode == code, (program, arguments, done)
    assert both[0].stdout == both[1].stdout and both[0].stderr == both[1].stderr, both
    return both[0].stdout.decode(), both[0].stderr.decode()


def each_is_used_wrongly():
    for program in ("ask", "chat", "stream", "batch", "embed", "sessions"):
        out, error = run(program, code=2)
        assert out == "" and error.startswith(f"usage: {program} MODEL "), error
        arguments = {"ask": "a", "chat": "a", "stream": "a", "batch": "ab", "embed": "ab", "sessions": "abc"}[program]
        out, error = run(program, "/none.gguf", *arguments, code=1)
        assert out == "" and error.startswith(f"{program}: /none.gguf: ") and error.count("\n") == 1, error


def all_continue_alike():
    whole = [run("ask", model, text)[0] for text in texts]
    assert len(set(whole)) == len(whole) and all(len(answer) > 8 for answer in whole), whole
    for text, answer in zip(texts, whole):
        out, error = run("stream", model, text)
        assert out == answer and " tokens after " in error and "ended by " in error, (out, error)
    assert run("batch", model, *texts)[0] == "".join(map("".join, zip(texts, whole)))


def conversations_are_answered():
    asked = [json.dumps([{"role": "user", "content": text}]) for text in texts]
    answers = [run("chat", model, messages)[0] for messages in asked]
    assert len(set(answers)) == len(answers), answers
    out, error = run("chat", model, asked[0][:-1], code=1)
    assert out == "" and error.startswith("chat: ") and "messages" in error, error


def embeddings_compare():
    lines = run("embed", model, texts[0], *texts)[0].splitlines()
    numbers = [float(line.split()[0]) for line in lines]
    assert [line.split(" ", 1)[1] for line in lines] == texts, lines
    assert numbers[0] == 1 and all(-1 <= n < 0.9999 for n in numbers[1:]), numbers
    assert run("embed", model, texts[1], texts[0])[0].split()[0] == lines[1].split()[0]


def sessions_go_on():
    with tempfile.TemporaryDirectory() as work:
        def files(name):
            return [Path(work) / f"{name}_{language}" for language in ("c", "cpp")]

        def say(program, file, *said):
            return subprocess.run([folder / program, model, file, *said], capture_output=True, check=True, timeout=300).stdout

        at_once, in_turns = files("at_once"), files("in_turns")
        expected = [say(p, f, *texts) for p, f in zip(("sessions_c", "sessions_cpp"), at_once)]
        # Each run takes up what the other language left.
        programs = ("sessions_c", "sessions_cpp", "sessions_c", "sessions_cpp")
        for file, start in zip(in_turns, (0, 1)):
            said = b"".join(say(programs[start + i], file, text) for i, text in enumerate(texts))
            assert said == expected[0] == expected[1], (said, expected)
        states = {f.read_bytes() for f in at_once + in_turns}
        assert len(states) == 1 and len(states.pop()) > 1000
        assert say("sessions_c", Path(work) / "new", texts[2]) != expected[0].splitlines(keepends=True)[-1]
        at_once[0].write_bytes(at_once[0].read_bytes()[:-1])
        refused = subprocess.run([folder / "sessions_cpp", model, at_once[0], "a"], capture_output=True, timeout=300)
        assert refused.returncode == 1 and refused.stdout == b"" and refused.stderr.startswith(b"sessions: "), refused


for check in (each_is_used_wrongly, all_continue_alike, conversations_are_answered, embeddings_compare, sessions_go_on):
    check()
    print(check.__name__.replace("_", " "))
