#include "broker/requests.hpp"

#include <cerrno>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include "base/memory_file.hpp"
#include "base/peer.hpp"
#include "broker/errands.hpp"
#include "broker/live_changes.hpp"
#include "broker/stream_end.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

Closing closing_of(const Request& request) {
  if ((request.flags & kNeverUsed) != 0) return Closing::never_used;
  return (request.flags & kBrokenOff) != 0 ? Closing::broken_off : Closing::clean;
}

}  // namespace

Reply Requests::answer(ConnectedClient& client, const Request& request, std::string_view behind, pid_t sender,
                       Fd& attachment) {
  // Only these may be dispatched a second time, with a descriptor of the reserve: they change nothing.
  const bool repeatable = request.op == Op::stats || request.op == Op::dump;
  try {
    return context_.with_descriptor(repeatable && is_owner(client.uid),
                                    [&] { return dispatch(client, request, behind, sender, attachment); });
  } catch (const NotFoundError& e) {
    return refuse(Refusal::not_found, e.what());
  } catch (const SystemError& e) {
    const std::string text = context_.self() + ": " + e.what();
    context_.complain(text);
    return refuse(Refusal::shortage, text);
  } catch (const std::exception& e) {
    attachment = context_.long_text(e.what());
    return refuse(Refusal::usage, e.what());
  }
}

// Only the process that connected may use the connection. So this process has opened every endpoint of it, and they end
// with the process that the pidfd names: docs/design/sockets.md, "Control socket".
Reply Requests::dispatch(ConnectedClient& client, const Request& request, std::string_view behind, pid_t sender,
                         Fd& attachment) {
  const std::string whose = "client pid " + std::to_string(client.pid) + ": ";
  if (client.attached && sender != client.pid) {
    return refuse(Refusal::permission,
                  whose + "process " + std::to_string(sender) + " used its connection; a forked child connects anew");
  }
  switch (request.op) {
    case Op::hello:
      return hello(client, sender);
    case Op::open_producer:
    case Op::open_consumer:
      return open(client, request, behind);
    case Op::find_home:
      return client.attached ? find_home(request) : refuse(Refusal::usage, whose + "said no hello");
    case Op::close_endpoint:
      endpoints_.close(client, request.client, closing_of(request));
      return {};
    case Op::bye:
      endpoints_.close_all({&client}, Closing::never_used);
      return {};
    case Op::stats:
    case Op::dump:
      if (client.asking) return refuse(Refusal::busy, whose + "asks before its last question was answered");
      return answers_.answer_at_once(request, attachment);
    case Op::end_of_stream:
      end_stream(registry_.find(queue_of(request)));
      return {};
    case Op::set_executor:
      return switches_.set(registry_.find(queue_of(request)), request.executor);
    case Op::drain:
      return drain(client, request);
    case Op::open_upload:
      return open_upload(client, request, attachment);
    case Op::save_state:
    case Op::load_state:
    case Op::replace_handler:
    case Op::create_queue:
    case Op::create_pool:
    case Op::remove_queue:
    case Op::remove_pool:
    case Op::pause:
    case Op::resume:
      return refuse_errand(client, request);
  }
  return refuse(Refusal::usage,
                context_.self() + ": unknown request " + std::to_string(static_cast<std::uint32_t>(request.op)));
}

Reply Requests::open(const ConnectedClient& client, const Request& request, std::string_view behind) {
  SchemaClaim claim;
  if (take_claim(request, behind, claim)) return endpoints_.open(client, request, claim);
  return refuse(Refusal::usage, "client pid " + std::to_string(client.pid) +
                                    ": its request and the texts behind it contradict each other; use one release of "
                                    "libipcq for client and broker");
}

// Of a request that was passed on: the server that has it answers at the queue whose client has asked.
Reply Requests::find_home(const Request& request) const {
  const std::string generation = get_text(request.name, sizeof request.name);
  for (const auto& [name, q] : registry_.queues()) {
    if (std::to_string(q.map->config().segment.generation) != generation) continue;
    Reply reply;
    name_segments(q, reply);
    return reply;
  }
  return refuse(Refusal::not_found, "queue of generation " + printable(generation) +
                                        ": is not there any more, with whoever has asked there");
}

