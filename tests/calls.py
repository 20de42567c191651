#!/usr/bin/env python3
"""Writes a C program that calls every function of the C interface with right and wrong arguments: calls.py OUT.c

Functions and structs come from capi/alia.h and capi/alia_unstable.h. Each parameter and field has a kind, from its type
and its neighbours, which says how tests/calls_draw.h draws it. One that has none is an error here: a new function is
called as soon as it is declared, or its author is told what is missing."""
import re
import sys
from pathlib import Path

HEADERS = [Path(__file__).resolve().parent.parent / "capi" / name for name in ("alia.h", "alia_unstable.h")]
NUMBERS = ("int32_t", "uint32_t", "int64_t", "uint64_t")
ARRAY = r"const (int32_t|float)\*"

# What a right argument is, by function and parameter or by parameter.
TEXTS = {"path": "model", "source": "model", "target": "out", "type": "Q8_0", "text": "la", "device": "cpu", "name": "",
         "value": "1", "alia_model_options_set.name": "threads", "alia_engine_options_set.name": "chunk",
         "alia_request_options_set.name": "top_p", "alia_imatrix.path": "out", "alia_sequence_save_file.path": "out",
         "alia_sequence_restore_file.path": "state", "alia_request_options.salt": "tenant",
         "alia_model_options.device": "cpu", "alia_quantize_options.imatrix": "",
         "alia_imatrix_options.datasets": "a\\nb",
         "alia_text_part.text": "la ola", "messages": '[{\\"role\\": \\"user\\", \\"content\\": \\"la\\"}]',
         "tools": "[]", "variables": "{}", "template_name": ""}
ARRAYS = {"ids": ("prompt", "prompt_count"), "lengths": ("(const uint64_t[]){prompt_count}", "1"),
          "logits": ("flat_logits", "logit_count"), "bytes": ("saved.at", "saved.count"),
          "alia_model_decode.ids": ("((const int32_t[]){1, 2, 3, 4})", "4")}
SCALARS = {"flags": "0", "threads": "1", "sequence": "a_sequence()", "request": "a_request()", "completion": "0",
           "token": "3", "length": "0", "abi": "ALIA_ABI_VERSION", "status": "ALIA_BAD_HANDLE"}
# Fields that differ from their macro's values, for element `i` where it is one of an array.
RIGHT = {"alia_model_options": "o.threads = 1;", "alia_quantize_options": "o.threads = 1;",
         "alia_engine_options": "o.context = 64, o.sequences = 4, o.queue = 32;",
         "alia_request_options": "o.max_tokens = 4;",
         "alia_reader": "o.file_size = file_size, o.read = read_file;",
         "alia_memory_file": "o.name = file_names[i], o.name_length = strlen(file_names[i]), o.bytes = contents[i], "
                             "o.length = sizes[i];"}
COUNTS = {"alia_text_part": "below(4)", "alia_memory_file": "file_count"}
CALLBACKS = {"alia_reader.file_size": "odd_file_size", "alia_reader.read": "odd_read"}
# Functions that may never succeed here, and why.
UNLUCKY = {"alia_device_roofs": "it takes a second of the whole device: a result is always NULL",
           "alia_engine_choose": "a completion must be waiting for it"}
OWNED = {"char": "alia_text_free", "int32_t": "alia_ids_free", "void": "alia_bytes_free"}


class Unknown(Exception):
    pass


def can_fail(result, name):
    return result == "alia_status" and name != "alia_error_status"


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)


def functions(header):
    text = re.sub(r"^\s*#.*?(?<!\\)$", "", without_comments(header), flags=re.M | re.S)
    for result, name, parameters in re.findall(r"ALIA_API\s+([\w\s*]+?)\b(alia_\w+)\s*\(([^)]*)\)\s*;", text):
        yield result.strip(), name, [split(p) for p in parameters.split(",") if p.strip() != "void"]


