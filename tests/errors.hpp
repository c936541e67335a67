// What a call throws.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <string>

namespace ipcq_test {

// The text of the E that `call` throws; empty (and a failure) when it throws another or none.
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
