// Sizes: how many tasks of each source there are in the server, as it said last. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace ipcq::bridge {

// Negative: the server cannot say, as of the entries of a stream of which some were deleted in between.
struct SourceSizes {
  std::int64_t waiting = -1;  // nobody has them yet
  std::int64_t taken = -1;    // by all consumers together, and not ended
  std::int64_t delayed = -1;
  std::int64_t dead = -1;  // letters
};

class Sizes {
 public:
  void set(const std::string& source, const SourceSizes& sizes) {
    const std::scoped_lock lock(mutex_);
    sizes_[source] = sizes;
  }
  // What was said is no longer known to be so.
  void forget() {
    const std::scoped_lock lock(mutex_);
    sizes_.clear();
  }
  std::map<std::string, SourceSizes> get() const {
    const std::scoped_lock lock(mutex_);
    return sizes_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, SourceSizes> sizes_;
};

}  // namespace ipcq::bridge