def split(declaration):
    words = re.sub(r"\bstruct\s+", "", " ".join(declaration.split()))
    kind, name = re.fullmatch(r"(.*?[\s*])(\w+)", words).groups()
    return kind.replace(" *", "*").strip(), name


def structs(header):
    """Name, and of each field: type, name, the field that counts its elements."""
    for name, body in re.findall(r"typedef struct (alia_\w+) \{(.*?)\n\} \1;", header, flags=re.S):
        if not re.search(r"^\s*uint32_t size;", body, flags=re.M):
            continue
        fields = []
        for declaration, comment in re.findall(r"((?:/\*.*?\*/|[^;/])+);[ \t]*(/\*.*?\*/)?", body, flags=re.S):
            declaration = " ".join(without_comments(declaration).split())
            if not declaration:
                continue
            callback = re.fullmatch(r"\w+ \(\*(\w+)\)\(.*\)", declaration)
            counted = re.match(r"/\*\s*\[(\w+)\]", comment)
            fields.append((("callback", callback[1]) if callback else split(declaration)) + (counted and counted[1],))
        yield name, fields


def right(table, owner, name):
    for key in (f"{owner}.{name}", name):
        if key in table:
            return table[key]
    raise Unknown(f"{owner}: nothing says what a right {name} is")


def field_lines(struct, fields):
    """Statements that give wrong values to some fields of `o`."""
    names = {name: kind for kind, name, _ in fields}
    counts = {count for _, _, count in fields if count}
    lengths = {f"{name}_length" for _, name, _ in fields} | ({"length"} if "length" in names else set())
    for kind, name, count in fields:
        if name == "size" or name in counts or name in lengths and "*" not in kind:
            continue
        length = next((n for n in (f"{name}_length", "length") if n in names), None)
        if kind == "const char*" and length:
            text = right(TEXTS, struct, name)
            yield f'if (wrong_field()) a = a_text("{name}", "{text}", 1, 0), o.{name} = a.at, o.{length} = a.count;'
        elif kind == "const void*" and length:
            array = f'an_array("{name}", o.{name}, o.{length}, type_void, 1, 0)'
            yield f"if (wrong_field()) a = {array}, o.{name} = a.at, o.{length} = a.count;"
        elif kind in NUMBERS:
            yield f'o.{name} = an_{kind}("{name}", (int64_t)o.{name}, wrong_field());'
        elif kind == "double":
            yield f'o.{name} = a_double("{name}", o.{name}, wrong_field());'
        elif kind == "alia_progress_callback":
            yield f"o.{name} = a_progress(wrong_field());"
        elif kind == "callback":
            yield f"if (wrong_field()) o.{name} = below(2) ? NULL : {right(CALLBACKS, struct, name)};"
        elif kind == "const char* const*" and count:
            yield f"if (wrong_field()) o.{count} = some_texts(&o.{name}, &o.{name}_length);"
        elif count and re.fullmatch(ARRAY, kind):
            continue
        elif count and name in lengths or name == "user":
            continue
        else:
            raise Unknown(f"{struct}: no kind for the field {name} of type {kind}")
    for count in sorted(counts):
        arrays = [(name, kind[6:-1]) for kind, name, c in fields if c == count and re.fullmatch(ARRAY, kind)]
        if arrays:
            yield "if (wrong_field()) {"
            yield "    const size_t n = 1 + below(4);"
            for name, kind in arrays:
                yield f'    o.{name} = below(8) ? some_elements("{name}", n, type_{kind}) : NULL;'
            huge = "UINT32_MAX" if names[count] == "uint32_t" else "UINT64_MAX"
            yield f"    o.{count} = ({names[count]})n;"
            nulls = "".join(f"o.{name} = NULL, " for name, _ in arrays)
            yield f"    if (below(8) == 0) {nulls}o.{count} = {huge};"
            yield "}"


