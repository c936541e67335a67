// Prints the messages of the queue "words", a line each, until its producers are done.
#include <iostream>
#include <string_view>

#include "ipcq/ipcq.hpp"

int main() try {
  using namespace std::chrono_literals;
  ipcq::Session session = ipcq::connect({.wait_for = 5s});
  ipcq::Consumer consumer = session.consumer("words", {.wait_for = 5s});
  for (ipcq::Message& message : consumer) {
    const auto bytes = message.bytes();
    std::cout << std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) << '\n';
  }
} catch (const ipcq::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
