// Carries out the requests of clients and makes the replies.
//
// Thread safety: called by the control thread, with the broker's mutex held. Invariant: a request of an attached client
// is carried out only if the process that connected has sent it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "broker/administration.hpp"
#include "broker/answers.hpp"
#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/endpoints.hpp"
#include "broker/executor_switch.hpp"
#include "broker/registry.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

class Requests {
 public:
  Requests(BrokerContext& context, Registry& registry, Endpoints& endpoints, ExecutorSwitch& switches,
           Administration& administration, const Answers& answers)
      : context_(context),
        registry_(registry),
        endpoints_(endpoints),
        switches_(switches),
        administration_(administration),
        answers_(answers) {}

  // Carries the request out, or refuses it and says why. `behind`: the texts behind it. `sender`: the process that sent
  // it, as the kernel states it.
  Reply answer(ConnectedClient& client, const Request& request, std::string_view behind, pid_t sender, Fd& attachment);

 private:
  Reply dispatch(ConnectedClient& client, const Request& request, std::string_view behind, pid_t sender,
                 Fd& attachment);
  Reply open(const ConnectedClient& client, const Request& request, std::string_view behind);
  Reply hello(ConnectedClient& client, pid_t sender);
  Reply find_home(const Request& request) const;
  Reply drain(const ConnectedClient& client, const Request& request);
  Reply open_upload(ConnectedClient& client, const Request& request, Fd& attachment);
  Reply refuse_errand(const ConnectedClient& client, const Request& request) const;

  BrokerContext& context_;
  Registry& registry_;
  Endpoints& endpoints_;
  ExecutorSwitch& switches_;
  Administration& administration_;
  const Answers& answers_;
};

}  // namespace ipcq::detail
