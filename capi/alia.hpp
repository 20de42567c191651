// capi/alia.h for C++20: handles that own, results that are values or exceptions, streams that are ranges. What a call
// does, and its errors, stand in alia.h; this header adds ownership alone.
//
//     alia::model model = alia::model::open("model.gguf");
//     alia::engine engine = alia::engine::open(model);
//     for (std::string_view piece : engine.ask("The capital of Spain is", {.max_tokens = 20})) std::cout << piece;
//
// Every call that can fail gives a result<T>. Used as a T, as above, it throws alia::error where the call failed; asked
// first, it throws nothing:
//
//     for (const auto& piece : engine.ask("The capital of Spain is")) {
//         if (!piece) return complain(piece.error());
//         std::cout << *piece;
//     }
//
// Without exceptions (-fno-exceptions) what would throw is absent; RTTI is never used. Memory that the standard
// library asks for and does not get is its std::bad_alloc. Handles are moved, not copied; one that was moved from may
// only be assigned to or destroyed. What get() gives is the C handle, for the functions that have no counterpart here;
// it stays this header's. Threads: as in alia.h for models and engines; a stream, a sequence and a result belong to one
// thread at a time, and several threads may each read a stream of one engine.
#pragma once
#include <initializer_list>
#include <type_traits>

#include "alia/events.hpp"

