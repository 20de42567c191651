// Rendering a chat template: a walk over its tree with a budget. A template reads its variables and nothing else.
#pragma once
#include "engine/template_parser.h"
#include "engine/template_value.h"

namespace alia::jinja {

// `now`: seconds since 1970 on the clock that strftime_now shows. Errors, with line and column: invalid_argument (what
// Jinja refuses in these variables; the message is Python's, or the one of raise_exception), unsupported (a filter,
// test or function that we do not know), limit.
Text render(const Template&, Heap&, const Dict& variables, int64_t now);

// Names and what they stand for. Inner ones see those of outer ones and cannot change them.
struct Scope {
    Scope* outer = nullptr;
    std::vector<std::pair<std::string_view, Value>> names;

    const Value* find(Heap&, std::string_view name) const;
    void set(std::string_view name, const Value& value);
};

class Renderer {
  public:
    Renderer(const Template& source, Heap& heap, int64_t now) : heap(heap), now(now), source(source) {}
    Text run(const Dict& variables);

    // What filters, tests and methods need. The place of an error is the node that is being evaluated.
    [[noreturn, gnu::format(printf, 2, 3)]] void fail(const char* format, ...) const;  // invalid_argument
    [[noreturn, gnu::format(printf, 3, 4)]] void fail(Status, const char* format, ...) const;
    [[noreturn]] void fail_undefined(const Value&) const;

    Value filter(std::string_view name, const Value& value, Arguments&);
    bool test(std::string_view name, const Value& value, Arguments&);
    Value call(const Value& callee, Arguments&);
    Value attribute(const Value& object, std::string_view name);
    Value item(const Value& object, const Value& index);
    Value slice(const Value& object, const Value& first, const Value& last, const Value& step);
    Value arithmetic(char op, const Value& a, const Value& b);
    bool less(const Value& a, const Value& b, const char* sign);  // a < b; `sign` is the operator in the template
    bool contains(const Value& container, const Value& value);
    std::vector<Value> items(const Value&);  // what iterating gives
    Text printed(const Value&);
    Text percent_format(const Text& format, const std::vector<Value>& values);

    Heap& heap;
    const int64_t now;

  private:
    enum class Flow : uint8_t { on, stop, skip };
    struct Level;

    Value undefined(const std::string& what);
    Value global(std::string_view name);

    Flow run(const Node&);
    Flow run_all(const Node& body);
    Flow branch(const Node&);
    Flow loop(const Node&);
    void emit(const Text&);
    void emit(std::string_view, bool from_input);
    void assign(const Node& target, const Value& value);
    Value macro(const Node& parameters, const Node& body, const std::string& name);
    Value capture(const Node& body);

    Value evaluate(const Node&);
    Value evaluate_many(const Node&);  // a list, tuple or dict
    Value evaluate_operation(const Node&);
    Value evaluate_comparison(const Node&);
    Value evaluate_call(const Node&);
    Arguments arguments(const Node&);
    void spread(const Node&, Arguments&);
    Scope& inner(Scope* outer);

    const Template& source;
    const Node* at = nullptr;
    Scope* scope = nullptr;
    Text* out = nullptr;
    const Value* piped = nullptr;  // what a block's filter works on
    int depth = 0;
    std::deque<Scope> scopes;
};

// By position or by name; null where it is neither.
const Value* find_argument(const Arguments&, size_t position, std::string_view name);

using Method = Value (*)(Renderer&, const Value& self, Arguments&);
// Of texts, lists and dicts; null where there is none.
Method find_method(Value::Kind, std::string_view name);

// Where `wanted` first stands from `at` on, and last before `end`; npos where it does not. Spends for what is read, of
// any texts: both take no more than that.
size_t find_first(Heap&, std::string_view text, std::string_view wanted, size_t at = 0);
size_t find_last(Heap&, std::string_view text, std::string_view wanted, size_t end = std::string_view::npos);

enum class Case : uint8_t { lower, upper };
Text cased(const Text&, Case);
Text capitalized(const Text&);
Text stripped(Heap&, const Text&, const Value* characters, bool left, bool right);
Text replaced(Heap&, const Text&, const Text& from, const Text& to, int64_t most);
std::vector<Text> lines_of(const Text&, bool keep_ends);
// As Python's strftime in the C locale, UTC.
std::string format_time(std::string_view format, int64_t seconds);

}  // namespace alia::jinja
