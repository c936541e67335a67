// Counts the important lines of a log file: its lines go, many to a message (batch=records), through a queue whose
// handler makes them upper case ("error", "Error", "ERROR") and drops those below a level. The handler is
// log_filter.cu, beside this program.
//
// One process reads the file and sends all of it. This one has the broker, receives the lines that are left, compares
// them with those that it picks from the file itself, and counts.
#include <array>
#include <cctype>
#include <fstream>
#include <optional>
#include <string_view>
#include <vector>

#include "process.hpp"

namespace {

constexpr std::size_t kLinesPerCall = 1000;
constexpr std::size_t kMostBytes = 64 * 1024;                                   // of a batch, so also of a line
constexpr std::array<std::string_view, 3> kLevels = {"INFO", "WARN", "ERROR"};  // levels 1, 2 and 3

struct Options {
  std::string file;
  std::string backend = "auto";
  std::size_t level = 2;
  std::string handler;
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
  Counter(const std::string& file, std::size_t level) : file_(open(file)), level_(level) {}

  // The next line that has passed, as it arrives.
  void see(const ipcq::MessageView& record) {
    const auto bytes = record.bytes();
    const std::string_view line(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const auto expected = next_of_file();
    if (!expected) throw std::runtime_error("more lines arrive than the file has of that level");
    if (line != *expected) throw std::runtime_error("line " + std::to_string(lines_) + " is wrong, or missing");
    ++counts_[level_of(line)];
  }
  void print() {
    if (next_of_file()) throw std::runtime_error("line " + std::to_string(lines_) + " is missing");
    std::size_t kept = 0;
    for (const std::size_t count : counts_) kept += count;
    std::printf("%zu of %zu lines, every one is right:", kept, lines_);
    for (std::size_t i = 0; i < kLevels.size(); ++i) std::printf(" %zu %s", counts_[i + 1], kLevels[i].data());
    std::printf("\n");
  }

 private:
  static std::size_t level_of(std::string_view line) {
    std::size_t level = kLevels.size();
    while (level > 0 && line.find(kLevels[level - 1]) == line.npos) --level;
    return level;
  }
  // The CPU's own filter: nothing behind the last line that passes.
  std::optional<std::string> next_of_file() {
    for (std::string line; std::getline(file_, line);) {
      ++lines_;
      for (char& c : line) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      if (level_of(line) >= level_) return line;
    }
    return std::nullopt;
  }

  std::ifstream file_;
  std::size_t level_;
  std::size_t lines_ = 0;  // of the file
  std::array<std::size_t, kLevels.size() + 1> counts_{};
};

void run(const Options& options) {
  Counter counter(options.file, options.level);
  const std::string name = "log-filter-" + std::to_string(getpid());
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
    const ipcq::Status status = in.consume(see, kGlance).status;
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
  if (argc < 2 || argc > 5 || argv[1][0] == '-') {
    std::fprintf(stderr, "usage: log_filter FILE [auto|host|cuda [LEVEL [HANDLER]]]\n");
    return 2;
  }
  Options options;
  options.file = argv[1];
  if (argc > 2) options.backend = argv[2];
  if (argc > 3) options.level = number_of("LEVEL", argv[3]);
  if (options.level > kLevels.size())
    throw std::runtime_error("LEVEL is " + std::to_string(options.level) + ": give 0 to 3");
  options.handler = argc > 4 ? argv[4] : beside_program("log_filter.cu") + ":level=" + std::to_string(options.level);
  run(options);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