namespace alia {
inline namespace ALIA_HPP {

namespace detail {

inline result<std::vector<int32_t>> encode(alia_model* model, std::span<const text_part> parts, bool add_special) {
    std::vector<alia_text_part> raw;
    for (const text_part& p : parts) raw.push_back({sizeof(alia_text_part), p.kind, p.text.data(), p.text.size()});
    const uint32_t flags = add_special ? ALIA_ENCODE_ADD_SPECIAL : 0;
    return array<std::vector<int32_t>>(alia_ids_free, alia_model_encode, model, raw.data(), raw.size(), flags);
}

}  // namespace detail

// ---- Models ----

class model {
  public:
    static result<model> open(std::string_view path, const model_options& options = {}) {
        return opened(options, nullptr, alia_model_open, path.data(), path.size());
    }
    static result<model> open_memory(std::span<const memory_file> files, const model_options& options = {}) {
        std::vector<alia_memory_file> raw;
        for (const memory_file& f : files)
            raw.push_back({sizeof(alia_memory_file), 0, f.name.data(), f.name.size(), f.bytes.data(), f.bytes.size()});
        return opened(options, nullptr, alia_model_open_memory, raw.data(), raw.size());
    }
    // `name`: of the GGUF file, or "" for a directory's files.
    static result<model> open_reader(const reader& files, std::string_view name = {},
                                     const model_options& options = {}) {
        const auto open = [&](const alia_model_options* o, alia_model** m) {
            alia_reader raw = ALIA_READER_INIT;
            if (files.file_size) raw.file_size = detail::callables::on_size;
            if (files.read) raw.read = detail::callables::on_read;
            raw.user = o->user;
            return alia_model_open_reader(&raw, name.data(), name.size(), o, m);
        };
        return opened(options, &files, open);
    }

    result<std::string> info() const { return detail::text(alia_model_info, get()); }
    // A text is literal, unless a part says ALIA_PART_TRUSTED. `add_special`: with what the tokenizer's file adds.
    result<std::vector<int32_t>> encode(std::string_view text, bool add_special = true) const {
        return encode({{text}}, add_special);
    }
    result<std::vector<int32_t>> encode(std::initializer_list<text_part> parts, bool add_special = true) const {
        return encode(std::span(parts.begin(), parts.size()), add_special);
    }
    result<std::vector<int32_t>> encode(std::span<const text_part> parts, bool add_special = true) const {
        return detail::encode(get(), parts, add_special);
    }
    result<std::string> decode(std::span<const int32_t> ids, bool keep_special = false) const {
        const uint32_t flags = keep_special ? ALIA_DECODE_KEEP_SPECIAL : 0;
        return detail::text(alia_model_decode, get(), ids.data(), ids.size(), flags);
    }
    // What this and eos() give is borrowed from the model.
    result<std::string_view> token_bytes(int32_t token) const {
        return detail::array<std::string_view>(detail::lent<const char>, alia_model_token_bytes, get(), token);
    }
    result<int32_t> token_find(std::string_view text) const {
        return detail::made<int32_t>(alia_model_token_find, get(), text.data(), text.size());
    }
    result<int32_t> vocabulary() const { return detail::made<int32_t>(alia_model_vocabulary, get()); }
    result<int32_t> bos() const { return detail::made<int32_t>(alia_model_bos, get()); }
    result<std::span<const int32_t>> eos() const {
        return detail::array<std::span<const int32_t>>(detail::lent<const int32_t>, alia_model_eos, get());
    }

    // Conversations: `messages` are JSON, a list. The text is to look at; a request takes the tokens, and stops at
    // those of chat_stops() too.
    result<std::string> render_chat(std::string_view messages, const chat_options& options = {}) const {
        const alia_chat_options raw = detail::raw(options);
        return detail::text(alia_chat_render, get(), messages.data(), messages.size(), &raw);
    }
    result<std::vector<int32_t>> encode_chat(std::string_view messages, const chat_options& options = {}) const {
        const alia_chat_options raw = detail::raw(options);
        return detail::array<std::vector<int32_t>>(alia_ids_free, alia_chat_encode, get(), messages.data(),
                                                   messages.size(), &raw);
    }
    result<std::vector<int32_t>> chat_stops() const {
        return detail::array<std::vector<int32_t>>(alia_ids_free, alia_chat_stops, get());
    }

    alia_model* get() const noexcept { return handle.get(); }

    model(model&&) noexcept = default;
    model& operator=(model&&) noexcept = default;

  private:
    friend class engine;
    explicit model(alia_model* m) : handle(m, alia_model_free) {}
    template <class F, class... A>
    static result<model> opened(const model_options& options, const reader* files, F&& open, A... from) {
        if (alia_check()) return error::last();
        detail::callables calls{options.progress, files};
        alia_model_options raw = detail::raw(options, calls);
        raw.user = &calls;
        alia_model* m = nullptr;
        if (open(from..., &raw, &m)) return calls.outcome(result<model>(error::last()));
        return calls.outcome(result<model>(model(m)));
    }

    std::shared_ptr<alia_model> handle;  // shared with its engines alone
};

// ---- Streams ----

// What a request gives, as a range that is read once: for a T of `event` its events, for `std::string_view` the text
// that can be shown by now. An element lasts until the next one; after an error comes none. Events of other requests
// that are fetched on the way wait for their own streams. Destroyed early, it cancels. Moved only before begin().
template <class T>
class stream {
  public:
    class iterator {
      public:
        using value_type = element<T>;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        explicit iterator(stream* s) : of(s) {}
        const element<T>& operator*() const noexcept { return of->now; }
        const element<T>* operator->() const noexcept { return &of->now; }
        iterator& operator++() { return of->advance(), *this; }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return of->over; }

      private:
        stream* of = nullptr;
    };
    iterator begin() {
        if (!std::exchange(begun, true) && now) advance();
        return iterator(this);
    }
    std::default_sentinel_t end() const noexcept { return {}; }

    uint64_t request() const noexcept { return number; }  // 0: it was refused, or the stream is engine::events()
    // Of text: the event behind it; once the range is over, the one that says how and why.
    const event& last() const noexcept requires std::is_same_v<T, std::string_view> { return source; }
    // Of text: all that is left.
    result<std::string> text() requires std::is_same_v<T, std::string_view> {
        std::string whole;
        for (const auto& piece : *this) {
            if (!piece) return piece.error();
            whole += *piece;
        }
        return whole;
    }

    stream(stream&&) noexcept = default;
    stream& operator=(stream&&) = delete;
    ~stream() {
        if (core && number) core->drop(number);
    }

  private:
    friend class engine;
    stream(std::shared_ptr<detail::engine_core> c, result<uint64_t> request)
        : core(std::move(c)), number(request ? *request : 0), now(T()) {
        if (!request) now = request.error();
    }
    void advance() {
        for (over = !now; !over;) {
            auto e = core->take(number);
            over = !e;
            if (over) return;
            if (!*e) return void(now = e->error());
            if constexpr (std::is_same_v<T, event>) {
                return void(now = *std::move(*e));
            } else {
                source = *std::move(*e);
                if (source.finish == ALIA_FINISH_ERROR) return void(now = error(source.status, source.message));
                if (!source.text.empty()) return void(now = std::string_view(source.text));
            }
        }
    }

    std::shared_ptr<detail::engine_core> core;
    uint64_t number = 0;
    bool begun = false, over = false;
    event source;
    element<T> now;
};
using event_stream = stream<event>;
using text_stream = stream<std::string_view>;

// ---- Resident sequences ----

// Freed with this handle, or, where a request still runs on it, with the engine, which it keeps.
class sequence {
  public:
    uint64_t number() const noexcept { return id; }  // for request_options
    result<sequence> fork() const { return made(core, alia_sequence_fork, id); }
    result<void> truncate(int64_t length) { return detail::checked(alia_sequence_truncate(core->handle, id, length)); }
    // Makes it the start of a prompt: what is left to submit for it are the tokens from the result on.
    result<uint64_t> keep(std::span<const int32_t> ids) {
        return detail::made<uint64_t>(alia_sequence_keep, core->handle, id, ids.data(), ids.size());
    }
    result<std::vector<int32_t>> tokens() const {
        return detail::array<std::vector<int32_t>>(alia_ids_free, alia_sequence_tokens, core->handle, id);
    }
    result<std::vector<std::byte>> save() const {
        return detail::array<std::vector<std::byte>>(alia_bytes_free, alia_sequence_save, core->handle, id);
    }
    result<void> save_file(std::string_view path) const {
        return detail::checked(alia_sequence_save_file(core->handle, id, path.data(), path.size()));
    }

