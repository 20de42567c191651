// What a device reaches at best.
#include "capi/alia_unstable.h"
#include "capi/border.h"
#include "capi/json_writer.h"
#include "engine/model.h"

using namespace alia::capi;

alia_status alia_device_roofs(const char* device, uint64_t device_length, int32_t threads, char** json,
                              uint64_t* length) {
    return guard([&] {
        const std::string_view name = given_text(device, device_length, "device");
        check_range(threads, 0, 1024, "threads");
        not_null(json, "json");
        not_null(length, "length");
        const auto opened = alia::Device::open(name, {.threads = threads});
        const alia::Roofs roofs = opened->kernels.measure(opened->stream);
        JsonWriter writer;
        writer.open('{');
        writer.key("device").text(opened->kernels.name);
        writer.key("read").real(roofs.read);
        writer.key("copy").real(roofs.copy);
        writer.key("f32").real(roofs.f32);
        writer.key("int8").real(roofs.int8);
        writer.key("bf16").real(roofs.bf16);
        writer.close('}');
        give_text(writer.out, json, length);
    });
}
