// Counts the levels of a log file however they are spelt ("error", "Error", "ERROR"): its lines go through a queue that
// makes them upper case, many lines to a message (batch=records).
//
// One process reads the file and sends it. This one has the broker, receives the lines, compares each with what it
// reads itself, and counts.
#include <array>
#include <cctype>
#include <fstream>
#include <string_view>
#include <vector>

#include "process.hpp"

namespace {

constexpr std::size_t kLinesPerCall = 1000;
constexpr std::size_t kMostBytes = 64 * 1024;  // of a batch, so also of a line
constexpr std::array<std::string_view, 3> kLevels = {"ERROR", "WARN", "INFO"};

struct Options {
  std::string file;
  std::string backend = "auto";
  std::string handler = "upper";  // a built-in one: nothing is compiled
};

std::ifstream open(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read '" + file + "'");
  return in;
}

void produce(const std::string& broker, const std::string& file) {
  auto session = ipcq::connect({.broker = broker, .wait_for = kPatience});
  auto out = session.producer("lines", {.wait_for = kPatience});
  std::ifstream in = open(file);
  std::size_t sent = 0;
  while (in) {
    std::vector<std::string> lines;
    for (std::string line; lines.size() < kLinesPerCall && std::getline(in, line);) lines.push_back(line);
    const ipcq::BatchResult done = out.send_many(lines, kPatience);
    sent += done.count;
    check(done.status, "line " + std::to_string(sent + 1));
  }
}

class Counter {
 public:
  explicit Counter(const std::string& file) : file_(open(file)) {}

  // The next line of the file, as it arrives.
  void see(const ipcq::MessageView& record) {
    const auto bytes = record.bytes();
    const std::string_view line(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ++lines_;
    if (line != next_of_file()) throw std::runtime_error("line " + std::to_string(lines_) + " is wrong");
    for (std::size_t i = 0; i < kLevels.size(); ++i) {
      if (line.find(kLevels[i]) != line.npos) ++counts_[i];
    }
  }
  void print() {
    std::string rest;
    if (std::getline(file_, rest)) throw std::runtime_error("lines are missing behind " + std::to_string(lines_));
    std::printf("%zu lines, every one is right:", lines_);
    for (std::size_t i = 0; i < kLevels.size(); ++i) std::printf(" %zu %s", counts_[i], kLevels[i].data());
    std::printf("\n");
  }

 private:
  std::string next_of_file() {
    std::string line;
    if (!std::getline(file_, line)) throw std::runtime_error("more lines arrive than the file has");
    for (char& c : line) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return line;
  }

  std::ifstream file_;
  std::size_t lines_ = 0;
  std::array<std::size_t, kLevels.size()> counts_{};
};

void run(const Options& options) {
  Counter counter(options.file);
  const std::string name = "upper-log-" + std::to_string(getpid());
  Process producer([&] { produce(name, options.file); });
  ipcq::Broker broker({.name = name});
  broker.create("lines", {.slots = 16,
                          .size = kMostBytes,
                          .batch = ipcq::Batch::records,
                          .handler = options.handler,
                          .backend = options.backend});
  auto session = ipcq::connect({.broker = name});
  auto in = session.consumer("lines");
  for (;;) {
    const auto see = [&](const ipcq::MessageView& record) { counter.see(record); };
    const ipcq::Status status = in.consume(see, std::chrono::seconds(1)).status;
    if (status == ipcq::Status::end) break;
    if (status == ipcq::Status::timeout)
      producer.check();
    else
      check(status, "receive");
  }
  producer.join();
  counter.print();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 4 || argv[1][0] == '-') {
    std::fprintf(stderr, "usage: upper_log FILE [auto|host|cuda [HANDLER]]\n");
    return 2;
  }
  Options options{.file = argv[1]};
  if (argc > 2) options.backend = argv[2];
  if (argc > 3) options.handler = argv[3];
  run(options);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
