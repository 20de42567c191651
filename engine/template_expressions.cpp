// Expressions of Jinja, from what binds least to what binds most.
#include "engine/template_grammar.h"

namespace alia::jinja {
namespace {

std::vector<Node> nodes(Node first) {
    std::vector<Node> all;
    all.push_back(std::move(first));
    return all;
}
std::vector<Node> nodes(Node first, Node second) {
    std::vector<Node> all = nodes(std::move(first));
    all.push_back(std::move(second));
    return all;
}

}  // namespace

Node Parser::tuple(bool conditions) {
    const size_t begin = now().offset;
    Node first = expression(conditions);
    if (!at_op(",")) return first;
    std::vector<Node> all = nodes(std::move(first));
    while (take_op(",")) {
        const bool ends = now().kind == Token::Kind::block_end || now().kind == Token::Kind::print_end || at_op(")");
        if (ends) break;
        all.push_back(expression(conditions));
    }
    return make(Node::Kind::tuple, begin, std::move(all));
}

Node Parser::expression(bool conditions) {
    const Nesting nested(*this);
    Node value = either();
    return conditions ? conditional(std::move(value)) : std::move(value);
}

// `value if condition else other`, the value read already.
Node Parser::conditional(Node value) {
    const size_t begin = value.offset;
    if (!at_name("if")) return value;
    std::vector<Node> parts;
    parts.push_back(std::move(value));
    while (take_name("if")) {
        parts.push_back(either());
        parts.push_back(take_name("else") ? expression() : make(Node::Kind::absent, now().offset));
        Node whole = make(Node::Kind::conditional, begin, std::move(parts));
        parts = nodes(std::move(whole));
    }
    return std::move(parts[0]);
}

Node Parser::either() {
    const size_t begin = now().offset;
    Node first = both();
    if (!at_name("or")) return first;
    std::vector<Node> all = nodes(std::move(first));
    while (take_name("or")) all.push_back(both());
    return make(Node::Kind::either, begin, std::move(all));
}

Node Parser::both() {
    const size_t begin = now().offset;
    Node first = inverse();
    if (!at_name("and")) return first;
    std::vector<Node> all = nodes(std::move(first));
    while (take_name("and")) all.push_back(inverse());
    return make(Node::Kind::both, begin, std::move(all));
}

Node Parser::inverse() {
    const size_t begin = now().offset;
    if (!take_name("not")) return comparison();
    const Nesting nested(*this);
    return make(Node::Kind::inverse, begin, nodes(inverse()));
}

Node Parser::comparison() {
    const size_t begin = now().offset;
    Node first = sum();
    std::string ops;
    std::vector<Node> all = nodes(std::move(first));
    for (;;) {
        static constexpr std::pair<std::string_view, char> known[] = {{"==", '='}, {"!=", '!'}, {"<", '<'},
                                                                      {">", '>'},  {"<=", 'l'}, {">=", 'g'}};
        char op = 0;
        for (const auto& [text, letter] : known)
            if (take_op(text)) {
                op = letter;
                break;
            }
        if (!op && take_name("in")) op = 'i';
        if (!op && at_name("not") && tokens[at + 1].is(Token::Kind::name, "in")) at += 2, op = 'n';
        if (!op) break;
        ops += op;
        all.push_back(sum());
    }
    if (ops.empty()) return std::move(all[0]);
    Node node = make(Node::Kind::comparison, begin, std::move(all));
    node.name = std::move(ops);
    return node;
}

Node Parser::sum() {
    const size_t begin = now().offset;
    std::vector<Node> all = nodes(concatenation());
    std::string ops;
    while (at_op("+") || at_op("-")) {
        ops += now().text;
        ++at;
        all.push_back(concatenation());
    }
    if (ops.empty()) return std::move(all[0]);
    Node node = make(Node::Kind::arithmetic, begin, std::move(all));
    node.name = std::move(ops);
    return node;
}

Node Parser::concatenation() {
    const size_t begin = now().offset;
    Node first = product();
    if (!at_op("~")) return first;
    std::vector<Node> all = nodes(std::move(first));
    while (take_op("~")) all.push_back(product());
    return make(Node::Kind::concatenation, begin, std::move(all));
}

Node Parser::product() {
    const size_t begin = now().offset;
    std::vector<Node> all = nodes(power());
    std::string ops;
    for (;;) {
        const char op = at_op("*") ? '*' : at_op("/") ? '/' : at_op("//") ? 'f' : at_op("%") ? '%' : 0;
        if (!op) break;
        ++at;
        ops += op;
        all.push_back(power());
    }
    if (ops.empty()) return std::move(all[0]);
    Node node = make(Node::Kind::arithmetic, begin, std::move(all));
    node.name = std::move(ops);
    return node;
}

// Jinja's ** goes from left to right too.
Node Parser::power() {
    const size_t begin = now().offset;
    std::vector<Node> all = nodes(unary());
    while (take_op("**")) all.push_back(unary());
    if (all.size() == 1) return std::move(all[0]);
    std::string ops(all.size() - 1, 'p');
    Node node = make(Node::Kind::arithmetic, begin, std::move(all));
    node.name = std::move(ops);
    return node;
}

Node Parser::unary(bool with_filters) {
    const Nesting nested(*this);
    const size_t begin = now().offset;
    Node value;
    if (take_op("-"))
        value = make(Node::Kind::negative, begin, nodes(unary(false)));
    else if (take_op("+"))
        value = make(Node::Kind::positive, begin, nodes(unary(false)));
    else
        value = primary();
    value = postfix(std::move(value));
    return with_filters ? filters(std::move(value), false) : std::move(value);
}

Node Parser::primary() {
    const Token& token = now();
    switch (token.kind) {
        case Token::Kind::name: {
            ++at;
            if (token.text == "true" || token.text == "True" || token.text == "false" || token.text == "False") {
                Node node = make(Node::Kind::boolean, token.offset);
                node.integer = token.text[0] == 't' || token.text[0] == 'T';
                return node;
            }
            return leaf(token.text == "none" || token.text == "None" ? Node::Kind::none : Node::Kind::name, token);
        }
        case Token::Kind::text: {
            Node node = leaf(Node::Kind::text, token);
            for (++at; now().kind == Token::Kind::text; ++at) node.name += now().text;
            return node;
        }
        case Token::Kind::integer:
            ++at;
            return leaf(Node::Kind::integer, token);
        case Token::Kind::real:
            ++at;
            return leaf(Node::Kind::real, token);
        default:
            break;
    }
    if (take_op("(")) {
        if (take_op(")")) return make(Node::Kind::tuple, token.offset);
        Node inner = tuple();
        need_op(")");
        return inner;
    }
    if (take_op("[")) return list();
    if (take_op("{")) return dict();
    fail("expected a value");
}

Node Parser::list() {
    const size_t begin = tokens[at - 1].offset;
    std::vector<Node> all;
    while (!at_op("]")) {
        if (!all.empty()) need_op(",");
        if (at_op("]")) break;
        all.push_back(expression());
    }
    ++at;
    return make(Node::Kind::list, begin, std::move(all));
}

Node Parser::dict() {
    const size_t begin = tokens[at - 1].offset;
    std::vector<Node> all;
    while (!at_op("}")) {
        if (!all.empty()) need_op(",");
        if (at_op("}")) break;
        all.push_back(expression());
        need_op(":");
        all.push_back(expression());
    }
    ++at;
    return make(Node::Kind::dict, begin, std::move(all));
}

Node Parser::postfix(Node value) {
    for (;;) {
        const size_t offset = now().offset;
        if (take_op(".")) {
            const bool number = now().kind == Token::Kind::integer;
            if (number) {
                Node index = leaf(Node::Kind::integer, tokens[at++]);
                value = make(Node::Kind::item, offset, nodes(std::move(value), std::move(index)));
            } else {
                const Token& name = need_name();
                value = make(Node::Kind::attribute, name.offset, nodes(std::move(value)));
                value.name = name.text;
            }
        } else if (take_op("[")) {
            value = subscript(std::move(value));
        } else if (at_op("(")) {
            Node call = make(Node::Kind::call, offset, nodes(std::move(value)));
            arguments(call);
            value = std::move(call);
        } else {
            return value;
        }
    }
}

Node Parser::subscript(Node object) {
    const size_t begin = object.offset;
    std::vector<Node> parts = nodes(std::move(object));
    auto part = [&] {
        const bool missing = at_op(":") || at_op("]");
        parts.push_back(missing ? make(Node::Kind::absent, now().offset) : expression());
    };
    if (at_op("]")) fail("expected an index");
    part();
    if (!at_op(":")) {
        need_op("]");
        return make(Node::Kind::item, begin, std::move(parts));
    }
    while (parts.size() < 4)
        if (take_op(":"))
            part();
        else
            parts.push_back(make(Node::Kind::absent, now().offset));
    need_op("]");
    return make(Node::Kind::slice, begin, std::move(parts));
}

void Parser::arguments(Node& call) {
    std::vector<Node> all = std::move(call.children);
    std::vector<std::string> keywords(all.size());
    need_op("(");
    for (bool first = true; !at_op(")"); first = false) {
        if (!first) need_op(",");
        if (at_op(")")) break;
        const size_t offset = now().offset;
        const bool keyword = now().kind == Token::Kind::name && tokens[at + 1].is(Token::Kind::op, "=");
        if (at_op("*") || at_op("**")) {
            std::string sign = now().text;
            ++at;
            Node spread = make(Node::Kind::spread, offset, nodes(expression()));
            spread.name = std::move(sign);
            all.push_back(std::move(spread));
            keywords.emplace_back();
        } else if (keyword) {
            keywords.push_back(now().text);
            at += 2;
            all.push_back(expression());
        } else {
            if (!keywords.empty() && !keywords.back().empty()) fail("an argument by position behind one by name");
            keywords.emplace_back();
            all.push_back(expression());
        }
    }
    ++at;
    std::string name = std::move(call.name);
    call = make(call.kind, call.offset, std::move(all));
    call.name = std::move(name);
    call.keywords = std::move(keywords);
}

Node Parser::filters(Node value, bool first) {
    for (;;) {
        if (first || take_op("|")) {
            first = false;
            const Token& name = need_name();
            std::string full = name.text;
            while (take_op(".")) full += "." + need_name().text;
            Node filter = make(Node::Kind::filter, name.offset, nodes(std::move(value)));
            filter.name = std::move(full);
            filter.keywords.resize(1);
            if (at_op("(")) arguments(filter);
            value = std::move(filter);
        } else if (at_name("is") && !value.is(Node::Kind::absent)) {
            ++at;
            value = test(std::move(value));
        } else if (at_op("(") && !value.is(Node::Kind::absent)) {
            value = postfix(std::move(value));
        } else {
            return value;
        }
    }
}

Node Parser::test(Node value) {
    const bool negated = take_name("not");
    const Token& name = need_name();
    std::string full = name.text;
    while (take_op(".")) full += "." + need_name().text;
    Node node = make(Node::Kind::test, name.offset, nodes(std::move(value)));
    node.name = std::move(full);
    node.keywords.resize(1);
    const Token& next = now();
    const bool word = next.kind == Token::Kind::name && next.text != "else" && next.text != "or" &&
                      next.text != "and" && next.text != "is" && next.text != "if" && next.text != "in" &&
                      next.text != "not";
    const bool value_follows = word || next.kind == Token::Kind::text || next.kind == Token::Kind::integer ||
                               next.kind == Token::Kind::real || at_op("[") || at_op("{");
    if (at_op("(")) {
        arguments(node);
    } else if (value_follows) {
        Node argument = postfix(primary());
        std::string text = std::move(node.name);
        const size_t offset = node.offset;
        node = make(Node::Kind::test, offset, nodes(std::move(node.children[0]), std::move(argument)));
        node.name = std::move(text);
        node.keywords.resize(2);
    }
    return negated ? make(Node::Kind::inverse, node.offset, nodes(std::move(node))) : std::move(node);
}

}  // namespace alia::jinja
