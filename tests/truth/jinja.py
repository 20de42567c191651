#!/usr/bin/env python3
"""Jinja2 as Hugging Face sets it up: what chat templates are compared with. Needs jinja2 3.1."""
import datetime
import functools
import json

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = datetime.datetime(2024, 9, 30, 12, 4, 5)


class Generation(jinja2.ext.Extension):
    """Hugging Face's mark of an assistant's words, which prints what it holds."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        return jinja2.nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True), lineno=line)


def environment():
    """As transformers.utils.chat_template_utils makes it."""
    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                        extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = NOW.strftime
    return made


@functools.cache
def compiled(template):
    return environment().from_string(template)


def render(template, variables):
    """{"text": ...}, or {"error": Python's message}, or {"syntax": line}."""
    try:
        made = compiled(template)
    except jinja2.exceptions.TemplateSyntaxError as e:
        return {"syntax": e.lineno}
    try:
        return {"text": made.render(**variables)}
    except Exception as e:  # noqa: BLE001: whatever a template makes Python say
        return {"error": f"{type(e).__name__}: {e}"}
