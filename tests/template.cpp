// Chat templates: Jinja's language, what Python would print, provenance, budgets. The cases of the published templates
// of BSC need ../shared.
#include "engine/template_render.h"
#include "tests/support.h"
#include "tests/tokenizer_cases.h"

using namespace alia;
using namespace alia::jinja;

namespace {

constexpr int64_t some_time = 1727697845;  // 2024-09-30 12:04:05 UTC

Text render_text(std::string_view source, const Json& variables, const Limits& limits = {}) {
    Heap heap(limits);
    const Value values = heap.value(variables);
    return render(Template::parse(source, "test"), heap, *values.dict, some_time);
}
std::string render_text(std::string_view source, std::string_view variables = "{}", const Limits& limits = {}) {
    const JsonDocument document = JsonDocument::parse(variables, "test");
    return render_text(source, document.root(), limits).bytes;
}
Error failure(std::string_view source, std::string_view variables = "{}", const Limits& limits = {}) {
    try {
        render_text(source, variables, limits);
    } catch (const Error& e) {
        return e;
    }
    return {};
}

}  // namespace

TEST_CASE("BSC's templates render as Jinja2 does") {
    const std::string folder = SHARED_DATA "/chat-templates/";
    if (!file_exists(folder + "render-cases.jsonl")) {
        WARN("skipped: no " << folder);
        return;
    }
    int texts = 0, errors = 0;
    test::each_line(read_file(folder + "render-cases.jsonl"), [&](const Json& line) {
        const std::string source = read_file(folder + std::string(line.find("template")->string()) + ".jinja");
        if (const Json* text = line.find("text")) {
            CHECK(render_text(source, line).bytes == text->string());
            ++texts;
            return;
        }
        // "TypeError: ..." and the like.
        const std::string_view error = line.find("error")->string();
        try {
            render_text(source, line);
            FAIL("rendered what Jinja2 refuses");
        } catch (const Error& e) {
            CHECK(e.status == Status::invalid_argument);
            CHECK(std::string(e.message).ends_with(": " + std::string(error.substr(error.find(": ") + 2))));
        }
        ++errors;
    });
    CHECK(texts == 136);
    CHECK(errors == 56);
}

// Written by tests/truth/template_cases.py.
TEST_CASE("Jinja's language") {
    const std::string folder = TEST_DATA "/templates/";
    const JsonDocument variables = JsonDocument::parse(read_file(folder + "variables.json"), "variables");
    int cases = 0;
    test::each_line(read_file(folder + "language.jsonl"), [&](const Json& line) {
        const std::string source(line.find("template")->string());
        CAPTURE(source);
        ++cases;
        Text text;
        Error error;
        try {
            text = render_text(source, variables.root());
        } catch (const Error& e) {
            error = e;
        }
        CAPTURE(error.message);
        if (const Json* expected = line.find("text")) {
            CHECK(text.bytes == expected->string());
        } else if (const Json* python = line.find("error")) {
            const std::string_view said = python->string();
            CHECK(error.status == Status::invalid_argument);
            CHECK(std::string(error.message).ends_with(": " + std::string(said.substr(said.find(": ") + 2))));
        } else {
            CHECK(error.status == Status::malformed);
            CHECK(std::string(error.message).find("chat_template: line 1, column ") != std::string::npos);
        }
    });
    CHECK(cases > 100);
}

namespace {

// What came from outside stands in brackets.
std::string marked(std::string_view source, std::string_view variables) {
    const JsonDocument document = JsonDocument::parse(variables, "test");
    const Text text = render_text(source, document.root());
    std::string out;
    size_t at = 0;
    for (const TextRange& r : text.input) {
        CHECK(r.begin < r.end);
        out += text.bytes.substr(at, r.begin - at) + "[" + text.bytes.substr(r.begin, r.end - r.begin) + "]";
        at = r.end;
    }
    return out + text.bytes.substr(at);
}

}  // namespace

