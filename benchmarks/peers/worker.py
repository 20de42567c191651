"""One engine in a process of its own: options, then commands as JSON lines on standard input; answers on standard output.
compare.py starts two of these."""
import json
import sys


def peak_memory():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def open_engine(o):
    if o["engine"] == "alia":
        from libalia import Alia
        return Alia(o)
    from llama_cpp_peer import LlamaCpp
    return LlamaCpp(o)


def answer(engine, command):
    if command["do"] in ("roofs", "read_bytes"):
        return getattr(engine, command["do"])()
    return {"seconds": getattr(engine, command["do"])(command["tokens"], command["variant"])}


def main():
    replies, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints stays out of the answers

    def reply(value):
        print(json.dumps(value), file=replies, flush=True)

    try:
        engine = open_engine(json.loads(sys.stdin.readline()))
        reply({"name": engine.name(), "load_seconds": engine.load_seconds, "variants": engine.variants, "peak_bytes": peak_memory()})
        while line := sys.stdin.readline():
            reply(answer(engine, json.loads(line)))
    except RuntimeError as e:
        reply({"error": str(e)})


if __name__ == "__main__":
    main()
