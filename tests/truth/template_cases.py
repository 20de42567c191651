#!/usr/bin/env python3
"""Writes tests/data/templates/language.jsonl: small templates and what Jinja2 makes of them, set up as Hugging Face does.
Usage: template_cases.py OUT. Needs jinja2 3.1."""
import json
import sys
from pathlib import Path

from jinja import render

VARIABLES = {
    "n": 5, "x": 2.5, "b": True, "nil": None, "s": "Hola, ¿qué tal?  ", "e": "", "big": 12345678901234567, "tiny": 1e-7,
    "list": [3, 1, 2], "words": ["uno", "Dos", "tres"], "quote": "it's", "both": "it's \"so\"", "html": "<a href=\"x\">&'</a>",
    "control": "a\tb\nc\\d\u0001\u00a0\u200b\u00f1\U0001F600\u2028", "lines": "uno\n\n  dos\r\ntres\n",
    "d": {"b": 1, "a": [True, None, 1.0], "items": "shadowed", "ñ": "é"},
    "people": [{"name": "Ana", "age": 30, "tags": ["x"]}, {"name": "bea", "age": 25}, {"name": "Ciro", "age": 30, "tags": []}],
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " u "}, {"role": "assistant", "content": "a", "tool_calls": []}],
    "floats": [1.0, 0.1, 1e16, 1e15, 123456.789, -0.0, 1e-5, 0.0001, 3.0e22, 2.5e-10],
}

