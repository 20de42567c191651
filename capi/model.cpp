// Models: open, free.
#include "capi/model.h"

#include <unistd.h>

namespace alia::capi {
namespace {

std::shared_ptr<const Model> load_headers(const std::string& path, const ModelOptions& options,
                                          const Kernels& kernels) {
    Checkpoint checkpoint = open_checkpoint(path, {.json = options.json});
    auto outline = std::make_shared<Model>(outline_model(checkpoint, kernels));
    outline->tokenizer = find_tokenizer(checkpoint, options.json);
    return outline;
}

void load(ModelHandle& m, const ModelOptions& options) {
    if (m.load == ALIA_LOAD_TEXT) {
        m.tokenizer = open_tokenizer(m.path, options.json);
        m.bos = m.tokenizer->bos;
        if (m.tokenizer->eos >= 0) m.eos = {m.tokenizer->eos};
        return;
    }
    if (m.load == ALIA_LOAD_HEADERS) {
        auto device = Device::open(options.device, {.threads = 1});
        m.model = load_headers(m.path, options, device->kernels);
        m.kernels = &device->kernels;
    } else {
        m.model = load_model(m.path, options);
        m.kernels = &m.model->device->kernels;
    }
    m.tokenizer = m.model->tokenizer;
    m.bos = m.model->config.bos;
    m.eos.assign(m.model->config.eos.begin(), m.model->config.eos.end());
}

}  // namespace

const Tokenizer& ModelHandle::text() const {
    if (!tokenizer) fail(Status::no_tokenizer, Place{path}, "this model came without a tokenizer; give it token ids");
    return *tokenizer;
}

const std::shared_ptr<const Model>& ModelHandle::loaded() const {
    if (load != ALIA_LOAD_ALL) bad_argument("model", "was opened without its weights: use ALIA_LOAD_ALL");
    if (process != getpid())
        fail(Status::bad_handle, Place{{}, "model"},
             "was loaded by the process that this one was forked from; load it again");
    return model;
}

std::shared_ptr<ModelHandle> find_model(const alia_model* model) {
    return std::static_pointer_cast<ModelHandle>(find_handle(model, Kind::model, "model"));
}

ModelOptions model_options(const alia_model_options& given) {
    check_range(given.load, ALIA_LOAD_ALL, ALIA_LOAD_HEADERS, "options.load");
    check_range(given.threads, 0, 1024, "options.threads");
    ModelOptions options;
    options.device = given_text(given.device, given.device_length, "options.device");
    options.threads = given.threads;
    if (given.flags & ~uint32_t(ALIA_MODEL_PIN_THREADS)) bad_argument("options.flags", "has bits that mean nothing");
    options.pin = given.flags & ALIA_MODEL_PIN_THREADS;
    if (given.json_bytes) options.json.bytes = given.json_bytes;
    options.progress = progress_of(given.progress, given.user);
    return options;
}

std::function<bool(const LoadProgress&)> progress_of(alia_progress_callback callback, void* user) {
    if (!callback) return {};
    return [=](const LoadProgress& p) {
        const alia_progress progress{sizeof(alia_progress), 0, p.phase, p.done, p.total};
        return callback(user, &progress) == 0;
    };
}

}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_model_open(const char* path, uint64_t path_length, const alia_model_options* options,
                            alia_model** model) {
    return guard([&] {
        auto m = std::make_shared<ModelHandle>();
        m->path = given_path(path, path_length, "path");
        not_null(model, "model");
        alia_model_options given = read_options(options, ALIA_MODEL_OPTIONS_INIT, "options");
        m->load = given.load;
        m->process = getpid();
        load(*m, model_options(given));
        *model = static_cast<alia_model*>(add_handle(Kind::model, std::move(m)));
    });
}

alia_status alia_model_free(alia_model* model) {
    return guard([&] {
        if (!model) return;
        std::unique_ptr<Owner> owner = remove_handle(model, Kind::model, "model");
        auto& m = *static_cast<ModelHandle*>(owner->get());
        // A forked child has none of the device's threads, so ending them would wait forever: it forgets the model
        // instead.
        if (m.model && m.process != getpid()) owner.release();
    });
}
