// Sends the lines of its standard input to the queue "words".
#include <iostream>
#include <string>

#include "ipcq/ipcq.hpp"

int main() try {
  using namespace std::chrono_literals;
  ipcq::Session session = ipcq::connect({.wait_for = 5s});
  ipcq::Producer producer = session.producer("words", {.wait_for = 5s});
  for (std::string line; std::getline(std::cin, line);) {
    const ipcq::Status status = producer.send(line.data(), line.size(), 5s);
    if (status != ipcq::Status::ok) {
      std::cerr << "send: " << ipcq::to_string(status) << '\n';
      return 1;
    }
  }
} catch (const ipcq::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
