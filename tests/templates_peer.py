#!/usr/bin/env python3
"""Chat templates, rendered by libalia and by Jinja2 on random conversations.

    templates_peer.py LIBRARY FOLDER ... [--count N] [--seed N] [--write FILE | --check FILE] [--markdown]

The folders hold templates, one a file NAME.jinja. Those of published models are not in this repository: --write keeps the
conversations' results under a template's SHA-256, with the number of those that differ, and --check compares with those,
without Jinja2 (tests/data/templates/families.jsonl). Without --check it needs jinja2 3.1, and exits with 77 where there is none.
ALIA_TEMPLATE_COUNT and ALIA_TEST_SEED stand for --count and --seed."""
import argparse
import ctypes as C
import datetime
import hashlib
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

root = Path(__file__).resolve().parent
sys.path.insert(0, str(root / "truth"))
NOW = datetime.datetime(2024, 9, 30, 12, 4, 5)


class MemoryFile(C.Structure):
    _fields_ = [("size", C.c_uint32), ("zero", C.c_uint32), ("name", C.c_char_p), ("name_length", C.c_uint64), ("bytes", C.c_char_p), ("length", C.c_uint64)]


class ModelOptions(C.Structure):
    _fields_ = [("size", C.c_uint32), ("load", C.c_int32)]


class ChatOptions(C.Structure):
    _fields_ = [("size", C.c_uint32), ("end", C.c_int32), ("tools", C.c_char_p), ("tools_length", C.c_uint64), ("variables", C.c_char_p),
                ("variables_length", C.c_uint64), ("name", C.c_char_p), ("name_length", C.c_uint64), ("now", C.c_int64)]


class Library:
    def __init__(self, path):
        self.lib = C.CDLL(path)
        self.lib.alia_error_message.restype = self.lib.alia_status_name.restype = C.c_char_p
        self.tokenizer = (root / "data/tokenizer/gpt2.json").read_bytes()

    def open(self, template):
        files = (MemoryFile * 2)()
        for file, (name, content) in zip(files, ((b"tokenizer.json", self.tokenizer), (b"chat_template.jinja", template.encode()))):
            file.size, file.name, file.name_length, file.bytes, file.length = C.sizeof(MemoryFile), name, len(name), content, len(content)
        model, options = C.c_void_p(), ModelOptions(8, 1)
        assert self.lib.alia_model_open_memory(files, C.c_uint64(2), C.byref(options), C.byref(model)) == 0, self.lib.alia_error_message()
        return model

    def render(self, model, case):
        messages = json.dumps(case["messages"]).encode()
        tools = json.dumps(case["tools"]).encode() if case["tools"] else b""
        variables = json.dumps(case["variables"]).encode()
        seconds = int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp())
        options = ChatOptions(C.sizeof(ChatOptions), 0 if case["add_generation_prompt"] else 2, tools, len(tools), variables, len(variables), None, 0, seconds)
        text, length = C.c_void_p(), C.c_uint64()
        status = self.lib.alia_chat_render(model, messages, C.c_uint64(len(messages)), C.byref(options), C.byref(text), C.byref(length))
        if status != 0:
            return {"error": self.lib.alia_error_message().decode(), "status": self.lib.alia_status_name(status).decode()}
        result = C.string_at(text, length.value).decode()
        self.lib.alia_text_free(text)
        return {"text": result}

    def close(self, model):
        self.lib.alia_model_free(model)


WORDS = ["hola", "¿qué tal?", "l'aigua", "kaixo", "naïve", "日本", "🙂", "<|im_end|>", "<s>", "</think>", "<think>", "a\nb", "  ", "\t", "\"quoted\"", "it's", "\\n",
         "{{ x }}", "{% if %}", "<tool_call>", "&amp;", "0.5", "[INST]", "\u200b", "None"]


def text(r, least=0):
    return " ".join(r.choice(WORDS) for _ in range(r.randint(least, 6)))


def value(r, depth=0):
    kind = r.randint(0, 8 if depth < 2 else 5)
    if kind == 6:
        return [value(r, depth + 1) for _ in range(r.randint(0, 3))]
    if kind > 6:
        return {r.choice(["a", "b", "ciudad", "ñ", "items", "n'q"]): value(r, depth + 1) for _ in range(r.randint(0, 3))}
    return [None, True, r.randint(-9, 10**6), round(r.uniform(-9, 9), 3), text(r), 1e16 * r.randint(1, 9)][kind]


def tool(r):
    properties = {name: {"type": r.choice(["string", "integer", "number", "boolean"]), "description": text(r), **({"enum": ["a", "b"]} if r.random() < .3 else {})}
                  for name in r.sample(["ciudad", "día", "n", "unit"], r.randint(0, 3))}
    if r.random() < .3:
        properties["list"] = {"type": "array", "items": {"type": "string"}, "description": "l"}
    parameters = {"type": "object", "properties": properties, "required": r.sample(sorted(properties), r.randint(0, len(properties)))}
    return {"type": "function", "function": {"name": r.choice(["tiempo", "sumar", "get_x"]), "description": text(r, 1), "parameters": parameters}}


