// Values of a chat template, as Python has them. A text knows of each of its bytes whether the template wrote it or it
// came from outside.
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/json.h"
#include "engine/tokenizer.h"

namespace alia::jinja {

struct Text {
    std::string bytes;
    std::vector<TextRange> input;  // what came from outside: in order, neither empty nor touching

    void append(std::string_view text, bool from_input);
    void append(const Text& text, size_t begin = 0, size_t end = std::string::npos);
    bool from_input(size_t at) const;  // the byte there
    bool any_input() const { return !input.empty(); }
};

struct List;
struct Dict;
struct Namespace;
struct Loop;
struct Callable;

// Small and copied freely: what it points to lives in the Heap of its rendering.
struct Value {
    enum class Kind : uint8_t {
        undefined,
        none,
        boolean,
        integer,
        real,
        text,
        list,
        tuple,
        dict,
        space,
        loop,
        callable
    };

    Kind kind = Kind::undefined;
    bool input = false;  // of a truth value or a number: it came from outside
    union {
        bool boolean;
        int64_t integer;
        double real;
        const Text* text = nullptr;  // of an undefined value: why it is, or null
        const List* list;            // of tuples too
        const Dict* dict;
        Namespace* space;
        Loop* loop;
        const Callable* callable;
    };

    bool is(Kind k) const { return kind == k; }
    bool undefined() const { return kind == Kind::undefined; }
    bool number() const { return kind == Kind::boolean || kind == Kind::integer || kind == Kind::real; }
    bool whole() const { return kind == Kind::boolean || kind == Kind::integer; }
    bool sequence() const { return kind == Kind::list || kind == Kind::tuple; }
    int64_t as_integer() const { return kind == Kind::boolean ? boolean : integer; }
    double as_real() const { return kind == Kind::real ? real : double(as_integer()); }
    std::string_view string() const { return kind == Kind::text ? std::string_view(text->bytes) : std::string_view(); }
};

inline Value none() {
    Value v;
    v.kind = Value::Kind::none;
    return v;
}
inline Value boolean(bool b, bool input = false) {
    Value v;
    v.kind = Value::Kind::boolean, v.input = input, v.boolean = b;
    return v;
}
inline Value integer(int64_t i, bool input = false) {
    Value v;
    v.kind = Value::Kind::integer, v.input = input, v.integer = i;
    return v;
}
inline Value real(double r, bool input = false) {
    Value v;
    v.kind = Value::Kind::real, v.input = input, v.real = r;
    return v;
}

struct List {
    std::vector<Value> items;
};

// In the order in which keys came.
struct Dict {
    std::vector<std::pair<Value, Value>> items;

    const Value* find(std::string_view key) const;
};

// What `namespace(...)` makes: the one thing that a template can change.
struct Namespace {
    Dict values;
};

struct Loop {
    const List* items = nullptr;
    size_t index = 0;
    bool changed_before = false;
    std::vector<Value> changed;  // what loop.changed() last saw
};

struct Arguments {
    std::vector<Value> values;
    std::vector<std::pair<std::string_view, Value>> named;
};

class Renderer;
struct Callable {
    std::string name;
    std::function<Value(Renderer&, Arguments&)> call;
};

// How much a rendering may do. A hostile template meets one of these, typed ALIA_LIMIT.
struct Limits {
    uint64_t steps = 10'000'000;           // nodes evaluated, and one for each 64 bytes or 8 elements read or made
    uint64_t bytes = uint64_t(256) << 20;  // of all values made, whether still needed or not
    uint64_t output = uint64_t(64) << 20;
    int depth = 400;  // of nested evaluations, macros included
};

// Owns every value of one rendering and counts its costs; all of it goes at once, so that values may be nested and may
// refer to each other without care.
class Heap {
  public:
    explicit Heap(const Limits& limits) : limits(limits), steps(limits.steps), bytes(limits.bytes) {}

    Value text(Text value);
    Value text(std::string_view value, bool from_input = false);
    Value list(std::vector<Value> items, Value::Kind kind = Value::Kind::list);
    Value dict(Dict dict);
    Value space(Dict values);
    Value loop(const List& items);
    Value callable(std::string name, std::function<Value(Renderer&, Arguments&)> call);
    // As the program gave it: every text and number in it came from outside.
    Value value(const Json&);

    void spend(uint64_t count);  // limit where the steps are over
    void charge(uint64_t count);
    const Limits limits;

  private:
    uint64_t steps, bytes;
    std::deque<Text> texts;
    std::deque<List> lists;
    std::deque<Dict> dicts;
    std::deque<Namespace> spaces;
    std::deque<Loop> loops;
    std::deque<Callable> callables;
};

const char* type_name(const Value&);  // Python's: "str", "NoneType", ...
bool truth(const Value&);
// Python's ==. Spends a step an element.
bool equal(Heap&, const Value&, const Value&);

// Appends what Python's str() and repr() give. Errors: limit (nested too deeply: values can refer to themselves).
void print(Heap&, const Value&, Text& out);
void print_repr(Heap&, const Value&, Text& out, int depth = 0);
std::string real_text(double);  // as Python's repr

struct JsonStyle {
    int indent = -1;  // none
    bool ascii = false, sort = false;
    Text item_separator, key_separator;
};
// Appends what json.dumps gives. False where a value has no JSON, whose type is then in `wrong`.
bool print_json(Heap&, const Value&, const JsonStyle&, Text& out, const char*& wrong, int depth = 0);

// Characters of a text; bytes that are no UTF-8 count one by one.
size_t character_length(std::string_view text, size_t at);
size_t count_characters(std::string_view text);
// Where each character begins, and the text's end.
std::vector<size_t> character_starts(std::string_view text);
// Spaces as Python's str.strip and str.split see them.
bool is_space(std::string_view text, size_t at, size_t length);

}  // namespace alia::jinja