    sequence(sequence&&) noexcept = default;
    sequence& operator=(sequence&& other) noexcept {
        return std::swap(core, other.core), std::swap(id, other.id), *this;
    }
    ~sequence() {
        if (core) alia_sequence_free(core->handle, id);
    }

  private:
    friend class engine;
    sequence(std::shared_ptr<detail::engine_core> c, uint64_t number) : core(std::move(c)), id(number) {}
    template <class F, class... A>
    static result<sequence> made(const std::shared_ptr<detail::engine_core>& core, F&& call, A... from) {
        const auto number = detail::made<uint64_t>(call, core->handle, from...);
        if (!number) return number.error();
        return sequence(core, *number);
    }

    std::shared_ptr<detail::engine_core> core;
    uint64_t id = 0;
};

// ---- Engines ----

// Ends with its last stream and sequence; the model's handle may go before.
class engine {
  public:
    static result<engine> open(const model& m, const engine_options& options = {}) {
        const alia_engine_options raw = detail::raw(options);
        engine opened(m.handle);
        if (alia_engine_open(m.get(), &raw, &opened.core->handle)) return error::last();
        return opened;
    }

    // Requests as ranges: their text, or all of their events. A prompt that is a text is literal, with what the
    // tokenizer's file adds around it. Where it is refused, the error is the only element.
    text_stream ask(std::string_view text, const request_options& o = {}) { return {core, submit_text(text, o)}; }
    text_stream ask(std::span<const int32_t> ids, const request_options& o = {}) {
        return {core, core->submit(ids, o, true)};
    }
    event_stream stream(std::string_view text, const request_options& o = {}) { return {core, submit_text(text, o)}; }
    event_stream stream(std::span<const int32_t> ids, const request_options& o = {}) {
        return {core, core->submit(ids, o, true)};
    }

    // Requests by number. Their events, and nobody else's, are those of events(), step() and next().
    result<uint64_t> submit(std::span<const int32_t> ids, const request_options& o = {}) {
        return core->submit(ids, o, false);
    }
    event_stream events() { return {core, uint64_t(0)}; }  // until the engine is idle
    result<std::vector<event>> step() { return core->step(); }
    result<void> cancel(uint64_t request) { return detail::checked(alia_engine_cancel(get(), request)); }
    result<void> choose(uint64_t request, int32_t completion, std::span<const float> logits) {
        return detail::checked(alia_engine_choose(get(), request, completion, logits.data(), logits.size()));
    }
    // Also where the engine cannot be asked, as in a forked child.
    bool idle() const {
        const auto nothing = core->idle();
        return !nothing || *nothing;
    }

    // Background mode, in which streams work too. next() waits so long; where that is negative, without end.
    result<void> start() { return detail::checked(alia_engine_start(get())); }
    result<void> stop() { return detail::checked(alia_engine_stop(get())); }
    result<std::vector<event>> next(std::chrono::milliseconds wait) {
        return core->next(std::max<int64_t>(wait.count(), -1));
    }

    result<std::string> counters() const { return detail::text(alia_engine_counters, get()); }

    result<sequence> new_sequence() { return sequence::made(core, alia_sequence_new); }
    result<sequence> restore(std::span<const std::byte> bytes) {
        return sequence::made(core, alia_sequence_restore, bytes.data(), bytes.size());
    }
    result<sequence> restore_file(std::string_view path) {
        return sequence::made(core, alia_sequence_restore_file, path.data(), path.size());
    }

    alia_engine* get() const noexcept { return core->handle; }

    engine(engine&&) noexcept = default;
    engine& operator=(engine&&) noexcept = default;

  private:
    explicit engine(const std::shared_ptr<alia_model>& m) : core(std::make_shared<detail::engine_core>(m)) {}
    result<uint64_t> submit_text(std::string_view text, const request_options& o) {
        const text_part part{text};
        const auto ids = detail::encode(core->model.get(), {&part, 1}, true);
        if (!ids) return ids.error();
        return core->submit(*ids, o, true);
    }

    std::shared_ptr<detail::engine_core> core;
};

// ---- Files ----

inline result<std::string> plan(std::string_view path, const model_options& m = {}, const engine_options& e = {}) {
    detail::callables unused{m.progress};
    const alia_model_options model = detail::raw(m, unused);
    const alia_engine_options engine = detail::raw(e);
    return detail::text(alia_plan, path.data(), path.size(), &model, &engine);
}

inline result<std::string> quantize(std::string_view source, std::string_view target, std::string_view type,
                                    const quantize_options& options = {}) {
    detail::callables calls{options.progress};
    alia_quantize_options raw = ALIA_QUANTIZE_OPTIONS_INIT;
    raw.threads = options.threads;
    raw.imatrix = options.imatrix.data(), raw.imatrix_length = options.imatrix.size();
    if (options.progress) raw.progress = detail::callables::on_progress, raw.user = &calls;
    return calls.outcome(detail::text(alia_quantize, source.data(), source.size(), target.data(), target.size(),
                                      type.data(), type.size(), &raw));
}

}  // namespace ALIA_HPP
}  // namespace alia
