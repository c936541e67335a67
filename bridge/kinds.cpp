#include "kinds.hpp"

#include <memory>

#include "lists/list_chores.hpp"
#include "lists/list_reader.hpp"
#include "streams/stream_chores.hpp"
#include "streams/stream_reader.hpp"

namespace ipcq::bridge {

RedisEngine::Kinds kinds_of(const EngineSettings& settings) {
  if (settings.kind == Kind::stream) {
    return {
        .reader = [](const EngineSettings& of, Counters& counters, HeldTasks& held) -> std::unique_ptr<Reader> {
          return std::make_unique<StreamReader>(of, counters, held);
        },
        .chores = [](const EngineSettings& of, Counters& counters, const HeldTasks& held) -> std::unique_ptr<Chores> {
          return std::make_unique<StreamChores>(of, counters, held);
        }};
  }
  return {.reader = [](const EngineSettings& of, Counters& counters, HeldTasks& held) -> std::unique_ptr<Reader> {
            return std::make_unique<ListReader>(of, counters, held);
          },
          .chores = [](const EngineSettings& of, Counters& counters, const HeldTasks&) -> std::unique_ptr<Chores> {
            return std::make_unique<ListChores>(of, counters);
          }};
}

}  // namespace ipcq::bridge
