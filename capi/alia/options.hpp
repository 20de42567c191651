// What a caller gives: options with alia.h's names and defaults, files and functions; and the C structs made of them.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "result.hpp"

namespace alia {
inline namespace ALIA_HPP {

struct text_part {
    std::string_view text = {};
    int32_t kind = ALIA_PART_LITERAL;
};

struct model_options {
    int32_t load = ALIA_LOAD_ALL;
    std::string device = {};
    int32_t threads = 0;
    bool pin_threads = false;
    uint64_t json_bytes = 0;
    std::function<bool(const alia_progress&)> progress = {};  // false, or an exception, stops the work
};

struct memory_file {
    std::string_view name;
    std::span<const std::byte> bytes;
};

// Exceptions of its functions come out of model::open_reader.
struct reader {
    std::function<std::optional<int64_t>(std::string_view name)> file_size = {};  // nothing: there is no such file
    std::function<bool(std::string_view name, int64_t offset, std::span<std::byte> to)> read = {};  // false: it failed
};

struct chat_options {
    int32_t end = ALIA_CHAT_ANSWER;
    std::string tools = {}, variables = {};  // JSON
    std::string template_name = {};
    int64_t now = -1;
};

struct engine_options {
    int32_t cache = ALIA_CACHE_AUTO;
    int64_t context = 4096;
    int32_t chunk = 256;
    int32_t logit_rows = 32;
    int32_t threads = 0;
    int32_t sequences = 16;
    int64_t positions = 0;
    int32_t queue = 1 << 20;
};

struct token_bias {
    int32_t token;
    float added;
};

struct request_options {
    int64_t max_tokens = -1;
    double temperature = -1, top_p = -1, min_p = -1, repetition_penalty = -1;
    double frequency_penalty = 0, presence_penalty = 0;
    int32_t top_k = -1;
    std::vector<int32_t> stop = {};
    std::vector<token_bias> bias = {};
    uint64_t seed = 0;
    int64_t min_tokens = 0;
    std::vector<std::string> stop_text = {};
    int32_t completions = 1;
    int32_t priority = 0;
    int32_t top_tokens = -1;
    int32_t pooling = ALIA_POOLING_NONE;
    std::optional<std::chrono::milliseconds> deadline = {};
    int64_t context_first = 0, context_last = 0;
    uint64_t sequence = 0;  // sequence::number()
    std::string salt = {};
    bool ignore_eos = false, prompt_logits = false, prompt_scores = false, normalise = false, choose = false;
    bool share = true;
};

struct quantize_options {
    int32_t threads = 0;
    std::string imatrix = {};
    std::function<bool(const alia_progress&)> progress = {};
};

namespace detail {

// Functions of the caller behind C's callbacks. The first exception is kept, and none is called after it.
struct callables {
    const std::function<bool(const alia_progress&)>& progress;
    const reader* files = nullptr;
    std::exception_ptr thrown = {};

    template <class R, class F>
    R guarded([[maybe_unused]] R failed, F&& call) noexcept {
#ifdef __cpp_exceptions
        if (thrown) return failed;
        try {
            return call();
        } catch (...) {
            thrown = std::current_exception();
            return failed;
        }
#else
        return call();
#endif
    }
    static int32_t on_progress(void* user, const alia_progress* p) {
        auto& self = *static_cast<callables*>(user);
        return self.guarded(1, [&] { return self.progress(*p) ? 0 : 1; });
    }
    static int64_t on_size(void* user, const char* name, uint64_t length) {
        auto& self = *static_cast<callables*>(user);
        return self.guarded(int64_t(-1), [&] { return self.files->file_size({name, length}).value_or(-1); });
    }
    static int32_t on_read(void* user, const char* name, uint64_t length, int64_t offset, void* to, uint64_t bytes) {
        auto& self = *static_cast<callables*>(user);
        const std::span room(static_cast<std::byte*>(to), bytes);
        return self.guarded(1, [&] { return self.files->read({name, length}, offset, room) ? 0 : 1; });
    }
    // What became of a call that had these functions.
    template <class T>
    result<T> outcome(result<T> r) const {
        if (!thrown) return r;
        error e(ALIA_CANCELLED, "a function of the caller threw an exception");
        e.cause = thrown;
        return e;
    }
};

inline alia_model_options raw(const model_options& o, callables& calls) {
    alia_model_options c = ALIA_MODEL_OPTIONS_INIT;
    c.load = o.load, c.threads = o.threads, c.json_bytes = o.json_bytes;
    c.flags = o.pin_threads ? ALIA_MODEL_PIN_THREADS : 0;
    c.device = o.device.data(), c.device_length = o.device.size();
    if (o.progress) c.progress = callables::on_progress, c.user = &calls;
    return c;
}

inline alia_chat_options raw(const chat_options& o) {
    alia_chat_options c = ALIA_CHAT_OPTIONS_INIT;
    c.end = o.end, c.now = o.now;
    c.tools = o.tools.data(), c.tools_length = o.tools.size();
    c.variables = o.variables.data(), c.variables_length = o.variables.size();
    c.template_name = o.template_name.data(), c.template_name_length = o.template_name.size();
    return c;
}

inline alia_engine_options raw(const engine_options& o) {
    alia_engine_options c = ALIA_ENGINE_OPTIONS_INIT;
    c.cache = o.cache, c.context = o.context, c.chunk = o.chunk, c.logit_rows = o.logit_rows, c.threads = o.threads;
    c.sequences = o.sequences, c.positions = o.positions, c.queue = o.queue;
    return c;
}

// Lends what `o` holds.
struct raw_request {
    alia_request_options c = ALIA_REQUEST_OPTIONS_INIT;
    std::vector<const char*> texts;
    std::vector<uint64_t> lengths;
    std::vector<int32_t> tokens;
    std::vector<float> added;

    explicit raw_request(const request_options& o) {
        for (const std::string& text : o.stop_text) texts.push_back(text.data()), lengths.push_back(text.size());
        for (const token_bias& b : o.bias) tokens.push_back(b.token), added.push_back(b.added);
        const auto flag = [&](bool on, uint32_t bit) { c.flags |= on ? bit : 0; };
        flag(o.ignore_eos, ALIA_REQUEST_IGNORE_EOS), flag(o.prompt_logits, ALIA_REQUEST_PROMPT_LOGITS);
        flag(o.prompt_scores, ALIA_REQUEST_PROMPT_SCORES), flag(o.normalise, ALIA_REQUEST_NORMALISE);
        flag(o.choose, ALIA_REQUEST_CHOOSE), flag(!o.share, ALIA_REQUEST_DO_NOT_SHARE);
        c.max_tokens = o.max_tokens, c.min_tokens = o.min_tokens, c.seed = o.seed;
        c.temperature = o.temperature, c.top_p = o.top_p, c.min_p = o.min_p, c.top_k = o.top_k;
        c.repetition_penalty = o.repetition_penalty;
        c.frequency_penalty = o.frequency_penalty, c.presence_penalty = o.presence_penalty;
        c.stop = o.stop.data(), c.stop_count = uint32_t(o.stop.size());
        c.bias_token = tokens.data(), c.bias = added.data(), c.bias_count = tokens.size();
        c.stop_text = texts.data(), c.stop_text_length = lengths.data(), c.stop_text_count = texts.size();
        c.completions = o.completions, c.priority = o.priority, c.top_tokens = o.top_tokens, c.pooling = o.pooling;
        if (o.deadline) c.deadline = o.deadline->count();
        c.context_first = o.context_first, c.context_last = o.context_last, c.sequence = o.sequence;
        c.salt = o.salt.data(), c.salt_length = o.salt.size();
    }
};

}  // namespace detail

}  // namespace ALIA_HPP
}  // namespace alia
