// Statements: scopes, loops, macros, output. Expressions are in template_evaluate.cpp.
#include "engine/template_render.h"

#include "engine/template_level.h"

namespace alia::jinja {

Text render(const Template& source, Heap& heap, const Dict& variables, int64_t now) {
    return Renderer(source, heap, now).run(variables);
}

const Value* Scope::find(Heap& heap, std::string_view name) const {
    for (const Scope* s = this; s; s = s->outer) {
        heap.spend(1 + s->names.size() / 8);
        for (const auto& [known, value] : s->names)
            if (known == name) return &value;
    }
    return nullptr;
}

void Scope::set(std::string_view name, const Value& value) {
    for (auto& [known, old] : names)
        if (known == name) {
            old = value;
            return;
        }
    names.emplace_back(name, value);
}

Text Renderer::run(const Dict& variables) {
    Scope& globals = inner(nullptr);
    for (const auto& [name, value] : variables.items) globals.set(name.string(), value);
    scope = &inner(&globals);
    Text text;
    out = &text;
    at = &source.root;
    run_all(source.root);
    return text;
}

void Renderer::fail(const char* format, ...) const {
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    source.source.fail(Status::invalid_argument, at->offset, "%s", what);
}

void Renderer::fail(Status status, const char* format, ...) const {
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    source.source.fail(status, at->offset, "%s", what);
}

void Renderer::fail_undefined(const Value& v) const { fail("%s", v.text ? v.text->bytes.c_str() : "undefined"); }

Scope& Renderer::inner(Scope* outer) {
    heap.charge(sizeof(Scope) + 64);
    scopes.emplace_back().outer = outer;
    return scopes.back();
}

void Renderer::emit(const Text& text) {
    heap.spend(text.bytes.size() / 64);
    if (out->bytes.size() + text.bytes.size() > heap.limits.output)
        fail(Status::limit, "the output is longer than %llu bytes", (unsigned long long)heap.limits.output);
    out->append(text);
}

void Renderer::emit(std::string_view text, bool from_input) {
    Text t;
    t.append(text, from_input);
    emit(t);
}

Renderer::Flow Renderer::run_all(const Node& body) {
    for (const Node& statement : body.children)
        if (const Flow flow = run(statement); flow != Flow::on) return flow;
    return Flow::on;
}

Renderer::Flow Renderer::run(const Node& n) {
    const Level level(*this, n);
    switch (n.kind) {
        case Node::Kind::data:
            emit(n.name, false);
            return Flow::on;
        case Node::Kind::print:
            emit(printed(evaluate(n.children[0])));
            return Flow::on;
        case Node::Kind::body:
            return run_all(n);
        case Node::Kind::branch:
            return branch(n);
        case Node::Kind::loop:
            return loop(n);
        case Node::Kind::stop:
            return Flow::stop;
        case Node::Kind::skip:
            return Flow::skip;
        case Node::Kind::assignment:
            assign(n.children[0], evaluate(n.children[1]));
            return Flow::on;
        case Node::Kind::capture: {
            Value text = capture(n.children[1]);
            if (!n.children[2].is(Node::Kind::absent)) {
                const Value* before = std::exchange(piped, &text);
                text = evaluate(n.children[2]);
                piped = before;
            }
            assign(n.children[0], text);
            return Flow::on;
        }
        case Node::Kind::macro:
            scope->set(n.name, macro(n.children[0], n.children[1], n.name));
            return Flow::on;
        case Node::Kind::filtering: {
            const Value text = capture(n.children[1]);
            const Value* before = std::exchange(piped, &text);
            emit(printed(evaluate(n.children[0])));
            piped = before;
            return Flow::on;
        }
        case Node::Kind::invocation: {
            const Node& call_node = n.children[0];
            const Value callee = evaluate(call_node.children[0]);
            Arguments given = arguments(call_node);
            given.named.emplace_back("caller", macro(n.children[1], n.children[2], "caller"));
            emit(printed(call(callee, given)));
            return Flow::on;
        }
        default:
            break;
    }
    // Kind::scope: values are evaluated outside.
    Scope& names = inner(scope);
    Scope* const outer = scope;
    for (size_t i = 0; i + 1 < n.children.size(); i += 2) {
        const Value value = evaluate(n.children[i + 1]);
        scope = &names;
        assign(n.children[i], value);
        scope = outer;
    }
    scope = &names;
    const Flow flow = run_all(n.children.back());
    scope = outer;
    return flow;
}

Renderer::Flow Renderer::branch(const Node& n) {
    size_t i = 0;
    for (; i + 1 < n.children.size(); i += 2)
        if (truth(evaluate(n.children[i]))) return run_all(n.children[i + 1]);
    return i < n.children.size() ? run_all(n.children[i]) : Flow::on;
}

Renderer::Flow Renderer::loop(const Node& n) {
    const Node &target = n.children[0], &condition = n.children[2];
    Scope* const outer = scope;
    const Value given = evaluate(n.children[1]);
    std::vector<Value> kept = items(given);
    if (!condition.is(Node::Kind::absent)) {
        std::vector<Value> all = std::exchange(kept, {});
        for (const Value& value : all) {
            scope = &inner(outer);
            assign(target, value);
            if (truth(evaluate(condition))) kept.push_back(value);
        }
        scope = outer;
    }
    const Value list = heap.list(std::move(kept));
    Flow flow = Flow::on;
    if (list.list->items.empty()) {
        scope = &inner(outer);
        flow = run_all(n.children[4]);
        scope = outer;
        return flow;
    }
    const Value state = heap.loop(*list.list);
    for (size_t i = 0; i < list.list->items.size() && flow != Flow::stop; ++i) {
        state.loop->index = i;
        scope = &inner(outer);
        scope->set("loop", state);
        assign(target, list.list->items[i]);
        flow = run_all(n.children[3]);
    }
    scope = outer;
    return Flow::on;
}

void Renderer::assign(const Node& target, const Value& value) {
    if (target.is(Node::Kind::name)) return scope->set(target.name, value);
    at = &target;
    if (target.is(Node::Kind::attribute)) {
        const Value* space = scope->find(heap, target.children[0].name);
        if (!space || !space->is(Value::Kind::space)) fail("cannot assign attribute on non-namespace object");
        auto& names = space->space->values.items;
        heap.charge(2 * sizeof(Value));
        for (auto& [name, old] : names) {
            heap.spend(1);
            if (name.string() != target.name) continue;
            old = value;
            return;
        }
        names.emplace_back(heap.text(target.name), value);
        return;
    }
    const std::vector<Value> values = items(value);
    const size_t wanted = target.children.size();
    if (values.size() > wanted) fail("too many values to unpack (expected %zu)", wanted);
    if (values.size() < wanted) fail("not enough values to unpack (expected %zu, got %zu)", wanted, values.size());
    for (size_t i = 0; i < wanted; ++i) assign(target.children[i], values[i]);
}

Value Renderer::capture(const Node& body) {
    Text text;
    Text* const before = std::exchange(out, &text);
    Scope* const outer = std::exchange(scope, &inner(scope));
    run_all(body);
    scope = outer;
    out = before;
    return heap.text(std::move(text));
}

namespace {

bool mentions(const Node& n, std::string_view name) {
    if (n.is(Node::Kind::name) && n.name == name) return true;
    for (const Node& child : n.children)
        if (mentions(child, name)) return true;
    return false;
}

}  // namespace

Value Renderer::macro(const Node& parameters, const Node& body, const std::string& name) {
    Scope* const defined = scope;
    return heap.callable(name, [&parameters, &body, defined, name](Renderer& r, Arguments& given) -> Value {
        const Node* const from = r.at;
        Scope& names = r.inner(defined);
        Scope* const outer = std::exchange(r.scope, &names);
        const size_t count = parameters.children.size();
        std::vector<bool> used(given.named.size());
        for (size_t i = 0; i < count; ++i) {
            const Node& parameter = parameters.children[i];
            const Value* value = i < given.values.size() ? &given.values[i] : nullptr;
            for (size_t k = 0; k < given.named.size(); ++k) {
                if (given.named[k].first != parameter.name) continue;
                if (value)
                    r.fail("macro '%.60s' got multiple values for argument '%.60s'", name.c_str(),
                           parameter.name.c_str());
                value = &given.named[k].second;
                used[k] = true;
            }
            if (value)
                names.set(parameter.name, *value);
            else if (!parameter.children.empty())
                names.set(parameter.name, r.evaluate(parameter.children[0]));
            else
                names.set(parameter.name, r.undefined("parameter '" + parameter.name + "' was not provided"));
        }
        r.at = from;
        const bool more = given.values.size() > count, any = mentions(body, "varargs");
        if (more && !any) r.fail("macro '%.60s' takes not more than %zu argument(s)", name.c_str(), count);
        if (any) {
            const auto first = given.values.begin() + std::ptrdiff_t(std::min(count, given.values.size()));
            names.set("varargs", r.heap.list({first, given.values.end()}, Value::Kind::tuple));
        }
        const bool keywords = mentions(body, "kwargs");
        Dict rest;
        for (size_t k = 0; k < given.named.size(); ++k) {
            const auto& [key, value] = given.named[k];
            if (used[k]) continue;
            if (key == "caller")
                names.set(key, value);
            else if (keywords)
                rest.items.emplace_back(r.heap.text(key), value);
            else
                r.fail("macro '%.60s' takes no keyword argument '%.*s'", name.c_str(), int(key.size()), key.data());
        }
        if (keywords) names.set("kwargs", r.heap.dict(std::move(rest)));
        const Value text = r.capture(body);
        r.scope = outer;
        return text;
    });
}

}  // namespace alia::jinja
