// Which Reader and which Chores are for which kind of sources.
#pragma once

#include "settings.hpp"
#include "tasks/redis_engine.hpp"

namespace ipcq::bridge {

RedisEngine::Kinds kinds_of(const EngineSettings& settings);

}  // namespace ipcq::bridge
