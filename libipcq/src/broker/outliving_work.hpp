// GPU work that outlives what started it: of a producer that has closed (late writes), and of a client that has ended
// (quarantined slots).
//
// A late writer is a producer that closed while its GPU had not completed what it had published. Its process lives;
// should it end first, nobody else would end the wait of the readers.
//
// A quarantine keeps slots out of use that a client's GPU work may still write, until that work is known to have ended.
// Three things prove it. The client's process has ended. Nobody holds its connection any more: a child that it forked
// has the driver's descriptors as well, and the driver goes on with the work for as long. And under MPS, where the
// server runs the work, the context of the pool's runner has outlived both: a client that is killed within a kernel
// takes all contexts of its server along. (docs/design/cuda.md, "Death", has what was measured.) The runner is asked on
// a thread of its own, since it may take its time.
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

  // Whether the end of an endpoint's process proves nothing about its GPU work.
  bool may_outlive(const QueueEntry& q, const EndpointEntry& e) const;
  // Whether slots or messages bear the id of an endpoint that is closed.
  bool bears(std::uint32_t client) const;
  // Whether a child of a quarantined client may have its connection.
  bool keeps_connection(int session) const;

  // Called while the endpoint closes.
  void keep_late_writer(const QueueEntry& q, const EndpointEntry& e);
  bool keep_quarantine(const QueueEntry& q, const EndpointEntry& e);  // false: it could not
  // The client is about to be removed: takes its socket where a quarantine needs it.
  void keep_connection(ConnectedClient& client);

  // For the control thread. False when the descriptor is none of these.
  bool serve(int fd);
  // Ends the quarantines that are over.
  void look();

  // Without the mutex; `stopped` is set. Waits for the thread, and ends a runner that it waits for in vain.
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
    int session = -1;                                // its client's socket; -1 once that client is removed, and then
    std::shared_ptr<const Fd> connection = nullptr;  // the socket itself
    Fd pidfd;
    bool asked = false;  // its runner, whether its context works
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
  bool checking_ = false;  // by `check_`
  std::thread check_;
  std::shared_ptr<RunnerLink> checked_;  // that `check_` has asked, and waits for
};

}  // namespace ipcq::detail
