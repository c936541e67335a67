// Messages that kernels of one process fill and kernels of another use, through a direct queue in device memory.
#include <cstring>
#include <string>

#include "common/clock.hpp"
#include "common/peer.hpp"
#include "driver.hpp"
#include "gpu_bench.hpp"
#include "gpu_client.hpp"
#include "ipcq/cuda.hpp"
#include "ipcq/ipcq.hpp"

extern "C" const unsigned char ipcq_gpu_bench_kernels[];  // NOLINT(readability-identifier-naming)

namespace ipcq::bench {

namespace {

using namespace std::chrono_literals;
using detail::check_cuda;
using detail::driver;

constexpr std::size_t kMessage = 1u << 20;
constexpr std::uint32_t kSlots = 16;
constexpr unsigned kBlocks = 32;
constexpr unsigned kThreads = 256;
constexpr std::size_t kWarmUp = 20;
constexpr auto kPatience = 60s;

// A client's GPU, with one stream and one kernel.
class Client {
 public:
  explicit Client(const char* kernel) {
    const auto& cu = driver();
    CUmodule module = nullptr;
    use_gpu();
    check_cuda(cu.cuModuleLoadData(&module, ipcq_gpu_bench_kernels), "cuModuleLoadData", "gpu_bench");
    check_cuda(cu.cuModuleGetFunction(&kernel_, module, kernel), "cuModuleGetFunction", kernel);
    stream_ = make_stream();
  }
  CUstream stream() const { return stream_; }
  template <class... Arguments>
  void launch(Arguments... arguments) const {
    void* addresses[] = {&arguments...};
    check_cuda(driver().cuLaunchKernel(kernel_, kBlocks, 1, 1, kThreads, 1, 1, 0, stream_, addresses, nullptr),
               "cuLaunchKernel", "gpu_bench");
  }

 private:
  CUfunction kernel_ = nullptr;
  CUstream stream_ = nullptr;
};

// A sum in device memory.
class Wrong {
 public:
  explicit Wrong(const Client& gpu) : gpu_(gpu) {
    check_cuda(driver().cuMemAlloc(&sum_, sizeof(std::uint64_t)), "cuMemAlloc", "gpu_bench");
    check_cuda(driver().cuMemsetD8Async(sum_, 0, sizeof(std::uint64_t), gpu.stream()), "cuMemsetD8Async", "gpu_bench");
  }
  CUdeviceptr address() const { return sum_; }
  std::uint64_t value() const {
    std::uint64_t sum = 0;
    check_cuda(driver().cuMemcpyDtoHAsync(&sum, sum_, sizeof sum, gpu_.stream()), "cuMemcpyDtoHAsync", "gpu_bench");
    synchronize(gpu_.stream());
    return sum;
  }

 private:
  const Client& gpu_;
  CUdeviceptr sum_ = 0;
};

class Queue {
 public:
  Queue() { broker_.create("q", {.slots = kSlots, .size = kMessage, .backend = "cuda", .mirror = Mirror::none}); }

 private:
  Broker broker_{{.name = broker_name()}};
};

void produce(std::size_t count) {
  const Client gpu("fill_words");
  auto session = connect({.broker = broker_name(), .wait_for = kPatience});
  auto out = session.producer("q", {.wait = Wait::spin(), .wait_for = kPatience, .cuda = true});
  for (std::size_t n = 0; n < count; ++n) {
    auto slot = cuda::loan(out, gpu.stream());
    if (!slot) fail("no loan");
    gpu.launch(slot->device(), std::uint64_t{kMessage}, static_cast<unsigned>(n));
    if (slot->publish(kMessage) != Status::ok) fail("not published");
  }
}

// `receive(consumer, stream)`, `use(gpu, message, value, wrong)`. Messages a second.
template <class Receive, class Use>
double consume(std::size_t count, const char* kernel, Receive receive, Use use) {
  const Client gpu(kernel);
  const Wrong wrong(gpu);
  auto session = connect({.broker = broker_name(), .wait_for = kPatience});
  auto in = session.consumer("q", {.wait = Wait::spin(), .wait_for = kPatience, .cuda = true});
  Clock::time_point start;
  for (std::size_t n = 0; n < count; ++n) {
    auto message = receive(in, gpu.stream());
    if (!message) fail("receive failed: " + std::string(to_string(message.status())));
    if (n == kWarmUp) start = Clock::now();
    use(gpu, *message, static_cast<unsigned>(n), wrong.address());
  }
  synchronize(gpu.stream());
  const double rate = static_cast<double>(count - kWarmUp) / seconds_since(start);
  if (wrong.value() != 0) fail("wrong messages");
  return rate;
}

template <class Receive, class Use>
void run(benchmark::State& state, const char* name, const char* kernel, Receive receive, Use use) {
  const std::size_t count = scaled(100'000);
  const SharedMemory<double> rate;
  for (auto _ : state) {
    Peer consumer([&] { *rate = consume(count, kernel, receive, use); });
    Peer producer([&] { produce(count); });
    const Queue queue;
    producer.join();
    consumer.join();
  }
  report_figure(state, name, "messages_per_s", *rate);
}

Result<cuda::Message> receive_next(Consumer& in, cuda::Stream stream) { return cuda::receive(in, stream); }
Result<cuda::Message> receive_ahead(Consumer& in, cuda::Stream stream) {
  auto message = cuda::receive_ahead(in, stream);
  while (message.status() == Status::full) message = cuda::receive_ahead(in, stream);
  return message;
}
void use_header(const Client& gpu, const cuda::Message& m, unsigned value, CUdeviceptr wrong) {
  gpu.launch(m.header(), value, wrong);
}

}  // namespace

void consume_payload(benchmark::State& state) {
  run(state, "consume/payload", "use_payload", receive_next,
      [](const Client& gpu, const cuda::Message& m, unsigned value, CUdeviceptr wrong) {
        gpu.launch(m.payload(), value, wrong);
      });
}
void consume_header(benchmark::State& state) { run(state, "consume/header", "use_header", receive_next, use_header); }
void consume_ahead(benchmark::State& state) { run(state, "consume/ahead", "use_header", receive_ahead, use_header); }
void consume_values(benchmark::State& state) {
  run(state, "consume/values", "use_values", receive_next,
      [](const Client& gpu, const cuda::Message& m, unsigned value, CUdeviceptr wrong) {
        gpu.launch(m.device(), m.length(), m.payload(), value, wrong);
      });
}

}  // namespace ipcq::bench
