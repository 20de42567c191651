// Text and tokens.
#include <algorithm>

#include "capi/model.h"

namespace alia::capi {
namespace {

// Every token that the tokenizer or the model's logits know.
void check_token(const ModelHandle& m, int32_t token, const char* name) {
    int64_t size = m.text().size();
    if (m.model) size = std::max(size, m.model->config.vocabulary);
    check_range(token, 0, size - 1, name);
}

struct JoinedText {
    std::string text;
    std::vector<TextRange> literal;
};

JoinedText join(const alia_text_part* parts, uint64_t count) {
    JoinedText joined;
    check_array(parts, count, sizeof(alia_text_part), "parts");
    if (count == 0) return joined;
    const auto* at = reinterpret_cast<const std::byte*>(parts);
    const uint32_t stride = check_size(parts, "parts[0]");
    for (uint64_t i = 0; i < count; ++i, at += stride) {
        char name[40];
        std::snprintf(name, sizeof name, "parts[%llu]", (unsigned long long)i);
        alia_text_part part = ALIA_TEXT_PART_INIT;
        if (check_size(at, name) != stride) bad_argument(name, "differs from the first part in size");
        read_sized(at, &part, sizeof part, name);
        check_range(part.kind, ALIA_PART_LITERAL, ALIA_PART_TRUSTED, name);
        size_t begin = joined.text.size();
        joined.text += given_text(part.text, part.length, name);
        if (part.kind == ALIA_PART_LITERAL && joined.text.size() > begin)
            joined.literal.push_back({begin, joined.text.size()});
    }
    return joined;
}

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_model_encode(alia_model* model, const alia_text_part* parts, uint64_t part_count, uint32_t flags,
                              int32_t** ids, uint64_t* id_count) {
    return guard([&] {
        auto m = find_model(model);
        not_null(ids, "ids");
        not_null(id_count, "id_count");
        check_range(flags, 0, ALIA_ENCODE_ADD_SPECIAL, "flags");
        JoinedText joined = join(parts, part_count);
        auto tokens = m->text().encode(joined.text, {(flags & ALIA_ENCODE_ADD_SPECIAL) != 0, true, joined.literal});
        give_ids(tokens, ids, id_count);
    });
}

alia_status alia_model_decode(alia_model* model, const int32_t* ids, uint64_t id_count, uint32_t flags, char** text,
                              uint64_t* length) {
    return guard([&] {
        auto m = find_model(model);
        check_array(ids, id_count, sizeof *ids, "ids");
        not_null(text, "text");
        not_null(length, "length");
        check_range(flags, 0, ALIA_DECODE_KEEP_SPECIAL, "flags");
        for (uint64_t i = 0; i < id_count; ++i) {
            char name[40];
            std::snprintf(name, sizeof name, "ids[%llu]", (unsigned long long)i);
            check_token(*m, ids[i], name);
        }
        give_text(m->text().decode({ids, size_t(id_count)}, (flags & ALIA_DECODE_KEEP_SPECIAL) == 0), text, length);
    });
}

alia_status alia_model_token_bytes(alia_model* model, int32_t token, const char** bytes, uint64_t* length) {
    return guard([&] {
        auto m = find_model(model);
        not_null(bytes, "bytes");
        not_null(length, "length");
        check_token(*m, token, "token");
        std::string_view piece = m->text().bytes(token);
        *bytes = piece.empty() ? "" : piece.data();
        *length = piece.size();
    });
}

alia_status alia_model_token_find(alia_model* model, const char* text, uint64_t length, int32_t* token) {
    return guard([&] {
        auto m = find_model(model);
        std::string_view wanted = given_text(text, length, "text");
        not_null(token, "token");
        std::optional<int32_t> found = m->text().find(wanted);
        if (!found)
            alia::fail(alia::Status::not_found, "the vocabulary has no token %.*s",
                       int(std::min<size_t>(wanted.size(), 100)), wanted.data());
        *token = *found;
    });
}

alia_status alia_model_vocabulary(alia_model* model, int32_t* size) {
    return guard([&] {
        auto m = find_model(model);
        not_null(size, "size");
        *size = m->text().size();
    });
}

alia_status alia_model_bos(alia_model* model, int32_t* token) {
    return guard([&] {
        auto m = find_model(model);
        not_null(token, "token");
        *token = m->bos;
    });
}

alia_status alia_model_eos(alia_model* model, const int32_t** tokens, uint64_t* count) {
    return guard([&] {
        auto m = find_model(model);
        not_null(tokens, "tokens");
        not_null(count, "count");
        *tokens = m->eos.data();
        *count = m->eos.size();
    });
}
