// Statements of Jinja; expressions are in template_expressions.cpp.
#include "engine/template_parser.h"

#include "engine/template_grammar.h"

namespace alia::jinja {

Template Template::parse(std::string_view text, std::string_view file) {
    Template t{Source::of(text, file), {}};
    t.root = Parser(t.source).parse();
    return t;
}

Parser::Parser(const Source& source) : source(source), tokens(tokenize(source)) {}

Node Parser::parse() {
    Node root = body({});
    if (now().kind != Token::Kind::end) fail("a tag that ends nothing");
    return root;
}

void Parser::fail(const char* what) const { source.fail(Status::malformed, now().offset, "%s", what); }

Node Parser::make(Node::Kind kind, size_t offset, std::vector<Node> children) const {
    Node node;
    node.kind = kind;
    node.offset = uint32_t(offset);
    int height = 0;
    for (const Node& child : children) height = std::max<int>(height, child.height);
    if (height >= max_height) source.fail(Status::limit, offset, "nested too deeply");
    node.height = uint8_t(height + 1);
    node.children = std::move(children);
    return node;
}

Node Parser::leaf(Node::Kind kind, const Token& token) const {
    Node node = make(kind, token.offset);
    node.name = token.text, node.integer = token.integer, node.real = token.real;
    return node;
}

bool Parser::at_name(std::string_view name) const { return now().is(Token::Kind::name, name); }
bool Parser::at_op(std::string_view op) const { return now().is(Token::Kind::op, op); }

bool Parser::take_op(std::string_view op) {
    if (!at_op(op)) return false;
    ++at;
    return true;
}

bool Parser::take_name(std::string_view name) {
    if (!at_name(name)) return false;
    ++at;
    return true;
}

void Parser::need_op(std::string_view op) {
    if (!take_op(op)) fail(("expected '" + std::string(op) + "'").c_str());
}

const Token& Parser::need_name() {
    if (now().kind != Token::Kind::name) fail("expected a name");
    return tokens[at++];
}

void Parser::end_block() {
    if (now().kind != Token::Kind::block_end) fail("expected the end of this tag");
    ++at;
}

// Statements up to a tag of one of these names, whose begin and name are then read.
Node Parser::body(std::initializer_list<std::string_view> ends, std::string_view* found) {
    const size_t begin = now().offset;
    const Nesting nesting(*this);
    std::vector<Node> statements;
    for (;;) {
        const Token& token = now();
        if (token.kind == Token::Kind::data) {
            statements.push_back(leaf(Node::Kind::data, token));
            ++at;
        } else if (token.kind == Token::Kind::print_begin) {
            ++at;
            std::vector<Node> value;
            value.push_back(tuple());
            if (now().kind != Token::Kind::print_end) fail("expected the end of this print");
            ++at;
            statements.push_back(make(Node::Kind::print, token.offset, std::move(value)));
        } else if (token.kind == Token::Kind::block_begin) {
            ++at;
            for (std::string_view end : ends) {
                if (!at_name(end)) continue;
                ++at;
                if (found) *found = end;
                return make(Node::Kind::body, begin, std::move(statements));
            }
            statements.push_back(statement());
        } else {
            if (ends.size()) fail(("the template ends before '" + std::string(*(ends.end() - 1)) + "'").c_str());
            return make(Node::Kind::body, begin, std::move(statements));
        }
    }
}

Node Parser::block(std::string_view end) {
    end_block();
    Node content = body({end});
    end_block();
    return content;
}

Node Parser::statement() {
    const Token& tag = need_name();
    const std::string& name = tag.text;
    if (name == "if") return branch(tag);
    if (name == "for") return loop(tag);
    if (name == "set") return assignment(tag);
    if (name == "macro") return macro(tag);
    if (name == "call") return invocation(tag);
    if (name == "with") return scope(tag);
    if (name == "filter") {
        std::vector<Node> parts;
        parts.push_back(filters(make(Node::Kind::absent, tag.offset), true));
        parts.push_back(block("endfilter"));
        return make(Node::Kind::filtering, tag.offset, std::move(parts));
    }
    if (name == "generation") return block("endgeneration");  // Hugging Face's mark of an assistant's words
    if (name == "break" || name == "continue") {
        if (loops == 0) source.fail(Status::malformed, tag.offset, "'%s' outside a loop", name.c_str());
        end_block();
        return make(name == "break" ? Node::Kind::stop : Node::Kind::skip, tag.offset);
    }
    for (std::string_view known :
         {"include", "import", "from", "extends", "block", "autoescape", "do", "trans", "debug"})
        if (name == known)
            source.fail(Status::unsupported, tag.offset, "the tag '%s' is not supported in chat templates",
                        name.c_str());
    source.fail(Status::malformed, tag.offset, "an unknown tag '%.60s'", name.c_str());
}

Node Parser::branch(const Token& tag) {
    std::vector<Node> parts;
    std::string_view next = "elif";
    while (next == "elif") {
        parts.push_back(expression(false));
        end_block();
        parts.push_back(body({"elif", "else", "endif"}, &next));
    }
    if (next == "else")
        parts.push_back(block("endif"));
    else
        end_block();
    return make(Node::Kind::branch, tag.offset, std::move(parts));
}

Node Parser::loop(const Token& tag) {
    std::vector<Node> parts;
    parts.push_back(target(false));
    if (!take_name("in")) fail("expected 'in'");
    parts.push_back(tuple(false));
    parts.push_back(take_name("if") ? expression() : make(Node::Kind::absent, now().offset));
    if (at_name("recursive")) source.fail(Status::unsupported, now().offset, "recursive loops are not supported");
    end_block();
    std::string_view next;
    ++loops;
    parts.push_back(body({"else", "endfor"}, &next));
    --loops;
    if (next == "else")
        parts.push_back(block("endfor"));
    else
        end_block(), parts.push_back(make(Node::Kind::body, now().offset));
    return make(Node::Kind::loop, tag.offset, std::move(parts));
}

Node Parser::assignment(const Token& tag) {
    std::vector<Node> parts;
    parts.push_back(target(true));
    if (take_op("=")) {
        parts.push_back(tuple());
        end_block();
        return make(Node::Kind::assignment, tag.offset, std::move(parts));
    }
    Node filter = filters(make(Node::Kind::absent, now().offset), false);
    parts.push_back(block("endset"));
    parts.push_back(std::move(filter));
    return make(Node::Kind::capture, tag.offset, std::move(parts));
}

// What is assigned to: a name, names with commas, or with `member` a namespace's member.
Node Parser::target(bool member) {
    auto one = [&]() -> Node {
        if (take_op("(")) {
            Node inner = target(false);
            need_op(")");
            return inner;
        }
        const Token& token = need_name();
        for (std::string_view constant : {"true", "false", "none", "True", "False", "None"})
            if (token.text == constant)
                source.fail(Status::malformed, token.offset, "assigns to '%s'", token.text.c_str());
        return leaf(Node::Kind::name, token);
    };
    const Nesting nesting(*this);
    const size_t begin = now().offset;
    Node first = one();
    if (member && first.is(Node::Kind::name) && take_op(".")) {
        std::vector<Node> object;
        object.push_back(std::move(first));
        Node attribute = make(Node::Kind::attribute, begin, std::move(object));
        attribute.name = need_name().text;
        return attribute;
    }
    if (!at_op(",")) return first;
    std::vector<Node> all;
    all.push_back(std::move(first));
    while (take_op(",") && (now().kind == Token::Kind::name || at_op("("))) {
        if (at_name("in")) break;
        all.push_back(one());
    }
    return make(Node::Kind::tuple, begin, std::move(all));
}

Node Parser::parameters() {
    std::vector<Node> all;
    const size_t begin = now().offset;
    need_op("(");
    while (!at_op(")")) {
        if (!all.empty()) need_op(",");
        if (at_op(")")) break;
        Node parameter = leaf(Node::Kind::name, need_name());
        if (take_op("=")) {
            std::vector<Node> value;
            value.push_back(expression());
            std::string name = parameter.name;
            parameter = make(Node::Kind::name, parameter.offset, std::move(value));
            parameter.name = std::move(name);
        } else if (!all.empty() && !all.back().children.empty()) {
            fail("a parameter without a default behind one with a default");
        }
        all.push_back(std::move(parameter));
    }
    ++at;
    return make(Node::Kind::list, begin, std::move(all));
}

Node Parser::macro(const Token& tag) {
    std::string name = need_name().text;
    std::vector<Node> parts;
    parts.push_back(parameters());
    const int outer = std::exchange(loops, 0);
    parts.push_back(block("endmacro"));
    loops = outer;
    Node node = make(Node::Kind::macro, tag.offset, std::move(parts));
    node.name = std::move(name);
    return node;
}

Node Parser::invocation(const Token& tag) {
    std::vector<Node> parts;
    Node given = at_op("(") ? parameters() : make(Node::Kind::list, now().offset);
    parts.push_back(expression());
    if (!parts[0].is(Node::Kind::call)) fail("expected a call");
    parts.push_back(std::move(given));
    const int outer = std::exchange(loops, 0);
    parts.push_back(block("endcall"));
    loops = outer;
    return make(Node::Kind::invocation, tag.offset, std::move(parts));
}

Node Parser::scope(const Token& tag) {
    std::vector<Node> parts;
    while (now().kind != Token::Kind::block_end) {
        if (!parts.empty()) need_op(",");
        parts.push_back(target(false));
        need_op("=");
        parts.push_back(expression());
    }
    parts.push_back(block("endwith"));
    return make(Node::Kind::scope, tag.offset, std::move(parts));
}

}  // namespace alia::jinja
