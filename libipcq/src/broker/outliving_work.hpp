// GPU work that outlives its endpoint: of a producer that has closed (late writes), and of a client that has ended
// (quarantined slots).
//
// A late writer is a producer that closed while its GPU had not completed what it had published. Its process lives. If
// the process ends before the GPU has completed these payloads, this buries them, since readers wait for them.
//
// A quarantine keeps slots out of use that a client's GPU work may still write, until that work is known to have ended.
// Three facts prove it together. The client's process has ended. No other process holds its connection: a forked child
// that has it also has the driver's descriptors, and the driver goes on with the work while they are open. And under
// MPS, where the server runs the work, the context of the pool's runner still works after that: a client that is killed
// within a kernel makes all contexts of its server fail. (docs/design/cuda.md, "Death", says what was measured.) A
// thread of its own asks the runner, since an answer may take long.
//
// Thread safety: guarded by the broker's mutex, which that thread unlocks while it waits for a runner. Invariant: no
// slot in quarantine is freed before all three facts hold.
//
//   kept --process ended, connection closed by all--> due --no MPS, or the runner's context works--> over
//                                                      +--the runner does not answer: killed, its memory goes--> over
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/registry.hpp"

namespace ipcq::detail {

class OutlivingWork {
 public:
  OutlivingWork(BrokerContext& context, Registry& registry, const RunnerSupervisor& supervisor, const Clients& clients,
                Closer& closer)
      : context_(context), registry_(registry), supervisor_(supervisor), clients_(clients), closer_(closer) {}
  OutlivingWork(const OutlivingWork&) = delete;
  OutlivingWork& operator=(const OutlivingWork&) = delete;

  // Whether GPU work of the endpoint may go on after its process has ended.
  bool may_outlive(const QueueEntry& q, const EndpointEntry& e) const;
  // Whether slots or messages bear this id of an endpoint that has closed.
  bool bears(std::uint32_t client) const;
  // Whether a quarantine needs the connection of this session.
  bool keeps_connection(int session) const;

  // Called while the endpoint closes.
  void keep_late_writer(const QueueEntry& q, const EndpointEntry& e);
  bool keep_quarantine(const QueueEntry& q, const EndpointEntry& e);  // false: nothing will watch for its end
  // Called before a client is removed: takes over its socket if a quarantine needs it.
  void keep_connection(ConnectedClient& client);

  // The control thread calls it for a descriptor that has an event. False: it is not one of these.
  bool serve(int fd);
  // Ends the quarantines that are over, and has the runners asked for those that are due.
  void check_quarantines();

  // Without the mutex, once `stopped` is set. Waits for the thread, and kills the runner for which that waits if it
  // takes more than five seconds.
  void join();
  void clear() noexcept { quarantines_.clear(); }

 private:
  struct LateWriter {
    Fd pidfd;
    std::uint32_t client = 0;
    std::string queue;
    std::uint64_t generation = 0;
  };
  struct Quarantine {
    std::uint32_t client = 0;
    std::int32_t pid = 0;
    std::weak_ptr<PoolEntry> pool;
    int session = -1;                                // number of its client's socket; -1 once the client is removed
    std::shared_ptr<const Fd> connection = nullptr;  // the socket, once the client is removed
    Fd pidfd;
    bool asked = false;  // the thread has asked its runner
  };

  bool serve_late_writer(int fd);
  bool serve_quarantine(int fd);
  bool may_be_inherited(std::uint32_t client) const;
  bool has_left(const Quarantine& q) const;
  void drop(Quarantine& q) noexcept;
  void end(const Quarantine& q, const PoolEntry& pool) const;
  void start_check();
  void check_contexts() noexcept;
  void end_checked(bool works);

  BrokerContext& context_;
  Registry& registry_;
  const RunnerSupervisor& supervisor_;
  const Clients& clients_;
  Closer& closer_;
  std::vector<LateWriter> late_writers_;
  std::vector<Quarantine> quarantines_;
  bool checking_ = false;  // `check_` is running
  std::thread check_;
  std::shared_ptr<RunnerLink> checked_;  // the runner whose answer `check_` waits for
};

}  // namespace ipcq::detail
