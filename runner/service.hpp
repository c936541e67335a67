// A runner's side of its socket: says hello to the broker that started it, answers its requests, and ends with it. For
// the runner of a GPU and for the host runner.
//
// For the main thread. Invariant: the process ends at the latest five seconds after its broker, whatever hangs in it.
#pragma once

#include <functional>
#include <memory>

#include "base/os.hpp"
#include "control/runner_wire.hpp"

namespace ipcq::runner {

class Service {
 public:
  virtual ~Service() = default;
  // Carries out one request. `attachment`: the descriptor that came with it. The broker is told what it throws.
  virtual detail::RunnerReply answer(const detail::RunnerRequest& request, detail::Fd attachment) = 0;
  // Called once the broker has been sent the answer: for what may take, or end, the process.
  virtual void answered() noexcept {}
};

// Whether a broker started this process: its descriptor kRunnerSocket is a socket.
bool has_broker() noexcept;

// The whole run of the process. `make` makes the service and fills in the hello; what it throws the hello says, and the
// process ends. Returns the exit code.
int serve(const std::function<std::unique_ptr<Service>(detail::RunnerHello& hello)>& make);

}  // namespace ipcq::runner
