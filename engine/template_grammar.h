// The parser of chat templates: recursive descent over the lexer's tokens.
#pragma once
#include <initializer_list>
#include <utility>

#include "engine/template_parser.h"

namespace alia::jinja {

class Parser {
  public:
    explicit Parser(const Source& source);
    Node parse();

  private:
    static constexpr int max_height = 250, max_nesting = 100;

    // Counts how deep the descent is.
    struct Nesting {
        explicit Nesting(Parser& parser) : parser(parser) {
            if (++parser.nesting > max_nesting)
                parser.source.fail(Status::limit, parser.now().offset, "nested too deeply");
        }
        ~Nesting() { --parser.nesting; }
        Nesting(const Nesting&) = delete;
        Nesting& operator=(const Nesting&) = delete;
        Parser& parser;
    };

    const Token& now() const { return tokens[at]; }
    [[noreturn]] void fail(const char* what) const;  // malformed, here
    Node make(Node::Kind kind, size_t offset, std::vector<Node> children = {}) const;
    Node leaf(Node::Kind kind, const Token& token) const;
    bool at_name(std::string_view name) const;
    bool at_op(std::string_view op) const;
    bool take_op(std::string_view op);
    bool take_name(std::string_view name);
    void need_op(std::string_view op);
    const Token& need_name();
    void end_block();

    Node body(std::initializer_list<std::string_view> ends, std::string_view* found = nullptr);
    Node block(std::string_view end);  // from the end of the opening tag to that of the closing one
    Node statement();
    Node branch(const Token& tag);
    Node loop(const Token& tag);
    Node assignment(const Token& tag);
    Node macro(const Token& tag);
    Node invocation(const Token& tag);
    Node scope(const Token& tag);
    Node target(bool member);
    Node parameters();

    Node tuple(bool conditions = true);  // expressions with commas, or one
    Node expression(bool conditions = true);
    Node conditional(Node value);
    Node either();
    Node both();
    Node inverse();
    Node comparison();
    Node sum();
    Node concatenation();
    Node product();
    Node power();
    Node unary(bool with_filters = true);
    Node primary();
    Node list();
    Node dict();
    Node postfix(Node value);
    Node subscript(Node object);
    Node filters(Node value, bool first);  // `first`: a filter's name without a bar before it
    Node test(Node value);
    void arguments(Node& call);  // appended to its children

    const Source& source;
    const std::vector<Token> tokens;
    size_t at = 0;
    int nesting = 0, loops = 0;
};

}  // namespace alia::jinja
