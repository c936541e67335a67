// The records that a peer writes to a file as it runs: one per event, each by a single write, so that a peer that is
// killed leaves whole records.
#pragma once

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace ipcq_test {

enum class Event : std::uint32_t {
  ready,     // attached, about to start
  sending,   // (producer, sequence): before the call
  sent,      // after it
  received,  // (producer, sequence, redeliveries)
  stopped,   // the status that ended the loop, in `sequence`
  lost,      // (producer, sequence): of a call, its server died
};

struct Record {
  std::uint64_t time_ns = 0;  // CLOCK_MONOTONIC
  std::uint64_t sequence = 0;
  Event event = Event::ready;
  std::uint32_t producer = 0;
  std::uint32_t redeliveries = 0;
  std::uint32_t pad = 0;
};

inline std::uint64_t monotonic_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

class RecordWriter {
 public:
  explicit RecordWriter(const std::string& path)
      : fd_(path.empty() ? -1 : open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;
  ~RecordWriter() {
    if (fd_ >= 0) close(fd_);
  }
  void add(Event event, std::uint64_t sequence = 0, std::uint32_t producer = 0, std::uint32_t redeliveries = 0) const {
    if (fd_ < 0) return;
    const Record r{monotonic_ns(), sequence, event, producer, redeliveries, 0};
    [[maybe_unused]] const auto written = write(fd_, &r, sizeof r);
  }

 private:
  int fd_;
};

inline std::vector<Record> read_records(const std::string& path) {
  std::vector<Record> records;
  std::ifstream in(path, std::ios::binary);
  for (Record r; in.read(reinterpret_cast<char*>(&r), sizeof r);) records.push_back(r);
  return records;
}

}  // namespace ipcq_test