def struct_drawer(struct, fields):
    macro = re.sub(r"(?<!^)_?options$", "_OPTIONS", struct).upper()
    yield f"static {struct} some_{struct}(size_t i) {{"
    yield f"    {struct} o = {macro}_INIT;"
    yield "    array a;"
    yield "    (void)i, (void)a;"
    if struct in RIGHT:
        yield f"    {RIGHT[struct]}"
    for line in field_lines(struct, fields):
        yield f"    {line}"
    yield "    return o;"
    yield "}"


class Call:
    """The statements of one call of a function."""

    def __init__(self, result, name, parameters, known):
        self.result, self.name, self.known = result, name, known
        self.before, self.arguments, self.after = [], [], []
        rest = list(parameters)
        while rest:
            rest = rest[self.take(rest):]

    def take(self, rest):
        (kind, name), (next_kind, next_name) = rest[0], rest[1] if len(rest) > 1 else ("", "")
        target = re.sub(r"^const |\*+$", "", kind)
        counted = next_kind == "uint64_t" and re.fullmatch(r"\w*(length|count)", next_name)
        if kind in ("alia_model*", "alia_engine*"):
            article = "an" if kind == "alia_engine*" else "a"
            return self.add(f"{kind} {name} = {article}_{target[5:]}({int(self.name == target + '_free')});", name)
        if kind == "const char*" and counted:
            value = f'a_text("{name}", "{right(TEXTS, self.name, name)}", wrong(), 1)'
            return self.add(f"const array {name} = {value};", f"{name}.at", f"{name}.count")
        if kind in ("const void*", "const int32_t*", "const uint64_t*", "const float*") and counted:
            values, count = right(ARRAYS, self.name, name)
            value = f'an_array("{name}", {values}, {count}, type_{target}, wrong(), 1)'
            return self.add(f"const array {name} = {value};", f"{name}.at", f"{name}.count")
        if kind.startswith("const ") and target in self.known and counted:
            self.before += [f"{target} {name}_items[8];", f"const size_t {name}_count = {COUNTS[target]};",
                            f"for (size_t i = 0; i < {name}_count; ++i) {name}_items[i] = some_{target}(i);"]
            value = f'structs("{name}", {name}_items, {name}_count, sizeof({target}))'
            return self.add(f"const array {name} = {value};", f"{name}.at", f"{name}.count")
        if kind == "alia_event*" and (next_kind, next_name) == ("uint32_t", "capacity"):
            return self.add(f"uint32_t capacity;\n    alia_event* {name} = some_events(&capacity);", name, "capacity")
        if target in self.known and kind.count("*") == 1:
            self.before.append(f"const {target} {name}_as = some_{target}(0);")
            if kind.startswith("const "):
                return self.add(f'{kind} {name} = a_struct("{name}", &{name}_as, sizeof {name}_as);', name)
            self.before.append(f'{target}* {name} = a_struct("{name}", &{name}_as, sizeof {name}_as);')
            return self.add(f"if ({name}) watched({name}, block_size); else must_fail = 1;", name)
        if self.result == "void" and kind[:-1] in OWNED:
            return self.add("", "NULL")
        if kind in NUMBERS + ("alia_status",):
            if name == "milliseconds":
                return self.add(f'const {kind} {name} = a_wait("{name}");', name)
            base = "int32_t" if kind == "alia_status" else kind
            value = right(SCALARS, self.name, name)
            return self.add(f'const {kind} {name} = an_{base}("{name}", (int64_t){value}, wrong());', name)
        if kind.endswith("*") and not re.fullmatch(r"const \w+\*", kind):
            return self.result_pointer(kind, name, next_kind, next_name)
        raise Unknown(f"{self.name}: no kind for the parameter {name} of type {kind}")

    def result_pointer(self, kind, name, next_kind, next_name):
        never = int(self.name in UNLUCKY and "NULL" in UNLUCKY[self.name])
        target = kind[:-1]
        self.add(f'{kind} {name} = an_out("{name}", sizeof({target}), {never});', name)
        element = re.sub(r"^const |\*$", "", target)
        if target in ("alia_model*", "alia_engine*"):
            self.after += [f'expect({target[:-1]}_free(*{name}) == ALIA_OK, "a new handle is bad");',
                           f"has_ended(*{name});"]
        elif target.endswith("*"):
            size = "1" if element in ("void", "char") else f"sizeof({element})"
            self.after.append(f"touch(*{name}, *{next_name} * {size});")
            if element == "char" and not target.startswith("const"):
                self.after.append(f'expect((*{name})[*{next_name}] == 0, "no NUL behind a text");')
            if not target.startswith("const"):
                self.after.append(f"{OWNED[element]}(*{name});")
        elif target == "uint64_t" and name in ("request", "sequence", "copy"):
            self.after.append(f"{'request' if name == 'request' else 'sequence'}_given(*{name});")
        elif target not in NUMBERS + ("double",):
            raise Unknown(f"{self.name}: no kind for the result {name} of type {target}")
        return 1

    def add(self, statement, *arguments):
        if statement:
            self.before.append(statement)
        self.arguments += arguments
        return len(arguments)

    def lines(self, index):
        call = f"{self.name}({', '.join(self.arguments)})"
        yield f"static void call_{self.name}(void) {{"
        yield from (f"    {line}" for line in self.before)
        yield "    trace();"
        if can_fail(self.result, self.name):
            yield f"    if (ended_well({call}, &counts[{index}])) {{"
            yield from (f"        {line}" for line in self.after)
            yield "    }"
        elif self.result == "const char*":
            yield f"    is_text({call});\n    ++counts[{index}].calls;"
        elif self.result in NUMBERS + ("alia_status",):
            yield f"    touched += (unsigned){call};\n    ++counts[{index}].calls;"
        elif self.result == "void":
            yield f"    {call};\n    ++counts[{index}].calls;"
        else:
            raise Unknown(f"{self.name}: no kind for its result {self.result}")
        yield "}"


