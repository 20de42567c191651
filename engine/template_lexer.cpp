// Jinja's lexer (https://jinja.palletsprojects.com/en/stable/templates/), with the options that Hugging Face sets.
#include "engine/template_lexer.h"

#include <algorithm>
#include <charconv>

#include "engine/template_value.h"
#include "engine/utf8.h"

namespace alia::jinja {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || uint8_t(c) >= 0x80; }
bool space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Lexer {
  public:
    explicit Lexer(const Source& source) : source(source), all(source.text) {}

    std::vector<Token> run() {
        while (at < all.size()) data();
        add(Token::Kind::end, at);
        return std::move(tokens);
    }

  private:
    using Kind = Token::Kind;

    Token& add(Kind kind, size_t offset, std::string_view text = {}) {
        Token& token = tokens.emplace_back();
        token.kind = kind, token.offset = offset, token.text = text;
        return token;
    }
    bool starts(std::string_view text) const { return all.substr(at).starts_with(text); }
    void skip_space() {
        while (at < all.size() && space(all[at])) ++at;
    }
    // From here on text is at a line's start if what was just read ended with one.
    void mark_line() { line_start = at > 0 && all[at - 1] == '\n'; }

    // A text up to `end`, cut before a delimiter with this sign.
    void add_data(size_t end, char sign, bool block) {
        size_t stop = end;
        if (sign == '-') {
            while (stop > at && space(all[stop - 1])) --stop;
        } else if (sign != '+' && block) {
            size_t line = stop;
            while (line > at && all[line - 1] != '\n') --line;
            const std::string_view before = all.substr(line, stop - line);
            if ((line > at || line_start) && std::all_of(before.begin(), before.end(), space)) stop = line;
        }
        if (stop > at) add(Kind::data, at, all.substr(at, stop - at));
        at = end;
    }

    // Behind "{%", "{{" or "{#".
    char read_sign() {
        const char sign = at < all.size() && (all[at] == '-' || all[at] == '+') ? all[at] : 0;
        if (sign) ++at;
        return sign;
    }

    // An end delimiter here, with its sign and what goes with it; nothing where there is none.
    bool read_end(std::string_view end, bool block, bool plus = true) {
        const bool minus = all[at] == '-', kept = block && plus && all[at] == '+';
        if (!all.substr(at + (minus || kept)).starts_with(end)) return false;
        at += end.size() + (minus || kept);
        if (minus)
            skip_space();
        else if (block && !kept && at < all.size() && all[at] == '\n')
            ++at;
        mark_line();
        return true;
    }

    void data() {
        size_t found = all.find('{', at);
        while (found != all.npos &&
               (found + 1 == all.size() || std::string_view("%{#").find(all[found + 1]) == all.npos))
            found = all.find('{', found + 1);
        if (found == all.npos) return add_data(all.size(), '+', false);
        const char kind = all[found + 1];
        const char sign = found + 2 < all.size() ? all[found + 2] : 0;
        add_data(found, sign, kind != '{');
        at = found + 2;
        read_sign();
        if (kind == '#') return comment(found);
        if (kind == '%' && raw(found)) return;
        add(kind == '%' ? Kind::block_begin : Kind::print_begin, found);
        expression(kind == '%', found);
    }

    void comment(size_t begin) {
        const size_t end = all.find("#}", at);
        if (end == all.npos) source.fail(Status::malformed, begin, "this comment does not end");
        at = end > at && (all[end - 1] == '-' || all[end - 1] == '+') ? end - 1 : end;
        read_end("#}", true);
    }

    // {% raw %} up to {% endraw %}.
    bool raw(size_t begin) {
        const size_t start = at;
        auto word = [&](std::string_view name) {
            skip_space();
            if (!starts(name)) return false;
            at += name.size();
            skip_space();
            return true;
        };
        if (!word("raw") || at == all.size() || all[at] == '+' || !read_end("%}", false)) {
            at = start;
            return false;
        }
        const size_t text = at;
        for (size_t end = all.find("{%", at); end != all.npos; end = all.find("{%", end + 1)) {
            at = end + 2;
            const char sign = read_sign();
            if (!word("endraw") || at == all.size() || !(starts("%}") || starts("-%}") || starts("+%}"))) continue;
            const size_t close = at;
            at = text;
            add_data(end, sign, true);
            at = close;
            read_end("%}", true);
            return true;
        }
        source.fail(Status::malformed, begin, "this raw block does not end");
    }

    void expression(bool block, size_t begin) {
        std::string open;  // brackets that wait for their other half
        for (;;) {
            skip_space();
            if (at == all.size())
                source.fail(Status::malformed, begin, block ? "this tag does not end" : "this print does not end");
            const size_t offset = at;
            if (open.empty() && (block ? read_end("%}", true) : read_end("}}", false))) {
                add(block ? Kind::block_end : Kind::print_end, offset);
                return;
            }
            const char c = all[at];
            if (digit(c)) {
                number();
            } else if (letter(c)) {
                while (at < all.size() && (letter(all[at]) || digit(all[at]))) ++at;
                add(Kind::name, offset, all.substr(offset, at - offset));
            } else if (c == '\'' || c == '"') {
                literal();
            } else {
                balance(open, operation());
            }
        }
    }

    char operation() {
        for (std::string_view op : {"//", "**", "==", "!=", ">=", "<="}) {
            if (!starts(op)) continue;
            add(Kind::op, at, op);
            at += op.size();
            return 0;
        }
        const char c = all[at];
        if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
            source.fail(Status::malformed, at, "an unexpected character");
        add(Kind::op, at++, {&c, 1});
        return c;
    }

    void balance(std::string& open, char c) {
        if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : char(c + 2);
        if (c != ')' && c != ']' && c != '}') return;
        if (open.empty() || open.back() != c) source.fail(Status::malformed, at - 1, "an unexpected '%c'", c);
        open.pop_back();
    }

    // Digits with single underscores between them, appended to `out`.
    void digits(std::string& out) {
        while (at < all.size() &&
               (digit(all[at]) || (all[at] == '_' && !out.empty() && at + 1 < all.size() && digit(all[at + 1]))))
            if (const char c = all[at++]; c != '_') out += c;
    }

    void number() {
        const size_t offset = at;
        const bool after_dot = at > 0 && all[at - 1] == '.';
        std::string text;
        int base = 10;
        if (const char kind = all[at] == '0' && at + 2 < all.size() ? char(all[at + 1] | 32) : 0;
            kind == 'x' || kind == 'o' || kind == 'b') {
            base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
            for (at += 2; at < all.size() && (letter(all[at]) || digit(all[at])); ++at)
                if (all[at] != '_') text += all[at];
        } else {
            digits(text);
        }
        bool fraction = false;
        if (base == 10 && !after_dot) {
            if (at + 1 < all.size() && all[at] == '.' && digit(all[at + 1])) {
                fraction = true;
                text += all[at++];
                digits(text);
            }
            size_t power = at + 1;
            if (power < all.size() && (all[power] == '+' || all[power] == '-')) ++power;
            if (at < all.size() && (all[at] | 32) == 'e' && power < all.size() && digit(all[power])) {
                fraction = true;
                text += all.substr(at, power - at);
                at = power;
                digits(text);
            }
        }
        Token& token = add(fraction ? Kind::real : Kind::integer, offset);
        const char* end = text.data() + text.size();
        const auto result = fraction ? std::from_chars(text.data(), end, token.real)
                                     : std::from_chars(text.data(), end, token.integer, base);
        if (result.ec != std::errc() || result.ptr != end)
            source.fail(Status::malformed, offset, "a number that no 64 bits hold");
    }

    void literal() {
        const size_t offset = at;
        const char quote = all[at++];
        std::string value;
        while (at < all.size() && all[at] != quote) {
            if (all[at] == '\\' && at + 1 < all.size())
                escape(value);
            else
                value += all[at++];
        }
        if (at == all.size()) source.fail(Status::malformed, offset, "this text does not end");
        ++at;
        add(Kind::text, offset, value);
    }

    // As Python's unicode_escape: an escape that it does not know stays as it is.
    void escape(std::string& value) {
        static constexpr std::string_view names = "\\'\"abfnrtv", meanings = "\\'\"\a\b\f\n\r\t\v";
        const size_t offset = at;
        const char c = all[++at];
        if (const size_t found = names.find(c); found != names.npos) {
            value += meanings[found];
            ++at;
        } else if (c == '\n') {
            ++at;
        } else if (c >= '0' && c <= '7') {
            uint32_t code = 0;
            for (int i = 0; i < 3 && at < all.size() && all[at] >= '0' && all[at] <= '7'; ++i)
                code = code * 8 + uint32_t(all[at++] - '0');
            append_utf8(value, code);
        } else if (c == 'x' || c == 'u' || c == 'U') {
            const size_t length = c == 'x' ? 2 : c == 'u' ? 4 : 8;
            uint32_t code = 0;
            const std::string_view hex = all.substr(at + 1, length);
            const auto result = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
            const bool whole = hex.size() == length && result.ptr == hex.data() + length;
            if (!whole || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
                source.fail(Status::malformed, offset, "an escape that is no character");
            append_utf8(value, code);
            at += 1 + length;
        } else {
            value += '\\';
        }
    }

    const Source& source;
    const std::string_view all;
    size_t at = 0;
    bool line_start = true;
    std::vector<Token> tokens;
};

}  // namespace

Source Source::of(std::string_view text, std::string_view file) {
    constexpr size_t most = 1 << 20;
    Source source{std::string(file), {}};
    if (text.size() > most)
        alia::fail(Status::limit, Place{file, "chat_template"}, "a template of more than %zu bytes", most);
    source.text.reserve(text.size());
    for (size_t at = 0; at < text.size(); ++at) {
        const bool pair = text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n';
        if (!pair) source.text += text[at] == '\r' ? '\n' : text[at];
    }
    if (source.text.ends_with('\n')) source.text.pop_back();
    return source;
}

void Source::fail(Status status, size_t offset, const char* format, ...) const {
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    const std::string_view before = std::string_view(text).substr(0, offset);
    const size_t line = size_t(std::count(before.begin(), before.end(), '\n')) + 1;
    const size_t start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
    alia::fail(status, Place{file, "chat_template"}, "line %zu, column %zu: %s", line,
               count_characters(before.substr(start)) + 1, what);
}

std::vector<Token> tokenize(const Source& source) { return Lexer(source).run(); }

}  // namespace alia::jinja
