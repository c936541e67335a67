// Histograms of frames, such as those of a camera or a sensor with 8-bit samples: each message is a frame, which the
// queue's handler replaces by 256 counts, on the host or on a GPU. The handler is histogram.cu, built ahead as
// libhistogram.so, beside this program.
//
// One process sends the frames. This one has the broker, takes the counts and compares them with its own.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "process.hpp"

namespace {

constexpr std::size_t kMostBytes = std::size_t{256} * 1024;

using Frame = std::vector<unsigned char>;
using Counts = std::array<std::uint32_t, 256>;

struct Options {
  std::string backend = "auto";
  std::size_t frames = 10'000;
  std::string handler = beside_program("libhistogram.so");
};

// What is sent again and again: frames of different sizes, few of them whole tiles of the handler's.
std::vector<Frame> make_frames() {
  std::minstd_rand random(1);
  std::vector<Frame> frames;
  for (const std::size_t bytes : {kMostBytes, kMostBytes - 1, std::size_t{8192}, std::size_t{8191}, std::size_t{1}}) {
    // Even, all but black, and one value alone: then all lanes count at the same place.
    for (const unsigned span : {256U, 16U, 1U}) {
      Frame& frame = frames.emplace_back(bytes);
      for (auto& sample : frame) sample = static_cast<unsigned char>(random() / 7 % span + frames.size());
    }
  }
  return frames;
}

Counts counts_of(const Frame& frame) {
  Counts counts{};
  for (const auto sample : frame) ++counts[sample];
  return counts;
}

void produce(const std::string& broker, const std::vector<Frame>& frames, std::size_t count) {
  auto session = ipcq::connect({.broker = broker, .wait_for = kPatience});
  auto out = session.producer("frames", {.wait_for = kPatience});
  for (std::size_t i = 0; i < count; ++i) {
    const Frame& frame = frames[i % frames.size()];
    auto slot = out.loan(kPatience);
    check(slot.status(), "loan");
    std::memcpy(slot->bytes().data(), frame.data(), frame.size());
    check(slot->publish(frame.size(), kPatience), "publish");
  }
}

void verify(const ipcq::Message& message, const Counts& expected, std::size_t number) {
  const auto bytes = message.bytes();
  if (!message.processed() || bytes.size() != sizeof expected ||
      std::memcmp(bytes.data(), expected.data(), sizeof expected) != 0) {
    throw std::runtime_error("frame " + std::to_string(number) + " has a wrong histogram");
  }
}

void run(const Options& options) {
  const std::vector<Frame> frames = make_frames();
  const std::string name = "histogram-" + std::to_string(getpid());
  Process producer([&] { produce(name, frames, options.frames); });
  std::vector<Counts> expected(frames.size());
  std::transform(frames.begin(), frames.end(), expected.begin(), counts_of);
  ipcq::Broker broker({.name = name});
  broker.create("frames", {.slots = 32, .size = kMostBytes, .handler = options.handler, .backend = options.backend});
  auto session = ipcq::connect({.broker = name});
  auto in = session.consumer("frames");
  const auto start = std::chrono::steady_clock::now();
  std::size_t count = 0;
  double bytes = 0;
  for (;; ++count) {
    const auto message = receive(in, producer);
    if (message.status() == ipcq::Status::end) break;
    verify(*message, expected[count % expected.size()], count);
    bytes += static_cast<double>(frames[count % frames.size()].size());
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  producer.join();
  if (count != options.frames) throw std::runtime_error(std::to_string(count) + " frames came back");
  std::printf("%zu frames in %.2f s (%.2f GB/s), every histogram is right\n", count, took.count(),
              bytes / took.count() / 1e9);
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  if (argc > 4 || (argc > 1 && argv[1][0] == '-')) {
    std::fprintf(stderr, "usage: histogram [auto|host|cuda [FRAMES [HANDLER]]]\n");
    return 2;
  }
  if (argc > 1) options.backend = argv[1];
  if (argc > 2) options.frames = number_of("FRAMES", argv[2]);
  if (argc > 3) options.handler = argv[3];
  run(options);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
