#include "process/scribbler.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "layout/layout.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;

struct Target {
  std::byte* data;
  std::uint64_t begin, end;
};

// Empty where one cannot be mapped.
std::vector<Target> map_targets(const std::string& names) {
  std::vector<Target> targets;
  for (std::size_t at = 0; at < names.size();) {
    const auto end = std::min(names.find(',', at), names.size());
    const int fd = open(("/dev/shm/" + names.substr(at, end - at)).c_str(), O_RDWR | O_CLOEXEC);
    at = end + 1;
    struct stat st {};
    if (fd < 0 || fstat(fd, &st) != 0) return {};
    const auto size = static_cast<std::uint64_t>(st.st_size);
    void* const data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (data == MAP_FAILED) return {};
    std::uint64_t magic = 0;
    std::memcpy(&magic, data, sizeof magic);
    std::uint64_t stop = size;
    if (magic == detail::kPoolMagic) stop = static_cast<const detail::PoolHeader*>(data)->payload_offset;
    targets.push_back({static_cast<std::byte*>(data), detail::kHeaderBytes, stop});
  }
  return targets;
}

}  // namespace

int scribble(const std::string& segments, const Scribbling& how) {
  std::mt19937_64 random(how.seed);
  const std::vector<Target> targets = map_targets(segments);
  if (targets.empty()) return 2;
  const auto until = std::chrono::steady_clock::now() + how.time;
  while (std::chrono::steady_clock::now() < until) {
    for (int n = 0; n < 64; ++n) {
      const Target& t = targets[random() % targets.size()];
      // The control structures at the front are small: half of the hits go there.
      const std::uint64_t span = random() % 2 == 0 ? std::min<std::uint64_t>(t.end - t.begin, 8192) : t.end - t.begin;
      const std::uint64_t at = t.begin + random() % (span / 8) * 8;
      // A bit, a small number, garbage, or a stretch of garbage.
      std::uint64_t word = 0;
      std::memcpy(&word, t.data + at, sizeof word);
      switch (random() % 4) {
        case 0:
          word ^= std::uint64_t{1} << (random() % 64);
          break;
        case 1:
          word = random() % 256;
          break;
        default:
          word = random();
      }
      __atomic_store_n(reinterpret_cast<std::uint64_t*>(t.data + at), word, __ATOMIC_RELAXED);
      if (random() % 8 != 0) continue;
      for (std::uint64_t i = at; i < std::min(at + 256, t.end); i += 8) {
        __atomic_store_n(reinterpret_cast<std::uint64_t*>(t.data + i), random(), __ATOMIC_RELAXED);
      }
    }
    std::this_thread::sleep_for(how.pause);
  }
  return 0;
}

}  // namespace ipcq_test
