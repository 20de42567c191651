// The tokens of a chat template, with white space cut as Hugging Face has Jinja cut it: trim_blocks, lstrip_blocks, and
// the signs - and + inside delimiters.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"

namespace alia::jinja {

// A template's text with \n as its only line break and without the last one; `file` says where it comes from.
struct Source {
    std::string file, text;

    // limit beyond 1 MiB.
    static Source of(std::string_view text, std::string_view file);
    // Fails with line and column (of characters, from 1) of the byte at `offset`.
    [[noreturn, gnu::format(printf, 4, 5)]] void fail(Status, size_t offset, const char* format, ...) const;
};

struct Token {
    enum class Kind : uint8_t {
        data,
        block_begin,
        block_end,
        print_begin,
        print_end,
        name,
        text,
        integer,
        real,
        op,
        end
    };

    Kind kind = Kind::end;
    size_t offset = 0;
    std::string text;  // of data, a name, a text literal (its value) or an operator
    int64_t integer = 0;
    double real = 0;

    bool is(Kind k, std::string_view t) const { return kind == k && text == t; }
};

// Ends with one of Kind::end. Errors: malformed.
std::vector<Token> tokenize(const Source&);

}  // namespace alia::jinja
