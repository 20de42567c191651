// The emulated device notices what is wrong, and only that.
#include <cuda_runtime.h>
#include <future>

#include "tests/catch.h"
#include "tests/emulated/trials.h"

using emulated::options, emulated::Order;

TEST_CASE("wrong kernels are reported, right ones are not, in every order") {
    for (Order order : {Order::ahead, Order::reversed, Order::random})
        for (uint64_t seed = 1; seed <= (order == Order::random ? 20 : 1); ++seed) {
            options = {.order = order, .seed = seed, .preempt = 8, .steps = 100000};
            for (const emulated::Trial& t : emulated::trials()) {
                emulated::reset();
                const emulated::Alive before = emulated::alive();
                t.launch();
                INFO(t.name << ", order " << int(order) << ", seed " << seed);
                const auto& reports = emulated::reports();
                CAPTURE(reports);
                CHECK(reports.size() == size_t(t.found != nullptr));
                if (t.found && !reports.empty()) {
                    auto has = [&](const char* text) { return text && reports[0].find(text) != std::string::npos; };
                    CHECK((has(t.found) || has(t.or_found)));
                }
                CHECK(emulated::alive() == before);
            }
        }
    options = {};
    emulated::reset();
}

TEST_CASE("every barrier of the right kernels is needed") {
    for (const emulated::Trial& t : emulated::trials()) {
        if (t.found) continue;
        emulated::reset();
        t.launch();
        const std::vector<emulated::Site> sites = emulated::sites();
        for (const emulated::Site& site : sites) {
            options = {.without = site};
            bool noticed = false;
            for (Order order : {Order::ahead, Order::reversed}) {
                options.order = order;
                emulated::reset();
                t.launch();
                noticed |= !emulated::reports().empty();
            }
            INFO(t.name << ", line " << site.line);
            CHECK(noticed);
        }
    }
    options = {};
    emulated::reset();
}

TEST_CASE("a fault loses the device until it is reset; a call fails as asked") {
    emulated::reset();
    for (const emulated::Trial& t : emulated::trials())
        if (t.found) t.launch();
    CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
    float* p = nullptr;
    CHECK(cudaMalloc(&p, 4) == cudaErrorLaunchFailure);
    emulated::reset();
    emulated::fail_call(1, cudaErrorMemoryAllocation, false);
    REQUIRE(cudaMalloc(&p, 4) == cudaSuccess);
    CHECK(cudaFree(p) == cudaErrorMemoryAllocation);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    emulated::fail_call(0, cudaErrorIllegalAddress, true);
    CHECK(cudaMalloc(&p, 4) == cudaErrorIllegalAddress);
    CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    emulated::reset();
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("work on another stream is done late, too: a wait for it that is missing shows") {
    for (bool waits : {true, false}) {
        emulated::reset();
        options.stream_waits = waits;
        const emulated::Alive before = emulated::alive();
        emulated::sum_copied();
        CHECK(emulated::reports().empty() == waits);
        if (!waits) CHECK(emulated::reports().at(0).find("never written") != std::string::npos);
        CHECK(emulated::alive() == before);
    }
    options = {};
    emulated::reset();
}

TEST_CASE("a launch wants the thread's card to be its stream's, and a record its event's") {
    emulated::reset();
    emulated::machine.devices = 2;
    cudaStream_t s;
    cudaEvent_t event;
    REQUIRE(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaSetDevice(1) == cudaSuccess);
    REQUIRE(cudaEventCreate(&event) == cudaSuccess);
    void (*nothing)() = [] {};
    const cudaLaunchConfig_t config = {dim3(1), dim3(1), 0, s, nullptr, 0};
    CHECK(cudaLaunchKernelEx(&config, nothing) == cudaErrorInvalidResourceHandle);
    CHECK(cudaEventRecord(event, s) == cudaErrorInvalidResourceHandle);
    REQUIRE(cudaSetDevice(0) == cudaSuccess);
    CHECK(cudaLaunchKernelEx(&config, nothing) == cudaSuccess);
    CHECK(cudaEventRecord(event, s) == cudaErrorInvalidResourceHandle);
    CHECK(cudaStreamSynchronize(s) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    CHECK(cudaStreamDestroy(s) == cudaSuccess);
    emulated::machine.devices = 1;
}

TEST_CASE("a capture ends with a call that waits where its own thread makes it, or where it waits for all streams") {
    emulated::reset();
    cudaStream_t captured, other;
    REQUIRE(cudaStreamCreateWithFlags(&captured, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking) == cudaSuccess);
    auto one = [&] { return cudaStreamSynchronize(other); };
    auto elsewhere = [](auto&& call) { return std::async(std::launch::async, call).get(); };
    auto ends = [&](auto&& call) {
        REQUIRE(cudaStreamBeginCapture(captured, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
        const cudaError_t e = call();
        cudaGraph_t graph = nullptr;
        CHECK((cudaStreamEndCapture(captured, &graph) == cudaSuccess) == (e == cudaSuccess));
        if (graph) cudaGraphDestroy(graph);
        return e != cudaSuccess;
    };
    CHECK(ends(one));
    CHECK(!ends([&] { return elsewhere(one); }));
    CHECK(ends([&] { return elsewhere(cudaDeviceSynchronize); }));
    CHECK(cudaStreamDestroy(captured) == cudaSuccess);
    CHECK(cudaStreamDestroy(other) == cudaSuccess);
    emulated::reset();
}

TEST_CASE("work on a stream is done late: a pinned buffer that changes too early shows") {
    emulated::reset();
    cudaStream_t s;
    int *host, *device, back = 0;
    REQUIRE(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaMallocHost(&host, sizeof(int)) == cudaSuccess);
    REQUIRE(cudaMalloc(&device, sizeof(int)) == cudaSuccess);
    *host = 1;
    REQUIRE(cudaMemcpyAsync(device, host, sizeof(int), cudaMemcpyHostToDevice, s) == cudaSuccess);
    *host = 2;
    REQUIRE(cudaMemcpyAsync(&back, device, sizeof(int), cudaMemcpyDeviceToHost, s) == cudaSuccess);
    CHECK(back == 2);
    CHECK(cudaFree(device) == cudaSuccess);
    CHECK(cudaFreeHost(host) == cudaSuccess);
    CHECK(cudaStreamDestroy(s) == cudaSuccess);
}
