// A chat template as a tree.
#pragma once
#include <memory>

#include "engine/template_lexer.h"

namespace alia::jinja {

struct Node {
    enum class Kind : uint8_t {
        // Expressions
        text,  // `name` is its value
        integer,
        real,
        boolean,  // `integer`
        none,
        name,
        list,
        tuple,
        dict,       // key, value, key, value, ...
        attribute,  // [object].name
        item,       // [object, index]
        slice,      // [object, first, last, step], each but the object perhaps absent
        call,       // [callee, arguments ...]
        filter,     // [value, arguments ...] | name
        test,       // [value, arguments ...] is name
        spread,     // *[list] or **[dict] among arguments; `name` is the sign
        inverse,    // not [x]
        negative,
        positive,
        arithmetic,  // [a, b, c ...] from left to right, operators as letters in `name`: + - * / %, f for //, p for **
        concatenation,  // ~
        comparison,  // [a, b, c ...], operators as letters in `name`: = ! < > l for <=, g for >=, i for in, n for not
                     // in
        both,
        either,
        conditional,  // [value, condition, other], the other perhaps absent
        absent,
        // Statements
        data,  // `name` is the text
        print,
        body,        // statements
        branch,      // [condition, body, condition, body, ..., body]
        loop,        // [target, list, condition, body, otherwise], the condition perhaps absent
        assignment,  // [target, value]
        capture,     // [target, body, filter]: set without a value; the filter perhaps absent, its value too
        macro,       // [parameters, body], each parameter a name with its default or none as a child
        invocation,  // [call, parameters, body]: {% call %}
        filtering,   // [filter, body], the filter's value absent
        scope,       // [target, value, target, value, ..., body]: {% with %}
        stop,        // {% break %}
        skip,        // {% continue %}
    };

    Kind kind = Kind::absent;
    uint8_t height = 1;  // at most 250: nothing that follows the tree runs out of stack
    uint32_t offset = 0;
    int64_t integer = 0;
    double real = 0;
    std::string name;
    std::vector<Node> children;
    std::vector<std::string> keywords;  // of arguments, as many as children; "" for one by position

    bool is(Kind k) const { return kind == k; }
};

struct Template {
    Source source;
    Node root;

    // Errors, with line and column: malformed, unsupported (tags that read other templates), limit.
    static Template parse(std::string_view text, std::string_view file);
};

}  // namespace alia::jinja