Reply Requests::drain(const ConnectedClient& client, const Request& request) {
  if (!may_ask_for(client, request)) return refuse_errand(client, request);
  Reply reply;
  const bool counts = (request.flags & kOnlyCount) != 0;
  reply.messages =
      counts ? administration_.count_left(queue_of(request)) : administration_.begin_drain(queue_of(request));
  return reply;
}

Reply Requests::refuse_errand(const ConnectedClient& client, const Request& request) const {
  const std::string object = object_of(request) + ": ";
  if (!may_ask_for(client, request)) {
    const std::string user = "user " + std::to_string(client.uid) + " is ";
    if (is_of_handler(request)) {
      return refuse(Refusal::permission,
                    object + "its handler and state are for the broker's own user and root; " + user + "neither");
    }
    return refuse(
        Refusal::permission,
        object + "to create, remove, pause, resume and drain is for the broker's own user, root" +
            (context_.admin_gid < 0 ? " and the members of an admin group; start the broker with one (admin_group, "
                                      "--admin-group), or ask "
                                    : " and the members of group " + std::to_string(context_.admin_gid) + "; ask ") +
            "one of them, as " + user + "none");
  }
  if (client.asking) {
    return refuse(Refusal::busy,
                  object + "client pid " + std::to_string(client.pid) + " asks before its last question was answered");
  }
  if (uses_upload(request.op) && !client.upload) {
    return refuse(Refusal::usage, object + "client pid " + std::to_string(client.pid) + " has uploaded nothing for it");
  }
  return refuse(Refusal::shortage, object + context_.self() + " can start no thread for it; try again");
}

Reply Requests::open_upload(ConnectedClient& client, const Request& request, Fd& attachment) {
  if (!may_ask_for(client, request)) return refuse_errand(client, request);
  const std::string object = object_of(request);
  const bool is_text = (request.flags & (kForHandler | kForCreation)) != 0;
  if ((request.flags & kForHandler) != 0) LiveChanges::check_replaceable(registry_.find(queue_of(request)));
  if (is_text && (request.bytes == 0 || request.bytes > kMostUploadBytes)) {
    return refuse(Refusal::usage, object + ": an upload of " + std::to_string(request.bytes) + " bytes; there may be " +
                                      std::to_string(kMostUploadBytes));
  }
  client.upload = is_text ? make_memory_file(request.bytes, object)
                          : LiveChanges::file_for_state(registry_.find(queue_of(request)));
  attachment = copy_of(client.upload, object);
  return {};
}

Reply Requests::hello(ConnectedClient& client, pid_t sender) {
  const std::string whose = "client pid " + std::to_string(client.pid);
  if (client.attached) return refuse(Refusal::usage, whose + ": said hello twice");
  if (client.pid == 0 || sender == 0) {
    return refuse(Refusal::permission,
                  context_.self() +
                      ": cannot see the client's process, which is in a PID namespace that is not the broker's or "
                      "below it; start both in one (containers: the same --pid), or the broker in the outer one");
  }
  if (sender != client.pid) {
    return refuse(Refusal::permission, whose + ": process " + std::to_string(sender) +
                                           " said hello on its connection; a client vouches for itself only");
  }
  Fd process = process_behind(client.socket.get());
  if (!process) {
    const int error = errno;
    if (error == ESRCH) return refuse(Refusal::usage, whose + ": has ended");
    const bool absent = error == ENOSYS || error == EPERM;
    throw SystemError(
        error, "cannot watch " + whose + ": " + std::system_category().message(error) +
                   (absent ? "; the broker needs pidfd_open (Linux 5.3): let its seccomp profile allow that, and "
                             "do not run it below a valgrind that does not know it"
                           : "; raise the broker's limit of open files: ulimit -n"));
  }
  context_.polls.watch(process.get());
  client.pidfd = std::move(process);
  client.attached = true;
  return {};
}

}  // namespace ipcq::detail
