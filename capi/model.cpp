// Models: open, free.
#include "capi/model.h"

#include <algorithm>
#include <map>
#include <unistd.h>

#include "engine/synthetic.h"

namespace alia::capi {
namespace {

std::shared_ptr<const Model> load_headers(const std::string& path, const ModelOptions& options,
                                          const Kernels& kernels) {
    tell(options.progress, {"files", 0, 0});
    Checkpoint checkpoint = open_model_files(path, {.json = options.json});
    auto outline = std::make_shared<Model>(outline_model(checkpoint, kernels));
    tell(options.progress, {"tokenizer", 0, 0});
    outline->tokenizer = find_tokenizer(checkpoint, options.json);
    outline->chat = find_chat(checkpoint, options.json);
    return outline;
}

void load(ModelHandle& m, const ModelOptions& options) {
    if (m.load == ALIA_LOAD_TEXT) {
        tell(options.progress, {"tokenizer", 0, 0});
        m.tokenizer = open_tokenizer(m.path, options.json);
        m.chat = open_chat(m.path, options.json);
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
    m.chat = m.model->chat;
    m.bos = m.model->config.bos;
    m.eos.assign(m.model->config.eos.begin(), m.model->config.eos.end());
}

}  // namespace

const Tokenizer& ModelHandle::text() const {
    if (!tokenizer) fail(Status::no_tokenizer, Place{path}, "this model came without a tokenizer; give it token ids");
    return *tokenizer;
}

std::shared_ptr<const Chat> ModelHandle::conversations() const {
    if (!chat->failure || !files) return chat;
    auto again = open_chat(path, *files);
    return again->failure ? chat : again;
}

const std::shared_ptr<const Model>& ModelHandle::loaded() const {
    if (load != ALIA_LOAD_ALL) bad_argument("model", "was opened without its weights: use ALIA_LOAD_ALL");
    if (process != getpid())
        fail(Status::bad_handle, Place{{}, "model"},
             "was loaded by the process that this one was forked from; load it again");
    return model;
}

Held<ModelHandle> find_model(const alia_model* model) { return find_handle<ModelHandle>(model, "model"); }

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

ProgressCallback progress_of(alia_progress_callback callback, void* user) {
    if (!callback) return {};
    return [=](const Progress& p) {
        const FileScope own;
        const alia_progress progress{sizeof(alia_progress), 0, p.phase, p.done, p.total};
        return callback(user, &progress) == 0;
    };
}

}  // namespace alia::capi

using namespace alia::capi;

namespace {

void open_model(std::string path, bool files, const alia_model_options* options, alia_model** model) {
    auto m = std::make_unique<ModelHandle>();
    m->path = std::move(path);
    not_null(model, "model");
    alia_model_options given = read_options(options, ALIA_MODEL_OPTIONS_INIT, "options");
    m->load = given.load;
    m->process = getpid();
    const alia::ModelOptions o = model_options(given);
    if (files) m->files = o.json;
    load(*m, o);
    *model = static_cast<alia_model*>(add_handle(std::move(m)));
}

// The caller's files by name.
struct MemoryFiles {
    MemoryFiles(const alia_memory_file* files, uint64_t count) {
        check_array(files, count, sizeof *files, "files");
        if (count == 0) bad_argument("files", "there are none");
        const uint32_t stride = check_size(files, "files[0]");
        const auto* at = reinterpret_cast<const std::byte*>(files);
        for (uint64_t i = 0; i < count; ++i, at += stride) {
            char name[40];
            std::snprintf(name, sizeof name, "files[%llu]", (unsigned long long)i);
            alia_memory_file f = ALIA_MEMORY_FILE_INIT;
            if (check_size(at, name) != stride) bad_argument(name, "differs from the first file in size");
            read_sized(at, &f, sizeof f, name);
            check_array(f.bytes, f.length, 1, name);
            const bool added = all.emplace(given_path(f.name, f.name_length, name),
                                           std::span(static_cast<const std::byte*>(f.bytes), size_t(f.length)))
                                   .second;
            if (!added) alia::fail(alia::Status::duplicate, alia::Place{{}, name}, "has the name of another file");
        }
    }
    std::map<std::string, std::span<const std::byte>> all;
};

bool is_gguf(const std::string& name) { return name.size() > 5 && name.ends_with(".gguf"); }

}  // namespace

alia_status alia_model_open(const char* path, uint64_t path_length, const alia_model_options* options,
                            alia_model** model) {
    return guard([&] { open_model(given_path(path, path_length, "path"), true, options, model); });
}

alia_status alia_model_open_memory(const alia_memory_file* files, uint64_t file_count,
                                   const alia_model_options* options, alia_model** model) {
    return guard([&] {
        const MemoryFiles given(files, file_count);
        const alia::FileSource source{"memory",
                                      [&](const std::string& name) {
                                          const auto found = given.all.find(name);
                                          return found == given.all.end() ? int64_t(-1) : int64_t(found->second.size());
                                      },
                                      [&](const std::string& name) { return given.all.at(name).data(); },
                                      {}};
        const alia::FileScope scope(source);
        const std::string& first = given.all.begin()->first;
        open_model(given.all.size() == 1 && is_gguf(first) ? "memory/" + first : "memory", false, options, model);
    });
}

alia_status alia_model_open_reader(const alia_reader* reader, const char* name, uint64_t name_length,
                                   const alia_model_options* options, alia_model** model) {
    return guard([&] {
        const alia_reader r = read_options(&not_null(reader, "reader"), ALIA_READER_INIT, "reader");
        if (!r.file_size || !r.read) bad_argument("reader", "lacks one of its functions");
        const alia::FileSource source{
            "reader",
            [&](const std::string& n) {
                const alia::FileScope own;
                return std::max<int64_t>(r.file_size(r.user, n.data(), n.size()), -1);
            },
            {},
            [&](const std::string& n, std::span<std::byte> to) {
                const alia::FileScope own;
                constexpr size_t piece = 64 << 20;
                for (size_t at = 0; at < to.size(); at += piece) {
                    const size_t length = std::min(piece, to.size() - at);
                    if (r.read(r.user, n.data(), n.size(), int64_t(at), to.data() + at, length) != 0)
                        alia::fail(alia::Status::io, {.file = "reader/" + n, .offset = int64_t(at)},
                                   "the reader could not read it");
                }
            }};
        const alia::FileScope scope(source);
        const std::string file(given_text(name, name_length, "name"));
        open_model(file.empty() ? "reader" : "reader/" + file, false, options, model);
    });
}

alia_status alia_model_free(alia_model* model) {
    return guard([&] {
        if (!model) return;
        auto m = remove_handle<ModelHandle>(model, "model");
        // A forked child has none of the device's threads, so ending them would wait forever: it forgets the model
        // instead.
        if (m->model && m->process != getpid()) m.abandon();
    });
}
