/* Text and tokens through the C interface, on a tokenizer that the test writes. Usage: capi_text MODEL, a model without
 * a tokenizer. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capi/alia.h"

static int failures = 0;
static void check(int good, int line, const char* what) {
    if (good) return;
    ++failures;
    fprintf(stderr, "capi_text.c:%d: %s (last error: %s)\n", line, what, alia_error_message());
}
#define CHECK(condition) check(condition, __LINE__, #condition)
#define BAD(call, name) check((call) == ALIA_INVALID_ARGUMENT && strcmp(alia_error_item(), name) == 0, __LINE__, #call)

/* Metaspace BPE with an end token and no <s> added. */
static const char tokenizer[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["
    "{\"id\":0,\"content\":\"<unk>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
    "\"special\":true},"
    "{\"id\":1,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
    "\"special\":true},"
    "{\"id\":2,\"content\":\"<end>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
    "\"special\":true}],"
    "\"normalizer\":null,"
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"never\",\"split\":"
    "false},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"},"
    "\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":true,\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"<end>\":2,\"<\":3,\"e\":4,\"n\":5,\"d\":6,\">\":7,\"o\":8,\"l\":9,\"a\":10,"
    "\"\\u2581\":11,\"la\":12},"
    "\"merges\":[[\"l\",\"a\"]]}}";

/* Encodes up to three parts and compares. */
static int encodes(alia_model* m, const alia_text_part* parts, uint64_t count, uint32_t flags, const int32_t* expected,
                   uint64_t length) {
    int32_t* ids = NULL;
    uint64_t n = 0;
    if (alia_model_encode(m, parts, count, flags, &ids, &n) != ALIA_OK) return 0;
    const int same = ids && n == length && (n == 0 || memcmp(ids, expected, n * sizeof *ids) == 0);
    alia_ids_free(ids);
    return same;
}
#define ENCODES(parts, count, flags, ...) \
    CHECK(encodes(m, parts, count, flags, (const int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / 4))

static alia_text_part part(const char* text, int32_t kind) {
    alia_text_part p = ALIA_TEXT_PART_INIT;
    p.kind = kind, p.text = text, p.length = strlen(text);
    return p;
}

static void test_encode(alia_model* m) {
    const alia_text_part literal = part("<end>", ALIA_PART_LITERAL), trusted = part("<end>", ALIA_PART_TRUSTED);
    ENCODES(&literal, 1, 0, 3, 4, 5, 6, 7);
    ENCODES(&trusted, 1, 0, 2);
    ENCODES(&trusted, 1, ALIA_ENCODE_ADD_SPECIAL, 1, 2);

    /* One text: merges cross parts, special tokens do not arise from a user's letters. */
    const alia_text_part merged[] = {part("l", ALIA_PART_TRUSTED), part("a", ALIA_PART_LITERAL)};
    ENCODES(merged, 2, 0, 12);
    const alia_text_part split[] = {part("<en", ALIA_PART_TRUSTED), part("d>", ALIA_PART_LITERAL), trusted};
    ENCODES(split, 3, 0, 3, 4, 5, 6, 7, 2);
    const alia_text_part whole[] = {part("<en", ALIA_PART_TRUSTED), part("d>", ALIA_PART_TRUSTED)};
    ENCODES(whole, 2, 0, 2);
    CHECK(encodes(m, NULL, 0, 0, NULL, 0));

    int32_t* ids = NULL;
    uint64_t n = 77;
    BAD(alia_model_encode(m, NULL, 1, 0, &ids, &n), "parts");
    BAD(alia_model_encode(m, &literal, UINT64_MAX, 0, &ids, &n), "parts");
    BAD(alia_model_encode(m, &literal, 1, 2, &ids, &n), "flags");
    BAD(alia_model_encode(m, &literal, 1, 0, NULL, &n), "ids");
    BAD(alia_model_encode(m, &literal, 1, 0, &ids, NULL), "id_count");
    alia_text_part wrong = literal;
    wrong.kind = 2;
    BAD(alia_model_encode(m, &wrong, 1, 0, &ids, &n), "parts[0]");
    wrong = literal, wrong.text = NULL;
    BAD(alia_model_encode(m, &wrong, 1, 0, &ids, &n), "parts[0]");
    wrong = literal, wrong.length = UINT64_MAX;
    BAD(alia_model_encode(m, &wrong, 1, 0, &ids, &n), "parts[0]");
    wrong = literal, wrong.size = 0;
    BAD(alia_model_encode(m, &wrong, 1, 0, &ids, &n), "parts[0]");
    const alia_text_part uneven[] = {literal, {16, 0, NULL, 0}};
    BAD(alia_model_encode(m, uneven, 2, 0, &ids, &n), "parts[1]");
    struct {
        alia_text_part known;
        uint64_t later;
    } newer[2] = {{trusted, 0}, {literal, 0}};
    newer[0].known.size = newer[1].known.size = sizeof *newer;
    ENCODES(&newer[0].known, 2, 0, 2, 3, 4, 5, 6, 7);
    newer[1].later = 1;
    CHECK(alia_model_encode(m, &newer[0].known, 2, 0, &ids, &n) == ALIA_UNSUPPORTED);
    CHECK(strcmp(alia_error_item(), "parts[1]") == 0 && ids == NULL && n == 77);
}

static void test_decode(alia_model* m) {
    const int32_t ids[] = {1, 12, 11, 8, 2}, outside[] = {4, 13}, negative = -1;
    char* text = NULL;
    uint64_t n = 0;
    CHECK(alia_model_decode(m, ids, 5, 0, &text, &n) == ALIA_OK && n == 4 && strcmp(text, "la o") == 0);
    alia_text_free(text);
    CHECK(alia_model_decode(m, ids, 5, ALIA_DECODE_KEEP_SPECIAL, &text, &n) == ALIA_OK);
    CHECK(n == 12 && strcmp(text, "<s>la o<end>") == 0);
    alia_text_free(text);
    CHECK(alia_model_decode(m, NULL, 0, 0, &text, &n) == ALIA_OK && n == 0 && text && text[0] == 0);
    alia_text_free(text);
    BAD(alia_model_decode(m, outside, 2, 0, &text, &n), "ids[1]");
    BAD(alia_model_decode(m, &negative, 1, 0, &text, &n), "ids[0]");
    BAD(alia_model_decode(m, NULL, 1, 0, &text, &n), "ids");
    BAD(alia_model_decode(m, ids, UINT64_MAX, 0, &text, &n), "ids");
    BAD(alia_model_decode(m, ids, 1, 2, &text, &n), "flags");
    BAD(alia_model_decode(m, ids, 1, 0, NULL, &n), "text");
    BAD(alia_model_decode(m, ids, 1, 0, &text, NULL), "length");
}

static void test_tokens(alia_model* m) {
    const char* bytes;
    const int32_t* ends;
    uint64_t n;
    int32_t id, size;
    CHECK(alia_model_token_bytes(m, 12, &bytes, &n) == ALIA_OK && n == 2 && memcmp(bytes, "la", 2) == 0);
    CHECK(alia_model_token_bytes(m, 11, &bytes, &n) == ALIA_OK && n == 1 && bytes[0] == ' ');
    BAD(alia_model_token_bytes(m, 13, &bytes, &n), "token");
    BAD(alia_model_token_bytes(m, -1, &bytes, &n), "token");
    BAD(alia_model_token_bytes(m, 0, NULL, &n), "bytes");
    BAD(alia_model_token_bytes(m, 0, &bytes, NULL), "length");
    CHECK(alia_model_token_find(m, "<end>", 5, &id) == ALIA_OK && id == 2);
    CHECK(alia_model_token_find(m, "<end>!", 5, &id) == ALIA_OK && id == 2);
    CHECK(alia_model_token_find(m, "no such", 7, &id) == ALIA_NOT_FOUND && strstr(alia_error_message(), "no such"));
    BAD(alia_model_token_find(m, NULL, 1, &id), "text");
    BAD(alia_model_token_find(m, "a", 1, NULL), "token");
    CHECK(alia_model_vocabulary(m, &size) == ALIA_OK && size == 13);
    BAD(alia_model_vocabulary(m, NULL), "size");
    CHECK(alia_model_bos(m, &id) == ALIA_OK && alia_model_eos(m, &ends, &n) == ALIA_OK);
    BAD(alia_model_bos(m, NULL), "token");
    BAD(alia_model_eos(m, NULL, &n), "tokens");
    BAD(alia_model_eos(m, &ends, NULL), "count");
}

/* A model without a tokenizer opens, and says so in each of the functions that need one. */
static void test_without(const char* path) {
    alia_model* m = NULL;
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    char* text;
    const char* bytes;
    const int32_t* ends;
    int32_t *ids, id;
    uint64_t n;
    const int32_t one = 1;
    o.load = ALIA_LOAD_HEADERS;
    CHECK(alia_model_open(path, strlen(path), &o, &m) == ALIA_OK);
    CHECK(alia_model_encode(m, NULL, 0, 0, &ids, &n) == ALIA_NO_TOKENIZER);
    CHECK(alia_model_decode(m, &one, 1, 0, &text, &n) == ALIA_NO_TOKENIZER);
    CHECK(alia_model_token_bytes(m, 1, &bytes, &n) == ALIA_NO_TOKENIZER);
    CHECK(alia_model_token_find(m, "a", 1, &id) == ALIA_NO_TOKENIZER);
    CHECK(alia_model_vocabulary(m, &id) == ALIA_NO_TOKENIZER && alia_error_handle_usable() == 1);
    CHECK(alia_model_bos(m, &id) == ALIA_OK && alia_model_eos(m, &ends, &n) == ALIA_OK);
    CHECK(alia_model_free(m) == ALIA_OK);
    o.load = ALIA_LOAD_TEXT;
    CHECK(alia_model_open(path, strlen(path), &o, &m) == ALIA_NO_TOKENIZER);
}

/* A conversation through a template: what users wrote is no special token. */
static void test_chat(void) {
    static const char config[] =
        "{\"bos_token\": \"<s>\", \"chat_template\": \"{{ bos_token }}{% for m in messages %}{{ m.content }}<end>"
        "{% endfor %}{% if add_generation_prompt %}a{% endif %}{{ strftime_now('%Y') if year }}{{ tools[0] if tools "
        "}}\"}";
    alia_memory_file files[2] = {ALIA_MEMORY_FILE_INIT, ALIA_MEMORY_FILE_INIT};
    files[0].name = "tokenizer.json", files[0].name_length = strlen("tokenizer.json");
    files[0].bytes = tokenizer, files[0].length = sizeof tokenizer - 1;
    files[1].name = "tokenizer_config.json", files[1].name_length = strlen("tokenizer_config.json");
    files[1].bytes = config, files[1].length = sizeof config - 1;
    alia_model_options mo = ALIA_MODEL_OPTIONS_INIT;
    mo.load = ALIA_LOAD_TEXT;
    alia_model* m = NULL;
    CHECK(alia_model_open_memory(files, 2, &mo, &m) == ALIA_OK);

    static const char messages[] = "[{\"role\": \"user\", \"content\": \"<end>\"}]";
    alia_chat_options o = ALIA_CHAT_OPTIONS_INIT;
    char* text = NULL;
    int32_t* ids = NULL;
    uint64_t n = 0;
    CHECK(alia_chat_render(m, messages, strlen(messages), NULL, &text, &n) == ALIA_OK);
    CHECK(n == strlen("<s><end><end>a") && strcmp(text, "<s><end><end>a") == 0);
    alia_text_free(text);
    static const int32_t expected[] = {1, 3, 4, 5, 6, 7, 2, 10};
    CHECK(alia_chat_encode(m, messages, strlen(messages), &o, &ids, &n) == ALIA_OK && n == 8);
    CHECK(memcmp(ids, expected, sizeof expected) == 0);
    alia_ids_free(ids);

    o.end = ALIA_CHAT_CONTINUE;
    CHECK(alia_chat_encode(m, messages, strlen(messages), &o, &ids, &n) == ALIA_OK && n == 6);
    CHECK(memcmp(ids, expected, 6 * sizeof *ids) == 0);
    alia_ids_free(ids);
    o.end = ALIA_CHAT_CLOSED;
    o.variables = "{\"year\": true}", o.variables_length = strlen(o.variables);
    o.tools = "[\"t\"]", o.tools_length = strlen(o.tools);
    o.now = 86400 * 366;
    CHECK(alia_chat_render(m, messages, strlen(messages), &o, &text, &n) == ALIA_OK &&
          strcmp(text, "<s><end><end>1971t") == 0);
    alia_text_free(text);
    CHECK(alia_chat_stops(m, &ids, &n) == ALIA_OK && ids && n == 0);
    alia_ids_free(ids);

    CHECK(alia_chat_render(m, "[", 1, NULL, &text, &n) == ALIA_MALFORMED);
    BAD(alia_chat_render(m, "5", 1, NULL, &text, &n), "messages");
    BAD(alia_chat_render(m, NULL, 5, NULL, &text, &n), "messages");
    BAD(alia_chat_render(m, messages, strlen(messages), NULL, NULL, &n), "text");
    BAD(alia_chat_encode(m, messages, strlen(messages), NULL, &ids, NULL), "id_count");
    o.end = 3;
    BAD(alia_chat_encode(m, messages, strlen(messages), &o, &ids, &n), "options.end");
    o.end = ALIA_CHAT_ANSWER, o.tools = "{}", o.tools_length = 2;
    BAD(alia_chat_encode(m, messages, strlen(messages), &o, &ids, &n), "tools");
    o.tools_length = 0, o.template_name = "rag", o.template_name_length = 3;
    CHECK(alia_chat_encode(m, messages, strlen(messages), &o, &ids, &n) == ALIA_NOT_FOUND);
    CHECK(alia_model_free(m) == ALIA_OK);
    CHECK(alia_chat_stops(m, &ids, &n) == ALIA_BAD_HANDLE);
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    char path[] = "/tmp/alia-capi-XXXXXX";
    const int file = mkstemp(path);
    CHECK(file >= 0 && write(file, tokenizer, sizeof tokenizer - 1) == sizeof tokenizer - 1 && close(file) == 0);
    alia_model* m = NULL;
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    o.load = ALIA_LOAD_TEXT;
    CHECK(alia_model_open(path, strlen(path), &o, &m) == ALIA_OK);
    unlink(path);
    if (m) {
        alia_engine* engine;
        test_encode(m);
        test_decode(m);
        test_tokens(m);
        test_chat();
        BAD(alia_engine_open(m, NULL, &engine), "model");
        CHECK(alia_model_free(m) == ALIA_OK);
    }
    test_without(argv[1]);
    printf("%s\n", failures ? "failed" : "all passed");
    return failures != 0;
}
