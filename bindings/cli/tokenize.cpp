// alia tokenize: text to token ids and back.
#include <iostream>
#include <optional>

#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::optional<std::string> text;
    bool jsonl = false, no_special = false, parse = false, no_parse = false, decode = false, keep_special = false;

    // A text is a user's unless said otherwise; with --jsonl it is treated as Hugging Face does.
    bool parses_special() const { return parse || (jsonl && !no_parse); }
};

std::vector<int32_t> encode_text(alia_model* model, const Options& o, std::string_view text) {
    return encode(model, {{text, o.parses_special() ? ALIA_PART_TRUSTED : ALIA_PART_LITERAL}}, !o.no_special);
}

// `convert` makes a line of output from a line of input and its number.
template <class F>
void each_line(F&& convert) {
    std::string line;
    for (int64_t number = 1; std::getline(std::cin, line); ++number) {
        if (line.find_first_not_of(" \t\r") == line.npos) continue;
        const std::string result = convert(line, number) + "\n";
        std::fwrite(result.data(), 1, result.size(), stdout);
    }
    if (std::cin.bad()) throw Failure("standard input: the system failed to read it", ALIA_IO);
}

int tokenize(const Options& o) {
    const Model owner = open_model(o.model, ALIA_LOAD_TEXT);
    alia_model* model = owner.get();
    std::ios::sync_with_stdio(false);
    if (o.jsonl && o.decode) {
        each_line([&](const std::string& line, int64_t number) {
            return "{\"text\": " + json_string(decode(model, ids_of(line, number), o.keep_special)) + "}";
        });
        return 0;
    }
    if (o.jsonl) {
        each_line([&](const std::string& line, int64_t number) {
            return "{\"ids\": " + list(encode_text(model, o, text_of(line, number))) + "}";
        });
        return 0;
    }
    const std::string text = o.text ? *o.text : read_all(stdin, "standard input");
    std::string result;
    if (o.decode) {
        result = decode(model, parse_ids(text, o.text ? "TEXT" : "standard input"), o.keep_special);
    } else {
        for (int32_t id : encode_text(model, o, text)) {
            if (!result.empty()) result += ' ';
            result += std::to_string(id);
        }
    }
    result += '\n';
    std::fwrite(result.data(), 1, result.size(), stdout);
    return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("tokenize", "Turn text into token ids, or back");
    command->add_option("MODEL", o->model.path, "a model, tokenizer.json, tokenizer.model, or a directory with one")
        ->required();
    command->add_option("--device", o->model.device, "accepted as in every command; tokenizers need none");
    auto* text =
        command->add_option("TEXT", o->text, "the text, or with --decode the ids (without it: standard input)");
    auto* jsonl = command->add_flag("--jsonl", o->jsonl,
                                    "JSON Lines from standard input: {\"text\": \"...\"} to {\"ids\": [...]}");
    command->add_flag("--no-special", o->no_special, "add nothing around the text, such as a first <s>");
    auto* parse = command->add_flag("--parse-special", o->parse,
                                    "special tokens written in the text become those tokens (with --jsonl: as it is)");
    command->add_flag("--no-parse-special", o->no_parse, "with --jsonl: special tokens written in a text stay letters")
        ->needs(jsonl)
        ->excludes(parse);
    auto* decode = command->add_flag("--decode", o->decode, "the other way; special tokens are left out");
    command->add_flag("--keep-special", o->keep_special, "with --decode: special tokens are written out")
        ->needs(decode);
    jsonl->excludes(text);
    command->footer(
        "Special tokens around a text are added unless --no-special. Those written inside a text are parsed\n"
        "with --jsonl, as Hugging Face does, and are plain letters without it.\n"
        "Examples:\n"
        "  alia tokenize tokenizer.json \"Bon dia!\"\n"
        "  alia tokenize model.gguf --decode \"1 2 3\"\n"
        "  alia tokenize model.gguf --jsonl < texts.jsonl > ids.jsonl");
    command->callback([o, &chosen] { chosen = [o] { return tokenize(*o); }; });
}

}  // namespace cli
