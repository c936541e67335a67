// How many of the broker's descriptors its clients may take, and the few that it keeps for its owner.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/os.hpp"

namespace ipcq::detail {

// A connection that has said no hello is either about to, or asks one thing and goes.
inline constexpr std::uint64_t kHelloWithinNs = 5'000'000'000;

// Of a soft limit of open files (RLIMIT_NOFILE).
struct Share {
  std::uint64_t half_open = 0;  // connections of one user without a hello: an eighth, 8 to 256
  std::uint64_t foreign = 0;    // descriptors for all users but the broker's own and root: half
};
Share share_of(std::uint64_t open_files) noexcept;
std::uint64_t open_files_limit() noexcept;

// What the broker has taken on of one newcomer's kind.
struct Load {
  std::uint64_t half_open = 0;            // connections of the newcomer's user without a hello
  std::uint64_t foreign_connections = 0;  // of all users but the broker's own and root
};
// Whether this process' own user or root: never held up by others.
bool is_owner(uid_t uid) noexcept;

enum class Admittance : std::uint8_t { yes, too_many_half_open, too_many_foreign };
// A connection counts as two descriptors: socket and pidfd.
Admittance admit(uid_t newcomer, const Load& load, const Share& share) noexcept;

// Descriptors that are open for nothing else than to be closed when there are no more to be had. Not thread-safe.
class DescriptorReserve {
 public:
  // As many as are wanted of it, fewer where the limit is low or nothing is left.
  void fill() noexcept;
  // Gives one back to the system. False when it has none.
  bool lend() noexcept;
  std::size_t size() const noexcept { return kept_.size(); }

 private:
  std::vector<Fd> kept_;
};

}  // namespace ipcq::detail
