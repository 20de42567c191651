// What a model handle stands for.
#pragma once
#include <sys/types.h>

#include "capi/border.h"
#include "capi/handles.h"
#include "engine/model.h"

namespace alia::capi {

struct ModelHandle {
    static constexpr Kind kind = Kind::model;

    std::string path;
    int32_t load = ALIA_LOAD_ALL;
    std::shared_ptr<const Model> model;          // an outline with ALIA_LOAD_HEADERS, null with ALIA_LOAD_TEXT
    std::shared_ptr<const Tokenizer> tokenizer;  // null where the checkpoint came without one
    std::shared_ptr<const Chat> chat;            // as it was read at first; never null once loaded
    std::optional<JsonLimits> files;             // where `path` is the system's: how its files are read
    const Kernels* kernels = nullptr;            // the table that the model is for
    int32_t bos = -1;
    std::vector<int32_t> eos;
    pid_t process = 0;

    const Tokenizer& text() const;                       // or no_tokenizer
    std::shared_ptr<const Chat> conversations() const;   // of files that made no sense: read again
    const std::shared_ptr<const Model>& loaded() const;  // or invalid_argument, bad_handle: an argument named "model"
};

Held<ModelHandle> find_model(const alia_model* model);

// As the engine takes them, checked.
ModelOptions model_options(const alia_model_options&);
// Nothing where there is no callback.
ProgressCallback progress_of(alia_progress_callback, void* user);

// JSON texts for people and programs.
std::string describe(const ModelHandle&);

}  // namespace alia::capi
