// Broker: owns pools and queues, attaches clients, and repairs what dead clients leave. Can be embedded; ipcq-broker is
// a thin program over it. Thread-safe, except for moves and destruction. Each client session takes two descriptors of
// the process. The library does not change the process' limit (RLIMIT_NOFILE); ipcq-broker raises it.
//
// A forked child does not have the broker: there stop() does nothing and returns 0, socket_path() works, and every
// other call throws UsageError.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "ipcq/log.hpp"
#include "ipcq/options.hpp"
#include "ipcq/stats.hpp"

namespace ipcq {

namespace detail {
class BrokerCore;
}

struct BrokerOptions {
  // The name that clients connect to. Empty: $IPCQ_BROKER, else "default". A path makes that file the control socket;
  // an existing file there, or at the lock file beside it, is refused unless a dead broker of this user left it.
  std::string name{};
  // Unix group whose members may attach (segments and socket 0660); empty: only this user (0600).
  std::string group{};
  // Unix group whose members may create, remove, pause, resume and drain queues and pools as this user may
  // (ipcq/admin.hpp), but name no file: a handler of their own would run as this user. They must be members of `group`
  // too, which may be the same. Empty: this user and root alone.
  std::string admin_group{};
  // What queues and pools may be together, for creations that clients ask for; 0: any. Those of create() count, and are
  // not limited.
  std::uint32_t max_queues = 0;
  std::uint64_t max_memory = 0;  // bytes in /dev/shm and on GPUs
  LogCallback log{};             // may call this broker
};

class IPCQ_API Broker {
 public:
  // Takes the name, removes what a dead broker of that name left, opens the control socket and starts its threads.
  // Throws UsageError, without any change, if a live broker has the name or the file of another program is in the way;
  // SystemError or PermissionError naming the object.
  explicit Broker(BrokerOptions options = {});
  // An empty object, for members: calls throw UsageError, stop() does nothing and returns 0.
  explicit Broker(std::nullptr_t) noexcept;
  Broker(Broker&&) noexcept;
  Broker& operator=(Broker&&) noexcept;  // stop(0) of the broker that this object had
  ~Broker();                             // stop(0)

  // Create a pool, or a queue with or without a pool of its own, at any time before stop(). All memory is reserved in
  // the call, which takes up to seconds per GiB; meanwhile the broker serves the rest, and clients do not find the new
  // object. Throw UsageError (bad option, name taken, stopped), BackendError, PermissionError, SystemError (ENOSPC:
  // /dev/shm is too small; the text says how much is needed and how to get it).
  void create_pool(const std::string& name, PoolOptions options);
  void create(const std::string& queue, QueueOptions options = {});

  // Removes a queue, with its own pool, or a pool that no queue uses. Its name is free when the call returns.
  // `if_unused`: nobody has it open, and no group has left a message untaken. `at_once`: its clients are told that it
  // is closed; messages that consumers hold may still be read and released. Returns how many messages were left, as
  // stop(). A queue that shares its pool must be unused in any case, and one whose pool is on a GPU open in no client
  // with a GPU. Throw NotFoundError; UsageError, which says who uses it.
  std::uint64_t remove(const std::string& queue, Removal how = Removal::if_unused);
  void remove_pool(const std::string& name);

  // Pauses a queue, or one of its groups: no message leaves it, and publishing goes on until the queue is full; then
  // drop_oldest, or the group's being lossy, discards as ever, but for what a paused handler has still to see. While a
  // queue is paused neither its handler nor its groups take messages; what consumers hold is theirs, and their calls
  // wait as if the queue were empty. A handler of one's own has returned when the call returns. A group stays paused
  // until it is resumed itself, an ephemeral one as long as it lives. stop() does not wait for what is paused; drain()
  // does. Idempotent. Throw NotFoundError (also: no such group); BackendError: the handler has not returned for 3 s,
  // and nothing has changed.
  void pause(const std::string& queue, const std::string& group = {});
  // Lets it go on. A queue's intake is opened again, too, if drain() has closed it.
  void resume(const std::string& queue, const std::string& group = {});
  // Closes the queue's intake: publishing returns Status::closed from then on, until resume(). Then waits up to
  // `drain_for` until all groups, those without members too, have taken and released everything. Returns how many
  // messages are left: the most that one group has not taken, has given back or holds. Throws NotFoundError;
  // UsageError: it was resumed meanwhile.
  std::uint64_t drain(const std::string& queue, Timeout drain_for = kForever);

  // Declares that no further producer will open: once no producer is open, consumers with Until::end that have received
  // everything get Status::end, even if a producer died. Throws NotFoundError; UsageError for what cannot be a queue's
  // name.
  void end_of_stream(const std::string& queue);

  // Between two messages of the queue, in their order. All three throw NotFoundError; UsageError: the queue has no
  // state, or no handler of one's own; BackendError: its runner has ended, or the handler has not returned for 3 s;
  // SystemError, PermissionError.
  //
  // Copies the state to a new file, which takes the place of `file` once it is whole.
  void save_state(const std::string& queue, const std::string& file);
  // Sets the state to what a file of at most its size holds, and to zero behind that.
  void load_state(const std::string& queue, const std::string& file);
  // Lets another handler go on: `handler` as in QueueOptions, a file of one's own, compiled with the queue's macros and
  // folders. The state stays. Where it throws, the old handler stays.
  void replace_handler(const std::string& queue, const std::string& handler);

  // Closes the intake of every queue, waits `drain_for` at most until groups with members, if they are not paused, have
  // taken and released everything, closes the queues and removes every name. Returns the number of messages left: the
  // sum over the queues of the most messages that one of its groups had not taken or had given back. They are not
  // delivered any more. The messages that consumers hold are not counted, and may still be read and released. A
  // create() under way in another thread fails, and stop() waits for it. A second call returns the same number; a
  // concurrent call with a shorter `drain_for` shortens the wait.
  std::uint64_t stop(Timeout drain_for = Duration::zero());

  // Counters of this instant; after stop(), of the end of the draining. Scans the lines of every queue.
  BrokerStats stats() const;
  // Path of the control socket, absolute if an absolute path fits into a socket's address.
  std::string socket_path() const;
  // State of one queue as text for people: cursors, lines, slots, held entries. Throws as end_of_stream().
  std::string dump(const std::string& queue) const;

 private:
  std::unique_ptr<detail::BrokerCore> core_;
};

}  // namespace ipcq
