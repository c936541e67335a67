// Finds anomalies in a stream of points, batch by batch: the window of points before each lies in the queue's state.
// The handler is anomalies.cu, beside this program, which computes the same by itself and compares.
//
// With a PREFIX it writes the points, and a byte for each that says whether it is an anomaly, into PREFIX.points and
// PREFIX.flags: anomalies_check.py computes them with NumPy, and CuPy.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "process.hpp"

namespace {

constexpr std::size_t kWindow = 256;
constexpr long long kLimit = 4;
constexpr std::size_t kMostBatch = 1024;

struct Options {
  std::string backend = "auto";
  std::size_t points = 100'000;
  std::size_t batch = 500;
  std::string prefix;
  std::string handler = beside_program("anomalies.cu");
};

// Noise, with a spike now and then.
std::vector<int> make_points(std::size_t count) {
  std::mt19937 random(7);
  std::normal_distribution<double> noise(0, 1000);
  std::vector<int> points(count);
  for (int& p : points) {
    const int spike = random() % 1000 == 0 ? 8000 : 0;
    p = std::clamp(static_cast<int>(noise(random)) + spike, -32768, 32767);
  }
  return points;
}

std::vector<char> flags_of(const std::vector<int>& points) {
  std::vector<char> flags(points.size(), 0);
  constexpr long long kWidth = kWindow;
  for (std::size_t i = kWindow; i < points.size(); ++i) {
    long long sum = 0, squares = 0;
    for (std::size_t k = i - kWindow; k < i; ++k) {
      sum += points[k];
      squares += static_cast<long long>(points[k]) * points[k];
    }
    const long long away = kWidth * points[i] - sum;
    flags[i] = away * away > kLimit * kLimit * (kWidth * squares - sum * sum) ? 1 : 0;
  }
  return flags;
}

void produce(const std::string& broker, const std::vector<int>& points, std::size_t batch) {
  auto session = ipcq::connect({.broker = broker, .wait_for = kPatience});
  auto out = session.producer("points", {.wait_for = kPatience});
  for (std::size_t at = 0; at < points.size(); at += batch) {
    const std::size_t count = std::min(batch, points.size() - at);
    check(out.send(&points[at], count * sizeof(int), kPatience), "send");
  }
}

std::vector<char> consume(ipcq::Consumer& in, const Process& producer) {
  std::vector<char> flags;
  for (;;) {
    const auto m = receive(in, producer);
    if (m.status() == ipcq::Status::end) return flags;
    if (!m->processed()) throw std::runtime_error("the handler failed: " + std::to_string(m->failure()));
    const auto* const bytes = reinterpret_cast<const char*>(m->bytes().data());
    flags.insert(flags.end(), bytes, bytes + m->length());
  }
}

template <class T>
void write(const std::string& file, const std::vector<T>& values) {
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
}

void run(const Options& options) {
  const std::vector<int> points = make_points(options.points);
  const std::string name = "anomalies-" + std::to_string(getpid());
  Process producer([&] { produce(name, points, options.batch); });
  ipcq::Broker broker({.name = name});
  broker.create("points", {.slots = 64,
                           .size = kMostBatch * sizeof(int),
                           .handler = options.handler,
                           .state_bytes = 8192,
                           .backend = options.backend});
  auto session = ipcq::connect({.broker = name});
  auto in = session.consumer("points");
  const auto start = std::chrono::steady_clock::now();
  const std::vector<char> flags = consume(in, producer);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  producer.join();
  if (flags != flags_of(points)) throw std::runtime_error("the anomalies are wrong");
  std::printf("%zu points in batches of %zu: %td anomalies, every one is right; %.1f ms, %.2f M points/s\n",
              points.size(), options.batch, std::count(flags.begin(), flags.end(), 1), took.count(),
              static_cast<double>(points.size()) / took.count() / 1e3);
  if (options.prefix.empty()) return;
  write(options.prefix + ".points", points);
  write(options.prefix + ".flags", flags);
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  if (argc > 5 || (argc > 1 && argv[1][0] == '-')) {
    std::fprintf(stderr, "usage: anomalies [auto|host|cuda [POINTS [BATCH [PREFIX]]]]\n");
    return 2;
  }
  if (argc > 1) options.backend = argv[1];
  if (argc > 2) options.points = number_of("POINTS", argv[2]);
  if (argc > 3) options.batch = number_of("BATCH", argv[3]);
  if (argc > 4) options.prefix = argv[4];
  if (options.batch == 0 || options.batch > kMostBatch) throw std::runtime_error("a batch has 1 to 1024 points");
  run(options);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
