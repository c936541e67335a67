#include "program/findings_report.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/json.hpp"
#include "program/print.hpp"
#include "program/printable.hpp"

namespace ipcq::program {
namespace {

using Level = Finding::Level;

const char* name_of(Level level) {
  switch (level) {
    case Level::ok:
      return "OK";
    case Level::warn:
      return "WARN";
    case Level::fail:
      return "FAIL";
  }
  return "?";
}

}  // namespace

int report_findings(const std::vector<Finding>& findings, bool json) {
  const bool failed =
      std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.level == Level::fail; });
  if (json) {
    auto array = Json::array();
    for (const auto& f : findings) {
      array.push_back(
          Json{{"level", name_of(f.level)}, {"subject", f.subject}, {"text", f.text}, {"remedy", f.remedy}});
    }
    print_json(Json{{"ok", !failed}, {"findings", array}});
  } else {
    for (const auto& f : findings) {
      print(fmt::format("{:<5} {:<16} {}\n", name_of(f.level), printable(f.subject), printable(f.text)));
      if (!f.remedy.empty()) print(fmt::format("{:<22} -> {}\n", "", printable(f.remedy)));
    }
  }
  return failed ? kFailure : kOk;
}

}  // namespace ipcq::program
