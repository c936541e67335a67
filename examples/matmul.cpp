// A small layer of a neural network: each message is a matrix A, a batch of inputs, which the queue's handler
// multiplies by constant weights W and replaces by the product, on the host or on a GPU. The handler is matmul.cu,
// beside this program; W is in matmul.hpp.
//
// One process sends the inputs. This one has the broker, takes the products and compares each with one of its own in
// double precision.
#include "matmul.hpp"

#include <cfloat>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "process.hpp"

namespace {

constexpr std::size_t kMostRows = 256;

struct Options {
  std::string backend = "auto";
  std::size_t products = 1000;
  std::string handler = beside_program("matmul.cu");
};

// A is the same wherever it is made. Its numbers of rows are seldom whole tiles of the handler's.
std::vector<float> inputs_of(std::size_t product) {
  std::vector<float> a((1 + product * 37 % kMostRows) * kInputs);
  std::minstd_rand random(static_cast<unsigned>(product + 1));
  std::uniform_real_distribution<float> values(-1, 1);
  for (float& value : a) value = values(random);
  return a;
}

void produce(const std::string& broker, std::size_t products) {
  auto session = ipcq::connect({.broker = broker, .wait_for = kPatience});
  auto out = session.producer("inputs", {.wait_for = kPatience});
  for (std::size_t product = 0; product < products; ++product) {
    check(out.send(inputs_of(product), kPatience), "send");
  }
}

// Tolerance: a sum of k products in float is off by at most k * FLT_EPSILON / 2 times the sum of their absolute values,
// in whatever order it is added up. Twice that is accepted.
bool is_right(float element, std::span<const float> row, std::size_t column) {
  double sum = 0;
  double absolute = 0;
  for (std::size_t k = 0; k < kInputs; ++k) {
    const double term = static_cast<double>(row[k]) * static_cast<double>(weight(k, column));
    sum += term;
    absolute += std::abs(term);
  }
  return std::abs(static_cast<double>(element) - sum) <= kInputs * static_cast<double>(FLT_EPSILON) * absolute;
}

void verify(const ipcq::Message& message, std::size_t product) {
  const std::string name = "product " + std::to_string(product);
  const std::vector<float> a = inputs_of(product);
  const std::size_t rows = a.size() / kInputs;
  const auto bytes = message.bytes();
  if (!message.processed() || bytes.size() != rows * kOutputs * sizeof(float)) {
    throw std::runtime_error(name + " is none: " + std::to_string(bytes.size()) + " bytes");
  }
  const std::span c(reinterpret_cast<const float*>(bytes.data()), rows * kOutputs);
  for (std::size_t i = 0; i < c.size(); ++i) {
    const auto row = std::span(a).subspan(i / kOutputs * kInputs, kInputs);
    if (!is_right(c[i], row, i % kOutputs)) {
      throw std::runtime_error(name + " is wrong in element " + std::to_string(i));
    }
  }
}

void run(const Options& options) {
  const std::string name = "matmul-" + std::to_string(getpid());
  Process producer([&] { produce(name, options.products); });
  ipcq::Broker broker({.name = name});
  broker.create("inputs", {.slots = 64,
                           .size = kMostRows * kInputs * sizeof(float),
                           .handler = options.handler,
                           .backend = options.backend});
  auto session = ipcq::connect({.broker = name});
  auto in = session.consumer("inputs");
  std::size_t products = 0;
  for (;;) {
    const auto message = receive(in, producer);
    if (message.status() == ipcq::Status::end) break;
    verify(*message, products++);
  }
  producer.join();
  if (products != options.products) throw std::runtime_error(std::to_string(products) + " products came back");
  std::printf("%zu products, every element is right\n", products);
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  if (argc > 4 || (argc > 1 && argv[1][0] == '-')) {
    std::fprintf(stderr, "usage: matmul [auto|host|cuda [PRODUCTS [HANDLER]]]\n");
    return 2;
  }
  if (argc > 1) options.backend = argv[1];
  if (argc > 2) options.products = number_of("PRODUCTS", argv[2]);
  if (argc > 3) options.handler = argv[3];
  run(options);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
