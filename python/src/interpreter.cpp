#include "interpreter.hpp"

#include <unistd.h>

#include <chrono>
#include <thread>

namespace ipcq::python {
namespace {

std::atomic<bool> ending = false;
std::thread::id ending_thread;       // written before `ending`
std::atomic<unsigned> away = 0;      // threads between letting the GIL go and having it again
std::atomic<unsigned> standing = 0;  // of these: those that have stopped

}  // namespace

bool is_ending() noexcept { return ending; }

void begin_ending() {
  ending_thread = std::this_thread::get_id();
  ending = true;
  PyThreadState* const state = PyEval_SaveThread();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (away != standing && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  PyEval_RestoreThread(state);
}

void forget_threads_of_the_parent() noexcept {
  away = 0;
  standing = 0;
}

MayTakeGil::MayTakeGil() noexcept {
  ++away;  // before the look: either this sees the end, or the end sees this
  may_ = !ending;
}

MayTakeGil::~MayTakeGil() { --away; }

ReleasedGil::ReleasedGil() noexcept {
  ++away;
  state_ = PyEval_SaveThread();
}

ReleasedGil::~ReleasedGil() {
  if (ending && std::this_thread::get_id() != ending_thread) {
    ++standing;
    for (;;) ::pause();
  }
  PyEval_RestoreThread(state_);
  --away;
}

}  // namespace ipcq::python
