#include "program/run_guarded.hpp"

#include "program/exit_code.hpp"
#include "program/print.hpp"

namespace ipcq::program {

int run_guarded(const std::function<int()>& body) noexcept {
  int code = kFailure;
  try {
    code = body();
  } catch (...) {
    code = report_current_exception();
  }
  try {
    finish_standard_output();
  } catch (...) {
    const int unsaid = report_current_exception();
    if (code == kOk) code = unsaid;
  }
  return code;
}

}  // namespace ipcq::program