TEMPLATES = r"""
{{ n }} {{ x }} {{ b }} {{ nil }} {{ s }} {{ list }} {{ d }} {{ missing }}|
{{ floats }} {{ big }} {{ tiny }} {{ 1e3 }} {{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1.50 }}
{{ [quote, both, control, e] }}
{{ control | tojson }} {{ d | tojson }} {{ floats | tojson }} {{ [nil, b, "é", html] | tojson }}
{{ d | tojson(indent=2) }} {{ [] | tojson(indent=2) }} {{ {} | tojson(indent=4) }} {{ [[1],[]] | tojson(indent=1) }}
{{ d | tojson(separators=(',', ':'), sort_keys=true) }} {{ "ñ\u2028😀" | tojson(ensure_ascii=true) }}
{{ (1,) }} {{ (1, 2) }} {{ () }} {{ (1) }} {{ [1, 'a', (2, [3])] }} {{ {1: 2, 'a': {'b': none}, true: 3} }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 6 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 1.5 // 1 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }}
{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 'ab' * 3 }} {{ 3 * [1, 2] }} {{ 'a' ~ 1 ~ none ~ 2.0 }} {{ 1 ~ (2 + 3) }} {{ b + b }}
{{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' 'b' "c" }} {{ -n }} {{ +n }} {{ - - n }} {{ not b }} {{ not not nil }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ none == none }} {{ missing == nope }} {{ [1] != [2] }} {{ 2 >= 2 }} {{ 2 <= 1 }} {{ 3 > 2.5 }}
{{ 'qué' in s }} {{ 4 in list }} {{ 'a' in d }} {{ 'z' not in d }} {{ 'x' in missing }} {{ 1 not in list }} {{ not 1 in list }}
{{ b and n }} {{ e or 'x' }} {{ nil and 1 }} {{ e or nil }} {{ 0 or [] or 'last' }} {{ 1 and 2 and 0 and 3 }}
{{ 'yes' if b else 'no' }} {{ 'yes' if nil }}| {{ 1 if nil else 2 if nil else 3 }} {{ ('a' if b else 'b') ~ 'c' }}
{{ s[0] }}{{ s[-1] }}{{ s[99] }} {{ s[1:5] }} {{ s[::-1] }} {{ s[6:] }} {{ s[:-3] }} {{ s[-5:-2] }} {{ s[::2] }} {{ s[10:2:-3] }} {{ s[99:] }}|
{{ list[0] }} {{ list[-1] }} {{ list[1:] }} {{ list[::-1] }} {{ list[:1] }} {{ list[5] }}| {{ list[1:][0] }} {{ (1,2,3)[1:] }} {{ list[-99:99] }} {{ list[2:0:-1] }}
{{ d.b }} {{ d['b'] }} {{ d['items'] }} {{ d.a[2] }} {{ d.nope }}| {{ d['nope'] }}| {{ d.get('b') }} {{ d.get('z') }} {{ d.get('z', 1) }} {{ people[0].name }} {{ people.0.name }} {{ messages[0]['content'] }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {{ d.keys() | list }} {{ d.values() | list }} {{ d | list }} {{ d | length }} {{ d | items | list }}
{% for k in d %}{{ k }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}
{% for i in list %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}
{% for i in range(10) if i % 3 == 0 %}{{ i }}:{{ loop.index }}/{{ loop.length }} {% endfor %}
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in [1,2] %}{% for j in [3,4] %}{{ i }}{{ j }}{{ loop.depth }} {% endfor %}{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a }}-{{ b }} {% endfor %}{% for (a, (b, c)) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for c in 'añb' %}[{{ c }}]{% endfor %}{% for x in missing %}no{% endfor %}{% for i in [1,2,3] %}{{ loop.cycle('a', 'b') }}{% endfor %}{% for i in [1,1,2] %}{{ loop.changed(i) }}{% endfor %}
{% set a = 1 %}{% for i in [1,2] %}{{ a }}{% set a = a + 1 %}{{ a }} {% endfor %}{{ a }}
{% set ns = namespace(n=0, t='') %}{% for i in list %}{% set ns.n = ns.n + i %}{% set ns.t = ns.t ~ i %}{% endfor %}{{ ns.n }} {{ ns.t }} {{ ns.nope is defined }} {{ ns }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}{% set ns.c = [ns.a] %}{{ ns.c }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set a, b = b, a %}{{ a }}{{ b }}
{% set t %}<{{ n }}>{% endset %}{{ t }}{% set u | upper | trim %} abc {% endset %}{{ u }}|
{% if n > 9 %}a{% elif n > 4 %}b{% elif true %}c{% else %}d{% endif %}{% if nil %}x{% endif %}{% if e %}x{% else %}y{% endif %}
{% macro f(a, b=2, c='x') %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f(b=1, a=0) }}{{ f() }}{{ f(1,2,3) }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, a=3) }}{% macro g(x) %}[{{ caller() }}:{{ x }}]{% endmacro %}{% call g(1) %}in{{ n }}{% endcall %}
{% macro g() %}{{ caller(7) }}{% endmacro %}{% call(v) g() %}<{{ v }}>{% endcall %}
{% set outer = 'o' %}{% macro f() %}{{ outer }}{{ later }}{% endmacro %}{% set later = 'l' %}{{ f() }}
{% macro f(x) %}{% set y = x %}{{ y }}{% endmacro %}{{ f(1) }}{{ y is defined }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 3 %}{{ a }}{% endwith %}{{ a is defined }}
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b') | title %}aa ab{% endfilter %}
{% raw %}{{ not }} {% this %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  |
{# comment #}a{#- comment -#}  b{# {{ x }} {% y %} #}
{% generation %}{{ n }}{% endgeneration %}
  {% if b %}
    line
  {% endif %}
end
  {%+ if b %}x{% endif +%}
y{{ n -}}   z   {{- n }}
a  {%- if b -%}  b  {%- endif -%}  c
{%- for i in list %}
  - {{ i }}
{%- endfor %}

{% for i in list -%}
  {{ i }},
{%- endfor %}|
	{% set q = 1 %}	{# c #}
|   {{ q }}
x {% if b %} y {% endif %} z
{{ '}}' }}{{ "%}" }}{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': {}} }}
{{ 'a\nb\t\\\'\"\x41\u00e9\q\101' }}{{ "multi
line" }}
{{ "  x y ".strip() }}|{{ "xxaxx".strip('x') }}|{{ " a ".lstrip() }}|{{ " a ".rstrip() }}|{{ s.strip() }}|{{ "áéá".strip('á') }}
{{ "a b  c".split() }}{{ "a,b,,c".split(',') }}{{ "a,b,c".split(',', 1) }}{{ "a b c d".split(maxsplit=1) }}{{ "a,b,c".rsplit(',', 1) }}{{ " a  b c ".rsplit(none, 1) }}{{ "".split(',') }}{{ "".split() }}{{ " a b c ".split(none, 2) }}
{{ "</think>x</think>y".split('</think>')[-1] }}{{ "abc".split('b')[0] }}{{ "a\nb\r\nc".splitlines() }}{{ "a\nb".splitlines(true) }}{{ lines.splitlines() }}
{{ "abc".startswith('a') }}{{ "abc".endswith('bc') }}{{ "abc".startswith(('x', 'ab')) }}{{ "abc".endswith(()) }}{{ "abc".find('c') }}{{ "abc".find('z') }}{{ "ñbñ".rfind('ñ') }}{{ "abcb".index('b') }}{{ "banana".count('an') }}{{ "ab".count('') }}
{{ "aXbX".replace('X', 'yy') }}{{ "aaa".replace('a', 'b', 2) }}{{ "ab".replace('', '-') }}{{ "abc".removeprefix('a') }}{{ "abc".removesuffix('c') }}{{ "a=b=c".partition('=') }}{{ "a=b=c".rpartition('=') }}{{ "a".partition('=') }}{{ "a".rpartition('=') }}
{{ "éaB".upper() }}{{ "ÉAb".lower() }}{{ "hello wORLD".title() }}{{ "hELLO".capitalize() }}{{ "straße".upper() }}{{ "12".isdigit() }}{{ "".isdigit() }}{{ "ab".isalpha() }}{{ "a1".isalnum() }}{{ " ".isspace() }}{{ "aB".islower() }}{{ "ab".islower() }}{{ "A1".isupper() }}
{{ ", ".join(words) }}{{ "{} and {}".format(1, 'b') }}{{ "{1}{0}{name}{{}}".format(1, 2, name='x') }}{{ "%s=%d%%" % ('a', 3) }}{{ "%r" | format('x') }}{{ "%.2f" % 3.14159 }}{{ "%s" % n }}
{{ list.index(1) }}{{ list.count(1) }}{{ list | sort }}{{ words | sort }}{{ words | sort(case_sensitive=true) }}{{ list | sort(reverse=true) }}{{ people | sort(attribute='name') | map(attribute='name') | list }}{{ people | sort(attribute='age', reverse=true) | map(attribute='name') | join }}
{{ s | trim }}|{{ 'xax' | trim('x') }}|{{ s | upper }}{{ s | lower }}{{ 'hello-big (world) [x] it\'s' | title }}{{ 'hELLO' | capitalize }}{{ s | length }}{{ list | count }}{{ missing | length }}{{ 5 | string | length }}
{{ words | join }}{{ words | join(', ') }}{{ people | join('-', attribute='name') }}{{ [1, none, 2.0] | join('|') }}{{ words | first }}{{ words | last }}{{ 'abc' | first }}{{ 'abc' | last }}{{ [] | first }}|{{ words | reverse | list }}{{ 'abc' | reverse }}
{{ missing | default('x') }}{{ e | default('x') }}|{{ e | default('x', true) }}{{ nil | d('y', boolean=true) }}{{ missing | default }}|
{{ '12' | int }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ '3.9' | int }}{{ 3.9 | int }}{{ ' 4 ' | int }}{{ '-5' | int }}{{ '1f' | int(base=16) }}{{ '2.5' | float }}{{ 'x' | float }}{{ 3 | float }}{{ true | int }}{{ nil | int }}
{{ 2.5 | round }}{{ 3.14159 | round(2) }}{{ 2.1 | round(method='ceil') }}{{ 2.9 | round(0, 'floor') }}{{ 0.5 | round }}{{ 1.5 | round }}{{ 2.675 | round(2) }}{{ 5 | round }}{{ -3 | abs }}{{ 2.5 | abs }}
{{ list | sum }}{{ people | sum(attribute='age') }}{{ list | max }}{{ list | min }}{{ words | max }}{{ [] | max }}|{{ people | map(attribute='age') | max }}{{ [3, 1, 3] | unique | list }}{{ ['a', 'A'] | unique | list }}
{{ words | map('upper') | list }}{{ people | map(attribute='tags', default='-') | list }}{{ words | map('replace', 'o', '0') | join(' ') }}{{ people | map(attribute='name') | map('lower') | list }}
{{ people | selectattr('tags') | map(attribute='name') | list }}{{ people | selectattr('age', 'equalto', 30) | list | length }}{{ people | rejectattr('age', 'gt', 26) | map(attribute='name') | list }}{{ messages | selectattr('role', '==', 'user') | first }}{{ messages | rejectattr('role', 'in', ['system', 'user']) | list | length }}
{{ list | select('odd') | list }}{{ list | reject('odd') | list }}{{ [0, 1, '', 'a', none] | select | list }}{{ range(6) | select('divisibleby', 3) | list }}{{ people | selectattr('tags', 'defined') | map(attribute='name') | list }}
{{ nil | selectattr('a') | list }}{{ nil | map('upper') | list }}{{ 0 | select | list }}{{ missing | rejectattr('a', 'eq', 1) | list }}
{{ d | dictsort }}{{ {'b': 1, 'A': 2} | dictsort }}{{ {'b': 1, 'a': 2} | dictsort(by='value') }}{{ {'b': 1, 'a': 2} | dictsort(reverse=true) }}
{{ lines | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('> ') }}|{{ 'a\nb\n' | indent(1) }}|
{{ html | e }}{{ html | safe }}{{ [1, 2] | string }}{{ 'x' | attr('upper') is callable }}{{ d | attr('b') is defined }}{{ 'aXbX' | replace('X', 'y', 1) }}
{{ x is defined }}{{ missing is undefined }}{{ nil is none }}{{ b is boolean }}{{ n is integer }}{{ x is float }}{{ n is number }}{{ b is number }}{{ b is integer }}{{ s is string }}{{ d is mapping }}{{ list is sequence }}{{ s is sequence }}{{ d is sequence }}{{ missing is sequence }}{{ n is iterable }}{{ s is iterable }}{{ d is iterable }}
{{ n is odd }}{{ n is even }}{{ n is divisibleby 5 }}{{ n is divisibleby(2) }}{{ n is eq 5 }}{{ n is ne(5) }}{{ n is lt 6 }}{{ n is ge 5 }}{{ n is not none }}{{ b is true }}{{ n is true }}{{ nil is false }}{{ 'a' is in 'abc' }}{{ 'a' is in ['b'] }}{{ 'ab' is lower }}{{ 'ab' is upper }}{{ none is sameas none }}{{ range is callable }}
{{ not x is defined }}{{ x is defined and y is defined }}{{ n is defined or crash.this }}{{ 'a' if n is none else 'b' }}{{ n + 1 is odd }}{{ (n + 1) is odd }}
{{ range(3) | list }}{{ range(1, 10, 4) | list }}{{ range(5, 0, -2) | list }}{{ dict(a=1, b=2) }}{{ dict({'x': 1}, y=2) }}{{ dict([('k', 'v')]) }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %a %A %b %B %d %j %y %I %p %-d %e %%') }}
{{ '%d %b %Y' | length }}{% set f = 'x' %}{{ f.upper() }}{{ s.strip().split(' ')[0].lower() }}{{ (n * 2) | string ~ '!' }}{{ -1 | abs }}{{ -x | abs }}
{{ messages[1:] | length }}{% set messages = messages[1:] %}{{ messages | length }}{{ messages[0].role }}
{{ d == {'b': 1, 'a': [true, none, 1.0], 'items': 'shadowed', 'ñ': 'é'} }}{{ [1, [2]] == [1, [2]] }}{{ (1, 2) == [1, 2] }}{{ 'a' == 'a' }}{{ {} == {} }}
{{ [1, 2, 3,] }}{{ {'a': 1,} }}{{ (1, 2,) }}{{ dict(a=1,) }}{{ "a" if true else "b" if false else "c" }}
{{ {}.get('a', {}).get('b', 'c') }}{{ [[1, 2], [3]] | sum(start=[]) }}{{ [1,2,3][-1:][0] }}{{ 'abc'[1] }}{{ 'abc'[1:2] }}{{ ('a', 'b')[0] }}
{%- macro render(p, lvl=0) -%}{{ '  ' * lvl }}{{ p.name }}{% for c in p.kids %}
{{ render(c, lvl + 1) }}{% endfor %}{%- endmacro -%}{{ render({'name': 'r', 'kids': [{'name': 'a', 'kids': []}, {'name': 'b', 'kids': [{'name': 'c'}]}]}) }}
{{ raise_exception('no: ' ~ n) }}
{{ missing.attribute }}
{{ missing() }}
{{ d.nope.deeper }}
{{ nil.x.y }}
{{ 'a' + 1 }}
{{ 'a' + none }}
{{ 1 + 'a' }}
{{ [1] + 'a' }}
{{ missing + 'a' }}
{{ 'a' < 1 }}
{{ none < 1 }}
{{ 1 in 'abc' }}
{{ 'a' in 5 }}
{{ none | length }}
{{ 5 | length }}
{{ missing | tojson }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ n() }}
{{ 'abc'.split('') }}
{{ ','.join([1]) }}
{{ 1 ~ 2 + 3 }}
{% for i in 5 %}{% endfor %}
{% for i in nil %}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a, b in [(1,)] %}{% endfor %}
{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{% endmacro %}{{ f(z=2) }}
{% set n.x = 1 %}
{{ [3, 'a'] | sort }}
{{ 'abc'.index('z') }}
{{ -'a' }}
{{ [1][none] }}|{{ 'abc'['x'] }}|{{ list['a'] }}
{{ list['a':] }}
{{ range(0, 5, 0) | list }}
{% if %}{% endif %}
{% if x %}
{% endif %}
{% for x in y %}
{{ x
{% unknown %}
{{ 'abc }}
{{ (1, 2 }}
{{ 1 + }}
{{ a b }}
{% set 5 = 3 %}
{{ x | }}
{# never
{% raw %}x
{{ [1, 2) }}
{{ a.b. }}
{% else %}
{{ ? }}
"""


def templates():
    """One a line; a line that ends in a tag left open, a macro or an indented block goes on to the next blank or `|` line."""
    groups = {"  {% if b %}": 7, "a  {%- if b -%}": 1, "{%- for i in list %}": 4, "{% for i in list -%}": 3, "\t{% set q": 2,
              "{{ 'a\\nb\\t": 2, "{%- macro render": 2}
    lines = TEMPLATES.strip("\n").split("\n")
    at = 0
    while at < len(lines):
        count = next((n for start, n in groups.items() if lines[at].startswith(start)), 1)
        yield "\n".join(lines[at:at + count])
        at += count


def main():
    with open(sys.argv[1], "w") as out:
        for template in templates():
            case = {"template": template, **render(template, VARIABLES)}
            out.write(json.dumps(case, ensure_ascii=False) + "\n")
    Path(sys.argv[1]).with_name("variables.json").write_text(json.dumps(VARIABLES, ensure_ascii=False) + "\n")


main()
