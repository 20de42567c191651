// A directory's tokenizer written as GGUF and read again: the same tokens and the same text.
#include "engine/gguf_tokenizer.h"

#include "tests/files.h"
#include "tests/tokenizer_cases.h"

using namespace alia;
using test::tokenizer_file;

namespace {

std::string read(const std::string& path) { return std::string(File::open(path)->text()); }

std::string unpack(const std::string& path) {
    if (!file_exists(path)) return {};
    FILE* pipe = popen(("xz -dc '" + path + "'").c_str(), "r");
    std::string text;
    static char part[1 << 16];
    while (const size_t n = pipe ? fread(part, 1, sizeof part, pipe) : 0) text.append(part, n);
    if (pipe) pclose(pipe);
    return text;
}

struct Written {
    std::vector<std::string> notes;
    std::string bytes;
    std::shared_ptr<const Tokenizer> tokenizer;
    Checkpoint checkpoint;

    explicit Written(const Folder& folder, int64_t rows) {
        Config c;
        c.vocabulary = rows;
        GgufWriter w;
        w.text("general.architecture", "llama");
        write_tokenizer(w, folder.path, c, {}, notes);
        bytes = w.header();
        checkpoint = read_gguf({File::from_memory("t.gguf", std::as_bytes(std::span(bytes)))});
        tokenizer = find_tokenizer(checkpoint);
    }
    Written(const Written&) = delete;

    const Json* key(const char* name) const { return checkpoint.metadata.root().find(name); }
};

// Texts on which the two differ, among lines of cases.
int differences(const Tokenizer& a, const Tokenizer& b, std::string_view cases) {
    int count = 0, different = 0;
    test::each_line(cases, [&](const Json& c) {
        ++count;
        const Json* text = c.find("text");
        const auto ids = text ? a.encode(text->string()) : test::ids_of(c.find("ids"));
        bool same = a.decode(ids) == b.decode(ids) && a.decode(ids, false) == b.decode(ids, false);
        for (bool special : {false, true})
            for (bool parse : {false, true})
                same &=
                    !text || a.encode(text->string(), {special, parse}) == b.encode(text->string(), {special, parse});
        if (!same) UNSCOPED_INFO("differs: " << (text ? text->string() : "ids"));
        different += !same;
    });
    CHECK(count > 60);
    return different;
}

}  // namespace

TEST_CASE("tokenizer files survive the way through GGUF") {
    for (const std::string name : {"metaspace_first", "metaspace_never", "llama3", "smollm"}) {
        Folder folder;
        folder.write("tokenizer.json", read(tokenizer_file(name + ".json")));
        const auto original = open_tokenizer(tokenizer_file(name + ".json"));
        const Written w(folder, original->size() + 3);
        INFO(name);
        CHECK(differences(*original, *w.tokenizer, read(tokenizer_file(name + ".cases.jsonl"))) == 0);
        CHECK(w.tokenizer->size() == original->size() + 3);
        CHECK(w.tokenizer->bytes(original->size() + 1).starts_with("[PAD"));
        CHECK(w.tokenizer->find("<|im_end|>") == original->find("<|im_end|>"));
    }
}

TEST_CASE("tokenizer.model survives the way through GGUF, but for what it normalises") {
    Folder folder;
    folder.write("tokenizer.model", read(tokenizer_file("sentencepiece.model")));
    const auto original = open_tokenizer(tokenizer_file("sentencepiece.model"));
    const Written w(folder, original->size());
    CHECK(w.notes.size() == 1);
    int count = 0;
    test::each_line(read(tokenizer_file("sentencepiece.cases.jsonl")), [&](const Json& c) {
        const std::string_view text = c.find("text")->string();
        bool ascii = true;
        for (char byte : text) ascii &= byte >= 0 && byte != 'e' && byte != 'a';
        if (!ascii) return;
        ++count;
        INFO(text);
        CHECK(w.tokenizer->encode(text, {false, false}) == original->encode(text, {false, false}));
    });
    CHECK(count > 3);
}

TEST_CASE("what GGUF has no kind for is refused") {
    for (const std::string name : {"metaspace_always", "prepend", "gpt2"}) {
        Folder folder;
        folder.write("tokenizer.json", read(tokenizer_file(name + ".json")));
        INFO(name);
        CHECK(error_of([&] { Written w(folder, 1000); }).status == Status::unsupported);
    }
    Folder folder;
    folder.write("tokenizer.json", read(tokenizer_file("smollm.json")));
    CHECK(error_of([&] { Written w(folder, 10); }).status == Status::limit);
}

TEST_CASE("chat templates and special tokens come along") {
    Folder folder;
    folder.write("tokenizer.json", read(tokenizer_file("metaspace_first.json")));
    folder.write("tokenizer_config.json",
                 R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": "<unk>",
        "chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "a<|im_end|>"}],
        "model_max_length": 1000000000000000019884624838656})");
    const Written w(folder, 1000);
    const auto id = [&](const char* name) { return int64_t(*w.tokenizer->find(name)); };
    CHECK(w.key("tokenizer.chat_template")->string() == "a<|im_end|>");
    CHECK(w.key("tokenizer.ggml.bos_token_id")->integer == id("<s>"));
    CHECK(w.key("tokenizer.ggml.eos_token_id")->integer == id("</s>"));
    CHECK(w.key("tokenizer.ggml.eot_token_id")->integer == id("<|im_end|>"));
    CHECK(w.key("tokenizer.ggml.padding_token_id")->integer == id("<unk>"));
    CHECK(w.key("tokenizer.ggml.unknown_token_id")->integer == id("<unk>"));
    CHECK(w.key("tokenizer.ggml.add_bos_token")->boolean);
    CHECK_FALSE(w.key("tokenizer.ggml.add_space_prefix")->boolean);
    folder.write("chat_template.jinja", "wins");
    CHECK(Written(folder, 1000).key("tokenizer.chat_template")->string() == "wins");
}

TEST_CASE("ALIA's and Salamandra's tokenizers through GGUF, on 2,037 texts", "[shared]") {
    const std::string shared = SHARED_DATA "/alia-tokenizer/", cases = unpack(shared + "encode-cases.jsonl.xz");
    if (cases.empty()) {
        WARN("skipped: " << shared << "encode-cases.jsonl.xz or the xz program is absent");
        return;
    }
    const std::pair<const char*, const char*> files[] = {{"alia-40b", "first"}, {"salamandra-instruct", "each"}};
    for (const auto& entry : files) {
        const char *name = entry.first, *prefix = entry.second;
        Folder folder;
        const std::string json = unpack(shared + name + ".tokenizer.json.xz");
        folder.write("tokenizer.json", json);
        const auto original = read_tokenizer_json(json, name);
        const Written w(folder, 256000);
        INFO(name);
        CHECK(differences(*original, *w.tokenizer, cases) == 0);
        CHECK(w.key(space_prefix_key)->string() == prefix);
    }
}
