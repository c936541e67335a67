#include "program/gpu_findings.hpp"

#include <cstdint>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "program/format.hpp"
#include "program/pattern.hpp"

namespace ipcq::program {
namespace {

using Level = Finding::Level;
using nlohmann::json;

constexpr const char* kStartMps = "nvidia-cuda-mps-control -d, before broker and clients";
constexpr std::uint64_t kDemoMirror = 8 * std::uint64_t{Pattern4k::kFrameBytes};

Finding check_driver(const json& probe) {
  const int version = probe.value("driver_version", 0);
  const auto driver = probe.value("driver", "");
  const auto toolkit = probe.value("toolkit", "");
  auto text = fmt::format("{}CUDA {}.{}, built with {}", driver.empty() ? "" : driver + ", ", version / 1000,
                          version % 1000 / 10, toolkit.empty() ? "?" : toolkit);
  if (!toolkit.empty() && std::to_string(version / 1000) != toolkit.substr(0, toolkit.find('.')) &&
      version / 1000 < std::atoi(toolkit.c_str())) {
    return {Level::warn, "GPU driver", text + ": it is older than the kernels", "update the NVIDIA driver"};
  }
  return {Level::ok, "GPU driver", std::move(text), {}};
}

Finding check_mps(bool runs) {
  if (runs) {
    return {
        Level::warn, "MPS",
        "runs: kernels of several processes share a GPU; a client that is killed within a kernel takes the contexts of "
        "all others along, the runner's too",
        "end clients with a GPU by SIGTERM, or by terminate_client of nvidia-cuda-mps-control before SIGKILL "
        "(docs/guide/pipelines.md)"};
  }
  return {
      Level::warn, "MPS",
      "not running: while a persistent executor spins, each GPU operation of another process waits for a time slice "
      "(2.4 ms on an H200)",
      fmt::format("{}; or use executor=stream", kStartMps)};
}

Finding check_pinning(const json& probe) {
  const auto limit = probe.value("memlock", std::int64_t{-1});
  if (limit < 0) return {Level::ok, "pinned memory", "no limit", {}};
  auto text = fmt::format("limit {}", human_bytes(static_cast<std::uint64_t>(limit)));
  if (static_cast<std::uint64_t>(limit) >= kDemoMirror) return {Level::ok, "pinned memory", std::move(text), {}};
  return {Level::warn, "pinned memory",
          text + fmt::format("; a mirror of 8 slots of 4K RGB takes {}", human_bytes(kDemoMirror)),
          "ulimit -l unlimited; containers: --ulimit memlock=-1"};
}

// Adds a finding for each problem of one GPU, or one that there is none.
void check_device(const json& device, bool mps, std::vector<Finding>& findings) {
  const int index = device.value("index", 0);
  const auto subject = fmt::format("GPU {}", index);
  const auto say = [&](Level level, std::string text, std::string remedy) {
    findings.push_back({level, subject, std::move(text), std::move(remedy)});
  };
  const auto name =
      fmt::format("{}, compute capability {}, {}", device.value("name", "?"), device.value("compute_capability", "?"),
                  human_bytes(device.value("memory_bytes", std::uint64_t{0})));
  const auto mode = device.value("compute_mode", "default");
  const auto set_default = fmt::format("nvidia-smi -i {} -c DEFAULT", index);
  if (mode == "prohibited") return say(Level::fail, name + ": compute mode prohibited, nobody may use it", set_default);
  if (mode == "exclusive" && !mps) {
    return say(Level::fail,
               name + ": compute mode exclusive: one process at a time, but broker and clients are several",
               fmt::format("{}; or start MPS: {}", set_default, kStartMps));
  }
  const auto result = [&](const char* key) { return device.value(key, std::string("not examined")); };
  if (!device.value("supported", false)) {
    return say(Level::fail, fmt::format("{}: not usable: {}", name, result("memory_handle")),
               "free memory of other processes, or build with IPCQ_CUDA_ARCHITECTURES for this GPU");
  }
  bool fine = true;
  const auto require = [&](const char* key, Level level, const char* what, const char* remedy) {
    if (result(key) == "ok") return;
    fine = false;
    say(level, fmt::format("{}: {}: {}", name, what, result(key)), remedy);
  };
  require("host_registration", Level::fail, "cannot pin shared memory",
          "ulimit -l unlimited; containers: --ulimit memlock=-1");
  require("stream_wait_write", Level::fail, "streams cannot wait for words in memory", "update the NVIDIA driver");
  require("memory_handle", Level::warn, "processes cannot share its memory, so clients with a GPU work on the mirror",
          "containers: --ipc=host, one PID namespace for broker and clients (--pid=host)");
  if (fine) say(Level::ok, name + ": memory, pinned memory and stream operations work between processes", {});
}

void check_peers(const json& probe, std::vector<Finding>& findings) {
  for (const auto& peer : probe.value("peers", json::array())) {
    const auto access = peer.value("access", std::string("not examined"));
    if (access == "ok") continue;
    const int from = peer.value("from", 0), to = peer.value("to", 0);
    findings.push_back(
        {Level::warn, fmt::format("GPU {} to {}", from, to), access,
         fmt::format("clients on GPU {} use the mirror of queues on GPU {}: keep mirror=full", from, to)});
  }
}

}  // namespace

std::vector<Finding> gpu_findings(std::string_view text) {
  try {
    const json probe = json::parse(text);
    const auto devices = probe.value("devices", json::array());
    const auto error = probe.value("error", std::string());
    std::vector<Finding> findings;
    if (devices.empty()) {
      findings.push_back({Level::warn, "GPU",
                          fmt::format("host backend only: {}", error.empty() ? "no GPU is visible" : error),
                          "nvidia-smi shows driver and GPUs; containers: --gpus all; see CUDA_VISIBLE_DEVICES"});
      return findings;
    }
    const bool mps = probe.value("mps", false);
    findings.push_back(check_driver(probe));
    for (const auto& device : devices) check_device(device, mps, findings);
    check_peers(probe, findings);
    if (!error.empty()) findings.push_back({Level::warn, "GPU", error, "nvidia-smi; dmesg"});
    findings.push_back(check_mps(mps));
    findings.push_back(check_pinning(probe));
    return findings;
  } catch (const json::exception& error) {
    return {{Level::warn, "GPU", fmt::format("ipcq-runner --probe gave no result that makes sense: {}", error.what()),
             "run ipcq-runner --probe; install runner and tools of one version"}};
  }
}

std::string first_architecture(std::string_view probe) {
  const json answer = json::parse(probe, nullptr, false);
  if (!answer.is_object()) return {};
  const auto devices = answer.find("devices");
  if (devices == answer.end() || !devices->is_array() || devices->empty() || !devices->front().is_object()) return {};
  const auto capability = devices->front().find("compute_capability");
  if (capability == devices->front().end() || !capability->is_string()) return {};
  std::string digits = capability->get<std::string>();
  std::erase(digits, '.');
  return digits.empty() ? "" : "sm_" + digits;
}

}  // namespace ipcq::program
