// Resident sequences: what outlives requests, and its saved state.
#include <algorithm>

#include "capi/engine.h"
#include "engine/file.h"
#include "engine/output_file.h"

using namespace alia::capi;

namespace {

uint64_t restore(EngineHandle& e, std::span<const std::byte> bytes) {
    const Turn turn(e);
    return e.engine.restore(bytes);
}

}  // namespace

alia_status alia_sequence_new(alia_engine* engine, uint64_t* sequence) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(sequence, "sequence");
        const Turn turn(*e);
        *sequence = e->engine.make_sequence();
    });
}

alia_status alia_sequence_fork(alia_engine* engine, uint64_t sequence, uint64_t* copy) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(copy, "copy");
        const Turn turn(*e);
        *copy = e->engine.fork(sequence);
    });
}

alia_status alia_sequence_truncate(alia_engine* engine, uint64_t sequence, int64_t length) {
    return guard([&] {
        auto e = find_engine(engine);
        const Turn turn(*e);
        e->engine.truncate(sequence, length);
    });
}

alia_status alia_sequence_keep(alia_engine* engine, uint64_t sequence, const int32_t* ids, uint64_t id_count,
                               uint64_t* kept) {
    return guard([&] {
        auto e = find_engine(engine);
        check_array(ids, id_count, sizeof *ids, "ids");
        not_null(kept, "kept");
        const Turn turn(*e);
        const std::vector<int32_t> tokens = e->engine.tokens(sequence);
        const size_t most = std::min<size_t>(tokens.size(), id_count);
        const size_t same = size_t(std::mismatch(ids, ids + most, tokens.begin()).first - ids);
        e->engine.truncate(sequence, int64_t(same));
        *kept = same;
    });
}

alia_status alia_sequence_tokens(alia_engine* engine, uint64_t sequence, int32_t** ids, uint64_t* id_count) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(ids, "ids");
        not_null(id_count, "id_count");
        const Turn turn(*e);
        give_ids(e->engine.tokens(sequence), ids, id_count);
    });
}

alia_status alia_sequence_free(alia_engine* engine, uint64_t sequence) {
    return guard([&] {
        auto e = find_engine(engine);
        const Turn turn(*e);
        e->engine.free_sequence(sequence);
    });
}

alia_status alia_sequence_save(alia_engine* engine, uint64_t sequence, void** bytes, uint64_t* length) {
    return guard([&] {
        auto e = find_engine(engine);
        not_null(bytes, "bytes");
        not_null(length, "length");
        const Turn turn(*e);
        give_bytes(e->engine.save(sequence), bytes, length);
    });
}

alia_status alia_sequence_restore(alia_engine* engine, const void* bytes, uint64_t length, uint64_t* sequence) {
    return guard([&] {
        auto e = find_engine(engine);
        check_array(bytes, length, 1, "bytes");
        not_null(sequence, "sequence");
        *sequence = restore(*e, {static_cast<const std::byte*>(bytes), size_t(length)});
    });
}

alia_status alia_sequence_save_file(alia_engine* engine, uint64_t sequence, const char* path, uint64_t path_length) {
    return guard([&] {
        auto e = find_engine(engine);
        alia::OutputFile file(given_path(path, path_length, "path"));
        std::vector<std::byte> state;
        {
            const Turn turn(*e);
            state = e->engine.save(sequence);
        }
        file.write({reinterpret_cast<const char*>(state.data()), state.size()});
        file.finish();
    });
}

alia_status alia_sequence_restore_file(alia_engine* engine, const char* path, uint64_t path_length,
                                       uint64_t* sequence) {
    return guard([&] {
        auto e = find_engine(engine);
        const auto file = alia::File::open(given_path(path, path_length, "path"));
        not_null(sequence, "sequence");
        *sequence = restore(*e, file->bytes);
    });
}
