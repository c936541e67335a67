// Limits on the descriptors that clients may take from the broker, and a reserve of them for clients of its owner.
//
// Thread safety: the functions keep no state; DescriptorReserve is guarded by the broker's mutex. Invariant: the
// connections of users other than the broker's own and root take at most half of its limit of open files.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/os.hpp"

namespace ipcq::detail {

// How long a connection may stay without a hello. `ipcq stats` and the like say none: they ask one thing and close.
inline constexpr std::uint64_t kHelloWithinNs = 5'000'000'000;

// Shares of the soft limit of open files (RLIMIT_NOFILE).
struct Share {
  std::uint64_t half_open = 0;  // connections of one user without a hello: an eighth, 8 to 256
  std::uint64_t foreign = 0;    // descriptors for all users but the broker's own and root: half
};
Share share_of(std::uint64_t open_files) noexcept;
std::uint64_t open_files_limit() noexcept;

// The connections that count when one newcomer is admitted.
struct Load {
  std::uint64_t half_open = 0;            // connections of the newcomer's user without a hello
  std::uint64_t foreign_connections = 0;  // of all users but the broker's own and root
};
// Whether `uid` is root or the broker's own user: connections of other users never keep these two out.
bool is_owner(uid_t uid) noexcept;

enum class Admittance : std::uint8_t { yes, too_many_half_open, too_many_foreign };
// A connection counts as two descriptors: socket and pidfd.
Admittance admit(uid_t newcomer, const Load& load, const Share& share) noexcept;

// Descriptors that are open only to be closed when the process has reached its limit, so that another can be opened.
class DescriptorReserve {
 public:
  // Opens as many as the reserve should have; fewer if the limit of open files is reached.
  void fill() noexcept;
  // Closes one, so that the caller can open another. False: none is left.
  bool lend() noexcept;
  std::size_t size() const noexcept { return kept_.size(); }

 private:
  std::vector<Fd> kept_;
};

}  // namespace ipcq::detail
