// Opening devices by name, and their memory.
#include "kernels/device.h"

#include <cstdlib>
#include <utility>

#include "kernels/cpu/isa.h"
#include "kernels/cuda/device.h"

namespace alia {
namespace {

const Kernels& find(std::string_view name, int& ordinal) {
    const bool automatic = name == "auto";
    if (automatic && cuda::devices() > 0) return cuda::find("cuda", ordinal);
    if (name == "ref") return ref_kernels;
    if (name == "cuda" || name.starts_with("cuda:")) return cuda::find(name, ordinal);
    if (automatic || name == "cpu" || name.starts_with("cpu:"))
        if (const Kernels* k = cpu::find(name.size() > 4 ? name.substr(4) : "")) return *k;
    char known[200] = "ref";
    if (!cpu::tables().empty()) detail::append_clean(known, sizeof known, ", auto, cpu");
    for (const Kernels* k : cpu::tables()) {
        detail::append_clean(known, sizeof known, ", cpu:");
        detail::append_clean(known, sizeof known, std::string_view(k->name).substr(4));
    }
    fail(Status::device_unavailable, "no device \"%.*s\" here; there are: %s", int(name.size()), name.data(), known);
}

}  // namespace

std::unique_ptr<Device> Device::open(std::string_view name, const DeviceOptions& options) {
    if (name.empty())
        if (const char* forced = std::getenv("ALIA_DEVICE")) name = forced;
    DeviceOptions chosen = options;
    const Kernels& kernels = find(name.empty() ? "auto" : name, chosen.ordinal);
    return std::make_unique<Device>(kernels, chosen);
}

MachineReport describe_machine() {
    const cuda::Report cuda = cuda::report();
    MachineReport machine{.processors = read_processors(),
                          .cuda = cuda.built,
                          .cuda_driver = cuda.driver,
                          .cuda_runtime = cuda.runtime,
                          .cuda_reason = cuda.reason};
    for (const cuda::Card& card : cuda.cards)
        machine.devices.push_back(
            {.name = card.name, .title = card.title, .memory = card.memory, .reason = card.reason});
    for (const cpu::TableReport& table : cpu::reports()) {
        const std::string reason = table.lacks.empty() ? "" : "the processor, or its system, lacks " + table.lacks;
        machine.devices.push_back({.name = "cpu:" + std::string(table.kernels->name).substr(4), .reason = reason});
    }
    machine.devices.push_back({.name = "ref", .reason = {}});
    for (const DeviceReport& device : machine.devices)
        if (device.reason.empty() && machine.chosen.empty()) machine.chosen = device.name;
    return machine;
}

Device::Device(const Kernels& k, const DeviceOptions& o) : kernels(k), options(o), stream(k.open(o)) {}
Device::~Device() { kernels.close(stream); }

Buffer::Buffer(Device& d, int64_t size, Home where)
    : device(&d),
      memory(static_cast<std::byte*>(d.kernels.allocate(d.stream, size, where))),
      bytes(size),
      home(where) {}
Buffer::Buffer(Buffer&& other) noexcept
    : device(other.device),
      memory(std::exchange(other.memory, nullptr)),
      bytes(std::exchange(other.bytes, 0)),
      home(other.home) {}
Buffer& Buffer::operator=(Buffer&& other) noexcept {
    std::swap(device, other.device);
    std::swap(memory, other.memory);
    std::swap(bytes, other.bytes);
    std::swap(home, other.home);
    return *this;
}
Buffer::~Buffer() {
    if (memory) device->kernels.release(device->stream, memory, home);
}

}  // namespace alia