def program(headers):
    known = dict(s for h in headers for s in structs(h))
    taken = {"alia_progress", "alia_event"}  # written by the library
    declared = [f for h in headers for f in functions(h)]
    if len(declared) != sum(len(re.findall(r"^ALIA_API ", h, flags=re.M)) for h in headers):
        raise Unknown("a declaration that is no function")
    yield "/* Written by tests/calls.py. */"
    yield '#define _GNU_SOURCE\n#include "tests/calls.h"\n'
    yield f"enum {{ function_count = {len(declared)} }};"
    yield "static count counts[function_count] = {"
    for result, name, _ in declared:
        yield f'    {{"{name}", {int(can_fail(result, name))}, {int(name in UNLUCKY)}, 0, 0}},'
    yield "};\n"
    for struct, fields in known.items():
        if struct not in taken:
            yield from struct_drawer(struct, fields)
    for i, (result, name, parameters) in enumerate(declared):
        yield from Call(result, name, parameters, known).lines(i)
    yield "static void (*const calls[function_count])(void) = {"
    yield from (f"    call_{name}," for _, name, _ in declared)
    yield "};\n"
    yield '#include "tests/calls_main.h"'


def refused(header):
    try:
        list(program([header]))
    except Unknown:
        return True
    return False


def self_test():
    assert refused("ALIA_API alia_status alia_x(alia_surprise* s);")
    assert refused("ALIA_API alia_status alia_x(int32_t surprise);")
    assert refused("typedef struct alia_x_options {\n uint32_t size;\n surprise* s;\n} alia_x_options;")
    assert not refused("ALIA_API alia_status alia_x(alia_model* model, int32_t* token);")


if __name__ == "__main__":
    self_test()
    Path(sys.argv[1]).write_text("\n".join(program([h.read_text() for h in HEADERS])) + "\n")
