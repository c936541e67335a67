// The connections of clients that the broker has accepted: one for each session.
//
// Thread safety: guarded by the broker's mutex.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/os.hpp"
#include "broker/admission.hpp"
#include "broker/closer.hpp"

namespace ipcq::detail {

// One connection. A half-open one has said no hello yet. A suspect has lost its connection while it has endpoints open
// and its process lives: its endpoints stay open until that process ends.
//
//   accepted (half-open) --hello--> attached --connection lost, endpoints open--> suspect
//        |                             |                                             |
//        +--- closed, or too late --+--+--- bye, closed, or process ended -----------+--> removed
struct ConnectedClient {
  ConnectedClient(Fd connection, Closer& closer) : socket(std::move(connection)), closer_(closer) {}
  ConnectedClient(const ConnectedClient&) = delete;
  ConnectedClient& operator=(const ConnectedClient&) = delete;
  ~ConnectedClient() { closer_.hang_up(std::move(socket)); }

  const std::uint64_t number = next_number();  // no other client of this process has had it
  Fd socket;
  Fd pidfd;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  std::uint64_t accepted_at_ns = 0;
  bool administrates = false;  // of the broker's user, root or the administrators' group
  bool attached = false;
  bool suspect = false;
  bool asking = false;  // a question for statistics or a dump is open, or an errand
  Fd upload;            // what it was given by open_upload

 private:
  static std::uint64_t next_number() noexcept;
  Closer& closer_;
};

class Clients {
 public:
  using List = std::vector<std::unique_ptr<ConnectedClient>>;

  void add(std::unique_ptr<ConnectedClient> client) { list_.push_back(std::move(client)); }
  // Removes it and closes its connection.
  void remove(const ConnectedClient& client);
  // Moves all of them out.
  List take_all() noexcept { return std::exchange(list_, {}); }

  // Null when there is none.
  ConnectedClient* at_socket(int socket) const;
  ConnectedClient* at_pidfd(int pidfd) const;
  ConnectedClient* numbered(std::uint64_t number) const;
  // The attached sessions of a process whose pidfds say that it has ended.
  std::vector<ConnectedClient*> ended_sessions(pid_t pid) const;
  // What counts when a newcomer of this user is admitted.
  Load load_of(std::uint32_t uid) const;

  List::const_iterator begin() const noexcept { return list_.begin(); }
  List::const_iterator end() const noexcept { return list_.end(); }

 private:
  template <class Is>
  ConnectedClient* find(Is is) const;

  List list_;
};

}  // namespace ipcq::detail
