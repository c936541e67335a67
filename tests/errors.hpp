// Checks the exception that a call throws.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <string>

namespace ipcq_test {

// Returns the text of the E that `call` throws. If it throws no E, the test fails, and the text is empty.
template <class E>
std::string error_of(const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "another error: " << e.what();
  }
  return {};
}

}  // namespace ipcq_test
