#include "waiting.hpp"

#include <cmath>

namespace ipcq::python {

Patience::Patience(nb::handle timeout) {
  if (timeout.is_none()) {
    forever_ = true;
    return;
  }
  const double seconds = PyFloat_AsDouble(timeout.ptr());
  if (seconds == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  if (std::isnan(seconds)) throw nb::value_error("a time-out is a number of seconds, 0 or more, or None for no limit");
  zero_ = seconds <= 0;
  seconds_ = zero_ ? 0 : seconds;
  if (zero_) return;
  const Timeout duration = std::chrono::duration<double>(seconds);
  const auto now = std::chrono::steady_clock::now();
  // Beyond what a clock can say.
  forever_ = Duration(duration) >= std::chrono::steady_clock::time_point::max() - now;
  if (!forever_) deadline_ = now + Duration(duration);
}

}  // namespace ipcq::python
