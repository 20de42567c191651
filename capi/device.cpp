// Which devices there are, and what one reaches at best.
#include <chrono>

#include "capi/alia_unstable.h"
#include "capi/border.h"
#include "capi/json_writer.h"
#include "capi/model.h"

namespace alia::capi {
namespace {

void write_version(JsonWriter& json, int version) {
    if (version == 0) return json.null();
    json.text(std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10));
}

std::string describe(const MachineReport& machine) {
    JsonWriter json;
    json.open('{');
    json.key("devices").open('[');
    for (const DeviceReport& device : machine.devices) {
        json.open('{');
        json.key("name").text(device.name);
        json.key("usable").boolean(device.reason.empty());
        if (!device.reason.empty()) json.key("reason").text(device.reason);
        if (!device.title.empty()) json.key("title").text(device.title);
        if (device.memory > 0) json.key("memory_bytes").integer(device.memory);
        json.close('}');
    }
    json.close(']');
    json.key("auto").text(machine.chosen);
    json.key("threads").integer(machine.processors.usable());
    json.key("processors").open('{');
    json.key("online").integer(machine.processors.online);
    json.key("affinity").integer(int64_t(machine.processors.allowed.size()));
    json.key("quota").real(machine.processors.quota);
    json.close('}');
    json.key("cuda").open('{');
    json.key("built").boolean(machine.cuda);
    json.key("driver");
    write_version(json, machine.cuda_driver);
    json.key("runtime");
    write_version(json, machine.cuda_runtime);
    if (!machine.cuda_reason.empty()) json.key("reason").text(machine.cuda_reason);
    json.close('}');
    json.close('}');
    return json.out;
}

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_devices(char** json, uint64_t* length) {
    return guard([&] {
        not_null(json, "json");
        not_null(length, "length");
        give_text(describe(alia::describe_machine()), json, length);
    });
}

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
        writer.key("upload").real(roofs.upload);
        writer.key("f32").real(roofs.f32);
        writer.key("int8").real(roofs.int8);
        writer.key("bf16").real(roofs.bf16);
        writer.key("e4m3").real(roofs.e4m3);
        writer.close('}');
        give_text(writer.out, json, length);
    });
}

alia_status alia_model_read_rate(alia_model* model, double* rate) {
    return guard([&] {
        const auto m = find_model(model);
        not_null(rate, "rate");
        const alia::Model& weights = *m->loaded();
        const alia::Kernels& kernels = weights.device->kernels;
        const alia::Device own(kernels, weights.device->options);  // loading and engines have streams of their own
        const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
        double seconds_a_byte = 0;
        int passes = 0;
        do {
            const double r = kernels.read_rate(own.stream, weights.memory.data(), weights.memory.size());
            if (r == 0) return void(*rate = 0);
            seconds_a_byte += 1 / r;
            ++passes;
        } while (std::chrono::steady_clock::now() < end);
        *rate = passes / seconds_a_byte;
    });
}