TEST_CASE("Each byte knows whether the template wrote it") {
    const std::string_view v = R"({"s": " a<b ", "t": "xay", "n": 3, "l": ["p", "q"], "d": {"k": "v\n"}, "b": true})";
    const std::pair<const char*, const char*> cases[] = {
        {"<{{ s }}>", "<[ a<b ]>"},
        {"{{ s | trim }}{{ s.strip() }}|", "[a<ba<b]|"},
        {"{{ '<' + s + '>' }}", "<[ a<b ]>"},
        {"{{ '(' ~ n ~ b ~ ')' }}{{ n + 1 }}{{ 1 + 1 }}", "([3True])[4]2"},
        {"{{ ('<' ~ t ~ '>')[1:3] }}{{ ('<' ~ t ~ '>')[:2] }}{{ ('<' ~ t ~ '>')[::-1] }}", "[xa]<[x]>[yax]<"},
        {"{{ t | replace('a', '<>') }}{{ 'xay' | replace('a', s) }}{{ t.replace('a', t) }}",
         "[x]<>[y]x[ a<b ]y[xxayy]"},
        {"{{ t | upper }}{{ ('a' ~ t) | title }}{{ s | e }}", "[XAY]A[xay a&lt;b ]"},
        {"{{ l | join('+') }}{{ '+'.join(l) }}{{ l }}", "[p]+[qp]+[q]['[p]', '[q]']"},
        {"{{ d | tojson }}{{ d }}", "{\"[k]\": \"[v\\n]\"}{'[k]': '[v\\n]'}"},
        {"{{ t.split('a') | join('|') }}{{ ('x<' ~ t).split('<')[1] }}", "[x]|[yxay]"},
        {"{% set m %}<{{ t }}>{% endset %}{{ m }}{{ m | length }}", "<[xay]>5"},
        {"{% macro f(x) %}({{ x }}){% endmacro %}{{ f(t) }}{{ f('t') }}", "([xay])(t)"},
        {"{% filter trim %} {{ t }} {% endfilter %}{{ '%s=%d' % (t, n) }}{{ '{}!'.format(t) }}", "[xayxay]=[3xay]!"},
        {"{{ t | indent(1, true) }}{{ t | list | join }}{{ t[0] }}{{ n | string }}{{ '7' | int }}{{ t | length }}",
         " [xayxayx3]73"},
        {"{% for c in l %}{{ loop.index }}{{ c }}{% endfor %}{% for k, v in d.items() %}{{ k }}{% endfor %}",
         "1[p]2[qk]"},
    };
    for (const auto& [source, expected] : cases) {
        CAPTURE(source);
        CHECK(marked(source, v) == expected);
    }
}

TEST_CASE("White space of delimiters") {
    CHECK(render_text("a\r\n{% if true %}\r\nb\r{% endif %}\r\n") == "a\nb\n");
    CHECK(render_text("a\n\n") == "a\n");
    CHECK(render_text("\n") == "");
    CHECK(render_text("") == "");
    CHECK(render_text("{{ 1 }}\n{# c #}\n  {% set a = 1 %}  \n x") == "1\n  \n x");
}

TEST_CASE("Errors say where they are") {
    const Error e = failure("a\n  \xC3\xB1 {{ x.y }}", R"({"x": null, "z": [1]})");
    CHECK(e.status == Status::ok);  // an undefined value prints as nothing
    const Error deeper = failure("a\n  \xC3\xB1 {{ x.y.z }}", R"({"x": null})");
    CHECK(deeper.status == Status::invalid_argument);
    CHECK(std::string(deeper.message) == "test, chat_template: line 2, column 12: 'None' has no attribute 'y'");
    CHECK(std::string(deeper.item) == "chat_template");
    CHECK(std::string(failure("{{ 1 }}\n{% if %}").message) ==
          "test, chat_template: line 2, column 7: expected a value");
    for (std::string_view source :
         {"{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% block b %}{% endblock %}",
          "{{ 1 | nope }}", "{{ 1 is nope }}", "{% for i in [] recursive %}{% endfor %}"}) {
        CAPTURE(source);
        CHECK(failure(source).status == Status::unsupported);
    }
    // In a branch that is not taken they do no harm.
    CHECK(render_text("{% if false %}{{ 1 | nope }}{% endif %}x") == "x");
    CHECK(failure("{% break %}").status == Status::malformed);
    CHECK(failure("{{ [].append(1) }}").status == Status::invalid_argument);
    CHECK(failure("{{ 9223372036854775807 + 1 }}").status == Status::limit);
    CHECK(failure("{{ -9223372036854775807 - 2 }}").status == Status::limit);
    CHECK(failure("{{ 3 ** 99 }}").status == Status::limit);
    CHECK(render_text("{{ (-9223372036854775807 - 1) // -1 if false else (-9223372036854775807 - 1) % -1 }}") == "0");
    CHECK(failure("{{ (-9223372036854775807 - 1) // -1 }}").status == Status::limit);
    CHECK(failure("{{ 99999999999999999999 }}").status == Status::malformed);
}

