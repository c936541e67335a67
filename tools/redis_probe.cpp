#include "redis_probe.hpp"

#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "child_program.hpp"
#include "program/exit_code.hpp"

namespace ipcq::program {
namespace {

Finding::Level level_of(const std::string& name) {
  if (name == "OK") return Finding::Level::ok;
  return name == "WARN" ? Finding::Level::warn : Finding::Level::fail;
}

}  // namespace

std::vector<Finding> redis_findings(const std::string& url) {
  const auto program = find_program("ipcq-redis", "IPCQ_REDIS_PROGRAM");
  if (program.empty()) {
    return {{Finding::Level::fail, "redis", "there is no ipcq-redis beside this program or in PATH",
             "build it: scripts/install-deps redis, then configure with -DIPCQ_REDIS=ON"}};
  }
  std::vector<std::string> arguments{"doctor", "--json"};
  if (!url.empty()) arguments.insert(arguments.end(), {"--redis", url});
  constexpr std::chrono::seconds kPatience{60};
  const ChildOutput answer = run_child(program, std::move(arguments), kPatience, "see whether the server is stopped");
  const auto said = nlohmann::json::parse(answer.text, nullptr, false);
  if (!said.is_object() || !said.contains("findings")) {
    throw Failure(answer.exit_code == kOk ? kFailure : answer.exit_code,
                  fmt::format("'{} doctor': exit code {} and no answer", program, answer.exit_code));
  }
  std::vector<Finding> findings;
  for (const auto& each : said["findings"]) {
    findings.push_back({level_of(each.value("level", "")), each.value("subject", ""), each.value("text", ""),
                        each.value("remedy", "")});
  }
  return findings;
}

}  // namespace ipcq::program
