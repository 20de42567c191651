// alia.h with owners and exceptions.
#pragma once
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "capi/alia.h"

namespace cli {

struct Failure : std::runtime_error {
    explicit Failure(const std::string& message, alia_status s = ALIA_INVALID_ARGUMENT)
        : std::runtime_error(message), status(s) {}
    alia_status status;
};
// Throws the thread's last failure unless the status is ALIA_OK.
void check(alia_status);

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

struct TextPart {
    std::string_view text;
    int32_t kind;  // ALIA_PART_...
};
std::vector<int32_t> encode(alia_model*, const std::vector<TextPart>&, bool add_special);
std::string decode(alia_model*, const std::vector<int32_t>& ids, bool keep_special);
bool find_token(alia_model*, std::string_view text, int32_t& id);
std::vector<int32_t> end_tokens(alia_model*);

// Ids parted by white space; `source` names the text in errors.
std::vector<int32_t> parse_ids(std::string_view text, const std::string& source);
std::string read_all(std::FILE*, const std::string& name);
std::string read_file(const std::string& path);

}  // namespace cli
