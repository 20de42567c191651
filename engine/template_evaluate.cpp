// Expressions: what their nodes give.
#include <algorithm>

#include "engine/template_level.h"

namespace alia::jinja {

// Functions that a template finds without being given them.
namespace {

Value call_range(Renderer& r, Arguments& given) {
    if (given.values.empty() || given.values.size() > 3) r.fail("range expected 1 to 3 arguments");
    for (const Value& v : given.values)
        if (!v.whole()) r.fail("'%s' object cannot be interpreted as an integer", type_name(v));
    const size_t n = given.values.size();
    const int64_t first = n > 1 ? given.values[0].as_integer() : 0, last = given.values[n > 1].as_integer();
    const int64_t step = n > 2 ? given.values[2].as_integer() : 1;
    if (step == 0) r.fail("range() arg 3 must not be zero");
    std::vector<Value> all;
    for (__int128 i = first; step > 0 ? i < last : i > last; i += step) {
        if (all.size() == 100000) r.fail(Status::limit, "a range of more than 100000 numbers");
        all.push_back(integer(int64_t(i)));
    }
    return r.heap.list(std::move(all));
}

// Pairs of the dict or list of pairs given, then keywords.
Dict pairs(Renderer& r, Arguments& given) {
    Dict made;
    auto put = [&](const Value& key, const Value& value) {
        for (auto& [known, old] : made.items)
            if (equal(r.heap, known, key)) {
                old = value;
                return;
            }
        made.items.emplace_back(key, value);
    };
    for (const Value& from : given.values) {
        if (from.is(Value::Kind::dict)) {
            for (const auto& [key, value] : from.dict->items) put(key, value);
            continue;
        }
        for (const Value& pair : r.items(from)) {
            const std::vector<Value> two = r.items(pair);
            if (two.size() != 2) r.fail("dictionary update sequence element has length %zu; 2 is required", two.size());
            put(two[0], two[1]);
        }
    }
    for (const auto& [key, value] : given.named) put(r.heap.text(key), value);
    return made;
}

Value call_namespace(Renderer& r, Arguments& given) { return r.heap.space(pairs(r, given)); }
Value call_dict(Renderer& r, Arguments& given) { return r.heap.dict(pairs(r, given)); }

Value call_raise(Renderer& r, Arguments& given) {
    const Value* message = find_argument(given, 0, "message");
    r.fail("%s", message ? r.printed(*message).bytes.c_str() : "");
}

Value call_time(Renderer& r, Arguments& given) {
    const Value* format = find_argument(given, 0, "format");
    if (!format || !format->is(Value::Kind::text)) r.fail("strftime_now takes a text");
    return r.heap.text(format_time(format->string(), r.now), format->text->any_input());
}

constexpr std::pair<std::string_view, Value (*)(Renderer&, Arguments&)> functions[] = {
    {"range", call_range},           {"namespace", call_namespace}, {"dict", call_dict},
    {"raise_exception", call_raise}, {"strftime_now", call_time},
};

}  // namespace

const Value* find_argument(const Arguments& given, size_t position, std::string_view name) {
    if (position < given.values.size()) return &given.values[position];
    for (const auto& [key, value] : given.named)
        if (key == name) return &value;
    return nullptr;
}

Value Renderer::undefined(const std::string& what) {
    Value v;
    v.text = heap.text(what).text;
    return v;
}

Value Renderer::global(std::string_view name) {
    for (const auto& [known, f] : functions)
        if (known == name) return heap.callable(std::string(name), f);
    for (std::string_view unsupported : {"lipsum", "cycler", "joiner"})
        if (name == unsupported) fail(Status::unsupported, "the function '%s' is not supported", unsupported.data());
    return undefined("'" + std::string(name.substr(0, 100)) + "' is undefined");
}

Value Renderer::evaluate(const Node& n) {
    const Level level(*this, n);
    switch (n.kind) {
        case Node::Kind::text:
            return heap.text(n.name);
        case Node::Kind::integer:
            return integer(n.integer);
        case Node::Kind::real:
            return real(n.real);
        case Node::Kind::boolean:
            return boolean(n.integer != 0);
        case Node::Kind::none:
            return none();
        case Node::Kind::name: {
            const Value* found = scope->find(heap, n.name);
            return found ? *found : global(n.name);
        }
        case Node::Kind::absent:
            return piped ? *piped : Value{};
        case Node::Kind::attribute:
            return attribute(evaluate(n.children[0]), n.name);
        case Node::Kind::item: {
            const Value object = evaluate(n.children[0]);
            return item(object, evaluate(n.children[1]));
        }
        case Node::Kind::slice: {
            Value parts[4];
            for (size_t i = 0; i < 4; ++i)
                parts[i] = n.children[i].is(Node::Kind::absent) ? none() : evaluate(n.children[i]);
            return slice(parts[0], parts[1], parts[2], parts[3]);
        }
        case Node::Kind::call:
        case Node::Kind::filter:
        case Node::Kind::test:
            return evaluate_call(n);
        case Node::Kind::list:
        case Node::Kind::tuple:
        case Node::Kind::dict:
            return evaluate_many(n);
        case Node::Kind::comparison:
            return evaluate_comparison(n);
        case Node::Kind::inverse:
            return boolean(!truth(evaluate(n.children[0])));
        case Node::Kind::conditional: {
            if (truth(evaluate(n.children[1]))) return evaluate(n.children[0]);
            if (!n.children[2].is(Node::Kind::absent)) return evaluate(n.children[2]);
            return undefined("the inline if-expression evaluated to false and no else section was defined.");
        }
        default:
            return evaluate_operation(n);
    }
}

Value Renderer::evaluate_many(const Node& n) {
    if (n.is(Node::Kind::dict)) {
        Dict made;
        for (size_t i = 0; i < n.children.size(); i += 2) {
            const Value key = evaluate(n.children[i]), value = evaluate(n.children[i + 1]);
            if (!key.is(Value::Kind::text) && !key.number() && !key.is(Value::Kind::none))
                fail("unhashable type: '%s'", type_name(key));
            auto same = std::find_if(made.items.begin(), made.items.end(),
                                     [&](const auto& item) { return equal(heap, item.first, key); });
            if (same == made.items.end())
                made.items.emplace_back(key, value);
            else
                same->second = value;
        }
        return heap.dict(std::move(made));
    }
    std::vector<Value> all;
    for (const Node& child : n.children) all.push_back(evaluate(child));
    return heap.list(std::move(all), n.is(Node::Kind::list) ? Value::Kind::list : Value::Kind::tuple);
}

Value Renderer::evaluate_operation(const Node& n) {
    Value first = evaluate(n.children[0]);
    switch (n.kind) {
        case Node::Kind::both:
        case Node::Kind::either: {
            const bool go_on = n.is(Node::Kind::both);
            for (size_t i = 1; i < n.children.size() && truth(first) == go_on; ++i) first = evaluate(n.children[i]);
            return first;
        }
        case Node::Kind::concatenation: {
            Text text = printed(first);
            for (size_t i = 1; i < n.children.size(); ++i) text.append(printed(evaluate(n.children[i])));
            return heap.text(std::move(text));
        }
        case Node::Kind::arithmetic:
            for (size_t i = 1; i < n.children.size(); ++i) {
                const Value next = evaluate(n.children[i]);
                first = arithmetic(n.name[i - 1], first, next);
            }
            return first;
        case Node::Kind::negative:
        case Node::Kind::positive: {
            if (first.undefined()) fail_undefined(first);
            const bool minus = n.is(Node::Kind::negative);
            if (!first.number()) fail("bad operand type for unary %c: '%s'", minus ? '-' : '+', type_name(first));
            return minus ? arithmetic('-', integer(0), first) : arithmetic('+', integer(0), first);
        }
        default:
            fail(Status::internal, "an expression of an unknown kind");
    }
}

Value Renderer::evaluate_comparison(const Node& n) {
    Value left = evaluate(n.children[0]);
    for (size_t i = 1; i < n.children.size(); ++i) {
        const Value right = evaluate(n.children[i]);
        bool holds = false;
        switch (n.name[i - 1]) {
            case '=':
                holds = equal(heap, left, right);
                break;
            case '!':
                holds = !equal(heap, left, right);
                break;
            case '<':
                holds = less(left, right, "<");
                break;
            case '>':
                holds = less(right, left, ">");
                break;
            case 'l':
                holds = less(left, right, "<=") || equal(heap, left, right);
                break;
            case 'g':
                holds = less(right, left, ">=") || equal(heap, left, right);
                break;
            case 'i':
                holds = contains(right, left);
                break;
            default:
                holds = !contains(right, left);
                break;
        }
        if (!holds) return boolean(false);
        left = right;
    }
    return boolean(true);
}

Arguments Renderer::arguments(const Node& n) {
    Arguments given;
    for (size_t i = 1; i < n.children.size(); ++i) {
        if (n.children[i].is(Node::Kind::spread))
            spread(n.children[i], given);
        else if (n.keywords[i].empty())
            given.values.push_back(evaluate(n.children[i]));
        else
            given.named.emplace_back(n.keywords[i], evaluate(n.children[i]));
    }
    return given;
}

void Renderer::spread(const Node& n, Arguments& given) {
    const Value value = evaluate(n.children[0]);
    if (n.name == "*") {
        for (const Value& v : items(value)) given.values.push_back(v);
        return;
    }
    if (!value.is(Value::Kind::dict)) fail("argument after ** must be a mapping, not %s", type_name(value));
    for (const auto& [key, v] : value.dict->items) {
        if (!key.is(Value::Kind::text)) fail("keywords must be strings");
        given.named.emplace_back(key.string(), v);
    }
}

Value Renderer::evaluate_call(const Node& n) {
    const Value first = evaluate(n.children[0]);
    Arguments given = arguments(n);
    if (n.is(Node::Kind::call)) return call(first, given);
    if (n.is(Node::Kind::test)) return boolean(test(n.name, first, given));
    return filter(n.name, first, given);
}

Value Renderer::call(const Value& callee, Arguments& given) {
    if (callee.undefined()) fail_undefined(callee);
    if (!callee.is(Value::Kind::callable)) fail("'%s' object is not callable", type_name(callee));
    return callee.callable->call(*this, given);
}

Text Renderer::printed(const Value& v) {
    Text text;
    print(heap, v, text);
    heap.charge(text.bytes.size());
    return text;
}

}  // namespace alia::jinja
