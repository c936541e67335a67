// c = a + b, thousands of times: each message is a task of two vectors, which the queue's handler adds in place, on the
// host or on a GPU. The handler is vector_add.cu, beside this program.
//
// One process makes the tasks. This one has the broker, and two threads that take results and compare them with sums
// of their own, bit by bit.
#include <algorithm>
#include <cstring>
#include <future>
#include <random>
#include <span>
#include <vector>

#include "process.hpp"

namespace {

constexpr std::size_t kMostElements = 1024;
constexpr unsigned kConsumers = 2;

struct Options {
  std::string backend = "auto";
  std::size_t tasks = 10'000;
  std::string handler = beside_program("vector_add.cu");
};

// The vectors of a task, a and behind it b, are the same wherever they are made.
std::size_t elements_of(std::size_t task) { return 1 + task * 7919 % kMostElements; }
void make_task(std::size_t task, std::span<float> a_and_b) {
  std::minstd_rand random(static_cast<unsigned>(task + 1));
  for (float& value : a_and_b) value = static_cast<float>(random()) / 1000;
}

void produce(const std::string& broker, std::size_t tasks) {
  auto session = ipcq::connect({.broker = broker, .wait_for = kPatience});
  auto out = session.producer("tasks", {.wait_for = kPatience});
  for (std::size_t task = 0; task < tasks; ++task) {
    auto slot = out.loan(kPatience);
    check(slot.status(), "loan");
    const std::size_t floats = 2 * elements_of(task);
    make_task(task, std::span(reinterpret_cast<float*>(slot->bytes().data()), floats));
    check(slot->publish(floats * sizeof(float), kPatience), "publish");
  }
}

void verify(const ipcq::Message& message, std::size_t task) {
  const std::size_t elements = elements_of(task);
  std::vector<float> expected(2 * elements);
  make_task(task, expected);
  for (std::size_t i = 0; i < elements; ++i) expected[i] += expected[elements + i];
  const auto bytes = message.bytes();
  if (!message.processed() || bytes.size() != expected.size() * sizeof(float) ||
      std::memcmp(bytes.data(), expected.data(), bytes.size()) != 0) {
    throw std::runtime_error("task " + std::to_string(task) + " has a wrong result");
  }
}

// Takes results until the end of the stream; marks what it has seen, of which no other consumer sees any.
void consume(const std::string& broker, const Process& producer, std::span<char> seen) {
  auto session = ipcq::connect({.broker = broker});
  auto in = session.consumer("tasks");
  for (;;) {
    const auto message = receive(in, producer);
    if (message.status() == ipcq::Status::end) return;
    const std::size_t task = message->sequence();
    verify(*message, task);
    if (seen[task]++ != 0) throw std::runtime_error("task " + std::to_string(task) + " came twice");
  }
}

void run(const Options& options) {
  const std::string name = "vector-add-" + std::to_string(getpid());
  Process producer([&] { produce(name, options.tasks); });
  ipcq::Broker broker({.name = name});
  broker.create(
      "tasks",
      {.slots = 64, .size = 2 * kMostElements * sizeof(float), .handler = options.handler, .backend = options.backend});
  const auto start = std::chrono::steady_clock::now();
  std::vector<char> seen(options.tasks);
  std::vector<std::future<void>> consumers;
  for (unsigned i = 0; i < kConsumers; ++i) {
    consumers.push_back(std::async(std::launch::async, [&] { consume(name, producer, seen); }));
  }
  for (auto& consumer : consumers) consumer.get();
  producer.join();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const auto came = static_cast<std::size_t>(std::count(seen.begin(), seen.end(), 1));
  if (came != options.tasks) {
    throw std::runtime_error(std::to_string(came) + " of " + std::to_string(options.tasks) + " tasks came back");
  }
  std::printf("%zu tasks in %.2f s, every sum is right\n", came, took.count());
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  if (argc > 4 || (argc > 1 && argv[1][0] == '-')) {
    std::fprintf(stderr, "usage: vector_add [auto|host|cuda [TASKS [HANDLER]]]\n");
    return 2;
  }
  if (argc > 1) options.backend = argv[1];
  if (argc > 2) options.tasks = number_of("TASKS", argv[2]);
  if (argc > 3) options.handler = argv[3];
  run(options);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