def call(r, number):
    arguments = {k: value(r) for k in r.sample(["ciudad", "día", "n"], r.randint(0, 3))}
    return {"id": f"call{number:05}", "type": "function", "function": {"name": r.choice(["tiempo", "sumar"]), "arguments": arguments}}


def conversation(r):
    """Mostly of the form that templates want; now and then one that they refuse."""
    messages = [{"role": "system", "content": text(r)}] if r.random() < .5 else []
    tools = [tool(r) for _ in range(r.randint(1, 3))] if r.random() < .45 else None
    number = 0
    for _ in range(r.randint(1, 3)):
        messages.append({"role": "user", "content": text(r, 1)})
        if tools and r.random() < .6:
            calls = [call(r, number + i) for i in range(r.randint(1, 2) if r.random() < .3 else 1)]
            number += len(calls)
            messages.append({"role": "assistant", "content": r.choice(["", text(r), None, ""]), "tool_calls": calls})
            messages += [{"role": "tool", "name": c["function"]["name"], "tool_call_id": c["id"], "content": text(r) or "x"} for c in calls]
        if r.random() < .8:
            answer = {"role": "assistant", "content": text(r, 1)}
            if r.random() < .25:
                answer["reasoning_content"] = text(r)
            elif r.random() < .2:
                answer["content"] = "<think>\n" + text(r) + "\n</think>\n\n" + answer["content"]
            messages.append(answer)
    if r.random() < .8 and messages[-1]["role"] == "assistant":
        messages.append({"role": "user", "content": text(r, 1)})
    if r.random() < .08:
        r.shuffle(messages)
    if r.random() < .05:
        r.choice(messages)["role"] = r.choice(["developer", "critic", "user"])
    if r.random() < .1:
        message = r.choice(messages)
        message["content"] = [{"type": "text", "text": text(r)}]
    variables = {"bos_token": "<s>", "eos_token": "</s>"}
    for name, choices in (("enable_thinking", [True, False]), ("date_string", ["26 Jul 2024"]), ("thinking", [True, False]), ("reasoning_effort", ["high"]),
                          ("custom_tools", [None]), ("functions", ["[]"]), ("datetime", ["today"]), ("documents", [[{"title": "t", "text": "x", "doc_id": 1}]])):
        if r.random() < (.9 if name in ("functions", "datetime") else .2):
            variables[name] = r.choice(choices)
    return {"messages": messages, "tools": tools, "add_generation_prompt": r.random() < .6, "variables": variables}


def digest(result):
    return hashlib.sha256(result["text"].encode()).hexdigest() if "text" in result else "error"


def judge(ours, theirs):
    if "text" in theirs:
        return "same" if ours == theirs else "different"
    if "text" in ours:
        return "different"
    return "refused by both" if ours["status"] in ("invalid_argument", "malformed") else "different"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--count", type=int, default=os.environ.get("ALIA_TEMPLATE_COUNT", 200))
    parser.add_argument("--seed", type=int, default=os.environ.get("ALIA_TEST_SEED", 1))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--check", type=Path)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--show", type=int, default=0, help="differences to print of each template")
    o = parser.parse_args()
    if not o.check:
        try:
            from jinja import render
        except ImportError:
            print("skipped: there is no jinja2")
            return 77
    library, failed, kept = Library(o.library), False, []
    stored = {(k["template"], k["sha256"]): k for k in map(json.loads, o.check.read_text().splitlines())} if o.check else {}
    for path in sorted(path for folder in o.folders for path in folder.glob("**/*.jinja")):
        template = path.read_text()
        record = {"template": path.stem, "sha256": hashlib.sha256(template.encode()).hexdigest(), "seed": o.seed, "results": []}
        known = stored.get((record["template"], record["sha256"]))
        if o.check and not known:
            continue
        count, shown = Counter(), 0
        model = library.open(template)
        for i in range(len(known["results"]) if known else o.count):
            case = conversation(random.Random(f"{known['seed'] if known else o.seed}/{i}"))
            ours = library.render(model, case)
            if known:
                count["same" if digest(ours)[:8] == known["results"][i] else "different"] += 1
                continue
            variables = {"tools": None, "documents": None, **case["variables"], **{k: v for k, v in case.items() if k != "variables"}}
            theirs = render(template, variables)
            record["results"].append(digest(theirs)[:8])
            verdict = judge(ours, theirs)
            count[verdict] += 1
            if verdict == "different" and shown < o.show:
                shown += 1
                print(json.dumps({"case": case, "ours": ours, "theirs": theirs}, ensure_ascii=False, indent=1))
        library.close(model)
        kept.append(record | ({"different": count["different"]} if count["different"] else {}))
        failed |= count["different"] != (known or {}).get("different", 0)
        columns = [path.stem, *(str(count[k]) for k in ("same", "refused by both", "different"))]
        print("| " + " | ".join(columns) + " |" if o.markdown else "  ".join(columns), flush=True)
    if o.write:
        o.write.write_text("".join(json.dumps(k) + "\n" for k in kept))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
