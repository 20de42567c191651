// alia.h with owners and exceptions.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "capi/alia_unstable.h"

namespace cli {

struct Failure : std::runtime_error {
    explicit Failure(const std::string& message, alia_status s = ALIA_INVALID_ARGUMENT)
        : std::runtime_error(message), status(s) {}
    alia_status status;
};
// Whether such a failure is a request's or a file's, and others can go on.
bool concerns_one_request(alia_status);
// Throws the thread's last failure unless the status is ALIA_OK.
void check(alia_status);
// Throws what the event says where its request has failed.
void check(const alia_event&);

template <class T, auto free>
struct Free {
    void operator()(T* p) const { free(p); }
};
using Model = std::unique_ptr<alia_model, Free<alia_model, alia_model_free>>;
using Engine = std::unique_ptr<alia_engine, Free<alia_engine, alia_engine_free>>;

struct ModelChoice {
    std::string path, device;
    int threads = 0;
    bool pin = false;
};
// The library's options for it, which borrow its texts.
alia_model_options options_of(const ModelChoice&, int32_t load);
// Shows a progress bar on a terminal; an interrupt ends it with ALIA_CANCELLED.
Model open_model(const ModelChoice&, int32_t load = ALIA_LOAD_ALL);
// An alia_progress_callback that shows a ProgressBar and gives in to an interrupt.
int32_t show_progress(void* bar, const alia_progress*);

// The text that `give` has the library make: a function of (char** text, uint64_t* length).
template <class F>
std::string text_from(F&& give) {
    char* text = nullptr;
    uint64_t length = 0;
    check(give(&text, &length));
    const std::unique_ptr<char, Free<char, alia_text_free>> owner(text);
    return {text, length};
}

struct TextPart {
    std::string_view text;
    int32_t kind;  // ALIA_PART_...
};
std::vector<int32_t> encode(alia_model*, const std::vector<TextPart>&, bool add_special);
// Messages (JSON) up to where the assistant's turn begins; nothing where the model has no chat template.
std::optional<std::vector<int32_t>> encode_chat(alia_model*, const std::string& messages);
std::vector<int32_t> turn_ends(alia_model*);  // tokens that end an assistant's turn, beside end_tokens
std::string decode(alia_model*, const std::vector<int32_t>& ids, bool keep_special);
std::vector<int32_t> end_tokens(alia_model*);

// Steps of an engine on which many requests run.
class Stepper {
  public:
    explicit Stepper(alia_engine*);
    // The events of one step, or those that the last one had no room for. What they lend stays until the next call.
    std::span<const alia_event> step();

  private:
    alia_engine* engine;
    std::array<alia_event, 64> events;
};
const char* finish_name(int32_t finish);

// Ids parted by white space; `source` names the text in errors.
std::vector<int32_t> parse_ids(std::string_view text, const std::string& source);
std::string read_all(std::FILE*, const std::string& name);
std::string read_file(const std::string& path);

}  // namespace cli