TEST_CASE("Searching takes the length, not the product of both") {
    const std::string hay = "{% set t = 'a' * 8000000 %}{% set w = 'a' * 4000000 ~ 'b' %}";
    CHECK(render_text(hay + "{{ w in t }} {{ t.find(w) }} {{ t.count(w) }} {{ t.split(w) | length }}") ==
          "False -1 0 1");
    CHECK(render_text(hay + "{{ t.replace(w, '') == t }} {{ t.partition(w)[2] }}.") == "True .");
    CHECK(render_text("{{ 'abcabc'.rfind('bc') }} {{ 'abcabc'.rfind('abcabcd') }} {{ 'aXbXc'.rsplit('X', 1) }} "
                      "{{ 'aXb'.rpartition('X') }} {{ 'ab'.find('') }} {{ 'ab'.rfind('') }}") ==
          "4 -1 ['aXb', 'c'] ('a', 'X', 'b') 0 2");
    CHECK(
        std::string(failure("{{ '%d' % ('nan' | float) }}").message).ends_with("cannot convert float NaN to integer"));
    CHECK(std::string(failure("{{ '%d' % ('-inf' | float) }}").message)
              .ends_with("cannot convert float infinity to integer"));
    for (std::string_view source :
         {"{{ 'aba'.find('a', 1) }}", "{{ 'aba'.count('a', 1) }}", "{{ 'ab'.endswith('a', 0, 1) }}"})
        CHECK(failure(source).status == Status::unsupported);
}

TEST_CASE("A hostile template meets a limit") {
    for (std::string_view source : {
             "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
             "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
             "{{ 'x' * 999999999999 }}",
             "{{ [0] * 9223372036854775807 }}",
             "{% set n = namespace(t='xxxxxxxx') %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
             "{% set n = namespace(l=[]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
             "{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l | tojson "
             "}}",
             "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
             "{% set n = namespace(a=[]) %}{% set m = namespace(a=[]) %}{% for i in range(999) %}{% set n.a = [n.a] %}"
             "{% set m.a = [m.a] %}{% endfor %}{{ n.a == m.a }}",
             "{% for i in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 1000 }}{% endfor %}",
             "{{ range(999999999999) }}",
             "{{ 'a' | indent(99999999) }}",
             "{{ [1] | tojson(indent=9999999) }}",
             "{{ 'aaaaaaaaaaaaaaaa' | replace('a', 'bbbbbbbbbbbbbbbbbbbbbbbbbb' * 1000000) }}",
         }) {
        CAPTURE(source);
        CHECK(failure(source).status == Status::limit);
    }
    for (std::string_view source : {
             "{{ (['x' * 100000] * 100000) | join }}",
             "{{ (['x' * 100000] * 40) | join('y') }}",
             "{% set t = 'x' * 100000 %}{% for i in range(999) %}{% if t.isupper() %}{% endif %}{% endfor %}",
             "{% set t = 'x' * 100000 %}{% for i in range(999) %}{{ t.count('y') }}{% endfor %}",
             "{% set t = 'x' * 100000 %}{% for i in range(999) %}{{ t.startswith(t) }}{% endfor %}",
             "{% set t = ' ' * 100000 %}{% for i in range(999) %}{{ t | trim }}{% endfor %}",
             "{% set t = ' ' * 100000 %}{% for i in range(999) %}{{ t < t }}{% endfor %}",
             "{% set t = 'x' * 100000 %}{{ t.rfind('y' ~ t[9:90000]) }}",
             "{{ ('x' * 100000).strip('y' * 100000 ~ 'x') }}",
         }) {
        CAPTURE(source);
        CHECK(failure(source, "{}", {.steps = 300000, .bytes = 3 << 20}).status == Status::limit);
    }
    for (const auto& [open, close] : {std::pair{'(', ')'}, {'[', ']'}})
        CHECK(failure("{{ " + std::string(5000, open) + std::string(5000, close) + " }}").status == Status::limit);
    std::string chain = "{{ x";
    for (int i = 0; i < 5000; ++i) chain += ".y";
    CHECK(failure(chain + " }}").status == Status::limit);
    chain = "{{ x";
    for (int i = 0; i < 5000; ++i) chain += " | trim";
    CHECK(failure(chain + " }}").status == Status::limit);
    std::string sum = "{{ 0";
    for (int i = 0; i < 5000; ++i) sum += " + 1";
    CHECK(render_text(sum + " }}") == "5000");
    std::string blocks;
    for (int i = 0; i < 5000; ++i) blocks += "{% if true %}";
    CHECK(failure(blocks).status == Status::limit);
    CHECK(failure(std::string((1 << 20) + 1, 'x')).status == Status::limit);
    CHECK(failure("{% for i in range(100) %}x{% endfor %}", "{}", {.output = 99}).status == Status::limit);
    CHECK(render_text("{% for i in range(99) %}x{% endfor %}", "{}", {.output = 99}).size() == 99);
    CHECK(failure("{% for i in range(100) %}x{% endfor %}", "{}", {.steps = 99}).status == Status::limit);
    CHECK(failure("{{ 'x' * 100000 }}", "{}", {.bytes = 99999}).status == Status::limit);
}
