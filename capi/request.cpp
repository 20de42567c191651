// Requests from options, and events for the caller.
#include "capi/request.h"

namespace alia::capi {
namespace {

Sampling sampling_of(const alia_request_options& r, const GenerationConfig& generation) {
    Sampling s = default_sampling(generation);
    if (r.temperature != -1) s.temperature = r.temperature;
    if (r.top_k != -1) s.top_k = r.top_k;
    if (r.top_p != -1) s.top_p = r.top_p;
    if (r.min_p != -1) s.min_p = r.min_p;
    if (r.repetition_penalty != -1) s.repetition = r.repetition_penalty;
    s.frequency = r.frequency_penalty;
    s.presence = r.presence_penalty;
    s.seed = r.seed;
    check_array(r.bias_token, r.bias_count, sizeof *r.bias_token, "options.bias_token");
    check_array(r.bias, r.bias_count, sizeof *r.bias, "options.bias");
    for (uint64_t i = 0; i < r.bias_count; ++i) s.bias.push_back({r.bias_token[i], r.bias[i]});
    return s;
}

std::vector<std::string> stop_texts_of(const alia_request_options& r) {
    check_range(int64_t(std::min<uint64_t>(r.stop_text_count, INT64_MAX)), 0, max_stop_texts,
                "options.stop_text_count");
    check_array(r.stop_text, r.stop_text_count, sizeof *r.stop_text, "options.stop_text");
    check_array(r.stop_text_length, r.stop_text_count, sizeof *r.stop_text_length, "options.stop_text_length");
    std::vector<std::string> texts;
    for (uint64_t i = 0; i < r.stop_text_count; ++i) {
        if (r.stop_text_length[i] > max_stop_text)
            bad_argument("options.stop_text_length", "of text %d is %llu; the most is %zu", int(i),
                         (unsigned long long)r.stop_text_length[i], max_stop_text);
        texts.emplace_back(given_text(r.stop_text[i], r.stop_text_length[i], "options.stop_text"));
    }
    return texts;
}

}  // namespace

Request request_of(const int32_t* ids, uint64_t id_count, const alia_request_options& r, const Config& config) {
    constexpr uint32_t known = 2 * ALIA_REQUEST_DO_NOT_SHARE - 1;
    check_array(ids, id_count, sizeof *ids, "ids");
    check_array(r.stop, r.stop_count, sizeof *r.stop, "options.stop");
    check_range(r.flags, 0, known, "options.flags");
    check_range(r.pooling, ALIA_POOLING_NONE, ALIA_POOLING_LAST, "options.pooling");
    check_range(r.deadline, -1, longest_wait, "options.deadline");
    Request request;
    request.sampling = sampling_of(r, config.generation);
    request.prompt.assign(ids, ids + id_count);
    request.max_tokens = r.max_tokens;
    request.min_tokens = r.min_tokens;
    request.ignore_eos = (r.flags & ALIA_REQUEST_IGNORE_EOS) != 0;
    request.stop.assign(r.stop, r.stop + r.stop_count);
    request.stop_texts = stop_texts_of(r);
    request.completions = r.completions;
    request.prompt_logits = (r.flags & ALIA_REQUEST_PROMPT_LOGITS) != 0;
    request.prompt_scores = (r.flags & ALIA_REQUEST_PROMPT_SCORES) != 0;
    request.top_tokens = r.top_tokens;
    request.pooling = Pooling(r.pooling);
    request.normalise = (r.flags & ALIA_REQUEST_NORMALISE) != 0;
    request.choose = (r.flags & ALIA_REQUEST_CHOOSE) != 0;
    request.priority = r.priority;
    if (r.deadline >= 0) request.deadline = Clock::now() + std::chrono::milliseconds(r.deadline);
    request.context = {r.context_first, r.context_last};
    request.sequence = r.sequence;
    request.share = (r.flags & ALIA_REQUEST_DO_NOT_SHARE) == 0;
    request.salt = given_text(r.salt, r.salt_length, "options.salt");
    return request;
}

alia_event event_of(const Event& e, int64_t columns) {
    static_assert(sizeof(alia_top_token) == sizeof(TopToken) && offsetof(TopToken, logprob) == 4);
    const bool rows = e.kind == Event::Kind::logits || e.kind == Event::Kind::choice;
    alia_event event = ALIA_EVENT_INIT;
    event.kind = int32_t(e.kind);
    event.request = e.request;
    event.completion = e.completion;
    event.token = e.token;
    event.finish = int32_t(e.finish);
    event.position = e.position;
    event.text = e.text.data();
    event.text_length = e.text.size();
    if (!e.values.empty()) {
        event.values = e.values.data();
        event.rows = rows ? int32_t(e.rows) : 1;
        event.columns = rows ? columns : int64_t(e.values.size());
    }
    event.prompt_tokens = e.prompt_tokens;
    event.generated_tokens = e.generated_tokens;
    event.cached_tokens = e.cached_tokens;
    event.top = e.top.empty() ? nullptr : reinterpret_cast<const alia_top_token*>(e.top.data());
    event.top_count = uint32_t(e.top.size());
    event.logprob = e.logprob;
    event.status = int32_t(e.status);
    event.message = e.message.data();
    event.message_length = e.message.size();
    return event;
}

EngineOptions engine_options(const alia_engine_options& given) {
    constexpr Format formats[] = {Format::F32, Format::F16, Format::BF16, Format::Q8_0, Format::E4M3};
    check_range(given.cache, ALIA_CACHE_AUTO, ALIA_CACHE_FP8, "options.cache");
    check_range(given.threads, 0, 1024, "options.threads");
    EngineOptions options;
    options.context = given.context;
    options.positions = given.positions;
    options.sequences = given.sequences;
    options.queue = given.queue;
    options.chunk = given.chunk;
    options.logit_rows = given.logit_rows;
    options.threads = given.threads;
    if (given.cache != ALIA_CACHE_AUTO) options.cache = formats[given.cache - 1];
    return options;
}

}  // namespace alia::capi
